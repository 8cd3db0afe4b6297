"""Proofs of identity, honest and hostile: certificate chains and ID tokens."""

from __future__ import annotations

import base64
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.errors import IdentityInvalid, InputError
from countermark.identity import Challenge, same_organization, verify_certificate, verify_token

_SPEC = importlib.util.spec_from_file_location("identity_authority", Path(__file__).with_name("identity_authority.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
authority = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = authority
_SPEC.loader.exec_module(authority)
NOW, NAME, ISSUER, AUDIENCE = authority.NOW, authority.NAME, authority.ISSUER, authority.AUDIENCE

CHALLENGE = Challenge(
    office="0011223344556677",
    party="8899aabbccddeeff",
    signing_key="11" * 32,
    address="0x" + "22" * 20,
    nonce="33" * 16,
    issued_at="2026-11-21T11:00:00Z",
)


@pytest.fixture(scope="module")
def root():
    return authority.make_root()


@pytest.fixture(scope="module")
def issuing(root):
    return root.issue("Authority", ca=True, path_length=0)


@pytest.fixture(scope="module")
def seal(issuing):
    return issuing.issue()


def check(holder, root, *, signature=None, challenge=CHALLENGE, declared=NAME, moment=NOW, chain=None):
    signature = holder.sign(challenge.to_bytes()) if signature is None else signature
    return verify_certificate(
        holder.pem if chain is None else chain,
        signature,
        root.certificate.public_bytes(Encoding.PEM),
        challenge=challenge,
        declared=declared,
        moment=moment,
    )


def test_a_chain_over_an_intermediate_proves_its_organization(seal, root):
    proven = check(seal, root)
    assert (proven.method, proven.organization) == ("certificate", NAME)
    assert proven.expires == NOW + timedelta(days=365)
    assert len(proven.evidence["certificates"]) == 3
    assert json.loads(json.dumps(proven.evidence)) == proven.evidence


def test_the_proof_ends_with_the_first_certificate_of_the_chain(root):
    brief = root.issue("Authority", ca=True, ends=NOW + timedelta(days=3))
    assert check(brief.issue(), root).expires == NOW + timedelta(days=3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 3072),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate,
    ],
    ids=["rsa", "ecdsa", "ed25519"],
)
def test_keys_that_organizations_have(root, make):
    assert check(root.issue(key=make()), root).organization == NAME


def test_names_differ_in_case_spaces_and_width_only(root):
    assert check(seal_of(root, "示例（北京）有限公司"), root, declared="示例(北京)有限公司").organization
    assert same_organization("ACME  Ltd ", "Acme Ltd")
    assert not same_organization("Acme Ltd", "Acme Ltd.")
    assert not same_organization("Асme", "Acme"), "Cyrillic letters are other letters"


def seal_of(root, organization):
    return root.issue(organization)


@pytest.mark.parametrize(
    ("moment", "reason"), [(timedelta(days=366), "not valid"), (timedelta(days=-366), "not valid")]
)
def test_outside_its_time(seal, root, moment, reason):
    with pytest.raises(IdentityInvalid, match=reason):
        check(seal, root, moment=NOW + moment)


def test_an_expired_intermediate(root):
    old = root.issue("Authority", ca=True, ends=NOW - timedelta(seconds=1))
    with pytest.raises(IdentityInvalid):
        check(old.issue(), root)


def test_another_root(seal):
    with pytest.raises(IdentityInvalid, match="trusted root"):
        check(seal, authority.make_root("Another"))


def test_a_root_of_the_same_name_with_another_key(seal):
    with pytest.raises(IdentityInvalid, match="trusted root"):
        check(seal, authority.make_root())


def test_an_intermediate_that_is_no_authority(root):
    plain = root.issue("Authority", ca=False)
    with pytest.raises(IdentityInvalid):
        check(plain.issue(), root)


def test_an_intermediate_that_may_not_sign_certificates(root):
    weak = root.issue("Authority", ca=True, usage="digital_signature")
    with pytest.raises(IdentityInvalid):
        check(weak.issue(), root)


def test_a_path_that_is_longer_than_allowed(issuing, root):
    deeper = issuing.issue("Authority", ca=True)
    with pytest.raises(IdentityInvalid):
        check(deeper.issue(), root)


def test_a_missing_intermediate(seal, root):
    with pytest.raises(IdentityInvalid, match="trusted root"):
        check(seal, root, chain=seal.certificate.public_bytes(Encoding.PEM))


def test_an_authority_cannot_pose_as_an_organization(root):
    with pytest.raises(IdentityInvalid, match="an authority's"):
        check(root.issue(ca=True), root)
    with pytest.raises(IdentityInvalid):
        check(root, root, declared="Authority")


def test_a_self_signed_certificate_beside_the_roots(root):
    with pytest.raises(IdentityInvalid):
        check(authority.make_root("seal"), root)


