"""Laws of longest matches, of what they prove, of sketches, and of the number of queries that extraction needs."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.audit.text.deciding import (
    Score,
    decide,
    piece_starts,
    rounded_up,
    score_in_pieces,
    window_of,
    window_scores,
)
from countermark.audit.text.examine import covered
from countermark.audit.text.extraction import needed
from countermark.audit.text.near import BINS, jaccard, passages, shingles, sketch
from countermark.audit.text.reading import Corpus, fold
from countermark.audit.text.suffixes import SuffixIndex

# Few letters, so that long matches come about; one of two bytes, one of three, NUL's neighbor, and white space.
LETTERS = st.text("ab\x01é春 ", min_size=1, max_size=60)
DOCUMENTS = st.lists(LETTERS.filter(lambda text: text.strip()), min_size=1, max_size=6)


def scanned(documents: list[str], text: bytes) -> list[int]:
    """The longest match from each byte on, found by looking whether ever longer ones stand in a document."""
    held = [each.strip().encode() for each in documents]
    found = []
    for start in range(len(text)):
        length = 0
        while start + length < len(text) and any(text[start : start + length + 1] in each for each in held):
            length += 1
        found.append(length)
    return found


@given(DOCUMENTS, st.lists(st.text("ab\x01é春 ", max_size=80), min_size=1, max_size=5), st.integers(128, 600))
def test_longest_matches_are_those_of_a_scan(documents, texts, shard_bytes):
    index = SuffixIndex.build(Corpus.of(documents), shard_bytes=shard_bytes)
    encoded = [text.encode() for text in texts]
    expected = [scanned(documents, each) for each in encoded]
    assert [row.tolist() for row in index.statistics(encoded)] == expected
    for text, match, row in zip(encoded, index.longest(encoded), expected, strict=True):
        assert match.length == max(row, default=0)
        if match.length:
            assert match.start == row.index(match.length)
            part = text[match.start : match.start + match.length]
            assert index.text_at(match.document, match.offset, match.length) == part


@given(DOCUMENTS, st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_parts_of_the_corpus_are_found_whole(documents, chosen):
    index = SuffixIndex.build(Corpus.of(documents))
    kept = [each.strip().encode() for each in documents]
    texts = [kept[i % len(kept)] for i in chosen]
    assert [match.length for match in index.longest(texts)] == [len(text) for text in texts]
    joined = b"".join(texts)
    assert max(match.length for match in index.longest([joined])) >= max(map(len, texts))


@given(st.text(max_size=200))
def test_folding_twice_is_folding_once(text):
    assert fold(fold(text)) == fold(text)
    assert fold(text.upper() + "  x") == fold(text.upper() + "\n\tX")


@given(st.integers(0, 2**40))
def test_rounding_up_keeps_five_bits(length):
    up = rounded_up(length)
    assert length <= up <= length + length // 16
    assert rounded_up(up) == up


@given(st.integers(0, 5000), st.lists(st.integers(16, 3000), min_size=1, max_size=8))
def test_pieces_cover_an_output(length, documents):
    window = window_of(length, lambda size: sum(each // size for each in documents))
    starts = piece_starts(length, window.bytes)
    assert len(starts) == window.pieces
    assert starts[0] == 0
    assert starts[-1] + window.bytes >= length
    assert all(0 < b - a <= max(1, window.bytes // 2) for a, b in itertools.pairwise(starts))
    if window.pieces == 1:
        assert window.bytes >= length


@given(st.lists(st.integers(0, 30), min_size=1, max_size=120), st.integers(16, 40))
def test_windows_hold_what_lies_inside_them(starts, window):
    # Lengths of matches as they come about: each is at least the one before less 1.
    row = np.array(starts)
    for i in range(1, len(row)):
        row[i] = max(row[i], row[i - 1] - 1)
    scores = window_scores([row], window)
    assert len(scores) == len(row) // window
    expected = [
        -max(min(int(row[i]), at + window - i) for i in range(at, at + window))
        for at in range(0, len(row) - window + 1, window)
    ]
    assert scores.tolist() == sorted(expected)
    if len(row) >= window:
        whole = window_of(len(row), lambda size: int(size == window))
        assert -window <= score_in_pieces(row, whole) <= 0


@given(
    st.lists(st.integers(-60, 0), min_size=1, max_size=40),
    st.lists(st.integers(-60, 0), min_size=1, max_size=40),
    st.integers(1, 4),
)
def test_a_longer_match_is_never_less_suspicious(scores, known, pieces):
    calibration = {64: np.sort(np.array(known))}
    found = decide([Score(each, 64, pieces) for each in scores], calibration, 0.05)
    order = np.argsort(scores, kind="stable")
    assert (np.diff(found.p[order]) >= 0).all()
    assert (found.q >= found.p).all()
    assert found.p.min() >= pieces / (1 + len(known)) - 1e-9 or found.p.min() == 1
    if found.flagged.any():
        assert int(found.flagged.sum()) >= found.smallest_flaggable
    assert 0 <= found.at_least <= 1


@given(st.integers(1, 40), st.integers(1, 200), st.sampled_from([0.01, 0.05, 0.2]))
def test_so_many_at_the_floor_are_flagged_and_fewer_are_not(outputs, known, fdr):
    calibration = {64: np.arange(-known, 0)}
    least = decide([Score(0, 64, 1)] * outputs, calibration, fdr).smallest_flaggable
    for count in {min(least, outputs), min(least - 1, outputs)}:
        scores = [Score(-1000, 64, 1)] * count + [Score(0, 64, 1)] * (outputs - count)
        assert int(decide(scores, calibration, fdr).flagged.sum()) == (count if count >= least else 0)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(1, 20))
def test_a_part_of_a_text_is_covered(lengths, run):
    row = np.array(lengths)
    inside = {
        at + k for at, length in enumerate(lengths) if length >= run for k in range(length) if at + k < len(lengths)
    }
    assert covered(row, run) == len(inside) / len(lengths)


@given(st.floats(-40, -1e-6), st.floats(-40, -1e-6), st.sampled_from([0.01, 0.1, 0.5, 0.9, 0.999]))
def test_needed_queries_are_the_fewest(first, second, probability):
    low, high = (needed(value, probability) for value in sorted((first, second)))
    assert low is None or (high is not None and high <= low)
    count = needed(first, probability)
    miss = math.log1p(-math.exp(first))
    if count is not None:
        assert -math.expm1(count * miss) >= probability * (1 - 1e-12)
        assert count == 1 or -math.expm1((count - 1) * miss) < probability * (1 + 1e-12)


@given(st.text("abc春 ", max_size=900), st.text("abc春 ", max_size=900))
@settings(max_examples=50)
def test_sketches_of_equal_passages_are_equal(first, second):
    one, other = fold(first), fold(second)
    rows = sketch(one, passages(one))
    assert rows.shape == (len(passages(one)), BINS)
    for start, row in zip(passages(one).tolist(), rows, strict=True):
        alone = one[start : start + 512]
        assert (sketch(alone, np.array([0])) == row).all()
    assert jaccard(shingles(one), shingles(other)) == jaccard(shingles(other), shingles(one))
    assert jaccard(shingles(one), shingles(one)) == (1.0 if len(one) >= 8 else 0.0)
