"""The bundle: everything an offline verifier needs, in one zip file.

A closed list of members for each kind of bundle, each within its limit; the statement binds every other member by
digest. Reading never trusts the archive's own sizes, and writing is deterministic, so equal evidence gives equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from countermark.core.canonical import parse_json
from countermark.errors import HostileFile, InputError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of bundle: every member that it may hold with its limit in bytes, and which of them may be missing."""

    name: str
    members: Mapping[str, int]
    optional: frozenset[str]


_COMMON = {
    "statement.json": 2**20,
    "issuer.json": 2**20,
    "registration.json": 16 * 2**20,
    "parties.json": 2**20,
    "entries.json": 2**20,
    "history.json": 4 * 2**20,
    "receipts.json": 8 * 2**20,
    "checkpoint.txt": 4096,
    "checkpoint.tsr": 64 * 1024,
    "READ-ME.txt": 2**16,
}
#: Of a trace: what one suspect bears, and whose licence that is.
TRACE = Kind(
    "trace",
    _COMMON
    | {
        "offer.json": 2**20,
        "acceptance.json": 2**20,
        "opening.json": 2**20,
        "detection.json": 4 * 2**20,
        "request.json": 4 * 2**20,
        "legal.json": 2**20,
    },
    optional=frozenset({"request.json", "legal.json"}),
)
#: Of an audit: what an office recorded about a model's memory, and its title where the weights are registered.
AUDIT = Kind(
    "audit",
    _COMMON | {"audit.json": 2**20, "document.json": 32 * 2**20},
    optional=frozenset({"registration.json", "parties.json"}),
)
_MAX_ARCHIVE = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Bundle:
    """The members of a bundle, as bytes. Nothing in it is believed yet."""

    members: Mapping[str, bytes]

    @property
    def kind(self) -> Kind:
        """What it is about, by what it holds."""
        return _kind_of(self.members)

    def json(self, name: str) -> Any:
        """Return a member parsed as JSON within limits."""
        return parse_json(self.members[name], limit=self.kind.members[name])

    def digests(self) -> dict[str, str]:
        """Return the plain SHA-256 of every member but the statement, as hex: what the statement binds."""
        return {
            name: hashlib.sha256(data).hexdigest()
            for name, data in sorted(self.members.items())
            if name != "statement.json"
        }


def pack(members: Mapping[str, bytes]) -> bytes:
    """Return the zip file of a bundle.

    Raises:
        InputError: a member is unknown, missing or over its limit.
    """
    limits, buffer = _check(members.keys()).members, io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, limit in limits.items():
            if name in members:
                if len(members[name]) > limit:
                    raise InputError("{name} is over its limit of {limit} bytes", name=name, limit=limit)
                info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # a fixed time: equal evidence, equal bytes
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(info, members[name])
    return buffer.getvalue()


def unpack(data: bytes) -> Bundle:
    """Read a stranger's zip file within limits.

    Raises:
        HostileFile: not a zip, foreign or repeated members, encrypted or oversized data.
    """
    if len(data) > _MAX_ARCHIVE:
        raise HostileFile("the bundle has {size} bytes, over the limit of {limit}", size=len(data), limit=_MAX_ARCHIVE)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [info.filename for info in archive.infolist()]
            if len(set(names)) < len(names):
                raise HostileFile("the bundle holds a member twice")
            limits = _check(names).members
            if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in archive.infolist()):
                raise HostileFile("the bundle uses an unusual compression")
            return Bundle({name: _read(archive, name, limits[name]) for name in names})
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise HostileFile("the bundle is not a readable zip file: {reason}", reason=error) from error
    except InputError as error:
        raise HostileFile(error.template, hint=error.hint_template, **error.params) from error


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with archive.open(name) as member:
        data = member.read(limit + 1)
    if len(data) > limit:
        raise HostileFile("{name} is over its limit of {limit} bytes", name=name, limit=limit)
    return data


def _check(names: Collection[str]) -> Kind:
    """Return the kind of bundle whose members these are: none foreign, none missing."""
    kind = _kind_of(names)
    foreign = sorted(set(names) - kind.members.keys())
    missing = sorted(kind.members.keys() - kind.optional - set(names))
    if foreign:
        raise InputError("the bundle holds a foreign member: {name}", name=foreign[0][:80])
    if missing:
        raise InputError("the bundle lacks {name}", name=missing[0])
    return kind


def _kind_of(names: Collection[str]) -> Kind:
    return AUDIT if "audit.json" in names else TRACE
