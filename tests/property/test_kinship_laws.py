"""How much two models share: the laws of ``artifact.kinship``, against a count of bytes."""

from __future__ import annotations

from hashlib import sha256
from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from countermark.artifact import TensorRecord
from countermark.artifact.kinship import content_of, shared_part

models = st.dictionaries(st.integers(0, 12).map(lambda n: sha256(bytes([n])).digest()), st.just(0)).map(
    lambda found: {digest: 1 + digest[0] for digest in found}
)


@given(models, models)
def test_the_part_is_of_the_smaller_model_and_the_same_both_ways(
    first: dict[bytes, int], second: dict[bytes, int]
) -> None:
    part = shared_part(first, second)
    assert part == shared_part(second, first)
    assert 0 <= part <= 1
    common = sum(size for digest, size in first.items() if digest in second)
    assert isclose(part * min(sum(first.values()), sum(second.values())), common, abs_tol=1e-9)


@given(models)
def test_a_model_shares_all_of_itself(model: dict[bytes, int]) -> None:
    assert shared_part(model, model) == (1 if model else 0)
    assert shared_part(model, model, without=model) == 0


@given(models, models, st.sets(st.integers(0, 12).map(lambda n: sha256(bytes([n])).digest())))
def test_what_is_left_out_is_left_out_of_both(
    first: dict[bytes, int], second: dict[bytes, int], without: set[bytes]
) -> None:
    rest = [{digest: model[digest] for digest in model.keys() - without} for model in (first, second)]
    assert shared_part(first, second, without=without) == shared_part(*rest)


def test_sizes_are_in_bytes_each_distinct_tensor_once_and_empty_ones_not_at_all() -> None:
    digest, other = sha256(b"a").digest(), sha256(b"b").digest()
    tensors = [
        TensorRecord("unet", "w", "F32", (4, 2), digest),
        TensorRecord("vae", "copy", "F16", (4, 4), digest),
        TensorRecord("", "half", "BF16", (3,), other),
        TensorRecord("", "empty", "F32", (0, 5), sha256(b"").digest()),
    ]
    assert content_of(tensors) == {digest: 32, other: 6}
