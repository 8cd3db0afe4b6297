"""The laws of answers taken window by window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.keys import DetectionKey, Secret
from countermark.marking import Detection, NotExamined
from countermark.marking.image.observations import pattern_p_value
from countermark.marking.image.pattern import ANCHORS, PILOTS, TURNS
from countermark.marking.image.preview import Box
from countermark.workflows.regions import OWN_LEVEL, Regions, Windows

KEYS = [DetectionKey.derive(Secret(bytes([n]) * 32), method="m", model="00" * 32, epoch=0) for n in range(3)]


# Two nonces of one hand, and two of others.
NONCES = (0, 1, TURNS, 3 * TURNS)


def window(number: int, p_value: float, nonce: int, anchors: bool, others: bool) -> tuple[Box, Detection]:
    """A window whose anchors agree with its nonce, or whose other pilots do, or both, or neither."""
    observations = {
        "cosines": [float(anchors)] * ANCHORS + [float(others)] * (PILOTS - ANCHORS),
        "weights": [1.0] * PILOTS,
        "windows": 9,
        "anchored": False,
    }
    seen = Detection(
        method="m",
        key_id="",
        p_value=p_value,
        statistic=0.0,
        trials=1,
        searched=1,
        word=1,
        words_tried=1,
        nonce=nonce,
        observations=observations,
    )
    return (number, 0, number + 1, 1), seen


windows = st.lists(
    st.tuples(st.floats(1e-30, 0.99), st.sampled_from(NONCES), st.booleans(), st.booleans()), min_size=1, max_size=9
).map(lambda drawn: [window(number, *each) for number, each in enumerate(drawn)])
nothing = st.just(NotExamined("too-small", ""))
suspects = st.lists(windows | nothing, min_size=1, max_size=3).map(
    lambda seen: Regions(tuple((1, epoch, KEYS[epoch], each) for epoch, each in enumerate(seen)))
)


def taken(regions: Regions) -> list[tuple[str, float, int | None]]:
    """Take answers until nothing is left; each by key, p-value and nonce."""
    answers = []
    while True:
        looks = [(each.key.key_id, each.seen) for each in regions.sightings() if isinstance(each.seen, Detection)]
        key, best = min(looks, key=lambda pair: pair[1].p_value, default=("", None))
        if best is None or best.p_value == 1.0:
            return answers
        answers.append((key, best.p_value, best.nonce))
        regions = regions.without(key)


@given(suspects)
def test_answers_come_by_p_value_and_each_nonce_once(regions: Regions) -> None:
    answers = taken(regions)
    assert [p for _, p, _ in answers] == sorted(p for _, p, _ in answers)
    shown = [(key, nonce) for key, _, nonce in answers]
    assert len(set(shown)) == len(shown)
    for _, _, key, seen in regions.seen:
        if not isinstance(seen, NotExamined):
            best = min(seen, key=lambda each: each[1].p_value)[1].nonce
            others = {each.nonce for _, each in seen if proves(each)}
            assert {best} <= {nonce for of, nonce in shown if of == key.key_id} <= {best} | others


def proves(seen: Detection) -> bool:
    """Say whether a window proves its nonce with all of its pilots, whatever was taken before."""
    return pattern_p_value(seen.observations, anchors_explained=False) <= OWN_LEVEL


def test_windows_across_an_edge_are_not_another_picture() -> None:
    clear, same, edge, other = (
        window(0, 1e-30, 0, anchors=True, others=True),
        window(1, 1e-20, 0, anchors=True, others=True),
        window(2, 1e-10, 1, anchors=True, others=False),
        window(3, 1e-9, 5 * TURNS, anchors=False, others=False),
    )
    suspect = Regions(((1, 0, KEYS[0], [clear, same, edge, other]),))
    assert [nonce for _, _, nonce in taken(suspect)] == [0]
    twin = window(4, 1e-8, 2, anchors=True, others=True)
    assert [nonce for _, _, nonce in taken(Regions(((1, 0, KEYS[0], [clear, edge, twin]),)))] == [0, 2]


@given(suspects)
def test_every_key_counts_in_every_answer(regions: Regions) -> None:
    examined = [isinstance(each.seen, Detection) for each in regions.sightings()]
    for key, _, _ in taken(regions):
        regions = regions.without(key)
        assert [isinstance(each.seen, Detection) for each in regions.sightings()] == examined


@given(windows)
def test_the_place_is_the_best_windows(seen: Windows) -> None:
    best = min(seen, key=lambda each: each[1].p_value)
    assert Regions(((1, 0, KEYS[0], seen),)).box(KEYS[0].key_id) == best[0]
