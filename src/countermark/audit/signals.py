"""Weak signs that a model knows a work: how near its outputs come, what it costs the model to predict it.

Every sign of a work is a function of that work, of the model, and of all works and unseen works as one set. So it does
not know which are which, and membership can be tested by exchanging them. The less a sign is, the more like training.

Images (black box): ``nearest`` is the logarithm of the distance from a work to the nearest image that the model draws,
less that of the distance to the nearest other work: simple pictures are near to everything, and say no more than
others. With the model at hand (grey box): ``loss``. Which signals there are was chosen on MNIST: of a model trained on
3,000 images, 100 works against 100 unseen ones are found at level 1 % in 16 % of draws by the plain distance, in 37 %
by this one, in 86 % by the loss and in 90 % by both.

Texts: ``loss`` is the mean negative log-likelihood of a token, ``min_k`` that of the least likely fifth of the tokens
(W. Shi et al., Detecting Pretraining Data from Large Language Models, ICLR 2024: Min-K% Prob).

Traits are what tells sources apart without the model: brightness, contrast and sharpness of images; length, how well
it compresses and length of words of texts; and which other work is most like each.

Law: traits and neighbors of a work do not depend on which works are called unseen.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.decisions import LEAST_DISTANCE, rounded
from countermark.audit.images.search import exact_index, rmse
from countermark.audit.images.store import ImageStore
from countermark.audit.membership import (
    Floats,
    Measured,
    OneWork,
    check_counts,
    digest_rows,
    distinct,
    rank_one,
)
from countermark.core.canonical import digest
from countermark.core.progress import Progress
from countermark.errors import InputError

Images = NDArray[np.uint8]
Loss = Callable[[Images], Any]
"""What a model loses on images (n, h, w, c): a number each."""
LogProbabilities = Callable[[str], NDArray[np.float64]]
"""Natural logarithms of the probabilities of a text's tokens, each given those before it."""

#: Share of the tokens that ``min_k`` looks at.
MIN_K = 0.2
_GRAMS = 2**14
_BLOCK = 512


def measure_images(
    works: Images, unseen: Images, outputs: Images, *, loss: Loss | None = None, progress: Progress | None = None
) -> Measured:
    """Measure works and unseen works (n, h, w, c) against images that a model drew.

    Equal images count once.

    Raises:
        InputError: too few, or images of different sizes.
        HeldOutOverlap: a work is called unseen, too.
    """
    sizes = {images.shape[1:] for images in (works, unseen, outputs)}
    if len(sizes) > 1 or works.ndim != 4:
        raise InputError("works, unseen works and outputs are images of one size")
    digests = [[digest("work/1", image.tobytes()).hex() for image in images] for images in (works, unseen)]
    ours, others = distinct(*digests)
    check_counts(len(ours), len(others))
    pool = np.concatenate([works[ours], unseen[others]])
    signals = image_signals(pool, outputs, loss=loss, progress=progress)
    of = digest_rows([digests[0][i] for i in ours], [digests[1][i] for i in others])
    return Measured("images", len(ours), of, signals, image_traits(pool), _nearest_other(pool)[0])


def rank_image(work: Images, unseen: Images, outputs: Images, *, loss: Loss | None = None) -> OneWork:
    """Say where one work (1, h, w, c) stands among unseen ones; see ``OneWork`` for what that does not say."""
    if len(work) != 1 or not len(unseen):
        raise InputError("one work is ranked among at least one unseen work")
    return rank_one(image_signals(np.concatenate([work, unseen]), outputs, loss=loss))


def image_signals(
    pool: Images, outputs: Images, *, loss: Loss | None = None, progress: Progress | None = None
) -> dict[str, Floats]:
    """Return the signals of images (n, h, w, c), given those that a model drew."""
    drawn, other = (
        np.log(np.maximum(rmse(squared, pool[0].size), LEAST_DISTANCE))
        for squared in (_search(outputs, pool, progress), _nearest_other(pool)[1])
    )
    signals = {"nearest": rounded(drawn - other)}
    return signals if loss is None else signals | {"loss": rounded(np.asarray(loss(pool), dtype=np.float64))}


