"""Check a bundle offline, in numbered steps that an auditor can follow with a pencil.

No workspace, no network, no torch, no web3: hashes, Ed25519, a receipt trie, an RFC 3161 token, one small decoder, and
ranks among scores. Each step raises on its first contradiction, and the error carries the step's number;
``VerifiedBundle`` is made nowhere else.

The steps, in order (``STEPS``, by the kind of bundle):

    1 contents   2 issuer   3 statement   4 audience   5 checkpoint   6 history   7 anchor   8 entries
    trace    9 parties   10 title   11 offer   12 grant   13 identifier   14 key   15 presence   16 attribution
             17 request   18 coverage
    audit    9 title   10 record   11 decision
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from countermark.errors import CountermarkError, InputError, VerificationError
from countermark.evidence import audits, traces
from countermark.evidence.bundle import AUDIT, TRACE
from countermark.evidence.policy import Demand
from countermark.evidence.steps import COMMON, Check, Detail, Step

__all__ = ["SELF_CONSISTENT", "STEPS", "VERIFIED", "Demand", "VerifiedBundle", "verify"]

VERIFIED = "verified"
SELF_CONSISTENT = "self-consistent, issuer unknown"
STEPS: Mapping[str, tuple[Step, ...]] = {TRACE.name: traces.STEPS, AUDIT.name: audits.STEPS}

OnStep = Callable[[int, str, Detail], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedBundle:
    """A bundle whose every step holds.

    ``outcome`` is ``VERIFIED`` or ``SELF_CONSISTENT``; ``kind`` is ``trace`` or ``audit``; ``caveats`` are slugs.
    """

    outcome: str
    kind: str
    statement: Mapping[str, Any]
    stamped_at: datetime
    caveats: tuple[str, ...]
    steps: tuple[tuple[int, str, Detail], ...]


def verify(data: bytes, demand: Demand, *, on_step: OnStep | None = None) -> VerifiedBundle:
    """Check a bundle against what a verifier demands.

    Args:
        data: the zip file.
        demand: trust file, suspect digest, case and audience; each may be absent.
        on_step: called with number, name and a detail after each step that holds.

    Raises:
        VerificationError: a step does not hold; ``params`` hold ``step`` and ``step_name``.
        InputError: the data is not a readable bundle (step 1).
    """
    check, done = Check(data, demand), []
    for number, (name, step) in enumerate(_in_order(check), start=1):
        try:
            detail = step(check)
        except CountermarkError as error:
            raise _at_step(error, number, name) from error
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            RecursionError,
            binascii.Error,
        ) as error:
            raise _at_step(InputError("malformed: {reason}", reason=repr(error)[:200]), number, name) from error
        done.append((number, name, detail))
        if on_step is not None:
            on_step(number, name, detail)
    return VerifiedBundle(
        outcome=VERIFIED if demand.trust is not None and demand.suspect is not None else SELF_CONSISTENT,
        kind=check.bundle.kind.name,
        statement=check.statement,
        stamped_at=check.stamped_at,
        caveats=tuple(check.caveats),
        steps=tuple(done),
    )


def _in_order(check: Check) -> Iterator[Step]:
    """Yield the steps; which ones follow the first is known when that has run."""
    yield COMMON[0]
    yield from STEPS[check.bundle.kind.name][1:]


def _at_step(error: CountermarkError, number: int, name: str) -> CountermarkError:
    """Return the error with its step; malformed content counts as a failed verification from step 2 on."""
    params = {**error.params, "step": number, "step_name": name}
    kind = type(error) if isinstance(error, VerificationError) or number == 1 else VerificationError
    return kind(error.template, hint=error.hint_template, **params)
