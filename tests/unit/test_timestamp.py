"""Time stamps: the laws, the local authority, and an authority behind a real HTTP server."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from rfc3161_client import decode_timestamp_response

from countermark.adapters.timestamp import HttpTsa, LocalTsa
from countermark.errors import InputError, KeystoreError, NetworkError, TimestampInvalid
from countermark.evidence.timestamp import MAX_TOKEN_BYTES, verify_timestamp

MOMENT = datetime(2026, 11, 21, 12, 30, 15, 999_999, tzinfo=UTC)
SECOND = MOMENT.replace(microsecond=0)
TSA = LocalTsa.create("Trial authority", lambda: MOMENT)
STRANGER = LocalTsa.create("Trial authority", lambda: MOMENT)
TOKEN = TSA.issue(b"checkpoint")


@given(st.binary(min_size=1, max_size=300), st.binary(max_size=300))
@settings(max_examples=25)
def test_a_stamp_says_when_and_only_for_its_message(message: bytes, other: bytes) -> None:
    token = TSA.issue(message)
    assert verify_timestamp(token, message, [TSA.root_pem]) == SECOND
    if other != message:
        with pytest.raises(TimestampInvalid):
            verify_timestamp(token, other, [TSA.root_pem])


def test_any_of_several_roots_will_do_but_a_strangers_will_not() -> None:
    assert verify_timestamp(TOKEN, b"checkpoint", [STRANGER.root_pem, TSA.root_pem]) == SECOND
    with pytest.raises(TimestampInvalid):
        verify_timestamp(TOKEN, b"checkpoint", [STRANGER.root_pem])


def test_no_changed_bit_makes_a_stamp_say_something_else() -> None:
    accepted = 0
    for at in range(len(TOKEN)):
        changed = TOKEN[:at] + bytes([TOKEN[at] ^ 1]) + TOKEN[at + 1 :]
        try:
            assert verify_timestamp(changed, b"checkpoint", [TSA.root_pem]) == SECOND
            accepted += 1
        except TimestampInvalid:
            pass
    assert accepted < 20, "only the unsigned framing of CMS may change"


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_cleanly(data: bytes) -> None:
    with pytest.raises(TimestampInvalid):
        verify_timestamp(data, b"checkpoint", [TSA.root_pem])


@pytest.mark.parametrize(("token", "roots"), [(TOKEN, []), (b"", [TSA.root_pem]), (bytes(MAX_TOKEN_BYTES + 1), [b""])])
def test_nothing_to_check_is_not_a_pass(token: bytes, roots: list[bytes]) -> None:
    with pytest.raises(TimestampInvalid):
        verify_timestamp(token, b"checkpoint", roots)


def test_a_root_must_be_a_certificate() -> None:
    with pytest.raises(InputError, match="PEM"):
        verify_timestamp(TOKEN, b"checkpoint", [b"-----BEGIN NOTHING-----"])


@pytest.mark.parametrize(
    ("usage", "critical", "valid"),
    [
        (ExtendedKeyUsageOID.TIME_STAMPING, True, True),
        (ExtendedKeyUsageOID.TIME_STAMPING, False, False),
        (ExtendedKeyUsageOID.CODE_SIGNING, True, False),
        (None, True, False),
    ],
)
def test_only_a_certificate_for_time_stamping_may_stamp(usage, critical: bool, valid: bool) -> None:
    """RFC 3161, section 2.3: the extended usage is there, critical, and time stamping."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = x509.BasicConstraints(ca=True, path_length=None)
    root = certificate("root", root_key, root_key).add_extension(ca, critical=True).sign(root_key, hashes.SHA256())
    leaf = certificate("leaf", key, root_key)
    if usage:
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([usage]), critical=critical)
    tsa = LocalTsa(key, leaf.sign(root_key, hashes.SHA256()), root, lambda: MOMENT)
    if valid:
        assert verify_timestamp(tsa.issue(b"x"), b"x", [tsa.root_pem]) == SECOND
        return
    with pytest.raises(TimestampInvalid):
        verify_timestamp(tsa.issue(b"x"), b"x", [tsa.root_pem])


def certificate(name: str, key: ec.EllipticCurvePrivateKey, root_key: ec.EllipticCurvePrivateKey):
    subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, "root"))
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(MOMENT - timedelta(days=1)).not_valid_after(MOMENT + timedelta(days=9))
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.add_extension(identifier, critical=False)


def test_a_stamp_must_fall_into_the_life_of_its_certificate() -> None:
    late = LocalTsa.from_secret_bytes(TSA.to_secret_bytes(), lambda: MOMENT + timedelta(days=30 * 365))
    early = LocalTsa.from_secret_bytes(TSA.to_secret_bytes(), lambda: MOMENT - timedelta(days=30))
    for tsa in (late, early):
        with pytest.raises(TimestampInvalid):
            verify_timestamp(tsa.issue(b"checkpoint"), b"checkpoint", [TSA.root_pem])