def image_traits(pool: Images) -> dict[str, Floats]:
    """Return what images are like without the model: brightness, contrast, sharpness, bytes when compressed."""
    flat = pool.reshape(len(pool), -1).astype(np.float64) / 255
    steps = [np.abs(np.diff(pool.astype(np.int16), axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2)]
    packed = [len(zlib.compress(image.tobytes(), 6)) for image in pool]
    return {
        "brightness": rounded(flat.mean(axis=1)), "contrast": rounded(flat.std(axis=1)),
        "sharpness": rounded(np.add(*steps) / 255), "detail": rounded(packed),
    }  # fmt: skip


def measure_texts(
    works: Sequence[str], unseen: Sequence[str], log_probabilities: LogProbabilities, *,
    progress: Progress | None = None,
) -> Measured:  # fmt: skip
    """Measure works and unseen works under a language model. Equal texts count once.

    Raises:
        InputError: too few, or a text of less than two tokens.
        HeldOutOverlap: a work is called unseen, too.
    """
    digests = [[digest("work/1", text.encode()).hex() for text in texts] for texts in (works, unseen)]
    ours, others = distinct(*digests)
    check_counts(len(ours), len(others))
    pool = [*(works[i] for i in ours), *(unseen[i] for i in others)]
    signals = _signals_of_texts(pool, log_probabilities, progress)
    of = digest_rows([digests[0][i] for i in ours], [digests[1][i] for i in others])
    return Measured("texts", len(ours), of, signals, text_traits(pool), _most_alike(pool))


def rank_text(work: str, unseen: Sequence[str], log_probabilities: LogProbabilities) -> OneWork:
    """Say where one text stands among unseen ones; see ``OneWork`` for what that does not say."""
    if not unseen:
        raise InputError("one work is ranked among at least one unseen work")
    return rank_one(_signals_of_texts([work, *unseen], log_probabilities, None))


def _signals_of_texts(
    pool: Sequence[str], log_probabilities: LogProbabilities, progress: Progress | None
) -> dict[str, Floats]:
    rows = []
    for done, text in enumerate(pool, start=1):
        rows.append(text_signals(log_probabilities(text)))
        if progress is not None:
            progress(done, len(pool), "texts")
    return {name: rounded([row[name] for row in rows]) for name in ("loss", "min_k")}


def text_signals(log_probabilities: NDArray[np.float64]) -> Mapping[str, float]:
    """Return the signals of one text from the log-probabilities of its tokens.

    Raises:
        InputError: none, or one that is above 0 or not a number.
    """
    values = np.sort(np.asarray(log_probabilities, dtype=np.float64).ravel())
    if not len(values) or not np.isfinite(values).all() or values[-1] > 1e-6:
        raise InputError("log-probabilities of a text's tokens are at most 0, and there is at least one")
    least = values[: max(1, int(len(values) * MIN_K))]
    return {"loss": -float(values.mean()), "min_k": -float(least.mean())}


def text_traits(pool: Sequence[str]) -> dict[str, Floats]:
    """Return what texts are like without the model: bytes, how far they compress, letters a word."""
    data = [text.encode() for text in pool]
    return {
        "length": rounded([len(each) for each in data]),
        "detail": rounded([len(zlib.compress(each, 6)) / max(1, len(each)) for each in data]),
        "words": rounded([len(text) / (1 + text.count(" ")) for text in pool]),
    }


def _search(store: Images, queries: Images, progress: Progress | None) -> NDArray[np.int64]:
    """Return the squared distance from each query to its nearest image."""
    index = exact_index(ImageStore.of(np.ascontiguousarray(store)))
    return index.nearest(queries.reshape(len(queries), -1), 1, progress=progress).squared[:, 0]


def _nearest_other(pool: Images) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each of at least two images which other is nearest, and its squared distance."""
    found = exact_index(ImageStore.of(pool)).nearest(pool.reshape(len(pool), -1), 2)
    # Of equal images either may come first.
    other = (found.index[:, 0] == np.arange(len(pool))).astype(np.intp)
    rows = np.arange(len(pool))
    return found.index[rows, other], found.squared[rows, other]


def _most_alike(pool: Sequence[str]) -> NDArray[np.int64]:
    """Return for each text which other shares most of its runs of four bytes, by cosine; the first of equal ones."""
    counts = np.zeros((len(pool), _GRAMS), dtype=np.float32)
    for row, text in zip(counts, pool, strict=True):
        data = text.encode()
        grams = [zlib.crc32(data[i : i + 4]) % _GRAMS for i in range(max(1, len(data) - 3))]
        np.add.at(row, grams, 1)
    counts /= np.linalg.norm(counts, axis=1, keepdims=True)
    alike = np.empty(len(pool), dtype=np.int64)
    for start in range(0, len(pool), _BLOCK):
        products = counts[start : start + _BLOCK] @ counts.T
        products[np.arange(len(products)), start + np.arange(len(products))] = -1
        alike[start : start + _BLOCK] = products.argmax(axis=1)
    return alike
