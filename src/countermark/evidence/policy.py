"""What a verifier brings and what it asks for."""

from __future__ import annotations

from dataclasses import dataclass

from countermark.evidence.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a verifier brings and asks. Without ``trust`` or ``suspect`` the answer is never "verified" (rule 11).

    ``suspect`` is the plain SHA-256 of the suspect's bytes as ``sha256:…``; ``alpha`` is the largest p-value, after all
    corrections, that the verifier takes for either null, whatever level the statement chose.
    """

    trust: Trust | None = None
    suspect: str | None = None
    case: str | None = None
    audience: str | None = None
    alpha: float = 1e-6
