"""Time-stamp authorities: one over HTTP (RFC 3161, section 3.4), and a local one for trial and tests.

The local authority answers real requests with real tokens, but whoever runs it can set its clock: its stamps prove a
time only to somebody who trusts that party. A production office names an outside authority.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from countermark.core.times import Clock
from countermark.errors import InputError, KeystoreError, NetworkError, require
from countermark.evidence.timestamp import MAX_TOKEN_BYTES

if TYPE_CHECKING:
    from rfc3161_client import TimeStampRequest

_POLICY = "2.25.57207796895071307787999861113656216118"  # a UUID of our own (ITU-T X.667): a trial, no promise
_LIFETIME = timedelta(days=20 * 365)
_DIGEST_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}
_BAD_ALGORITHM, _BAD_FORMAT, _BAD_POLICY = "bad_alg", "bad_data_format", "unaccepted_policy"


class LocalTsa:
    """An authority with a root of its own, made once; the root's private key is thrown away at birth.

    Args:
        key: the authority's private key.
        certificate: its certificate, for time stamping only.
        root: the certificate that verifiers trust.
        clock: the time it states.
    """

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, root: x509.Certificate, clock: Clock
    ) -> None:
        self._key = key
        self._certificate = certificate
        self._root = root
        self._clock = clock

    @classmethod
    def create(cls, name: str, clock: Clock) -> LocalTsa:
        """Make an authority: fresh P-256 keys, a root, and under it a certificate for time stamping only.

        Args:
            name: 1 to 40 characters, shown in both certificates.
            clock: aware times; the certificates are valid from a day before the present to 20 years after.

        Raises:
            InputError: the name is too long or empty.
        """
        if not 0 < len(name) <= 40:
            raise InputError("the name of a time-stamp authority has 1 to 40 characters")
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = _certify(f"{name} root", root_key, f"{name} root", root_key, clock(), authority=True)
        return cls(key, _certify(name, key, f"{name} root", root_key, clock(), authority=False), root, clock)

    @classmethod
    def from_secret_bytes(cls, data: bytes, clock: Clock) -> LocalTsa:
        """Read what ``to_secret_bytes`` wrote.

        Raises:
            KeystoreError: anything else.
        """
        try:
            key = serialization.load_pem_private_key(data, None)
            certificate, root = x509.load_pem_x509_certificates(data)
        except (ValueError, TypeError) as error:
            raise KeystoreError("the key of the time-stamp authority is damaged") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise KeystoreError("the key of the time-stamp authority is damaged")
        return cls(key, certificate, root, clock)

    def to_secret_bytes(self) -> bytes:
        """Return private key and certificates as PEM, not encrypted: the caller's keystore does that."""
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        key = self._key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        return key + self._certificate.public_bytes(pem) + self._root.public_bytes(pem)

    @property
    def root_pem(self) -> bytes:
        """The root certificate, PEM: what a verifier's trust file names."""
        return self._root.public_bytes(serialization.Encoding.PEM)

    def issue(self, message: bytes) -> bytes:
        """Return a DER TimeStampResp over ``message``.

        Raises:
            InputError: the message is empty.
        """
        return self.respond(_request(message).as_bytes())

    def respond(self, request: bytes) -> bytes:
        """Answer a DER TimeStampReq with a DER TimeStampResp: a token, or a rejection that says why.

        Nonce and certificate request are honored; SHA-256, SHA-384 and SHA-512 imprints are taken.

        Raises:
            MissingExtra: asn1crypto is not installed.
        """
        tsp = require("asn1crypto.tsp", "chain")
        try:
            asked = tsp.TimeStampReq.load(request, strict=True)
            imprint, policy, certify = asked["message_imprint"], asked["req_policy"].native, asked["cert_req"].native
            algorithm, digest = imprint["hash_algorithm"]["algorithm"].native, imprint["hashed_message"].native
            nonce = asked["nonce"].native
        except (ValueError, TypeError):
            return _rejection(tsp, _BAD_FORMAT)
        if algorithm not in _DIGEST_BYTES:
            return _rejection(tsp, _BAD_ALGORITHM)
        if len(digest) != _DIGEST_BYTES[algorithm]:
            return _rejection(tsp, _BAD_FORMAT)
        if policy not in (None, _POLICY):
            return _rejection(tsp, _BAD_POLICY)
        token = self._token(tsp, imprint, nonce, certify=certify)
        response = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token})
        return bytes(response.dump())

    def _token(self, tsp: Any, imprint: Any, nonce: int | None, *, certify: bool) -> dict[str, Any]:
        """RFC 3161, section 2.4.2: TSTInfo in a CMS SignedData by this authority alone."""
        info = {
            "version": "v1",
            "policy": _POLICY,
            "message_imprint": imprint,
            "serial_number": secrets.randbits(63) + 1,
            "gen_time": self._clock().astimezone(UTC).replace(microsecond=0),
            "accuracy": {"seconds": 1},
        }
        content = tsp.TSTInfo(info | ({} if nonce is None else {"nonce": nonce}))
        signed = {
            "version": "v3",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {"content_type": "tst_info", "content": content},
            "signer_infos": [self._signer_info(tsp, content.dump())],
        }
        if certify:
            signed["certificates"] = [_asn1(self._certificate)]
        return {"content_type": "signed_data", "content": signed}

    def _signer_info(self, tsp: Any, content: bytes) -> dict[str, Any]:
        """RFC 5652, section 5.3; the signed attributes name the certificate (ESSCertIDv2, RFC 5816)."""
        cms = require("asn1crypto.cms", "chain")
        certificate = _asn1(self._certificate)
        named = tsp.SigningCertificateV2({"certs": [{"cert_hash": sha256(certificate.dump()).digest()}]})
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "message_digest", "values": [sha256(content).digest()]},
                {"type": "signing_certificate_v2", "values": [named]},
            ]
        )
        place = {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
        return {
            "version": "v1",
            "sid": cms.SignerIdentifier("issuer_and_serial_number", place),
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": self._key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256())),
        }


class HttpTsa:
    """An authority on the network.

    Args:
        url: ``http://`` or ``https://``; the token is signed, so plain HTTP only costs privacy.
        timeout_s: seconds to wait for each answer.
    """

    def __init__(self, url: str, timeout_s: float = 20.0) -> None:
        """Remember where the authority is.

        Raises:
            InputError: not an HTTP address.
        """
        if not url.startswith(("http://", "https://")):
            raise InputError("not the address of a time-stamp authority: {url}", url=url)
        self._url = url
        self._timeout_s = timeout_s

    def issue(self, message: bytes) -> bytes:
        """Return a DER TimeStampResp over ``message`` that answers this very request.

        Raises:
            InputError: the message is empty.
            NetworkError: no answer, over 64 KiB, a rejection, or an answer to another request.
        """
        request = _request(message)
        answer = self._post(request.as_bytes())
        if not _answers(answer, request):
            raise NetworkError("the time-stamp authority refused, or did not answer what was asked")
        return answer

    def _post(self, body: bytes) -> bytes:
        from urllib.request import Request, urlopen

        headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
        try:
            with urlopen(Request(self._url, body, headers), timeout=self._timeout_s) as response:
                answer: bytes = response.read(MAX_TOKEN_BYTES + 1)
        except (OSError, HTTPException, ValueError) as error:
            raise NetworkError("the time-stamp authority cannot be reached: {reason}", reason=error) from error
        if len(answer) > MAX_TOKEN_BYTES:
            raise NetworkError("the answer of the time-stamp authority is over {limit} bytes", limit=MAX_TOKEN_BYTES)
        return answer


def _request(message: bytes) -> TimeStampRequest:
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    if not message:
        raise InputError("there is nothing to stamp")
    builder = TimestampRequestBuilder(data=message).hash_algorithm(HashAlgorithm.SHA256)
    return builder.cert_request(cert_request=True).nonce(nonce=True).build()


def _answers(answer: bytes, request: TimeStampRequest) -> bool:
    from rfc3161_client import decode_timestamp_response

    try:
        response = decode_timestamp_response(answer)
        info = response.tst_info if response.status == 0 else None
    except Exception:  # whatever a stranger's bytes make the parser raise
        return False
    return info is not None and (info.nonce, info.message_imprint.message) == (
        request.nonce,
        request.message_imprint.message,
    )


def _certify(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    *,
    authority: bool,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder(_name(issuer), _name(subject), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .add_extension(_usage(authority=authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _asn1(certificate: x509.Certificate) -> Any:
    asn1 = require("asn1crypto.x509", "chain")
    return asn1.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))


def _rejection(tsp: Any, reason: str) -> bytes:
    status = tsp.PKIStatusInfo({"status": "rejection", "fail_info": {reason}}).dump()
    return bytes([0x30, len(status)]) + bytes(status)  # a TimeStampResp without a token
