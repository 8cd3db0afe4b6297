"""Proofs of identity: that an account and a signing key belong to the organization whose name they bear.

A registrar hands out a challenge; the organization answers it with the key of its certificate, or with an ID token of
an identity provider. What was checked stays in the workspace; the ledger gets its salted digest.
"""

from __future__ import annotations

from countermark.identity.certificate import verify_certificate
from countermark.identity.challenge import MAX_AGE, Challenge, Proven, same_organization
from countermark.identity.token import verify_token

__all__ = ["MAX_AGE", "Challenge", "Proven", "same_organization", "verify_certificate", "verify_token"]