def test_a_certificate_for_encryption_only(root):
    with pytest.raises(IdentityInvalid, match="not for signatures"):
        check(root.issue(usage="key_encipherment"), root)


def test_another_organization(seal, root):
    with pytest.raises(IdentityInvalid, match="is about Beispiel Verlag GmbH, not about Acme"):
        check(seal, root, declared="Acme")


@pytest.mark.parametrize("organization", [None, (NAME, "Acme")])
def test_no_name_or_several(root, organization):
    with pytest.raises(IdentityInvalid, match="names no organization, or several"):
        check(root.issue(organization), root)


@pytest.mark.parametrize("field", ["office", "party", "signing_key", "address", "nonce", "issued_at"])
def test_a_signature_over_another_challenge(seal, root, field):
    other = replace(CHALLENGE, **{field: "x"})
    with pytest.raises(IdentityInvalid, match="did not sign this challenge"):
        check(seal, root, signature=seal.sign(other.to_bytes()))


def test_another_key_signed(seal, root):
    for signature in (authority.make_root().sign(CHALLENGE.to_bytes()), b"", b"\0" * 70):
        with pytest.raises((IdentityInvalid, InputError)):
            check(seal, root, signature=signature)


def test_keys_that_are_not_taken(root):
    weak = rsa.generate_private_key(65537, 1024)
    for key in (weak, ed448.Ed448PrivateKey.generate()):
        with pytest.raises((InputError, IdentityInvalid)):
            check(root.issue(key=key), root, signature=b"\0" * 64)


@pytest.mark.parametrize("chain", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate(seal, root, chain):
    with pytest.raises(InputError):
        check(seal, root, chain=chain)


def test_too_much(seal, root):
    with pytest.raises(InputError, match="over the limit"):
        check(seal, root, chain=seal.pem * 4)
    with pytest.raises(InputError, match="over the limit"):
        check(seal, root, chain=b" " * 70_000)
    with pytest.raises(InputError, match="at most"):
        check(seal, root, signature=b"x" * 2000)


@pytest.mark.tool("openssl")
def test_openssl_signs_and_agrees_on_the_chain(tmp_path, seal, root):
    """What an organization does with the usual tool; and openssl verifies the same chain."""
    files = {
        "key": seal.key_pem(),
        "challenge": CHALLENGE.to_bytes(),
        "root": root.certificate.public_bytes(Encoding.PEM),
    }
    files |= {"leaf": seal.certificate.public_bytes(Encoding.PEM), "between": seal.above[0].public_bytes(Encoding.PEM)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    run = lambda *words: subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)  # noqa: E731
    run("dgst", "-sha256", "-sign", "key", "-out", "signature", "challenge")
    at = str(int(NOW.timestamp()))
    run("verify", "-attime", at, "-CAfile", "root", "-untrusted", "between", "leaf")
    assert check(seal, root, signature=(tmp_path / "signature").read_bytes()).organization == NAME


@pytest.fixture(scope="module", params=["RS256", "ES256", "EdDSA"])
def provider(request):
    return authority.Provider(request.param)


@pytest.fixture(scope="module")
def rsa_provider():
    return authority.Provider()


def ask(token, jwks, **changes):
    how = {"issuer": ISSUER, "audience": AUDIENCE, "claim": "organization", "challenge": CHALLENGE}
    return verify_token(token, jwks, **{**how, "declared": NAME, "moment": NOW, **changes})


def test_a_token_proves_its_organization(provider):
    proven = ask(provider.token(CHALLENGE.digest), provider.jwks)
    assert (proven.method, proven.organization, proven.expires) == ("oidc", NAME, None)
    assert proven.evidence["key"] == provider.jwk
    assert json.loads(json.dumps(proven.evidence)) == proven.evidence


def test_another_claim_may_hold_the_name(rsa_provider):
    token = rsa_provider.token(CHALLENGE.digest, organization=None, org_name=NAME)
    assert ask(token, rsa_provider.jwks, claim="org_name").organization == NAME


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nonce": "00" * 32}, "answers another challenge"),
        ({"nonce": None}, "nonce"),
        ({"nonce": 7}, "answers another challenge"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": None}, "iss"),
        ({"aud": "another"}, "[Aa]udience"),
        ({"aud": None}, "aud"),
        ({"aud": [AUDIENCE, "another"]}, "another client"),
        ({"azp": "another"}, "another client"),
        ({"exp": None}, "exp"),
        ({"exp": int(NOW.timestamp()) - 61}, "not valid at"),
        ({"exp": "tomorrow"}, "is no time"),
        ({"exp": True}, "is no time"),
        ({"iat": None}, "iat"),
        ({"iat": int(NOW.timestamp()) + 3600}, "not valid at"),
        ({"nbf": int(NOW.timestamp()) + 3600}, "not valid at"),
        ({"organization": "Acme"}, "is about Acme"),
        ({"organization": None}, "no claim"),
        ({"organization": {"name": NAME}}, "no claim"),
        ({"organization": " "}, "no claim"),
    ],
)
def test_claims_that_do_not_fit(rsa_provider, claims, reason):
    with pytest.raises(IdentityInvalid, match=reason):
        ask(rsa_provider.token(CHALLENGE.digest, **claims), rsa_provider.jwks)


