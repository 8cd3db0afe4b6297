"""One suite for every place that tiles can live in."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from countermark.adapters.memory import MemoryTiles
from countermark.adapters.tiles import SqlTiles, define
from countermark.errors import InputError, NotFoundError, StorageError, VerificationError, WorkspaceBusy
from countermark.evidence import log

Open = Callable[..., AbstractContextManager[MemoryTiles | SqlTiles]]


@pytest.fixture(params=["memory", "sql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Return what opens a transaction as the writer of an epoch."""
    if request.param == "memory":
        tiles = MemoryTiles()

        @contextmanager
        def open_memory(epoch: int = 0) -> Iterator[MemoryTiles]:
            tiles.epoch = epoch
            yield tiles

        yield open_memory
        return
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.db'}")
    metadata = sa.MetaData()
    define(metadata)
    metadata.create_all(engine)

    @contextmanager
    def open_sql(epoch: int = 0) -> Iterator[SqlTiles]:
        with engine.begin() as connection:
            yield SqlTiles(connection, epoch)

    yield open_sql
    engine.dispose()


def entries(count: int) -> list[bytes]:
    return [b"entry %d" % index for index in range(count)]


def test_an_empty_log(opened: Open) -> None:
    with opened() as tiles:
        assert tiles.head() == log.Head(0, 0)
        assert (tiles.read_tile(0, 0), tiles.read_bundle(0)) == (b"", b"")
        assert log.append(tiles, []) == log.Appended(0, 0, log.root(tiles, 0))
        assert log.fsck(tiles) == log.Head(0, 0)


def test_appends_of_several_transactions_are_one_log(opened: Open) -> None:
    for start, stop in [(0, 1), (1, 255), (255, 256), (256, 900), (900, 900), (900, 1100)]:
        with opened() as tiles:
            appended = log.append(tiles, entries(stop)[start:])
        assert (appended.first, appended.size) == (start, stop)
    with opened() as tiles:
        assert log.fsck(tiles).size == 1100
        assert list(log.entries(tiles, 250, 260)) == entries(1100)[250:260]
        assert log.entry(tiles, 1099) == b"entry 1099"


def test_a_tile_is_replaced_by_its_successor(opened: Open) -> None:
    with opened() as tiles:
        tiles.write_tiles([(0, 3, b"a" * 32), (1, 0, b"b" * 32)])
        tiles.write_bundles([(3, b"\0\0")])
        tiles.write_tiles([(0, 3, b"a" * 64)])
        tiles.write_bundles([(3, b"\0\0\0\0")])
    with opened() as tiles:
        assert (tiles.read_tile(0, 3), tiles.read_tile(1, 0)) == (b"a" * 64, b"b" * 32)
        assert tiles.read_bundle(3) == b"\0\0\0\0"
        assert tiles.read_tile(1, 3) == b""


def test_a_writer_that_was_replaced_can_read_but_not_append(opened: Open) -> None:
    with opened() as tiles:
        log.append(tiles, entries(3))
        epoch = tiles.take_over()
    with opened(0) as tiles, pytest.raises(WorkspaceBusy, match="taken over"):
        log.append(tiles, [b"late"])
    with opened(0) as tiles, pytest.raises(WorkspaceBusy):
        tiles.set_head(9)
    with opened(epoch) as tiles:
        assert log.append(tiles, [b"mine"]).first == 3
        assert tiles.head() == log.Head(4, 1)
    with opened(0) as tiles:
        assert log.entry(tiles, 3) == b"mine"


def test_what_is_not_there_is_refused(opened: Open) -> None:
    with opened() as tiles:
        log.append(tiles, entries(300))
        for ask in (
            lambda: log.entry(tiles, 300),
            lambda: log.entry(tiles, -1),
            lambda: log.entries(tiles, 0, 301),
            lambda: log.root(tiles, 301),
            lambda: log.prove_inclusion(tiles, 0, 301),
            lambda: log.prove_consistency(tiles, 0, 301),
        ):
            with pytest.raises(NotFoundError):
                ask()
        with pytest.raises(InputError):
            log.prove_inclusion(tiles, 200, 200)


def test_the_longest_entry_fits_and_a_longer_one_changes_nothing(opened: Open) -> None:
    with opened() as tiles:
        log.append(tiles, [bytes(log.MAX_ENTRY_BYTES)])
        with pytest.raises(InputError, match="65536 bytes"):
            log.append(tiles, [b"fine", bytes(log.MAX_ENTRY_BYTES + 1)])
        assert log.fsck(tiles).size == 1
        assert log.entry(tiles, 0) == bytes(log.MAX_ENTRY_BYTES)


@pytest.mark.parametrize("damage", ["leaf tile", "upper tile", "missing tile", "entry", "missing entry", "cut entry"])
def test_fsck_finds_every_damage(opened: Open, damage: str) -> None:
    with opened() as tiles:
        log.append(tiles, entries(700))
        tile, upper, bundle = tiles.read_tile(0, 1), tiles.read_tile(1, 0), tiles.read_bundle(2)
        match damage:
            case "leaf tile":
                tiles.write_tiles([(0, 1, bytes(32) + tile[32:])])
            case "upper tile":
                tiles.write_tiles([(1, 0, upper[:32] + upper[:32])])
            case "missing tile":
                tiles.write_tiles([(0, 1, tile[:-32])])
            case "entry":
                tiles.write_bundles([(2, bundle.replace(b"entry 600", b"entry 6oo"))])
            case "missing entry":
                tiles.write_bundles([(2, log.join_bundle(log.split_bundle(bundle)[:-1]))])
            case "cut entry":
                tiles.write_bundles([(2, bundle[:-1])])
        with pytest.raises((VerificationError, StorageError)):
            log.fsck(tiles)
        if damage == "missing tile":
            with pytest.raises(StorageError, match="0/1 is damaged"):
                log.prove_inclusion(tiles, 300, 700)


def test_nothing_is_appended_to_a_damaged_bundle_or_tile(opened: Open) -> None:
    with opened() as tiles:
        log.append(tiles, entries(10))
        bundle, tile = tiles.read_bundle(0), tiles.read_tile(0, 0)
        tiles.write_bundles([(0, log.join_bundle(entries(9)))])
        with pytest.raises(StorageError, match="bundle 0 is damaged"):
            log.append(tiles, [b"new"])
        tiles.write_bundles([(0, bundle)])
        tiles.write_tiles([(0, 0, tile[:-32])])
        with pytest.raises(StorageError, match="tile 0/0 is damaged"):
            log.append(tiles, [b"new"])
