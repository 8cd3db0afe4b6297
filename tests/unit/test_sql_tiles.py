"""The SQL log and its export: transactions, both dialects, the files of the C2SP layout."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from countermark.adapters import tiles as adapter
from countermark.adapters.store import SqlStore
from countermark.core.keys import Secret, SigningKey
from countermark.errors import InputError, StorageError, VerificationError
from countermark.evidence import log
from countermark.evidence.checkpoint import open_checkpoint, sign_checkpoint

KEY = SigningKey(Secret(bytes(32)))
ORIGIN = "example.com/log"


@pytest.fixture
def engine():
    engine = sa.create_engine("sqlite://")
    metadata = sa.MetaData()
    adapter.define(metadata)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def fill(connection: sa.Connection, count: int) -> adapter.SqlTiles:
    tiles = adapter.SqlTiles(connection)
    first = tiles.head().size
    log.append(tiles, [b"entry %d" % index for index in range(first, first + count)])
    return tiles


def checkpoint_at(tiles: log.TileReader, size: int) -> str:
    return sign_checkpoint(ORIGIN, size, log.root(tiles, size), KEY)


def test_a_failed_transaction_leaves_no_trace(engine) -> None:
    with engine.begin() as connection:
        fill(connection, 10)
    with engine.connect() as connection:
        fill(connection, 1000)
        connection.rollback()
    with engine.begin() as connection:
        assert log.fsck(adapter.SqlTiles(connection)) == log.Head(10, 0)


def test_creating_the_tables_again_keeps_the_log(engine) -> None:
    with engine.begin() as connection:
        fill(connection, 10)
    metadata = sa.MetaData()
    adapter.define(metadata)
    metadata.create_all(engine)
    with engine.begin() as connection:
        assert adapter.SqlTiles(connection).head().size == 10


def test_a_database_without_a_log_says_so() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(StorageError, match="cannot be reached"):
        adapter.SqlTiles(connection).head()
    engine.dispose()


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=lambda dialect: dialect.name)
def test_the_upsert_compiles_for_both_databases(dialect) -> None:
    table = adapter.define(sa.MetaData()).tiles
    text = str(adapter.upsert(table, dialect.name).compile(dialect=dialect))
    assert "ON CONFLICT (level, index) DO UPDATE SET data = excluded.data" in text.replace('"', "")


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "tile/0/000"),
        (67, 8, "tile/0/067.p/8"),
        (1067, 8, "tile/0/x001/067.p/8"),
        (1234067, 256, "tile/0/x001/x234/067"),
        (1000000, 256, "tile/0/x001/x000/000"),
    ],
)
def test_paths_are_those_of_the_layout(index: int, width: int, path: str) -> None:
    assert adapter.tile_path("0", index, width) == path


def test_tiles_of_the_layouts_own_example() -> None:
    widths = list(log.tile_widths(70000))
    assert sum(level == 0 and width == 256 for level, _, width in widths) == 273
    assert widths[273:] == [(0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)]
    assert list(log.tile_widths(256)) == [(0, 0, 256), (1, 0, 1)]
    assert list(log.tile_widths(0)) == []


def test_an_export_is_a_log_that_others_can_audit(engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        tiles = fill(connection, 600)
        adapter.export_tiles(tiles, checkpoint_at(tiles, 600), tmp_path)
        found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
        names = ["000", "001", "002.p/88"]
        assert found == {"checkpoint", "tile/1/000.p/2"} | {f"tile/{k}/{n}" for k in ("0", "entries") for n in names}
        read = adapter.DirectoryTiles(tmp_path)
        assert log.fsck(read) == log.Head(600, 0)
        assert log.prove_inclusion(read, 300, 600) == log.prove_inclusion(tiles, 300, 600)
        opened = open_checkpoint((tmp_path / "checkpoint").read_text(), ORIGIN, KEY.public)
        assert opened.root == log.root(read, 600)


def test_a_later_export_writes_only_what_is_new(engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        tiles = fill(connection, 600)
        adapter.export_tiles(tiles, checkpoint_at(tiles, 600), tmp_path)
        fill(connection, 1)
        # Bundle and tile of width 89, and the checkpoint; what stood there before stays for its own checkpoint.
        assert adapter.export_tiles(tiles, checkpoint_at(tiles, 601), tmp_path) == 3
        assert (tmp_path / "tile/0/002.p/88").exists()
        assert log.fsck(adapter.DirectoryTiles(tmp_path)).size == 601


def test_an_export_at_an_older_checkpoint_is_of_that_size(engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        tiles = fill(connection, 600)
        adapter.export_tiles(tiles, checkpoint_at(tiles, 257), tmp_path)
        assert log.fsck(adapter.DirectoryTiles(tmp_path)).size == 257
        assert (tmp_path / "tile/entries/001.p/1").read_bytes() == b"\0\x09entry 256"


def test_a_checkpoint_of_a_larger_log_is_refused(engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        tiles = fill(connection, 3)
        with pytest.raises(InputError, match="larger log"):
            adapter.export_tiles(tiles, sign_checkpoint(ORIGIN, 4, bytes(32), KEY), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_file_is_found(engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        tiles = fill(connection, 300)
        adapter.export_tiles(tiles, checkpoint_at(tiles, 300), tmp_path)
    bundle = tmp_path / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"entry 17", b"entry 71"))
    with pytest.raises(VerificationError, match="tile 0/0 is damaged"):
        log.fsck(adapter.DirectoryTiles(tmp_path))
    (tmp_path / "tile/0/000").unlink()
    with pytest.raises(VerificationError):
        log.fsck(adapter.DirectoryTiles(tmp_path))


def test_a_directory_without_a_checkpoint_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        adapter.DirectoryTiles(tmp_path)


def test_two_writers_take_turns(tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "store.db")

    def write(name: str) -> list[int]:
        places = []
        for number in range(20):
            with store.transaction() as transaction:
                places.append(log.append(transaction.tiles, [f"{name} {number}".encode()] * 20).first)
        return places

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(write, ["first", "second"])
    assert sorted(first + second) == list(range(0, 800, 20))
    with store.transaction() as transaction:
        assert log.fsck(transaction.tiles).size == 800
        assert all(log.entry(transaction.tiles, place) == b"first %d" % n for n, place in enumerate(first))
    store.close()
