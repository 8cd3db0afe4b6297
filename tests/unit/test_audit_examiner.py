"""The examiner of images on made-up pictures with known answers."""

import numpy as np
import pytest

from countermark.audit.images.examine import Examiner
from countermark.audit.images.store import ImageStore
from countermark.audit.result import recompute
from countermark.core.canonical import canonical_json, parse_json
from countermark.errors import HeldOutOverlap, HostileFile, IndexMismatch, InputError, NotFoundError

TRAINED, UNSEEN = 300, 400


def pictures(count, seed):
    """Return (count, 10, 10, 1): smooth blobs, no two alike."""
    generator = np.random.Generator(np.random.PCG64(seed))
    rows, columns = np.mgrid[0:10, 0:10]
    images = np.zeros((count, 10, 10))
    for _ in range(3):
        y, x, width, height = generator.random((4, count, 1, 1)) * [[[[9]]], [[[9]]], [[[3]]], [[[120]]]]
        images += (40 + height) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (1 + width) ** 2)
    return np.clip(images, 0, 255).astype(np.uint8)[..., None]


def noised(images, seed, noise=3):
    generator = np.random.Generator(np.random.PCG64(seed))
    return np.clip(np.rint(images + generator.normal(0, noise, images.shape)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data():
    images, labels = pictures(TRAINED + UNSEEN, 1), np.arange(TRAINED + UNSEEN) % 3
    train = ImageStore.of(images[:TRAINED], labels[:TRAINED], data_name="trained")
    return train, ImageStore.of(images[TRAINED:], labels[TRAINED:], data_name="unseen")


@pytest.fixture(scope="module")
def examiner(data):
    return Examiner.prepare(*data, unseen_sets=9)


@pytest.fixture(scope="module")
def outputs(data):
    """Return 80 outputs: unseen ones, but for 20 copies of the first four training images."""
    fresh = pictures(80, 2)
    fresh[10:30] = noised(data[0].take([0, 1, 2, 3] * 5), 3)
    return fresh


def test_copies_are_found_named_and_counted(examiner, outputs):
    audit = examiner.audit(outputs, subject={"name": "m", "seed": 4})
    flagged = [item.item for item in audit.items if item.flagged]
    assert set(range(10, 30)) <= set(flagged)
    assert len(flagged) <= 24
    assert [entry.nearest for entry in audit.copied[:4]] == [0, 1, 2, 3]
    assert audit.copied[0].name == "trained[0]"
    assert audit.decision.verdict == "copies-found"
    assert 0.05 < audit.decision.at_least < 0.25
    assert audit.subject.samples.seed == 4
    assert audit.items[10].rmse < 0.02 < 0.5 * audit.items[10].next


def test_unseen_images_are_not_flagged(examiner):
    audit = examiner.audit(pictures(80, 5))
    assert audit.decision.flagged == 0
    assert audit.decision.at_least == 0
    assert audit.decision.verdict == "no-copies-found"
    assert not audit.same_source.warning


def test_the_document_recomputes_after_canonical_json(examiner, outputs):
    audit = examiner.audit(outputs, made_at="2026-01-01T00:00:00Z")
    assert recompute(parse_json(canonical_json(audit.to_json()))) == audit


def test_the_training_set_of_a_copyist_ranks_first(examiner, data, outputs):
    test = examiner.audit(outputs).model_test
    assert (test.sets, test.set_size, test.subset) == (9, UNSEEN // 9, True)
    copyist = examiner.audit(noised(data[0].take(range(200)), 6)).model_test
    assert copyist.p == pytest.approx(0.1)
    assert copyist.rank == 1
    assert copyist.floor == copyist.p


def test_too_few_unseen_images_for_sets_are_said_so(data):
    few = ImageStore.of(data[1].take(range(60)))
    test = Examiner.prepare(data[0], few).audit(pictures(5, 7)).model_test
    assert (test.p, test.reason) == (None, "too-few-unseen")


def test_one_training_image_can_be_audited(data):
    one = ImageStore.of(data[0].take([0]))
    audit = Examiner.prepare(one, data[1]).audit(noised(data[0].take([0] * 30), 8))
    assert audit.decision.flagged == 30
    assert audit.method.neighbours == 0
    assert audit.same_source.p is None
    assert recompute(audit.to_json()) == audit
    assert audit.model_test.set_size == 1


def test_exact_copies_of_repeated_images_have_finite_scores(data):
    train = ImageStore.of(np.repeat(data[0].take([0, 1]), 60, axis=0))
    audit = Examiner.prepare(train, data[1]).audit(data[0].take([0, 1] * 20))
    assert audit.decision.flagged == 40
    assert {item.rmse for item in audit.items} == {0.0}
    assert audit.data.train.duplicates == 118
    assert recompute(parse_json(canonical_json(audit.to_json()))) == audit


def test_the_draws_depend_on_the_data_alone(data, outputs):
    first, second = (Examiner.prepare(*data, unseen_sets=5).audit(outputs) for _ in range(2))
    assert first.model_test == second.model_test
    assert first.same_source == second.same_source


def test_the_order_of_outputs_and_their_company_change_no_score(examiner, outputs):
    alone = examiner.look(outputs[12])
    whole = examiner.audit(outputs[::-1])
    assert alone.score == whole.items[len(outputs) - 13].score
    assert alone.p == whole.items[len(outputs) - 13].p
    assert alone.flagged


def test_search_by_label_calibrates_by_label(data, outputs):
    examiner = Examiner.prepare(*data, same_label=True, unseen_sets=5)
    audit = examiner.audit(outputs, np.array([0, 1, 2, 0] * 20))
    assert "same-label" in audit.limits
    assert all(item.nearest_label == item.label for item in audit.items)
    assert recompute(audit.to_json()) == audit
    with pytest.raises(InputError, match="needs labels"):
        examiner.audit(outputs)
    with pytest.raises(InputError, match="no training image has the label 9"):
        examiner.audit(outputs, np.full(80, 9))


def test_held_out_images_that_were_trained_on_are_refused_by_name(data):
    mixed = ImageStore.of(np.concatenate([data[1].take(range(100)), data[0].take([5, 6])]), data_name="mixed")
    with pytest.raises(HeldOutOverlap, match=r"2 of 102 .*mixed\[100\] = trained\[5\]"):
        Examiner.prepare(data[0], mixed)


def test_few_of_them_are_kept_counted_and_named(data):
    mixed = ImageStore.of(np.concatenate([data[1].take(range(400)), data[0].take([5])]))
    audit = Examiner.prepare(data[0], mixed).audit(pictures(20, 9))
    assert audit.data.held_out.overlap == 1
    assert (audit.data.held_out.near[0].item, audit.data.held_out.near[0].nearest) == (400, 5)
    assert "overlap-kept" in audit.limits


def test_a_shifted_held_out_set_is_warned_of(data):
    bright = ImageStore.of(np.clip(data[1].take(range(UNSEEN)).astype(int) + 60, 0, 255).astype(np.uint8))
    audit = Examiner.prepare(data[0], bright).audit(pictures(20, 9))
    assert audit.same_source.warning
    assert "source-differs" in audit.limits


def test_a_saved_examiner_gives_the_same_audit(examiner, data, outputs, tmp_path):
    examiner.save(tmp_path)
    assert Examiner.open(tmp_path, *data).audit(outputs) == examiner.audit(outputs)


def test_a_saved_examiner_is_refused_with_other_data(examiner, data, tmp_path):
    examiner.save(tmp_path)
    other = data[0].take(range(TRAINED)).copy()
    other[7, 0, 0, 0] ^= 1
    with pytest.raises(IndexMismatch, match=r"its train\.digest"):
        Examiner.open(tmp_path, ImageStore.of(other), data[1])
    with pytest.raises(IndexMismatch, match=r"its held_out\.digest"):
        Examiner.open(tmp_path, data[0], ImageStore.of(pictures(UNSEEN, 10)))


def test_a_saved_examiner_that_was_tampered_with_is_refused(examiner, data, tmp_path):
    with pytest.raises(NotFoundError):
        Examiner.open(tmp_path, *data)
    examiner.save(tmp_path)
    path = tmp_path / "examiner.json"
    path.write_bytes(path.read_bytes().replace(b'"neighbours":50', b'"neighbours":"50"'))
    with pytest.raises(HostileFile, match="neighbours"):
        Examiner.open(tmp_path, *data)
    path.write_bytes(b"[]")
    with pytest.raises(InputError, match="no saved examiner"):
        Examiner.open(tmp_path, *data)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"align": True, "descriptor": object()}, "not both"),
        ({"unseen_sets": 0}, "at least one unseen set"),
    ],
)
def test_options_that_cannot_be_are_refused(data, wrong, message):
    with pytest.raises(InputError, match=message):
        Examiner.prepare(*data, **wrong)