def test_a_token_for_several_says_that_it_is_for_us(rsa_provider):
    token = rsa_provider.token(CHALLENGE.digest, aud=[AUDIENCE, "another"], azp=AUDIENCE)
    assert ask(token, rsa_provider.jwks).organization == NAME


def test_another_providers_key(rsa_provider):
    with pytest.raises(IdentityInvalid, match="does not verify"):
        ask(rsa_provider.token(CHALLENGE.digest), authority.Provider().jwks)


def test_algorithms_that_are_not_taken(rsa_provider):
    claims = jwt.decode(rsa_provider.token(CHALLENGE.digest), options={"verify_signature": False})
    unsigned = jwt.encode(claims, None, "none")
    shared = jwt.encode(claims, "0" * 64, "HS256", headers={"kid": "k1"})
    for token in (unsigned, shared):
        with pytest.raises(IdentityInvalid, match="are not taken"):
            ask(token, rsa_provider.jwks)


def test_a_public_key_is_never_taken_as_a_shared_secret(rsa_provider):
    """The old confusion: HMAC under the text of the RSA key; and a key set that offers a shared secret."""
    secret = base64.urlsafe_b64encode(b"0" * 32).rstrip(b"=").decode()
    offered = json.dumps({"keys": [{"kty": "oct", "k": secret, "kid": "k1", "alg": "RS256"}]}).encode()
    with pytest.raises(InputError, match="0 keys that fit"):
        ask(rsa_provider.token(CHALLENGE.digest), offered)


def test_a_header_cannot_bring_its_own_key(rsa_provider):
    evil = authority.Provider()
    token = evil.token(CHALLENGE.digest, headers={"jwk": evil.jwk, "jku": "https://evil.example/keys"})
    with pytest.raises(IdentityInvalid, match="does not verify"):
        ask(token, rsa_provider.jwks)


def test_critical_extensions_are_not_understood(rsa_provider):
    token = rsa_provider.token(CHALLENGE.digest, headers={"crit": ["exp"]})
    with pytest.raises(InputError, match="critical extension"):
        ask(token, rsa_provider.jwks)


def test_the_key_is_the_one_that_the_token_names(rsa_provider):
    second = authority.Provider(name="k2")
    both = json.dumps({"keys": [rsa_provider.jwk, second.jwk]}).encode()
    assert ask(second.token(CHALLENGE.digest), both).organization == NAME
    nameless = jwt.encode(
        jwt.decode(second.token(CHALLENGE.digest), options={"verify_signature": False}), second.key, "RS256"
    )
    with pytest.raises(InputError, match="2 keys that fit"):
        ask(nameless, both)


def test_short_keys_are_refused():
    weak = authority.Provider()
    weak.key = rsa.generate_private_key(65537, 1024)
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        token = weak.token(CHALLENGE.digest)
    with pytest.raises(IdentityInvalid, match="does not verify"):
        ask(token, weak.jwks)


def test_keys_that_a_set_should_not_hold(rsa_provider):
    token = rsa_provider.token(CHALLENGE.digest)
    for change in ({"d": "AQAB"}, {"use": "enc"}, {"alg": "RS512"}, {"kid": "k9"}):
        with pytest.raises(InputError, match="0 keys that fit"):
            ask(token, json.dumps({"keys": [{**rsa_provider.jwk, **change}]}).encode())
    for change in ({"n": 5}, {"n": ""}, {"n": "%"}, {"e": "AA"}, {"e": None}, {"n": "AQAB"}):
        with pytest.raises((InputError, IdentityInvalid)):
            ask(token, json.dumps({"keys": [{**rsa_provider.jwk, **change}]}).encode())


@pytest.mark.parametrize("jwks", [b"", b"[]", b'{"keys": 1}', b'{"keys": [1]}', b"[" * 100, b'{"keys": []}', b"{}"])
def test_what_is_no_key_set(rsa_provider, jwks):
    with pytest.raises(InputError):
        ask(rsa_provider.token(CHALLENGE.digest), jwks)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "..", "a" * 20_000, "e30.e30.", "\u00e9.\u00e9.\u00e9"])
def test_what_is_no_token(rsa_provider, token):
    with pytest.raises((InputError, IdentityInvalid)):
        ask(token, rsa_provider.jwks)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"format": "countermark.identity-challenge/1"}', CHALLENGE.to_bytes()[:-1] + b',"x":1}'],
)
def test_what_is_no_challenge(data):
    with pytest.raises(InputError):
        Challenge.from_bytes(data)
