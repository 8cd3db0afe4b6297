"""kill -9 at random moments of building a store: it goes on, redoes no finished shard, and ends with the same files."""

import random
import time
from pathlib import Path

import numpy as np
import pytest

from countermark.audit.images.reading import open_images
from countermark.audit.images.store import ImageStore
from countermark.errors import NotFoundError

from .killing import run_and_kill

WORKER = Path(__file__).with_name("store_worker.py")
SHARD = 5


def finished(directory):
    """Return the shards that are finished, with the time they were written."""
    return {
        path.stem: path.with_suffix(".pixels").stat().st_mtime_ns
        for path in directory.glob("shard-*.json")
        if (directory / "image-store.json").exists()
    }


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_killed_build_goes_on(tmp_path, kills):
    chance = random.Random(20261122)
    images = np.random.default_rng(1).integers(0, 256, (100 * kills, 6, 5), dtype=np.uint8)
    np.savez_compressed(tmp_path / "data.npz", x=images, y=np.arange(len(images)) % 10)
    store, before, resumed, started = tmp_path / "store", {}, 0, time.monotonic()
    for number in range(1000):
        read, _ = run_and_kill(WORKER, tmp_path, number, None, chance.uniform(0.05, 0.6))
        first = min((position for position, _ in read), default=None)
        # What was finished is not read again, and the first shard that was not is.
        assert first is None or first == SHARD * len(before)
        resumed += bool(before) and first is not None
        if (store / "contents.json").exists():
            break
        after = finished(store)
        assert before.items() <= after.items()
        with pytest.raises(NotFoundError):
            ImageStore.open(store)
        before = after
        assert time.monotonic() - started < 30 * kills
    assert resumed >= 2
    whole = ImageStore.build(open_images(tmp_path / "data.npz"), tmp_path / "whole", shard_images=SHARD)
    again = ImageStore.build(open_images(tmp_path / "data.npz"), store, shard_images=SHARD)
    again.check()
    assert again.digest == whole.digest == ImageStore.of(images).digest
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in store.iterdir())
    assert all((store / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in names)
