"""The laws of identity challenges: one answer, one question."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import CountermarkError, IdentityInvalid
from countermark.identity import Challenge, same_organization, verify_certificate

texts = st.text(st.characters(codec="utf-8"), max_size=80)
challenges = st.builds(
    Challenge, office=texts, party=texts, signing_key=texts, address=texts, nonce=texts, issued_at=texts
)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HALF = timedelta(days=100)


def certify(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, ca: bool
) -> bytes:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)])

    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)  # fmt: skip
    usage["key_cert_sign" if ca else "digital_signature"] = True
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - HALF)
        .not_valid_after(NOW + HALF)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


ROOT_KEY, KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
ROOT = certify("Authority", ROOT_KEY, "Authority", ROOT_KEY, True)
SEAL = certify("Acme", KEY, "Authority", ROOT_KEY, False)


def sign(challenge: Challenge) -> bytes:
    return KEY.sign(challenge.to_bytes(), ec.ECDSA(hashes.SHA256()))


EMPTY = Challenge(office="", party="", signing_key="", address="", nonce="", issued_at="")
ANSWER = sign(EMPTY)


@given(challenges)
def test_a_challenge_reads_back(challenge: Challenge) -> None:
    assert Challenge.from_bytes(challenge.to_bytes()) == challenge


@given(challenges, st.sampled_from([*Challenge.__dataclass_fields__]), texts)
def test_an_answer_holds_for_its_challenge_alone(challenge: Challenge, field: str, value: str) -> None:
    answer = sign(challenge)
    proven = verify_certificate(SEAL, answer, ROOT, challenge=challenge, declared="ACME", moment=NOW)
    assert proven.organization == "Acme"
    other = replace(challenge, **{field: value})
    if other != challenge:
        assert other.digest != challenge.digest
        with pytest.raises(IdentityInvalid):
            verify_certificate(SEAL, answer, ROOT, challenge=other, declared="Acme", moment=NOW)


@given(st.integers(-200, 200))
def test_a_chain_holds_within_its_time(days: int) -> None:
    moment = NOW + timedelta(days=days)
    if abs(days) <= 100:
        verify_certificate(SEAL, ANSWER, ROOT, challenge=EMPTY, declared="Acme", moment=moment)
    else:
        with pytest.raises(IdentityInvalid):
            verify_certificate(SEAL, ANSWER, ROOT, challenge=EMPTY, declared="Acme", moment=moment)


@given(st.data())
def test_no_changed_bit_of_an_answer_passes(data: st.DataObject) -> None:
    answer = bytearray(ANSWER)
    answer[data.draw(st.integers(0, len(answer) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CountermarkError):
        verify_certificate(SEAL, bytes(answer), ROOT, challenge=EMPTY, declared="Acme", moment=NOW)


@given(texts)
def test_a_name_is_its_own_whatever_the_case(name: str) -> None:
    assert same_organization(name, name)
    assert same_organization(f" {name} ", name)
