"""What a hold or a case is about: a kind and a number, and the 32 bytes that stand for both on the ledger.

Law:
    ``show_subject(subject_word(kind, number)) == f"{kind}:{number}"`` for every kind but ``account``, whose number is
    an address and is shown as ``0x`` and 40 hex digits in lower case.
"""

from __future__ import annotations

#: First byte of a subject, as in ``contracts/src/Members.sol``.
KINDS = {"account": 1, "title": 2, "grant": 3, "sale": 4, "file-sale": 5}
_BY_BYTE = {byte: kind for kind, byte in KINDS.items()}


def subject_word(kind: str, number: int) -> bytes:
    """Return the ledger's name of a subject: 32 bytes.

    Args:
        kind: one of ``KINDS``.
        number: below 2**248.
    """
    return bytes([KINDS[kind]]) + number.to_bytes(31, "big")


def show_subject(word: bytes) -> str:
    """Return a subject in words, such as ``title:3``; 64 hex digits if it is of no known kind."""
    kind, number = _BY_BYTE.get(word[0]), int.from_bytes(word[1:], "big")
    if kind is None:
        return word.hex()
    return f"account:0x{number:040x}" if kind == "account" else f"{kind}:{number}"
