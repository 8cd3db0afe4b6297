"""RFC 3161 time stamps: an outside signature that says when a checkpoint existed.

Laws:
    ``verify_timestamp(a.issue(m), m, [a.root_pem])`` returns the time of issue for every message;
    another message or another root raises ``TimestampInvalid``;
    no change of a token makes it state another time (CMS leaves some of its framing unsigned, so a changed token may
    still verify, and then it says the same).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from countermark.errors import InputError, TimestampInvalid

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_TOKEN_BYTES = 64 * 1024


class TimestampAuthority(Protocol):
    """Whoever states the time."""

    def issue(self, message: bytes) -> bytes:
        """Return a DER TimeStampResp over a message of at least one byte.

        Raises:
            NetworkError: the authority cannot be reached or refuses.
        """


def verify_timestamp(token: bytes, message: bytes, roots: Sequence[bytes]) -> datetime:
    """Return when, in UTC, an authority under one of ``roots`` saw ``message``.

    Checks status, signature, certificate chain at the stated time, the critical time-stamping key usage of RFC 3161,
    section 2.3, and the message imprint (SHA-256, SHA-384 or SHA-512). The token carries its intermediates.

    Args:
        token: DER TimeStampResp, at most 64 KiB.
        message: what was stamped.
        roots: PEM certificates that the verifier trusts for time; one or more.

    Raises:
        InputError: a root is not a PEM certificate.
        TimestampInvalid: the token is malformed or shows something else.
    """
    from rfc3161_client import VerifierBuilder, decode_timestamp_response

    if not 0 < len(token) <= MAX_TOKEN_BYTES or not roots:
        raise TimestampInvalid("no time stamp, or no root to check it with")
    verifier = VerifierBuilder(roots=[_load(pem) for pem in roots]).build()
    try:
        response = decode_timestamp_response(token)
        if not verifier.verify_message(response, message):
            raise TimestampInvalid("the time stamp is not of this message")
        return response.tst_info.gen_time.astimezone(UTC)
    except TimestampInvalid:
        raise
    except Exception as error:  # the parser meets a stranger's bytes: whatever it trips over, the stamp is not valid
        reason = str(error).partition(": ErrorStack")[0]
        raise TimestampInvalid("the time stamp does not verify: {reason}", reason=reason) from error


def _load(pem: bytes) -> Certificate:
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(pem)
    except ValueError as error:
        raise InputError("a time-stamp root is not a PEM certificate") from error
