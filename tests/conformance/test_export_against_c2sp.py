"""An exported log, read by a client written from C2SP tlog-tiles, tlog-checkpoint and RFC 6962 alone."""

import base64
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from countermark.adapters.memory import MemoryTiles
from countermark.adapters.tiles import export_tiles
from countermark.core.keys import Secret, SigningKey
from countermark.evidence import log
from countermark.evidence.checkpoint import sign_checkpoint

rfc = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("rfc6962.py"))))


def name(index: int, width: int) -> str:
    """``<N>[.p/<W>]``: three digits per path element, all but the last after an ``x``."""
    digits = str(index)
    digits = "0" * (-len(digits) % 3) + digits
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join(["x" + part for part in parts[:-1]] + parts[-1:]) + (f".p/{width}" if width < 256 else "")


def widths(count: int) -> list[int]:
    return [256] * (count // 256) + ([count % 256] if count % 256 else [])


def read_entries(folder: Path, size: int) -> list[bytes]:
    data = []
    for index, width in enumerate(widths(size)):
        bundle = (folder / "tile/entries" / name(index, width)).read_bytes()
        for _ in range(width):
            length = int.from_bytes(bundle[:2], "big")
            data.append(bundle[2 : 2 + length])
            bundle = bundle[2 + length :]
        assert bundle == b""
    return data


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1300, 65536 + 300])
def test_every_file_is_what_the_layout_says(tmp_path: Path, size: int) -> None:
    tiles = MemoryTiles()
    log.append(tiles, [b"entry %d" % index for index in range(size + 10)])
    text = sign_checkpoint("example.com/log", size, log.root(tiles, size), SigningKey(Secret(bytes(32))))
    written = export_tiles(tiles, text, tmp_path)

    origin, stated, root = (tmp_path / "checkpoint").read_text().split("\n\n")[0].split("\n")
    assert (origin, stated) == ("example.com/log", str(size))
    data = read_entries(tmp_path, size)
    assert data == [b"entry %d" % index for index in range(size)]
    assert rfc.mth(data) == base64.b64decode(root)

    files = 1 + len(widths(size))
    level = [rfc.mth([item]) for item in data]
    number = 0
    while level:
        for index, width in enumerate(widths(len(level))):
            tile = (tmp_path / f"tile/{number}" / name(index, width)).read_bytes()
            assert tile == b"".join(level[index * 256 : index * 256 + width])
            files += 1
        span = 256 ** (number + 1)
        level = [rfc.mth(data[index * span : (index + 1) * span]) for index in range(size // span)]
        number += 1
    assert files == written == sum(path.is_file() for path in tmp_path.rglob("*"))
