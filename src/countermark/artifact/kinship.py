"""How much of their tensors two models share, byte for byte.

Tensors are compared by digest: a name, a shape or a file says nothing about where the values come from, and a value
that was trained on has another digest. What no digest sees is a copy with changed values; marks and traces find those.

Laws:
    ``shared_part(a, b) == shared_part(b, a)``; ``shared_part(a, a) == 1`` where ``a`` has a byte;
    ``shared_part(a, b, without=b) == 0``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from countermark.artifact.manifest import TensorRecord
from countermark.artifact.safetensors import DTYPE_BITS, element_count

#: A model that shares more than this part of the smaller one's tensor bytes with another one is derived from it.
DERIVED_ABOVE = 0.5

Content = Mapping[bytes, int]
"""Size in bytes of every distinct tensor, by the digest of its bytes."""


def content_of(tensors: Iterable[TensorRecord]) -> dict[bytes, int]:
    """Return the distinct tensors of a model with their sizes; empty ones left out."""
    return {t.sha256: element_count(t.shape) * DTYPE_BITS[t.dtype] // 8 for t in tensors if 0 not in t.shape}


def shared_part(first: Content, second: Content, *, without: Collection[bytes] = ()) -> float:
    """Return the bytes of the tensors that both models hold, over all tensor bytes of the smaller model: 0 to 1.

    Args:
        first: a model.
        second: another one.
        without: tensors that are left out of both, such as those that both have from a third model.
    """
    smaller = min(_bytes(model, without) for model in (first, second))
    if smaller == 0:
        return 0.0
    return _bytes({digest: first[digest] for digest in first.keys() & second.keys()}, without) / smaller


def _bytes(model: Content, without: Collection[bytes]) -> int:
    return sum(size for digest, size in model.items() if digest not in without)
