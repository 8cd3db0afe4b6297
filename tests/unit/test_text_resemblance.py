"""Replies found again by what stands in a suspect."""

from hypothesis import given
from hypothesis import strategies as st

from countermark.marking.text.resemblance import containment, sketch

REPLY = (
    "It was late in the evening when the keeper came down from the lamp, and he found the door open and the floor wet,"
    " though it had not rained for a week. 春眠不覺曉,處處聞啼鳥,夜來風雨聲,花落知多少。"
)
OTHER = (
    "Nobody had told the surveyors that the bridge was gone, so they walked down to the river with their instruments"
    " and stood there for a while, counting the piers that were left."
)


def test_a_reply_stands_in_itself_and_in_what_quotes_it():
    assert containment([REPLY], sketch(REPLY)) == 1.0
    assert containment([OTHER + "\n" + REPLY.upper().replace(" ", "  ")], sketch(REPLY)) == 1.0
    assert containment([OTHER, REPLY], sketch(REPLY)) == 1.0


def test_an_edited_part_is_still_like_it():
    words = REPLY.split(" ")
    edited = " ".join(word for i, word in enumerate(words) if i % 10 != 9)
    assert containment([OTHER + edited], sketch(REPLY)) > 0.5
    assert 0.3 < containment([REPLY[: len(REPLY) // 2]], sketch(REPLY)) < 0.7


def test_another_text_is_not():
    assert containment([OTHER], sketch(REPLY)) < 0.05
    assert containment([], sketch(REPLY)) == 0.0
    assert containment([REPLY], sketch("short")) == containment([REPLY], {}) == 0.0


@given(st.text(max_size=400), st.text(max_size=400))
def test_containment_is_a_share(reply, suspect):
    assert 0.0 <= containment([suspect], sketch(reply)) <= 1.0
    assert containment([reply], sketch(reply)) == (1.0 if sketch(reply)["shingles"] else 0.0)
