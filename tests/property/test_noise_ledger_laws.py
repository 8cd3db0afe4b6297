"""The laws of the noise ledger, against a slow reference, and of its files under torn writes."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from countermark.adapters import noise_ledger as files
from countermark.adapters.noise_ledger import NoiseLedger, NoiseLedgerFolder
from countermark.core.stats import clopper_pearson
from countermark.errors import InputError, StorageError
from countermark.marking.image import noise_ledger
from countermark.marking.image.noise_ledger import Recorded, pack, quantize, recompute, search, statistic, tail, unpack


def random_signs(seed: int, count: int, size: int) -> NDArray[np.int8]:
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), (count, size))


def search_plainly(signs: NDArray[np.int8], latent: NDArray[np.float64]) -> tuple[int, float]:
    """The statistic of every record by its formula, one after another."""
    levels = quantize(latent).astype(np.float64)
    length = math.sqrt(float(levels @ levels))
    values = [float(row.astype(np.float64) @ levels) / length if length else 0.0 for row in signs]
    place = max(range(len(values)), key=lambda i: values[i])
    return place, values[place]


def noisy(signs: NDArray[np.int8], share: float, seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    return share * np.abs(generator.normal(size=signs.size)) * signs + generator.normal(size=signs.size)


sizes = st.integers(1, 300)
seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(1, 20), sizes)
def test_unpacking_gives_what_was_packed(seed: int, count: int, size: int) -> None:
    signs = random_signs(seed, count, size)
    assert np.array_equal(unpack(pack(signs), size), signs)


@settings(max_examples=50)
@given(seeds, st.integers(1, 60), sizes, st.floats(0, 3))
def test_the_fast_search_finds_what_the_slow_one_finds(seed: int, count: int, size: int, share: float) -> None:
    signs = random_signs(seed, count, size)
    latent = noisy(signs[seed % count], share, seed)
    match = search(Recorded.of(range(100, 100 + count), signs), latent[None])
    place, value = search_plainly(signs, latent)
    assert match is not None
    assert match.statistic == pytest.approx(value, abs=1e-9)
    assert match.name == 100 + place
    assert match.p_value == tail(match.statistic, count)


@settings(max_examples=20)
@given(seeds, st.sampled_from([64, 1000, 16_384 + 130]))
def test_more_records_than_the_short_list_holds(seed: int, size: int) -> None:
    signs = random_signs(seed, 1_500, size)
    match = search(Recorded.of(range(1_500), signs), noisy(signs[seed % 1_500], 2.0, seed)[None])
    assert match is not None
    assert (match.name, match.searched) == (seed % 1_500, 1_500)


@given(seeds, st.integers(1, 20), sizes, st.integers(1, 3))
def test_the_observations_give_the_match_again(seed: int, count: int, size: int, variants: int) -> None:
    signs = random_signs(seed, count, size)
    latents = np.stack([noisy(signs[0], 0.5, seed + i) for i in range(variants)])
    match = search(Recorded.of(range(count), signs), latents)
    assert match is not None
    again = recompute(match.observations)
    assert (again.p_value, again.statistic, again.searched, again.name) == (
        match.p_value,
        match.statistic,
        match.searched,
        match.name,
    )
    assert again.searched == count * variants
    assert again.pattern == noise_ledger.pattern_digest(pack(signs[match.name : match.name + 1]))


@given(seeds, st.integers(2, 300), st.integers(1, 300))
def test_the_second_null_counts_the_leading_positions_alone(seed: int, size: int, own: int) -> None:
    own, signs = min(own, size), random_signs(seed, 3, size)
    latent = noisy(signs[0], 1.0, seed)
    match = search(Recorded.of(range(3), signs), latent[None], own=own)
    assert match is not None
    value = statistic(signs[match.name, :own], quantize(latent)[:own])
    assert match.p_innocent == recompute(match.observations).p_innocent == tail(value, 3)
    changed = search(Recorded.of(range(3), signs), np.where(np.arange(size) < own, latent, -latent)[None], own=own)
    assert changed is not None
    assert own == size or changed.name != match.name or changed.p_innocent == match.p_innocent


@given(seeds, st.integers(2, 300), st.floats(1e-6, 1e6))
def test_scale_and_sign_of_the_latent(seed: int, size: int, scale: float) -> None:
    signs, latent = random_signs(seed, 1, size)[0], np.random.default_rng(seed).normal(size=size)
    value = statistic(signs, quantize(latent))
    assert statistic(signs, quantize(scale * latent)) == pytest.approx(value, abs=0.05)
    assert statistic((-signs).astype(np.int8), quantize(latent)) == -value


@given(seeds, st.integers(1, 200), st.floats(0, 6))
def test_the_bound_falls_and_stays_a_probability(seed: int, searched: int, value: float) -> None:
    assert 0 <= tail(value + 0.1, searched) <= tail(value, searched) <= 1
    assert tail(value, searched) <= tail(value, searched + 1)


@pytest.mark.parametrize("levels", [1, 30, 127])
def test_the_null_is_never_rejected_too_often(levels: int) -> None:
    """One-sided: a bound. Ten weights far from equal, every sign pattern there is, so the tail is exact."""
    weights = np.array([levels, *range(1, 10)], dtype=np.int8)
    patterns = 1 - 2 * (np.arange(1024)[:, None] >> np.arange(10) & 1).astype(np.int8)
    values = np.array([statistic(row, weights) for row in patterns])
    for value in np.unique(values):
        assert np.mean(values >= value) <= tail(float(value)) + 1e-12


def test_unrelated_latents_reach_a_level_no_more_often_than_it_says() -> None:
    recorded = Recorded.of(range(200), random_signs(5, 200, 256))
    generator = np.random.default_rng(6)
    matches = [search(recorded, generator.standard_t(3, size=(1, 256))) for _ in range(1_000)]
    hits = sum(match is not None and match.p_value <= 0.1 for match in matches)
    assert clopper_pearson(hits, 1_000)[0] <= 0.1


def test_nothing_recorded_and_a_flat_latent() -> None:
    empty = Recorded.of([], np.zeros((0, 64), dtype=np.int8))
    assert search(empty, np.ones((1, 64))) is None
    match = search(Recorded.of([7], random_signs(0, 1, 64)), np.zeros((1, 64)))
    assert match is not None
    assert (match.statistic, match.p_value, match.name) == (0.0, 1.0, 7)


@pytest.mark.parametrize(
    "change",
    [{"size": 0}, {"size": 63}, {"size": True}, {"signs": "AA=="}, {"signs": 5}, {"levels": "?"}, {"searched": 0},
     {"searched": 2**60}, {"name": -1}, {"signs": "////////////////"}, {"own": 0}, {"own": 65}],
)  # fmt: skip
def test_malformed_observations_are_refused(change: dict[str, Any]) -> None:
    match = search(Recorded.of([7], random_signs(0, 1, 64)), np.ones((1, 64)))
    assert match is not None
    with pytest.raises(InputError):
        recompute({**match.observations, **change})


@pytest.mark.parametrize("latents", [np.ones((1, 63)), np.ones(64), np.zeros((0, 64)), np.full((1, 64), np.nan)])
def test_a_latent_of_another_kind_is_refused(latents: NDArray[np.float64]) -> None:
    with pytest.raises(InputError):
        search(Recorded.of([7], random_signs(0, 1, 64)), latents)


@pytest.mark.parametrize("signs", [np.zeros((1, 64)), np.ones(64), np.full((1, 4), 2), np.ones((1, 0))])
def test_what_is_no_sign_is_refused(signs: NDArray[np.float64]) -> None:
    with pytest.raises(InputError):
        pack(signs.astype(np.int8))


def kept(ledger: NoiseLedger, size: int) -> tuple[list[int], NDArray[np.int8]]:
    recorded = ledger.read()
    return [int(name) for name in recorded.names], unpack(recorded.words(np.arange(len(recorded))), size)


@settings(max_examples=60)
@given(st.data())
def test_what_was_acknowledged_survives_any_tear_of_the_last_batch(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder, size = tmp_path_factory.mktemp("ledger"), data.draw(st.sampled_from([64, 200, 16_384 + 64]))
    counts = data.draw(st.lists(st.integers(1, 5), max_size=3))
    signs = random_signs(1, 40, size)
    ledger, total = NoiseLedger(folder, size), 0
    for count in counts:
        ledger.append(range(total, total + count), signs[total : total + count])
        total += count
    lengths = {path: path.stat().st_size for path in folder.iterdir()}
    last = data.draw(st.integers(1, 5))
    ledger.append(range(total, total + last), signs[total : total + last])
    for path in sorted(folder.iterdir()):  # the last batch never reached the disk, or parts of it did
        durable, content = lengths.get(path, 64 if path.suffix == ".heads" else 0), bytearray(path.read_bytes())
        start = data.draw(st.integers(durable, len(content)))
        end = data.draw(st.integers(start, len(content)))
        content[start:end] = bytes(end - start)
        path.write_bytes(content[: data.draw(st.integers(durable, len(content)))])
    names, found = kept(NoiseLedger(folder, size), size)
    assert total <= len(names) <= total + last
    assert names == list(range(len(names)))
    assert np.array_equal(found, signs[: len(names)])
    NoiseLedger(folder, size).append([99], signs[39:])
    names, found = kept(NoiseLedger(folder, size), size)
    assert names[-1] == 99
    assert len(names) > total
    assert np.array_equal(found[-1:], signs[39:])


def test_a_large_append_is_kept_in_batches(tmp_path: Path) -> None:
    signs = random_signs(3, files._BATCH + 10, 64)
    shelf = NoiseLedgerFolder(tmp_path / "new")
    assert shelf.sizes(3, 1) == []
    ledger = shelf.of(3, 1, 64)
    ledger.append(range(len(signs)), signs)
    assert np.array_equal(kept(ledger, 64)[1], signs)
    assert shelf.sizes(3, 1) == [64]


def test_a_file_of_another_version_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "64.heads").write_bytes(b"something else".ljust(400, b"."))
    with pytest.raises(StorageError):
        NoiseLedger(tmp_path, 64).read()


def test_names_and_sizes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for names, size in (([1, 2], 64), ([2**53], 64), ([1], 63)):
        with pytest.raises(InputError):
            NoiseLedger(tmp_path, 64).append(names, random_signs(0, 1, size))


@pytest.mark.slow
@pytest.mark.parametrize("size", [1_024, 12_288])
def test_a_million_records_are_searched_in_two_seconds_of_a_core(size: int) -> None:
    words = np.random.default_rng(8).integers(0, 2**64, (1_000_000, size // 64), dtype=np.uint64)
    recorded = Recorded(size, np.arange(len(words), dtype=np.uint64), words, words[:, :0])
    latent = noisy(unpack(words[777_777:777_778], size)[0], 0.5, 9)
    started = time.process_time()
    match = search(recorded, latent[None])
    assert time.process_time() - started < 2
    assert match is not None
    assert (match.name, match.p_value < 1e-6) == (777_777, True)
