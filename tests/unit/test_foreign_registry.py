"""Lists of candidate schemes: what is read, what is refused, and the correction for all that were tried."""

from __future__ import annotations

import json

import numpy as np
import pytest

from countermark.core.stats import holm
from countermark.errors import InputError
from countermark.marking.text.foreign.green_list import GreenList
from countermark.marking.text.foreign.gumbel import Gumbel
from countermark.marking.text.foreign.registry import Candidate, parse_schemes, whose
from countermark.marking.text.foreign.synthid import SynthId

LIST = [
    {"name": "acme", "scheme": "kgw", "vocabulary": 100, "seeding_scheme": "selfhash", "context_width": 4},
    {"name": "tournament", "scheme": "synthid", "ngram_len": 5, "keys": [1, -2, 3], "tokenizer": "models/other"},
    {"name": "engine", "scheme": "gumbel", "key": 2**64 - 1, "dual_key": True},
]


def read(value: object) -> tuple[Candidate, ...]:
    return parse_schemes(json.dumps(value).encode())


def test_a_list_is_read_with_defaults() -> None:
    acme, tournament, engine = read(LIST)
    assert acme.scheme == GreenList(name="acme", vocabulary=100, seeding_scheme="selfhash", context_width=4)
    assert tournament.scheme == SynthId(name="tournament", ngram_len=5, keys=(1, -2, 3))
    assert (acme.tokenizer, tournament.tokenizer) == (None, "models/other")
    assert engine.scheme == Gumbel(name="engine", key=2**64 - 1, dual_key=True)


@pytest.mark.parametrize(
    ("index", "changes", "said"),
    [
        (0, {"vocabulary": None}, "vocabulary is a whole number from 2"),
        (0, {"vocabulary": True}, "vocabulary is a whole number"),
        (0, {"vocabulary": 10**9}, "vocabulary is a whole number"),
        (0, {"greenlist_ratio": 1}, "greenlist_ratio is a number between 0 and 1"),
        (0, {"greenlist_ratio": 0.001}, "green list is empty"),
        (0, {"hashing_key": 0}, "hashing_key is a whole number"),
        (0, {"hashing_key": "x"}, "hashing_key is a whole number"),
        (0, {"seeding_scheme": "both"}, "seeding_scheme is one of lefthash, selfhash"),
        (0, {"seeding_scheme": [1]}, "seeding_scheme is one of"),
        (0, {"device": "tpu"}, "device is one of cpu, cuda"),
        (0, {"name": ""}, "a scheme has a name"),
        (0, {"name": "a\u202eb"}, "a scheme has a name"),
        (0, {"name": "engine"}, "two schemes are named engine"),
        (0, {"scheme": "stamp"}, "scheme is one of kgw, synthid, gumbel"),
        (0, {"scheme": ["kgw"]}, "scheme is one of"),
        (0, {"secret": 1}, "there is no field secret"),
        (1, {"keys": []}, "keys are 1 to 64 whole numbers"),
        (1, {"keys": 5}, "keys are 1 to 64 whole numbers"),
        (1, {"keys": "abc"}, "keys are 1 to 64 whole numbers"),
        (1, {"keys": [1.5]}, "keys is a whole number"),
        (1, {"keys": [2**63]}, "keys is a whole number"),
        (1, {"sampling_table_size": 1000}, "sampling_table_size is a power of two"),
        (1, {"sampling_table_size": 2**40}, "sampling_table_size is a whole number"),
        (1, {"tokenizer": "../x"}, "a path below the folder"),
        (1, {"tokenizer": "/etc"}, "a path below the folder"),
        (1, {"tokenizer": 3}, "a path below the folder"),
        (2, {"key": 2**64}, "key is a whole number"),
        (2, {"dual_key": 1}, "dual_key is true or false"),
        (2, {"prf": "md5"}, "prf is one of philox, hmac_sha256"),
        (2, {"context_width": 0}, "context_width is a whole number from 1 to 64"),
    ],
)
def test_what_is_wrong_is_named(index: int, changes: dict[str, object], said: str) -> None:
    items = [dict(item) for item in LIST]
    items[index] |= changes
    with pytest.raises(InputError) as caught:
        read(items)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "value", [{}, [], [1], [None], LIST * 40, [{"name": "x", "scheme": "kgw"}], [{"scheme": "kgw"}], "x"]
)
def test_other_shapes_are_refused(value: object) -> None:
    with pytest.raises(InputError):
        read(value)


@pytest.mark.parametrize(
    "data",
    [b"", b"[", b"\xff", b"[" * 10_000, b"[NaN]", b'[{"name": "a", "name": "b"}]', b" " * (2**20 + 1),
     b'[{"name": "x", "scheme": "gumbel", "key": 1' + b"0" * 5000 + b"}]"],
)  # fmt: skip
def test_hostile_files_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_schemes(data)


class Letters:
    """A tokenizer of single characters."""

    def rows(self, text: str) -> tuple[np.ndarray, ...]:
        return (np.array([ord(c) % 100 for c in text]),)


def test_all_that_were_examined_are_corrected_for() -> None:
    candidates = read([{"name": f"engine {key}", "scheme": "gumbel", "key": key} for key in range(5)])
    asked = []
    findings = whose(
        candidates, ["What is repeated counts once. " * 3, "abc"], lambda path: asked.append(path) or Letters()
    )
    assert asked == [None]
    assert [each.corrected for each in findings] == holm([each.detection.p_value for each in findings])
    short = whose(candidates, ["abc"], lambda path: Letters())
    assert [(each.corrected, each.found(0.05)) for each in short] == [(None, False)] * 5
