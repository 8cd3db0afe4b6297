"""The TLS authority of a FISCO BCOS chain: its nodes speak only to holders of a certificate of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_RSA_BITS = 2048  # what the chain's own tool makes
_LIFE = timedelta(days=3653)
_SLACK = timedelta(hours=1)  # clocks differ


@dataclass(frozen=True, slots=True)
class ChainAuthority:
    """A certificate authority of one level; certificate and key are PEM."""

    certificate: bytes
    key: bytes
    _name: x509.Name
    _private: rsa.RSAPrivateKey
    _moment: datetime

    @classmethod
    def create(cls, moment: datetime) -> ChainAuthority:
        """Make an authority that begins now and holds for ten years, as do the certificates that it issues."""
        private, name = _new_key(), _name("Chain authority")
        builder = _begin(name, name, private.public_key(), moment)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(authority=True), critical=True)
        certificate = builder.sign(private, hashes.SHA256())
        return cls(certificate.public_bytes(Encoding.PEM), _pem(private), name, private, moment)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """Return certificate and key of a node or a client, as PEM."""
        private = _new_key()
        builder = _begin(_name(name), self._name, private.public_key(), self._moment)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(authority=False), critical=True)
        origin = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._private.public_key())
        certificate = builder.add_extension(origin, critical=False).sign(self._private, hashes.SHA256())
        return certificate.public_bytes(Encoding.PEM), _pem(private)


def _begin(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey, moment: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _SLACK)
        .not_valid_after(moment + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    parts = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, "countermark"))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, _RSA_BITS)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
