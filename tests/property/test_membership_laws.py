"""The laws that ``audit.membership`` and ``audit.signals`` state."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.audit.membership import LEAST_WORKS, Measured, distinct, doubled_ranks, infer, recompute
from countermark.audit.signals import measure_texts, text_traits
from countermark.errors import CountermarkError, HeldOutOverlap, InputError, ProofInvalid

seeds = st.integers(0, 2**32)


def measured(seed, works=80, unseen=75, shift=0.0, ties=False):
    rng = np.random.default_rng(seed)
    count = works + unseen
    signals = {name: rng.normal(size=count) for name in ("nearest", "loss")}
    for values in signals.values():
        values[:works] -= shift
    if ties:
        signals = {name: np.round(values) for name, values in signals.items()}
    traits = {"brightness": rng.normal(size=count)}
    return Measured("images", works, f"sha256:{seed}", signals, traits, (np.arange(count) + 1) % count)


@settings(max_examples=20, deadline=None)
@given(seeds, st.booleans())
def test_only_ranks_of_a_signal_matter(seed, ties):
    one = measured(seed, ties=ties)
    other = Measured(
        one.kind, one.works, one.digest, {name: np.exp(values / 3) for name, values in one.signals.items()},
        {name: values**3 for name, values in one.traits.items()}, one.neighbor,
    )  # fmt: skip
    a, b = (infer(each, permutations=199, level=0.1) for each in (one, other))
    assert (a.p_value, a.auc, a.same_source, a.signs) == (b.p_value, b.auc, b.same_source, b.signs)
    assert 1 / 200 <= a.p_value <= 1


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0, 2))
def test_a_document_follows_from_its_signals(seed, shift):
    answer = infer(measured(seed, shift=shift), permutations=199, level=0.05, subject={"name": "a model"})
    document = json.loads(json.dumps(answer.to_json()))
    again = recompute(document)
    assert (again.p_value, again.verdict) == (answer.p_value, answer.verdict)


def changes(document):
    """Documents that say a little more than their signals do."""
    paths = (
        ("test", "p"), ("test", "auc"), ("test", "floor"), ("verdict",), ("same_source", "p"), ("works",),
        ("same_source", "warning"), ("signals", "loss"), ("traits", "brightness"), ("neighbor",), ("test", "signals"),
        ("level",), ("digest",), ("reason",), ("test", "permutations"), ("kind",),
    )  # fmt: skip
    for path in paths:
        for value in (0.001, "used", True, [1.0], None, {}, 10**30):
            changed = copy.deepcopy(document)
            place = changed
            for name in path[:-1]:
                place = place[name]
            if place[path[-1]] != value:
                place[path[-1]] = value
                yield changed


def test_what_does_not_follow_is_refused():
    document = infer(measured(5), permutations=199, level=0.05).to_json()
    recompute(document)
    for changed in changes(document):
        with pytest.raises((ProofInvalid, InputError)):
            recompute(changed)


NAMES = ("kind", "works", "digest", "signals", "traits", "neighbor", "test", "level")
leaves = st.none() | st.integers() | st.text(max_size=3)
strange = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
)


@settings(deadline=None)
@given(strange)
def test_strange_documents_are_refused(document):
    with pytest.raises(CountermarkError):
        recompute(document)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40))
def test_doubled_ranks_are_ranks_with_ties_at_their_mean(values):
    ranks = doubled_ranks(np.array(values))
    assert ranks.sum() == len(values) * (len(values) + 1)
    for value, rank in zip(values, ranks.tolist(), strict=True):
        below, equal = sum(v < value for v in values), values.count(value)
        assert rank == 2 * below + equal + 1


@given(st.lists(st.sampled_from("abcdef"), max_size=12), st.lists(st.sampled_from("ghijkl"), max_size=12), st.randoms())
def test_works_count_once_in_an_order_that_nobody_chose(works, unseen, random):
    places = distinct(works, unseen)
    assert [works[i] for i in places[0]] == sorted(set(works))
    shuffled = random.sample(works, len(works))
    assert [shuffled[i] for i in distinct(shuffled, unseen)[0]] == sorted(set(works))
    if works:
        with pytest.raises(HeldOutOverlap, match="1 works are called unseen"):
            distinct(works, [*unseen, works[0]])


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_works_does_not_matter(random):
    texts = [" ".join(random.choice(["red", "green", "blue"]) + str(i) for _ in range(6)) for i in range(160)]
    works, unseen = texts[:85], texts[85:]

    def model(text):
        return -1 - (np.frombuffer(text.encode(), np.uint8) % 7) / (8 if text in works else 7)

    one = infer(measure_texts(works, unseen, model), permutations=199, level=0.1)
    random.shuffle(works)
    other = infer(measure_texts(works + works[:3], unseen[::-1], model), permutations=199, level=0.1)
    assert one.to_json() == other.to_json()


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_traits_of_a_text_are_its_own(texts):
    assert {name: values[0] for name, values in text_traits(texts[:1]).items()} == {
        name: values[0] for name, values in text_traits(texts).items()
    }


def test_too_few_works_are_refused():
    for works, unseen in ((LEAST_WORKS - 1, 100), (100, LEAST_WORKS - 1)):
        with pytest.raises(InputError, match="too few"):
            measured(1, works, unseen)
    infer(measured(1, LEAST_WORKS, LEAST_WORKS), permutations=99, level=0.05)