def test_other_shapes_and_rates_are_refused(examiner, data):
    with pytest.raises(InputError, match="9x10x1"):
        examiner.audit(pictures(3, 1)[:, :9])
    with pytest.raises(InputError, match="one shape"):
        Examiner.prepare(data[0], ImageStore.of(pictures(30, 1)[:, :9]))
    with pytest.raises(InputError, match="between 0 and 1"):
        examiner.audit(pictures(3, 1), fdr=1.0)


def test_progress_counts_images(data, examiner, outputs):
    told = []
    examiner.audit(outputs, progress=lambda *state: told.append(state))
    assert told[-1] == (80, 80, "images")


def test_alignment_finds_moved_and_relit_copies(data):
    examiner = Examiner.prepare(*data, align=True, unseen_sets=5)
    changed = np.clip(data[0].take(range(40))[:, :, ::-1] * 0.8 + 10, 0, 255).astype(np.uint8)
    audit = examiner.audit(np.concatenate([pictures(40, 11), changed]))
    found = [item for item in audit.items[40:] if item.flagged]
    assert len(found) >= 36
    assert all(item.transform is not None and item.transform.mirror for item in found)
    assert sum(item.source == item.item - 40 for item in found) >= 36
    assert recompute(parse_json(canonical_json(audit.to_json()))) == audit
