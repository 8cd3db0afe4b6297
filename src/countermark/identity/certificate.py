"""An organization's X.509 certificate as proof of identity: its chain, its name, and possession of its key.

The chain is checked by ``cryptography`` (RFC 5280 as in the web's profile: validity, basic constraints, path length,
key usage, signatures, name constraints) up to roots that the registrar trusts. Of the organization's own certificate it
asks less than the web does, since a seal names no host. Revocation is not asked for: that needs the network; the
registrar looks it up where it matters.

Laws:
    a chain that verifies now is refused before and after its certificates' common time;
    no change of challenge, signature, certificate or root leaves the proof standing.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING

from countermark.errors import IdentityInvalid, InputError
from countermark.identity.challenge import Challenge, Proven, check_organization

if TYPE_CHECKING:
    from cryptography.x509 import BasicConstraints, Certificate, KeyUsage
    from cryptography.x509.verification import ClientVerifier, Policy

MAX_CHAIN_BYTES = 64 * 1024
MAX_ROOTS_BYTES = 1024 * 1024
MAX_SIGNATURE_BYTES = 1024
_MAX_CHAIN = 6
_MAX_ROOTS = 500
_MIN_RSA_BITS = 2048


def verify_certificate(
    chain: bytes, signature: bytes, roots: bytes, *, challenge: Challenge, declared: str, moment: datetime
) -> Proven:
    """Check that an organization's certificate answers a challenge.

    Args:
        chain: PEM, the organization's own certificate first; the root may be missing.
        signature: of the certificate's key over ``challenge.to_bytes()``: RSA PKCS #1 v1.5 or ECDSA (DER) with
            SHA-256, or Ed25519.
        roots: PEM certificates that the registrar trusts.
        challenge: what was handed out.
        declared: the name that the party gave.
        moment: when it is checked.

    Raises:
        InputError: not PEM, too much of it, or a key of another kind than RSA (2048 bits at least), ECDSA, Ed25519.
        IdentityInvalid: no chain to a root at that time, another organization's name, or another key's signature.
    """
    leaf, *between = _read(chain, limit=MAX_CHAIN_BYTES, most=_MAX_CHAIN)
    trusted = _read(roots, limit=MAX_ROOTS_BYTES, most=_MAX_ROOTS)
    path = _verify_path(leaf, between, trusted, moment)
    organization = check_organization(_organization(leaf), declared)
    _verify_signature(leaf, signature, challenge.to_bytes())
    return Proven(
        method="certificate",
        organization=organization,
        expires=min(certificate.not_valid_after_utc for certificate in path),
        evidence={
            "challenge": challenge.to_bytes().decode(),
            "certificates": [_pem(certificate) for certificate in path],
            "signature": base64.b64encode(signature).decode(),
        },
    )


def _read(data: bytes, *, limit: int, most: int) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    if len(data) > limit:
        raise InputError("certificates of {size} bytes are over the limit of {limit}", size=len(data), limit=limit)
    try:
        found = load_pem_x509_certificates(data)
    except ValueError as error:
        raise InputError("not PEM certificates") from error
    if len(found) > most:
        raise InputError("{count} certificates are over the limit of {limit}", count=len(found), limit=most)
    return found


def _verify_path(
    leaf: Certificate, between: list[Certificate], trusted: list[Certificate], moment: datetime
) -> list[Certificate]:
    from cryptography.x509.verification import VerificationError

    try:
        return _verifier(trusted, moment).verify(leaf, between).chain
    except (VerificationError, ValueError) as error:
        raise IdentityInvalid(
            "the certificate does not lead to a trusted root: {reason}",
            hint="Ask for the whole chain, and look at its dates; only add roots that you would trust with names.",
            reason=str(error)[:300],
        ) from error


def _verifier(trusted: list[Certificate], moment: datetime) -> ClientVerifier:
    from cryptography.x509 import BasicConstraints, KeyUsage
    from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

    own = ExtensionPolicy.permit_all()
    own = own.may_be_present(BasicConstraints, Criticality.AGNOSTIC, _check_is_no_authority)
    own = own.may_be_present(KeyUsage, Criticality.AGNOSTIC, _check_may_sign)
    policy = PolicyBuilder().store(Store(trusted)).time(moment).max_chain_depth(_MAX_CHAIN)
    policy = policy.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=own)
    return policy.build_client_verifier()


def _check_is_no_authority(_policy: Policy, _certificate: Certificate, found: BasicConstraints | None) -> None:
    if found is not None and found.ca:
        raise ValueError("the organization's certificate is an authority's")


def _check_may_sign(_policy: Policy, _certificate: Certificate, found: KeyUsage | None) -> None:
    if found is not None and not (found.digital_signature or found.content_commitment):
        raise ValueError("the organization's certificate is not for signatures")


def _organization(leaf: Certificate) -> str:
    from cryptography.x509.oid import NameOID

    names = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise IdentityInvalid("the certificate names no organization, or several")
    return names[0].value


def _verify_signature(leaf: Certificate, signature: bytes, message: bytes) -> None:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    if len(signature) > MAX_SIGNATURE_BYTES:
        raise InputError("a signature has at most {limit} bytes", limit=MAX_SIGNATURE_BYTES)
    try:
        key = leaf.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
            key.verify(signature, message, padding.PKCS1v15(), SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(SHA256()))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        else:
            raise UnsupportedAlgorithm("of another kind")
    except (UnsupportedAlgorithm, ValueError) as error:
        raise InputError("the certificate's key is neither RSA of 2048 bits or more, ECDSA nor Ed25519") from error
    except InvalidSignature as error:
        raise IdentityInvalid(
            "the certificate's key did not sign this challenge",
            hint="Sign the exact bytes of the challenge's file: RSA PKCS #1 v1.5 or ECDSA with SHA-256, or Ed25519.",
        ) from error


def _pem(certificate: Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()
