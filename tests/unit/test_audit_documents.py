"""Documents of audits from strangers: nothing in them is believed."""

import contextlib
import copy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermark.audit.documents import from_json
from countermark.audit.images.examine import Examiner
from countermark.audit.images.store import ImageStore
from countermark.audit.result import recompute
from countermark.core.canonical import canonical_json, parse_json
from countermark.errors import HostileFile, ProofInvalid


@pytest.fixture(scope="module")
def honest():
    generator = np.random.Generator(np.random.PCG64(1))
    images = generator.integers(0, 255, (160, 4, 4, 1)).astype(np.uint8)
    outputs = np.concatenate([images[:6], generator.integers(0, 255, (24, 4, 4, 1)).astype(np.uint8)])
    outputs[:6, 0, 0, 0] ^= 3
    examiner = Examiner.prepare(ImageStore.of(images[:60]), ImageStore.of(images[60:]), unseen_sets=9)
    return parse_json(canonical_json(examiner.audit(outputs, subject={"seed": 1}).to_json()))


@pytest.fixture
def document(honest):
    return copy.deepcopy(honest)


def put(document, path, value):
    *steps, last = path
    for step in steps:
        document = document[step]
    document[last] = value(document[last]) if callable(value) else value


def test_the_honest_document_is_accepted(document):
    assert recompute(document).decision.flagged >= 6


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("items", 0, "p"), 0.5),
        (("items", 0, "p"), lambda p: p * (1 + 1e-6)),
        (("items", 29, "q"), 0.001),
        (("items", 0, "flagged"), False),
        (("items", 29, "flagged"), True),
        (("items", 29, "score"), -20.0),
        (("items", 29, "rmse"), 0.001),
        (("items", 29, "ratio"), 0.01),
        (("items", 29, "l2_per_dim"), 0.01),
        (("items", 29, "next"), 0.9),
        (("calibration", "scores", 0), lambda score: score - 5),
        (("calibration", "rmse", 50), lambda rmse: rmse * 0.9),
        (("method", "fdr"), 1e-6),
        (("decision", "flagged"), 0),
        (("decision", "smallest_flaggable"), 1),
        (("decision", "at_least"), 0.9),
        (("decision", "interval"), [0.9, 1.0]),
        (("decision", "confidence"), 0.999),
        (("decision", "null_rate"), 0.0),
        (("decision", "threshold"), 0.5),
        (("decision", "below"), 29),
        (("decision", "verdict"), "no-copies-found"),
        (("decision", "verdict"), "innocent"),
        (("model_test", "p"), 0.001),
        (("model_test", "rank"), 3),
        (("model_test", "sets"), 999),
        (("model_test", "floor"), 0.001),
        (("model_test", "of_train"), 5.0),
        (("model_test", "of_unseen", 0), -50.0),
        (("model_test", "reason"), "too-few-unseen"),
        (("same_source", "warning"), lambda warning: not warning),
        (("cutoffs", 0, "value"), 0.5),
        (("cutoffs", 0, "false_positives"), 7),
        (("cutoffs", 1, "flagged"), 7),
        (("cutoffs", 2, "interval"), [0.0, 0.001]),
        (("copied", 0, "count"), 5),
        (("copied", 0, "items"), [29]),
        (("copied", 0, "nearest"), 50),
    ],
)
def test_a_claim_that_does_not_follow_is_refused(document, path, value):
    put(document, path, value)
    with pytest.raises(ProofInvalid):
        recompute(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("type",), "countermark.memorization-audit/2"),
        (("kind",), "sounds"),
        (("kind",), "texts"),
        (("items",), []),
        (("items",), {}),
        (("items", 0, "p"), "0.5"),
        (("items", 0, "p"), float("nan")),
        (("items", 0, "score"), float("-inf")),
        (("items", 0, "rmse"), 1e300),
        (("items", 0, "rmse"), -0.1),
        (("items", 0, "rmse"), True),
        (("items", 0, "flagged"), 1),
        (("items", 0, "nearest"), 60),
        (("items", 0, "nearest"), -1),
        (("items", 0, "nearest"), 2.0),
        (("items", 0, "nearest"), 2**60),
        (("items", 0, "item"), 1),
        (("items", 0, "label"), "seven"),
        (("items", 0, "transform"), {}),
        (("items", 0), None),
        (("calibration", "count"), 99),
        (("calibration", "scores"), []),
        (("calibration", "scores"), lambda scores: scores[::-1]),
        (("calibration", "rmse"), lambda rmse: rmse[:-1]),
        (("calibration", "changed"), {"distance": [], "next": []}),
        (("data", "held_out", "count"), 1_000_000),
        (("data", "held_out", "near", 0, "item"), 5000),
        (("data", "train", "count"), 3),
        (("data", "train", "digest"), "sha256:12"),
        (("data", "train", "duplicates"), 60),
        (("data", "held_out", "overlap"), 101),
        (("data", "train", "shape"), None),
        (("data", "train", "shape"), [2**50, 2**50]),
        (("data", "notes"), ["\x1b[2J"]),
        (("data", "notes"), ["\ud800"]),
        (("data", "notes"), ["x" * 100_000]),
        (("subject", "samples", "count"), 31),
        (("subject", "samples", "drawn"), 2),
        (("subject", "weights"), "nothing"),
        (("subject", "name"), None),
        (("method", "statistic"), "mine/1"),
        (("method", "aligned"), True),
        (("method", "neighbours"), 5000),
        (("method", "fdr"), 1.0),
        (("method", "fdr"), 0),
        (("model_test", "of_unseen"), []),
        (("cutoffs",), []),
        (("decision", "interval"), [0.1]),
        (("versions",), {"numpy": 2}),
        (("versions",), []),
        (("limits",), "none"),
        (("extra",), lambda _: 1),
    ],
)
def test_a_document_of_another_shape_is_refused(document, path, value):
    if path == ("extra",):
        document["extra"] = 1
    else:
        put(document, path, value)
    with pytest.raises(HostileFile):
        recompute(document)


def places(value, path=()):
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from places(entry, (*path, key))
    elif isinstance(value, list):
        for i, entry in enumerate(value[:3]):
            yield from places(entry, (*path, i))
    yield path


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_value_anywhere_brings_it_down(honest, data):
    document = copy.deepcopy(honest)
    path = data.draw(st.sampled_from([path for path in places(honest) if path]))
    junk = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=5),
        st.lists(st.integers(), max_size=3),
        st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
    )
    put(document, path, data.draw(junk))
    with contextlib.suppress(HostileFile, ProofInvalid):
        recompute(document)


@pytest.mark.parametrize("document", [None, [], "x", 7, {}, {"type": []}, {"type": "countermark.memorization-audit/1"}])
def test_what_is_no_audit_is_refused(document):
    with pytest.raises(HostileFile):
        from_json(document)


def test_reading_needs_no_framework():
    import subprocess
    import sys

    program = (
        "import sys, countermark.audit.result\n"
        "assert not {'torch', 'faiss', 'PIL', 'scipy', 'pyarrow'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