def test_an_authority_comes_back_from_its_secret_bytes_and_shows_no_key() -> None:
    again = LocalTsa.from_secret_bytes(TSA.to_secret_bytes(), lambda: MOMENT.astimezone(timezone(timedelta(hours=8))))
    assert again.root_pem == TSA.root_pem
    assert verify_timestamp(again.issue(b"x"), b"x", [TSA.root_pem]) == SECOND
    assert b"PRIVATE" not in TSA.root_pem
    assert "PRIVATE" not in repr(TSA)


@pytest.mark.parametrize(
    "data",
    [b"", b"junk", TSA.root_pem, TSA.to_secret_bytes()[:-40], TSA.to_secret_bytes() + STRANGER.root_pem],
    ids=["empty", "junk", "no key", "cut", "too many"],
)
def test_damaged_secret_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(KeystoreError, match="damaged"):
        LocalTsa.from_secret_bytes(data, lambda: MOMENT)


def test_key_and_certificate_must_belong_together() -> None:
    key = TSA.to_secret_bytes().split(b"-----BEGIN CERTIFICATE")[0]
    rest = STRANGER.to_secret_bytes()[len(key) :]
    with pytest.raises(KeystoreError):
        LocalTsa.from_secret_bytes(key + rest, lambda: MOMENT)


@pytest.mark.parametrize("name", ["", "n" * 41])
def test_an_authority_has_a_name(name: str) -> None:
    with pytest.raises(InputError):
        LocalTsa.create(name, lambda: MOMENT)


def test_an_empty_message_cannot_be_stamped() -> None:
    with pytest.raises(InputError, match="nothing to stamp"):
        TSA.issue(b"")


def request(algorithm: str = "sha256", digest: bytes = bytes(32), **fields: object) -> bytes:
    imprint = {"hash_algorithm": {"algorithm": algorithm}, "hashed_message": digest}
    return bytes(tsp.TimeStampReq({"version": "v1", "message_imprint": imprint, **fields}).dump())


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (b"not DER", "bad_data_format"),
        (request() + b"x", "bad_data_format"),
        (request(digest=bytes(20)), "bad_data_format"),
        (request("sha1", sha1(b"").digest()), "bad_alg"),
        (request(req_policy="1.2.3.4"), "unaccepted_policy"),
    ],
)
def test_a_request_that_cannot_be_met_is_rejected_with_its_reason(asked: bytes, reason: str) -> None:
    answer = TSA.respond(asked)
    assert decode_timestamp_response(answer).status == 2
    assert tsp.PKIStatusInfo.load(answer[2:])["fail_info"].native == {reason}
    with pytest.raises(TimestampInvalid):
        verify_timestamp(answer, b"checkpoint", [TSA.root_pem])


def test_nonce_and_certificate_are_as_requested() -> None:
    plain = decode_timestamp_response(TSA.respond(request()))
    full = decode_timestamp_response(TSA.respond(request("sha512", bytes(64), nonce=2**63 + 5, cert_req=True)))
    assert (plain.tst_info.nonce, len(plain.signed_data.certificates)) == (None, 0)
    assert (full.tst_info.nonce, len(full.signed_data.certificates)) == (2**63 + 5, 1)
    assert plain.tst_info.serial_number != full.tst_info.serial_number


@contextmanager
def served(answer: Callable[[bytes], bytes], status: int = 200) -> Iterator[str]:
    """Serve an authority on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_stamp_over_http() -> None:
    with served(TSA.respond) as url:
        token = HttpTsa(url, timeout_s=5).issue(b"checkpoint")
    assert verify_timestamp(token, b"checkpoint", [TSA.root_pem]) == SECOND


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (lambda _: TOKEN, 200),  # right message, but the answer to another request
        (lambda _: TSA.respond(b"junk"), 200),
        (lambda _: b"<html>", 200),
        (lambda _: bytes(MAX_TOKEN_BYTES + 1), 200),
        (TSA.respond, 500),
    ],
    ids=["replayed", "rejected", "not a stamp", "too long", "server error"],
)
def test_a_bad_answer_over_http_is_refused(answer: Callable[[bytes], bytes], status: int) -> None:
    with served(answer, status) as url, pytest.raises(NetworkError):
        HttpTsa(url, timeout_s=5).issue(b"checkpoint")


def test_an_authority_that_is_not_there() -> None:
    with served(TSA.respond) as url:
        pass
    with pytest.raises(NetworkError, match="cannot be reached"):
        HttpTsa(url, timeout_s=5).issue(b"checkpoint")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com", "example.com"])
def test_only_http_addresses_are_asked(url: str) -> None:
    with pytest.raises(InputError, match="address"):
        HttpTsa(url)
