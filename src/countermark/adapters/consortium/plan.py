"""What a chain of several organizations is to be: its validators, where they stand, and who may send.

Laws:
    every validator has a key and an endpoint of its own;
    a chain of ``n`` validators goes on while at most ``(n - 1) // 3`` of them fail or lie (QBFT and PBFT alike).
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from countermark.core.keys import Secret
from countermark.core.rlp import keccak256
from countermark.errors import InputError

MAX_VALIDATORS = 100
LOOPBACK = "127.0.0.1"
_CURVE = ec.SECP256K1()


@dataclass(frozen=True, slots=True)
class ChainKey:
    """A secp256k1 key of a node or an account; ``secret`` is None where somebody else holds it.

    Attributes:
        public: x and y, 64 bytes: the node id of both chains.
        secret: the private scalar.
    """

    public: bytes
    secret: Secret | None = None

    @classmethod
    def generate(cls) -> ChainKey:
        """Return a fresh key."""
        private = ec.generate_private_key(_CURVE)
        scalar = private.private_numbers().private_value.to_bytes(32, "big")
        return cls(_raw(private.public_key()), Secret(scalar))

    @classmethod
    def from_text(cls, text: str) -> ChainKey:
        """Read the public key of somebody else's node: 128 hex digits, with or without ``0x``.

        Raises:
            InputError: not that, or not a point of the curve.
        """
        digits = text.removeprefix("0x")
        try:
            if not re.fullmatch("[0-9a-fA-F]{128}", digits):
                raise ValueError
            point = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, b"\x04" + bytes.fromhex(digits))
        except ValueError as error:
            raise InputError("not a node's public key of 128 hex digits: {text}", text=text[:160]) from error
        return cls(_raw(point))

    @property
    def address(self) -> bytes:
        """The 20 bytes that an account, or a validator in a block, is named by."""
        return keccak256(self.public)[12:]

    def pem(self) -> bytes:
        """Return the private key as an unencrypted PKCS#8 PEM file."""
        assert self.secret is not None  # a caller's mistake: nothing is written for keys that others hold
        key = ec.derive_private_key(int.from_bytes(self.secret.reveal(), "big"), _CURVE)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True, kw_only=True)
class Validator:
    """A node that makes blocks.

    Attributes:
        number: counted from 1.
        key: signs its blocks.
        host: IP address that the others reach it at.
        place: 0 for the first validator on its host, 1 for the next one, and so on: what its ports are moved by.
    """

    number: int
    key: ChainKey
    host: str
    place: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"node{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A chain that is about to be made.

    Attributes:
        chain_id: EIP-155, 1 to 2**53-1.
        validators: 1 to ``MAX_VALIDATORS``.
        accounts: of the offices, 20 bytes each; they get coin and may send.
        block_seconds: between two blocks.
        moment: of the first block.
    """

    chain_id: int
    validators: tuple[Validator, ...]
    accounts: tuple[bytes, ...]
    block_seconds: int
    moment: datetime

    @property
    def tolerates(self) -> int:
        """How many validators may fail or lie while the chain goes on."""
        return (len(self.validators) - 1) // 3


def read_plan(
    *,
    validators: int,
    moment: datetime,
    chain_id: int | None = None,
    hosts: Sequence[str] = (),
    node_keys: Sequence[str] = (),
    accounts: Sequence[bytes] = (),
    block_seconds: int = 2,
) -> Plan:
    """Check what was asked for and make the keys that are missing.

    Args:
        validators: how many.
        moment: of the first block.
        chain_id: by default a random one.
        hosts: one IP address each, or one for all; by default all on this machine.
        node_keys: public keys of the first validators, where their organizations made them; the others are made here.
        accounts: of the offices.
        block_seconds: between two blocks, 1 to 60.

    Raises:
        InputError: a number out of range, or a host, key or account that is none or is given twice.
    """
    if not 1 <= validators <= MAX_VALIDATORS:
        raise InputError("a chain has 1 to {limit} validators", limit=MAX_VALIDATORS)
    if chain_id is not None and not 1 <= chain_id < 2**53:
        raise InputError("a chain id is 1 to 2**53-1")
    if not 1 <= block_seconds <= 60:
        raise InputError("seconds between two blocks are 1 to 60")
    if len(node_keys) > validators:
        raise InputError("there are more public keys than validators")
    known = [ChainKey.from_text(text) for text in node_keys]
    if len({key.public for key in known}) < len(known) or len(set(accounts)) < len(accounts):
        raise InputError("a key or an account is given twice")
    keys = [*known, *(ChainKey.generate() for _ in range(validators - len(known)))]
    return Plan(
        chain_id=chain_id or 1_000_000 + secrets.randbelow(2**30),
        validators=_place(keys, hosts),
        accounts=tuple(accounts),
        block_seconds=block_seconds,
        moment=moment,
    )


def _place(keys: Sequence[ChainKey], hosts: Sequence[str]) -> tuple[Validator, ...]:
    if len(hosts) not in (0, 1, len(keys)):
        raise InputError("give one host for all validators, or one for each")
    given = [_read_host(text) for text in hosts] or [LOOPBACK]
    seen: Counter[str] = Counter()
    placed = []
    for number, key in enumerate(keys, 1):
        host = given[(number - 1) % len(given)]
        placed.append(Validator(number=number, key=key, host=host, place=seen[host]))
        seen[host] += 1
    return tuple(placed)


def _read_host(text: str) -> str:
    """Return an IPv4 address: Besu's allow lists hold addresses unless an experimental option is on."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise InputError("not an IPv4 address: {text}", text=text[:80]) from error


def _raw(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
