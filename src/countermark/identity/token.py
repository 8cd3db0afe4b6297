"""An OpenID Connect ID token as proof of identity: who issued it, for whom, about which organization.

PyJWT checks the signature (RS256, ES256 or EdDSA; ``none`` and the shared-secret algorithms are refused) under a key of
the issuer's JWKS file, then its issuer and audience. Times are held against the office's clock, and the token's nonce
must be the challenge's digest, so that a token made for a login proves nothing here (OpenID Connect Core, 3.1.3.7).

Laws:
    a token verifies only for the issuer, audience, key set and challenge that it was made for, before its ``exp``;
    no algorithm that needs a shared secret, or none at all, is ever used.
"""

from __future__ import annotations

from datetime import datetime
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from countermark.core.canonical import parse_json
from countermark.core.times import show_time
from countermark.errors import IdentityInvalid, InputError, require
from countermark.identity.challenge import Challenge, Proven, check_organization

if TYPE_CHECKING:
    from jwt import PyJWK

MAX_TOKEN_BYTES = 16 * 1024
MAX_JWKS_BYTES = 256 * 1024
ALGORITHMS = ("RS256", "ES256", "EdDSA")
_KEY_TYPES = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_MAX_KEYS = 100
#: Clocks differ by so many seconds.
_LEEWAY = 60


def verify_token(
    token: str,
    jwks: bytes,
    *,
    issuer: str,
    audience: str,
    claim: str,
    challenge: Challenge,
    declared: str,
    moment: datetime,
) -> Proven:
    """Check that an ID token answers a challenge. Nothing is fetched.

    Args:
        token: JWS in compact form.
        jwks: the issuer's key set (RFC 7517), from a place that the registrar trusts.
        issuer: who must have issued it (``iss``).
        audience: whom it must be for (``aud``): the registrar's client id there.
        claim: which claim holds the organization's name.
        challenge: what was handed out; its digest must be the token's ``nonce``.
        declared: the name that the party gave.
        moment: when it is checked.

    Raises:
        InputError: malformed, too long, or a key set without a key for it.
        IdentityInvalid: another key, issuer, audience, nonce or organization, or outside its time.
        MissingExtra: PyJWT is not installed.
    """
    require("jwt", "chain")
    key, jwk = _pick_key(token, jwks)
    claims = _read_claims(token, key, issuer, audience)
    _check_times(claims, moment)
    _check_audience(claims, audience)
    if not compare_digest(str(claims.get("nonce", "")).encode(), challenge.digest.encode()):
        raise IdentityInvalid(
            "the token answers another challenge",
            hint="Ask the identity provider for a token with this nonce: {nonce}",
            nonce=challenge.digest,
        )
    return Proven(
        method="oidc",
        organization=check_organization(_text(claims, claim), declared),
        expires=None,  # a token ends within minutes, what it says does not
        evidence={
            "challenge": challenge.to_bytes().decode(),
            "token": token,
            "key": jwk,
            "issuer": issuer,
            "audience": audience,
            "claim": claim,
        },
    )


def _pick_key(token: str, jwks: bytes) -> tuple[PyJWK, dict[str, Any]]:
    """Return the key of the set that the token names, or the only one that fits its algorithm."""
    from jwt import PyJWK, get_unverified_header
    from jwt.exceptions import PyJWTError

    if len(token) > MAX_TOKEN_BYTES:
        raise InputError("a token of {size} bytes is over the limit of {limit}", size=len(token), limit=MAX_TOKEN_BYTES)
    try:
        header = get_unverified_header(token)
    except PyJWTError as error:
        raise InputError("not a token: {reason}", reason=str(error)[:200]) from error
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise IdentityInvalid(
            "tokens signed with {algorithm} are not taken",
            hint="Ask for RS256, ES256 or EdDSA.",
            algorithm=str(algorithm)[:40],
        )
    fitting = [jwk for jwk in _read_keys(jwks) if _fits(jwk, algorithm, header.get("kid"))]
    if len(fitting) != 1:
        raise InputError("the key set has {count} keys that fit the token", count=len(fitting))
    try:
        return PyJWK(fitting[0], algorithm), fitting[0]
    except (PyJWTError, ValueError, TypeError) as error:
        raise InputError("a key of the set cannot be used: {reason}", reason=str(error)[:200]) from error


def _read_keys(jwks: bytes) -> list[dict[str, Any]]:
    value = parse_json(jwks, limit=MAX_JWKS_BYTES)
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or len(keys) > _MAX_KEYS or not all(isinstance(key, dict) for key in keys):
        raise InputError("not a key set: an object with up to {limit} keys", limit=_MAX_KEYS)
    return keys


def _fits(jwk: dict[str, Any], algorithm: str, name: object) -> bool:
    return (
        jwk.get("kty") == _KEY_TYPES[algorithm]
        and jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and "d" not in jwk  # a private key has no place in the set, nor in the evidence
        and (name is None or jwk.get("kid") == name)
    )


def _read_claims(token: str, key: PyJWK, issuer: str, audience: str) -> dict[str, Any]:
    from jwt import decode
    from jwt.exceptions import PyJWTError

    asked: Any = {
        "require": ["iss", "aud", "exp", "iat", "nonce"],
        "enforce_minimum_key_length": True,
        # Its clock is the machine's; ours may be another one.
        **dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf"), False),
    }
    try:
        claims: dict[str, Any] = decode(
            token, key, algorithms=list(ALGORITHMS), issuer=issuer, audience=audience, options=asked
        )
    except (PyJWTError, ValueError, TypeError) as error:
        raise IdentityInvalid("the token does not verify: {reason}", reason=str(error)[:200]) from error
    return claims


def _check_times(claims: dict[str, Any], moment: datetime) -> None:
    now = moment.timestamp()
    begins, ends = max(_number(claims, "iat"), _number(claims, "nbf", 0)), _number(claims, "exp")
    if not begins - _LEEWAY <= now < ends + _LEEWAY:
        raise IdentityInvalid("the token is not valid at {time}", time=show_time(moment))


def _check_audience(claims: dict[str, Any], audience: str) -> None:
    """A token for several must say that it was made for us (``azp``)."""
    audiences = claims["aud"]
    if claims.get("azp", audience) != audience or (
        isinstance(audiences, list) and len(audiences) > 1 and "azp" not in claims
    ):
        raise IdentityInvalid("the token was made for another client")


def _number(claims: dict[str, Any], name: str, default: int | None = None) -> float:
    value = claims.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise IdentityInvalid("the token's {claim} is no time", claim=name)
    return value


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value.strip():
        raise IdentityInvalid(
            "the token has no claim {claim} with a name",
            hint="Say with --claim which claim holds the organization's name.",
            claim=name,
        )
    return value
