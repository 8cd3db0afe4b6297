"""What the audit page says: every image counts, nothing is drawn twice, nothing unescaped, and limits hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.audit.decisions import benjamini_hochberg
from countermark.audit.images.examine import Examiner
from countermark.audit.images.store import ImageStore
from countermark.errors import InputError
from countermark.web import panels
from countermark.web.audit_page import _asked, _number, _whole
from countermark.web.cases import FDR, MANY, MOST_LOOKS, MOST_SEED, Case, Look, Visit, draw

SHAPE = (6, 6, 1)
HOSTILE = "<script>alert(1)</script>"


class Copyist:
    """Repeats training images with a little noise for even seeds, and makes new ones for odd seeds."""

    name, shape = HOSTILE, SHAPE

    def __init__(self, train: np.ndarray[Any, Any]) -> None:
        self._train = train

    def labels(self, count: int) -> None:
        return None

    def sample(self, count: int, *, seed: int, progress: Any = None) -> np.ndarray[Any, Any]:
        if seed % 2:
            return images(count, 1000 + seed)
        random = np.random.default_rng(seed)
        chosen = self._train[random.integers(0, len(self._train), MANY)[:count]].copy()
        chosen[:, 0, 0] ^= 1
        return chosen


def images(count: int, seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def case() -> Case:
    train = ImageStore.of(images(60, 1))
    examiner = Examiner.prepare(train, ImageStore.of(images(200, 2)))
    return Case(HOSTILE, Copyist(images(60, 1)), examiner)


def say(template: str, /, **params: object) -> str:
    return template.format(**params)


def test_a_copy_is_shown_with_its_training_image_and_counted(case: Case) -> None:
    visit = draw(case, Visit(), 4, 1)
    assert len(visit.named()) == 1
    shown = panels.finding(say, case, visit)
    assert "This image lies nearer to a training image than chance explains: of 200 real images" in shown
    assert "0 come as near (p = 0.005)" in shown
    assert shown.count("<img ") == 3
    assert "this image" in shown
    assert "1 of 1 images of this model are named" in panels.copies(say, case, visit)


def test_a_new_image_is_not_named_and_the_page_says_what_could_not_be(case: Case) -> None:
    visit = draw(case, Visit(), 3, MANY)
    assert visit.named_of(3) == 0
    assert "Of these 100 images of seed 3, 0 are named" in panels.finding(say, case, visit)
    listed = panels.copies(say, case, visit)
    assert "0 of 100 images of this model" in listed
    assert f"Fewer than {visit.smallest(200)} copies among so many" in listed


def test_a_hundred_of_a_copyist_are_named_and_drawing_them_again_changes_nothing(case: Case) -> None:
    visit = draw(case, Visit(), 2, MANY)
    assert visit.named_of(2) > 90
    again = draw(case, visit, 2, MANY)
    assert again.looks == visit.looks
    single = draw(case, visit, 2, 1)
    assert single.looks == visit.looks
    assert single.last is not None
    assert single.last.at == 0
    assert "made by the model</title>" not in panels.finding(say, case, single)


def test_names_are_escaped_and_pictures_are_data(case: Case) -> None:
    visit = draw(case, Visit(), 4, 1)
    for panel in (panels.heading(say), panels.about(say, case), panels.finding(say, case, visit)):
        assert "<script" not in panel
        assert "://" not in panel
    assert "Nothing was made yet." in panels.finding(say, case, Visit())
    assert panels.copies(say, case, Visit()) == ""


@pytest.mark.parametrize(("seed", "count"), [(-1, 1), (MOST_SEED + 1, 1), (0, 0), (0, MANY + 1)])
def test_seeds_and_counts_are_bounded(case: Case, seed: int, count: int) -> None:
    with pytest.raises(InputError):
        draw(case, Visit(), seed, count)


def test_a_visit_is_bounded(case: Case) -> None:
    look = draw(case, Visit(), 4, 1).looks[0]
    with pytest.raises(InputError):
        draw(case, Visit(looks=(look,) * MOST_LOOKS), 1, 1)


def test_only_pictures_that_may_be_shown_again_are_kept(case: Case) -> None:
    visit = draw(case, Visit(), 3, 20)
    assert all((look.image is not None) == (look.item.p <= FDR) for look in visit.looks)
    assert visit.last is not None
    assert visit.last.image is not None


@pytest.mark.parametrize(
    ("value", "seed"),
    [(3, 3), (3.0, 3), (2.5, -1), (None, -1), ("3", -1), (True, -1), (float("nan"), -1), (1e30, -1), (-4, -1)],
)
def test_what_is_no_seed_is_refused(value: object, seed: int) -> None:
    assert _whole(value) == seed


def test_what_a_browser_sends_is_never_believed(case: Case) -> None:
    assert [_number(value, [case, case]) for value in (1, 2, -1, "1", None, True)] == [1, 0, 0, 0, 0, 0]
    assert [_asked(header) for header in ("zh-CN,zh;q=0.9", "ZH", "fr", "")] == ["zh", "zh", "en", "en"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.floats(0.001, 1.0)), max_size=40))
def test_copies_are_what_the_procedure_names_over_all_images_drawn_once(drawn: list[tuple[int, int, float]]) -> None:
    class Item:
        def __init__(self, p: float) -> None:
            self.p, self.score = p, p

    visit = Visit()
    for seed, at, p in drawn:
        visit = visit.seen([Look(seed, at, None, Item(p))])  # type: ignore[arg-type]
    first: dict[tuple[int, int], float] = {}
    for seed, at, p in drawn:
        first.setdefault((seed, at), p)
    named = (benjamini_hochberg(list(first.values())) <= FDR).sum() if first else 0
    assert len(visit.looks) == len(first)
    assert len(visit.named()) == named
