"""The encrypted keystore and the SQL store."""

import json

import pytest

from countermark.adapters.keystore import Keystore
from countermark.adapters.store import SqlStore
from countermark.config import read_passphrase, read_settings
from countermark.errors import InputError, KeystoreError, StorageError


@pytest.fixture(scope="module")
def keystore_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keystore.json"
    Keystore.create(path, "correct horse").add(mine=b"\x01" * 32)
    return path


def test_a_keystore_opens_with_its_passphrase_only(keystore_path):
    keys = Keystore.open(keystore_path, "correct horse")
    assert keys.secret("mine").reveal() == b"\x01" * 32
    assert keys.names == ["mine"]
    with pytest.raises(KeystoreError):
        Keystore.open(keystore_path, "wrong horse")
    with pytest.raises(KeystoreError):
        keys.bytes("yours")


def test_secrets_are_never_overwritten_and_never_in_the_clear(keystore_path):
    with pytest.raises(KeystoreError):
        Keystore.open(keystore_path, "correct horse").add(mine=b"\x02" * 32)
    assert "mine" not in keystore_path.read_text()
    assert keystore_path.stat().st_mode & 0o077 == 0


def test_a_damaged_or_weakened_keystore_does_not_open(keystore_path, tmp_path):
    document = json.loads(keystore_path.read_text())
    for change in ({"n": 2}, {"n": 2**30}, {"salt": "AAAA"}):
        path = tmp_path / "keystore.json"
        path.write_text(json.dumps(document | {"header": document["header"] | change}))
        with pytest.raises(KeystoreError):
            Keystore.open(path, "correct horse")


def test_a_short_passphrase_and_a_second_creation_are_refused(keystore_path, tmp_path):
    with pytest.raises(KeystoreError):
        Keystore.create(tmp_path / "k.json", "short")
    with pytest.raises(KeystoreError):
        Keystore.create(keystore_path, "correct horse")


def test_passphrase_from_file_or_environment_and_no_default(tmp_path):
    file = tmp_path / "pass"
    file.write_text("from file\n")
    settings = read_settings(workspace="w", passphrase_file=str(file), environment={})
    assert read_passphrase(settings, {"COUNTERMARK_PASSPHRASE": "from env"}) == "from file"
    bare = read_settings(workspace=None, passphrase_file=None, environment={"COUNTERMARK_WORKSPACE": "elsewhere"})
    assert str(bare.workspace) == "elsewhere"
    assert read_passphrase(bare, {"COUNTERMARK_PASSPHRASE": "from env"}) == "from env"
    assert read_passphrase(bare, {}) is None
    file.write_text("")
    with pytest.raises(InputError):
        read_passphrase(settings, {})


@pytest.fixture
def store(tmp_path):
    store = SqlStore(tmp_path / "store.db")
    yield store
    store.close()


def test_records_keep_their_order_and_words(store):
    with store.transaction() as work:
        work.put("grant", "1", {"v": 1}, index=("title:1",))
        work.put("grant", "2", {"v": 2}, index=("title:1", "title:2"))
        work.put("grant", "1", {"v": 3}, index=("title:1",))
    with store.transaction() as work:
        assert [body["v"] for body in work.all("grant")] == [3, 2]
        assert [body["v"] for body in work.find("grant", "title:1")] == [3, 2]
        assert work.get("grant", "3") is None
        work.delete("grant", "2")
        assert work.find("grant", "title:2") == []


def test_an_exception_rolls_all_of_it_back(store):
    def fail():
        with store.transaction() as work:
            work.put("grant", "1", {})
            work.issue([7], "grant:1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with store.transaction() as work:
        assert (work.get("grant", "1"), work.issued()) == (None, 0)


def test_an_identifier_is_issued_once_for_ever(store):
    with store.transaction() as work:
        work.issue([0, 2**64 - 1, 2**63], "batch:1")
    with store.transaction() as work:
        assert work.issued_to(2**64 - 1) == "batch:1"
        assert work.issued_to(5) is None
        assert work.issued() == 3
        assert sorted(number for chunk in work.identifiers() for number in chunk.tolist()) == [0, 2**63, 2**64 - 1]
    with pytest.raises(StorageError), store.transaction() as work:
        work.issue([2**63], "grant:1")


def test_identifiers_come_in_chunks(store):
    count = 120_000
    with store.transaction() as work:
        work.issue(list(range(count)), "batch:1")
        chunks = list(work.identifiers())
    assert max(map(len, chunks)) < count == sum(map(len, chunks))
    assert sorted(number for chunk in chunks for number in chunk.tolist()) == list(range(count))


def test_a_store_of_a_later_version_is_not_opened(tmp_path):
    import sqlite3

    SqlStore(tmp_path / "s.db").close()
    connection = sqlite3.connect(tmp_path / "s.db")
    connection.execute("UPDATE schema_version SET version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(StorageError):
        SqlStore(tmp_path / "s.db")
