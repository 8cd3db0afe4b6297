"""Certificate authorities and identity providers for tests: honest ones, and what they can be made to do wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAME = "Beispiel Verlag GmbH"
ISSUER, AUDIENCE = "https://id.example", "countermark-registry"


@dataclass
class Holder:
    """A certificate, its key, and the certificates above it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        return b"".join(c.public_bytes(Encoding.PEM) for c in (self.certificate, *self.above))

    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))

    def issue(self, organization: str | None = NAME, *, ca: bool = False, key=None, keep_above: bool = True, **how):
        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate = build(subject(organization), key, self.certificate, self.key, ca=ca, **how)
        return Holder(certificate, key, (self.certificate, *self.above) if keep_above and self.above_root() else ())

    def above_root(self) -> bool:
        """Whether this is no root: a chain leaves its root out."""
        return self.certificate.subject != self.certificate.issuer


def subject(organization: str | None, common: str = "seal") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    names = organization if isinstance(organization, tuple) else (organization,)
    parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in names if name is not None]
    return x509.Name(parts)


def make_root(common: str = "Root") -> Holder:
    key = ec.generate_private_key(ec.SECP256R1())
    return Holder(build(subject("Authority", common), key, None, key, ca=True), key)


def build(
    name: x509.Name,
    key,
    issuer: x509.Certificate | None,
    signer,
    *,
    ca: bool,
    path_length: int | None = None,
    begins: datetime = NOW - timedelta(days=365),
    ends: datetime = NOW + timedelta(days=365),
    usage: str | None = None,
    constrained_to: str | None = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(key_usage(usage or ("key_cert_sign" if ca else "digital_signature")), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is not None:
        origin = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(origin, critical=False)
    if constrained_to is not None:
        allowed = x509.NameConstraints([x509.DNSName(constrained_to)], None)
        builder = builder.add_extension(allowed, critical=True)
    return builder.sign(signer, hashes.SHA256())


def key_usage(only: str) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: name == only for name in names})


@dataclass
class Provider:
    """An identity provider with one key of a kind."""

    algorithm: str = "RS256"
    name: str = "k1"

    def __post_init__(self) -> None:
        self.key = {
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }[self.algorithm]()

    @property
    def jwk(self) -> dict:
        kind = jwt.get_algorithm_by_name(self.algorithm)
        return {**json.loads(kind.to_jwk(self.key.public_key())), "kid": self.name, "use": "sig"}

    @property
    def jwks(self) -> bytes:
        return json.dumps({"keys": [self.jwk]}).encode()

    def token(self, digest: str, *, headers: dict | None = None, **claims) -> str:
        now = int(NOW.timestamp())
        body = {
            "iss": ISSUER,
            "sub": "42",
            "aud": AUDIENCE,
            "iat": now - 5,
            "exp": now + 300,
            "nonce": digest,
            "organization": NAME,
            **claims,
        }
        body = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(body, self.key, self.algorithm, headers={"kid": self.name, **(headers or {})})
