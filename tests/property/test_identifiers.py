"""Laws of mark identifiers: the keyed permutation, the commitment, and the birth by commit and reveal."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.keys import Secret
from countermark.core.payload import (
    commit_identifier,
    commit_nonce,
    derive_identifier,
    permute,
    permute_many,
    read_identifier,
    show_identifier,
    unpermute,
)
from countermark.errors import InputError

words = st.integers(0, 2**64 - 1)
keys = st.binary(min_size=32, max_size=32).map(Secret)
nonces = st.binary(min_size=32, max_size=32)


@given(keys, words)
def test_permute_is_a_permutation(key, word):
    assert unpermute(key, permute(key, word)) == word == permute(key, unpermute(key, word))


@given(keys, st.lists(words, max_size=5))
def test_many_words_are_permuted_as_each_is(key, many):
    together = permute_many(key, np.array(many, dtype=np.uint64))
    assert together.tolist() == [permute(key, word) for word in many]


@given(keys, words, st.integers(0, 63))
def test_a_neighboring_word_is_an_unrelated_identifier(key, word, bit):
    """One wrong bit in a read word changes about half of the identifier: 8 to 56 bits, but for chance of 1e-9."""
    distance = (unpermute(key, word) ^ unpermute(key, word ^ 1 << bit)).bit_count()
    assert 8 <= distance <= 56


def test_every_bit_of_a_permuted_counter_is_fair():
    """4,096 consecutive identifiers: each bit of the word is 1 in half of them, within 5 standard deviations."""
    key = Secret(b"\x07" * 32)
    ones = Counter(bit for word in range(4096) for bit in range(64) if permute(key, word) >> bit & 1)
    assert all(abs(ones[bit] - 2048) < 5 * 32 for bit in range(64))


@given(words)
def test_identifiers_are_sixteen_hex_digits(word):
    assert read_identifier(show_identifier(word)) == word
    assert len(show_identifier(word)) == 16


@pytest.mark.parametrize("text", ["", "12", "g" * 16, None, 5, "0" * 17])
def test_other_texts_are_no_identifiers(text):
    with pytest.raises(InputError):
        read_identifier(text)


@given(words, words, nonces, nonces)
def test_a_commitment_binds_identifier_and_salt(one, two, salt, other):
    assert (commit_identifier(one, salt) == commit_identifier(two, other)) == ((one, salt) == (two, other))


@given(nonces, nonces, nonces, nonces)
def test_either_nonce_alone_changes_the_identifier(platform, licensee, context, other):
    born = derive_identifier(platform, licensee, context)
    if other != licensee:
        assert derive_identifier(platform, other, context) != born
    if other != platform:
        assert derive_identifier(other, licensee, context) != born
        assert commit_nonce(other) != commit_nonce(platform)


@pytest.mark.parametrize("value", [-1, 2**64])
def test_other_numbers_are_no_words(value):
    with pytest.raises(InputError):
        permute(Secret(bytes(32)), value)
