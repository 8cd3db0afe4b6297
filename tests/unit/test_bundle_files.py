"""The bundle's container and the trust file in a stranger's hands."""

import contextlib
import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import HostileFile, InputError
from countermark.evidence.bundle import AUDIT, TRACE, pack, unpack
from countermark.evidence.trust import Trust, read_trust

GOOD = {name: b"{}" for name in TRACE.members}


def zipped(*members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [TRACE, AUDIT], ids=lambda kind: kind.name)
def test_packing_is_deterministic_and_round_trips(kind):
    good = {name: b"{}" for name in kind.members}
    assert pack(good) == pack(dict(reversed(good.items())))
    assert unpack(pack(good)).members == good
    assert unpack(pack(good)).kind is kind


@pytest.mark.parametrize("kind", [TRACE, AUDIT], ids=lambda kind: kind.name)
def test_only_the_optional_members_may_be_missing(kind):
    good = {name: b"{}" for name in kind.members}
    for name in kind.members:
        rest = {other: data for other, data in good.items() if other != name}
        if name in kind.optional:
            assert name not in unpack(pack(rest)).members
        else:
            with pytest.raises(InputError):
                pack(rest)


def test_a_bundle_is_of_one_kind():
    for name in sorted(TRACE.members.keys() ^ AUDIT.members.keys()):
        with pytest.raises(InputError):
            pack({each: b"{}" for each in (*(TRACE if name in AUDIT.members else AUDIT).members, name)})


MUSEUM = {
    "not-a-zip": b"PK nonsense",
    "empty": b"",
    "cut": pack(GOOD)[:-30],
    "foreign-member": zipped(*GOOD.items(), ("../../etc/passwd", b"x")),
    "absolute-path": zipped(*GOOD.items(), ("/statement.json", b"x")),
    "missing-member": zipped(*list(GOOD.items())[1:]),
    "bomb": zipped(*(GOOD | {"checkpoint.txt": b"0" * 10_000_000}).items()),
    "lzma": zipped(*GOOD.items(), compression=zipfile.ZIP_LZMA),
    "wrong-checksum": pack(GOOD).replace(b"statement.json", b"statement.jso!", 1),
}


@pytest.mark.parametrize("defect", MUSEUM)
def test_hostile_archives_are_refused(defect):
    with pytest.raises(HostileFile):
        unpack(MUSEUM[defect])


def test_a_member_given_twice_is_refused():
    with pytest.warns(UserWarning, match="Duplicate"):
        data = zipped(*GOOD.items(), ("statement.json", b"other"))
    with pytest.raises(HostileFile):
        unpack(data)


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_damaged_archives_never_raise_anything_else(noise, at):
    data = bytearray(pack(GOOD))
    data[at : at + len(noise)] = noise
    with contextlib.suppress(HostileFile):
        unpack(bytes(data))


TRUST = {
    "format": "countermark.trust/1", "office": "0" * 16, "name": "Office", "exported_at": "2026-01-01T00:00:00Z",
    "platform_keys": [{"key": "11" * 32, "start": "2026-01-01T00:00:00Z", "end": None}],
    "origin": "o", "log_keys": [{"key": "22" * 32, "start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}],
    "chain_id": 7, "genesis_hash": "0x00", "engine": "embedded", "contracts": {"Grants": "0xAB"},
    "timestamp_roots": [], "checkpoints": [{"size": 1, "root": "00"}],
}  # fmt: skip


def test_a_trust_file_round_trips():
    trust = Trust.from_json(TRUST)
    assert Trust.from_json(json.loads(json.dumps(trust.to_json()))) == trust


@given(
    st.sampled_from(sorted(TRUST)),
    st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
)
def test_a_malformed_trust_file_is_bad_input_and_nothing_else(field, value):
    with contextlib.suppress(InputError):
        read_trust(json.dumps(TRUST | {field: value}).encode())
