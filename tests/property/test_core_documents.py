"""Laws of canonical JSON, digests, keys and signed documents."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.canonical import canonical_json, digest, parse_json, read_digest, show_digest
from countermark.core.dsse import open_document, read_unverified, sign_document
from countermark.core.keys import (
    DetectionKey,
    Secret,
    SigningKey,
    derive_key,
    epoch_commitment,
    key_commitment,
    keystream,
)
from countermark.errors import InputError, SignatureInvalid

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(st.text(max_size=8), json_values, max_size=5)
secrets32 = st.binary(min_size=32, max_size=32).map(Secret)


@given(json_values)
def test_canonical_json_round_trips(value):
    assert parse_json(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(0, 9)))
def test_canonical_json_ignores_insertion_order(value):
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


@given(st.binary(), st.binary())
def test_digests_of_two_domains_differ(one, two):
    assert digest("a/1", one) != digest("b/1", two)
    assert read_digest(show_digest(digest("a/1", one))) == digest("a/1", one)


@pytest.mark.parametrize(
    "data",
    [b'{"a":1,"a":2}', b"[NaN]", b"[Infinity]", b"\xff", b"{", b"[" * 100 + b"]" * 100, b"[" * 5000],
    ids=["key-twice", "nan", "infinity", "not-utf8", "cut", "deep", "very-deep"],
)
def test_hostile_json_is_refused(data):
    with pytest.raises(InputError):
        parse_json(data)


@pytest.mark.parametrize("data", [b"[" * 10**6, b'{"a":' * 10**6, b"[" * 10**6 + b"]" * 10**6, b'["' + b"[" * 10**6])
def test_deep_nesting_does_not_overrun_the_stack_where_the_recursion_limit_is_high(data):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**9)  # as some libraries do
    try:
        with pytest.raises(InputError):
            parse_json(data)
    finally:
        sys.setrecursionlimit(before)


@given(st.integers(0, 200), st.sampled_from([b"[%s]", b'{"k":%s}', b'["[{", %s]']))
def test_nesting_is_counted_exactly_and_not_in_strings(depth, shape):
    data = b"1"
    for _ in range(depth):
        data = shape.replace(b"%s", data)
    if depth <= 64:
        parse_json(data)
    else:
        with pytest.raises(InputError):
            parse_json(data)


@pytest.mark.parametrize("value", [2**53, float("nan"), b"x", {1: 2}])
def test_what_json_cannot_carry_is_refused(value):
    with pytest.raises(InputError):
        canonical_json(value)


@given(secrets32, bodies)
def test_a_signed_document_opens_with_its_key_and_kind_only(seed, body):
    key = SigningKey(seed)
    envelope = sign_document(key, "request", body)
    assert open_document(envelope, "request", key.public) == body == read_unverified(envelope)
    with pytest.raises(SignatureInvalid):
        open_document(envelope, "grant", key.public)
    with pytest.raises(SignatureInvalid):
        open_document(envelope, "request", SigningKey.generate().public)


@given(secrets32, bodies, bodies)
def test_a_changed_body_does_not_open(seed, body, other):
    key = SigningKey(seed)
    envelope = sign_document(key, "request", body) | {"payload": sign_document(key, "x", other)["payload"]}
    if body != other:
        with pytest.raises(SignatureInvalid):
            open_document(envelope, "request", key.public)


@pytest.mark.parametrize("envelope", [None, {}, {"payload": "!", "payloadType": "x", "signatures": [{"sig": ""}]}, []])
def test_what_is_no_envelope_is_bad_input(envelope):
    with pytest.raises(InputError):
        read_unverified(envelope)


@given(
    secrets32,
    st.lists(st.text(max_size=4), min_size=1, max_size=3),
    st.lists(st.text(max_size=4), min_size=1, max_size=3),
)
def test_derived_keys_are_injective_in_their_labels(master, one, two):
    assert (derive_key(master, *one) == derive_key(master, *two)) == (one == two)


@given(secrets32, st.integers(0, 200), st.integers(0, 200))
def test_a_keystream_extends_itself(key, short, more):
    assert keystream(key, short + more)[:short] == keystream(key, short)


def test_secrets_do_not_print():
    secret = Secret.random()
    assert secret.reveal().hex() not in repr(secret) + str(secret) + repr(SigningKey(secret))


@given(secrets32, st.integers(0, 5))
def test_a_detection_keys_commitment_opens(master, epoch):
    key = DetectionKey.derive(master, method="m", model="sha256:00", epoch=epoch)
    assert key.commitment == key_commitment(key.embedding_commitment, key.permutation.reveal())
    other = DetectionKey.derive(master, method="m", model="sha256:00", epoch=epoch + 1)
    assert len({key.commitment, other.commitment}) == len({key.key_id, other.key_id}) == 2
    assert key.embedding != key.permutation


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4, unique=True), st.data())
def test_an_epoch_commits_to_its_keys_in_their_order(commitments, data):
    whole = epoch_commitment(commitments)
    assert epoch_commitment(commitments[:1]) == commitments[0]  # as it was when an epoch had one key
    other = data.draw(
        st.sampled_from([commitments[::-1], commitments[1:], commitments[:-1], [*commitments, commitments[0]]])
    )
    assert (other == commitments) or not other or epoch_commitment(other) != whole
