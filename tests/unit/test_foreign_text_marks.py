"""Watermarks of others, read: the engines' own code and known answers beside ours, and p-values that hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from countermark.core.stats import holm
from countermark.errors import CountermarkError, InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.text.foreign import green_list, gumbel, synthid
from countermark.marking.text.foreign.green_list import GreenList
from countermark.marking.text.foreign.gumbel import Gumbel
from countermark.marking.text.foreign.prf import philox
from countermark.marking.text.foreign.synthid import SynthId

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

V = 400
KEYS = tuple(range(654, 654 + 20 * 37, 37))
LEFT = GreenList(name="left", vocabulary=V, greenlist_ratio=0.3)
SELF = GreenList(name="self", vocabulary=V, seeding_scheme="selfhash", context_width=4, hashing_key=987_654_321_987)
SYNTHID = SynthId(name="synthid", ngram_len=5, keys=KEYS)
ENGINE = Gumbel(name="engine", key=42)
RECOMPUTE = {"kgw": green_list.recompute, "synthid": synthid.recompute, "gumbel": gumbel.recompute}


def noise(length: int, seed: int, low: int = 1, high: int = V) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).integers(low, high, length)


def p_value(scheme, *texts) -> float:
    found = scheme.detect(*texts)
    assert isinstance(found, Detection)
    return found.p_value


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        eos_token_id=None, bos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def replies(model) -> dict[str, np.ndarray]:
    """A reply under each scheme: by transformers' own generators, and by our sampler for the engine."""
    made = {}
    ids = torch.from_numpy(noise(5, 2)[None])
    for scheme in (LEFT, SELF, SYNTHID):
        torch.manual_seed(3)
        whole = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, max_new_tokens=100,
            watermarking_config=scheme.config(),
        )  # fmt: skip
        made[scheme.name] = whole.numpy()[0, 5:]
    made["engine"] = written(ENGINE, 100, lambda _: np.zeros((1, V), np.float32))
    return made


def written(scheme: Gumbel, length: int, logits, second=lambda _: False) -> np.ndarray:
    text = [-1] * scheme.context_width
    for place in range(length):
        context = np.array([text[-scheme.context_width :]])
        text.append(int(scheme.choose(logits(place), context, second=second(place))[0]))
    return np.array(text[scheme.context_width :])


def test_each_reply_shows_the_watermark_that_it_has_and_no_other(replies) -> None:
    for scheme in (LEFT, SELF, SYNTHID, ENGINE):
        for name, text in replies.items():
            p = p_value(scheme, text)
            assert p < 1e-10 if name == scheme.name else p > 1e-4, (scheme.name, name, p)


def test_a_detection_follows_from_its_observations(replies) -> None:
    for scheme in (LEFT, SELF, SYNTHID, ENGINE, Gumbel(name="two", key=7, dual_key=True, prf="hmac_sha256")):
        found = scheme.detect(replies["left"])
        again = RECOMPUTE[scheme.KIND](found.observations)
        assert (again.p_value, again.statistic, again.trials) == (found.p_value, found.statistic, found.trials)
        assert (found.word, found.words, found.words_tried, found.searched) == (None, (), 0, 1)
        assert found.method.startswith("text.")
        assert str(scheme.key if scheme.KIND == "gumbel" else 987_654_321_987) not in found.method.split(";", 1)[0]


def test_copies_add_nothing(replies) -> None:
    for scheme in (LEFT, SELF, SYNTHID, ENGINE):
        text = replies["left"]
        assert p_value(scheme, text, text, (text, text)) == p_value(scheme, text)


def test_what_is_too_short_is_not_examined() -> None:
    for scheme in (LEFT, SELF, SYNTHID, ENGINE):
        for text in (noise(8, 1), np.full(500, 3), np.zeros(0, np.int64)):
            found = scheme.detect(text)
            assert isinstance(found, NotExamined)
            assert found.reason == "too-short"
    with pytest.raises(InputError):
        ENGINE.detect(np.array([-1, 3]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_scheme_of_a_missing_device_is_not_examined() -> None:
    for scheme in (
        GreenList(name="a", vocabulary=V, device="cuda"),
        SynthId(name="b", ngram_len=5, keys=(1,), device="cuda"),
    ):
        found = scheme.detect(noise(100, 1))
        assert isinstance(found, NotExamined)
        assert found.reason == "no-device"


# transformers' green lists


def test_left_hash_counts_what_transformers_counts() -> None:
    text = noise(300, 4)
    config = transformers.LlamaConfig(vocab_size=V, bos_token_id=0)
    theirs = transformers.WatermarkDetector(config, "cpu", LEFT.config(), ignore_repeated_ngrams=True)
    counted = theirs(torch.from_numpy(text[None]), return_dict=True)
    found = LEFT.detect(text)
    assert found.trials == counted.num_tokens_scored[0]
    assert found.observations["found"] == counted.num_green_tokens[0]
    assert found.observations["list"] == int(V * 0.3)


@pytest.mark.parametrize("width", [1, 4])
def test_self_hash_counts_the_lists_that_transformers_draws(width: int) -> None:
    text = noise(200, 5)
    scheme = GreenList(
        name="x", vocabulary=V, seeding_scheme="selfhash", context_width=width, hashing_key=2**62 + 12345
    )
    theirs = scheme.config().construct_processor(V, "cpu")
    pairs = {}
    for end in range(width, len(text) + 1):
        gram = torch.from_numpy(text[end - width : end])
        green = theirs._get_greenlist_ids(gram)
        pairs[theirs.rng.initial_seed() % 2**32, int(gram[-1])] = int(gram[-1] in green)
    found = scheme.detect(text)
    assert (found.trials, found.observations["found"]) == (len(pairs), sum(pairs.values()))


def test_repeated_text_makes_transformers_sure_and_not_us() -> None:
    """An unmarked text whose share of green tokens is a little high, twenty times over."""
    config = transformers.LlamaConfig(vocab_size=V, bos_token_id=0)
    theirs = transformers.WatermarkDetector(config, "cpu", LEFT.config())
    text = next(t for t in (noise(100, seed) for seed in range(50)) if 0.01 < p_value(LEFT, t) < 0.1)
    often = np.tile(text, 20)
    assert theirs(torch.from_numpy(often[None]), return_dict=True).p_value[0] < 1e-10
    assert 0.005 < p_value(LEFT, often) < 0.2


def test_n_grams_that_share_a_list_count_once() -> None:
    """Token x has the least product, so that "x ? ? t" has one list for all fillers: one coin, not a hundred."""
    table = SELF.config().construct_processor(V, "cpu").fixed_table
    last = 7
    x = int((SELF.hashing_key * (table[:V] + 1) * (table[last] + 1)).argmin())
    pieces = [np.array([x, filler, filler + 1, last]) for filler in range(20, 220, 2)]
    found = SELF.detect(*pieces)
    assert isinstance(found, NotExamined), "a hundred n-grams, and one list"


def test_keys_that_make_few_lists_are_counted_as_such() -> None:
    """Torch's generator on a CPU sees 32 bits of a seed: a key of 2**32 draws one list for every context."""
    text = noise(600, 6)
    found = GreenList(name="x", vocabulary=V, hashing_key=2**32).detect(text)
    assert found.trials == len(set(text[1:].tolist()))
    assert found.observations["groups"] == [[found.trials, 1]]


def test_what_no_key_chose_is_left_out() -> None:
    """After token 0 every key draws the same list; tokens beyond the vocabulary are on none."""
    text = noise(300, 7)
    inserted = np.insert(text, [40, 90], [0, V + 5])
    plain = {(a, b) for a, b in itertools.pairwise(inserted) if a != 0 and b < V}
    assert LEFT.detect(inserted).trials == len(plain)


# transformers' SynthID


def test_g_values_are_those_of_transformers() -> None:
    text = noise(120, 8)
    theirs = SYNTHID.config().construct_processor(V, "cpu")
    tokens = torch.from_numpy(text[None])
    g_values = theirs.compute_g_values(tokens)[0].numpy()
    assert theirs.compute_context_repetition_mask(tokens).all()
    found = SYNTHID.detect(text)
    assert found.observations["ngrams"] == len(g_values) == found.trials / len(KEYS)
    assert [value for _, value in found.observations["rounds"]] == g_values.sum(axis=0).tolist()
    weights = np.linspace(10, 1, len(KEYS))
    assert found.statistic == pytest.approx(float((g_values @ weights).mean() / weights.sum()))


def test_the_law_of_a_round_is_that_of_every_key() -> None:
    text = noise(60, 9)
    scheme = SynthId(name="small", ngram_len=3, keys=(5, 64 + 9, -3), sampling_table_size=64, sampling_table_seed=11)
    every = SynthId(name="all", ngram_len=3, keys=tuple(range(64)), sampling_table_size=64, sampling_table_seed=11)
    found = scheme.detect(text)
    # Of n-grams of one residue, one counts.
    theirs = every.config().construct_processor(V, "cpu")
    tokens = torch.from_numpy(text[None])
    g_values = theirs.compute_g_values(tokens)[0].numpy()
    distinct = np.unique(g_values, axis=0)
    assert found.observations["ngrams"] == len(distinct) < len(g_values)
    sums = distinct.sum(axis=0)
    low = found.observations["low"]
    assert found.observations["law"] == np.bincount(sums - low).tolist()
    assert [value for _, value in found.observations["rounds"]] == [sums[5], sums[9], sums[61]]


def test_rounds_with_one_residue_count_once_and_nothing_counts_after_the_end() -> None:
    text = noise(100, 10)
    twice = SynthId(name="twice", ngram_len=5, keys=(7, 7 + 2**16, 9))
    assert [weight for weight, _ in twice.detect(text).observations["rounds"]] == [20, 2]
    ended = SynthId(name="ended", ngram_len=5, keys=KEYS, eos=V)
    assert p_value(ended, np.concatenate((text, [V], noise(50, 11)))) == p_value(ended, text)


# vLLM's Gumbel watermark: known answers of its tests (tests/watermarking of vllm-project/vllm)

KNOWN = [
    46, 24, 45, 80, 14, 26, 22, 124, 21, 45, 16, 30, 5, 89, 0, 10, 27, 70, 80, 62, 1, 11, 117, 53, 10, 45, 94, 37, 43,
    22, 78, 49, 119, 9, 22, 118, 82, 75, 32, 24, 84, 27, 122, 66, 78, 64, 124, 17, 91, 12, 51, 15, 75, 64, 127, 45, 112,
    15, 83, 114, 121, 109, 24, 77,
]  # fmt: skip
HMAC = [
    116, 1, 11, 21, 75, 65, 2, 80, 49, 65, 11, 60, 56, 39, 120, 119, 27, 96, 123, 10, 45, 16, 14, 54, 43, 93, 72, 11,
    30, 98, 37, 69, 14, 57, 120, 108, 13, 76, 112, 49, 89, 112, 85, 32, 28, 21, 34, 61, 121, 119, 25, 30, 5, 7, 41, 55,
    61, 91, 59, 30, 36, 120, 93, 66,
]  # fmt: skip
TWO_KEYS = [
    53, 116, 48, 94, 47, 118, 64, 123, 106, 65, 59, 48, 4, 86, 64, 32, 84, 116, 23, 23, 65, 15, 50, 67, 49, 69, 34, 76,
    1, 95, 103, 120, 102, 69, 125, 121, 57, 39, 127, 113, 98, 87, 9, 51, 100, 53, 46, 42, 123, 55, 108, 100, 50, 103,
    67, 80, 94, 41, 97, 117, 18, 66, 74, 38,
]  # fmt: skip


def engine_logits(place: int) -> np.ndarray:
    """The logits that the engine's known answers were written with."""
    return (((np.arange(128) * 37 + place * 17) % 131 - 56) / 16).astype(np.float32)[None]


def test_the_random_numbers_are_the_engines() -> None:
    contexts, tokens = np.array([[1, 2, 3, 4], [4, 5, 6, 7]]), np.array([[7, 8], [7, 8]])
    assert philox(42, contexts, tokens).tolist() == [[1661833, 10571167], [9742331, 13375724]]


def test_the_sampler_and_the_detector_are_the_engines() -> None:
    assert written(ENGINE, 64, engine_logits).tolist() == KNOWN
    found = ENGINE.detect(np.array(KNOWN))
    assert found.observations["scores"][0] == pytest.approx(296.27295787856264, rel=1e-6)
    assert found.p_value == pytest.approx(7.128196280874065e-61, rel=1e-4)
    assert p_value(Gumbel(name="x", key=43), np.array(KNOWN)) == pytest.approx(0.5208447936891313, rel=1e-4)


def test_the_engines_other_random_numbers_and_keys() -> None:
    assert p_value(Gumbel(name="x", key=42, prf="hmac_sha256"), np.array(HMAC)) < 1e-30
    assert p_value(Gumbel(name="x", key=43, prf="hmac_sha256"), np.array(HMAC)) > 1e-3
    two = Gumbel(name="x", key=2**32, context_width=5, dual_key=True)
    found = two.detect(np.array(TWO_KEYS))
    assert sum(found.observations["scores"]) / 2 == pytest.approx(162.0665949787407, rel=1e-6)
    assert found.p_value < 1e-30
    every_third = written(two, 100, lambda _: np.zeros((1, V), np.float32), second=lambda place: place % 3 == 0)
    assert p_value(two, every_third) < 1e-20


# Calibration: of unmarked text under random keys


def shares(p_values: list[float]) -> None:
    """Check that p-values of a null are never too often small, by three standard deviations."""
    for level in (0.3, 0.1, 0.03, 0.01):
        share = sum(p <= level for p in p_values) / len(p_values)
        assert share <= level + 3 * math.sqrt(level / len(p_values)), level


def test_p_values_of_unmarked_text_hold() -> None:
    random = np.random.Generator(np.random.PCG64(12))
    # A small alphabet, so that much is repeated.
    text = random.integers(1, 30, 150)
    keys = random.integers(1, 2**62, 200).tolist()
    shares([p_value(GreenList(name="x", vocabulary=60, hashing_key=key), text) for key in keys])
    shares([p_value(GreenList(name="x", vocabulary=60, hashing_key=key, seeding_scheme="selfhash", context_width=3),
                    text) for key in keys[:30]])  # fmt: skip
    shares([p_value(SynthId(name="x", ngram_len=3, keys=tuple(random.integers(0, 2**40, 6).tolist())), text)
            for _ in range(200)])  # fmt: skip


@pytest.mark.parametrize("dual_key", [False, True])
def test_p_values_of_gumbel_sums_are_uniform(dual_key: bool) -> None:
    random = np.random.Generator(np.random.PCG64(13))
    text = random.integers(1, 30, 150)
    keys = random.integers(0, 2**62, 500).tolist()
    found = np.sort([p_value(Gumbel(name="x", key=key, context_width=1, dual_key=dual_key), text) for key in keys])
    ranks = np.arange(1, len(found) + 1) / len(found)
    distance = max((ranks - found).max(), (found - ranks + 1 / len(found)).max())
    assert distance < 1.95 / math.sqrt(len(found)), "Kolmogorov and Smirnov at 0.001"


# What strangers write


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("kgw", {"found": 101}),
        ("kgw", {"groups": []}),
        ("kgw", {"groups": [[1, 10**9]]}),
        ("kgw", {"groups": [1]}),
        ("kgw", {"groups": [[1, 40], [1, 60]]}),
        ("kgw", {"list": V}),
        ("kgw", {"vocabulary": True}),
        ("synthid", {"law": [0, 0]}),
        ("synthid", {"law": [-1, 70_000]}),
        ("synthid", {"ngrams": 9000, "low": 0, "law": [1] * 9000}),
        ("synthid", {"rounds": [[1, 10**6]]}),
        ("synthid", {"rounds": [[0, 50]]}),
        ("synthid", {"ngrams": 0}),
        ("gumbel", {"scores": [float("nan")]}),
        ("gumbel", {"scores": [1.0, 1.0, 1.0]}),
        ("gumbel", {"scores": ["1"]}),
        ("gumbel", {"scores": [1e9]}),
        ("gumbel", {"contexts": 10**9}),
    ],
)
def test_hostile_observations_are_refused(kind: str, changes: dict) -> None:
    scheme = next(each for each in (LEFT, SYNTHID, ENGINE) if kind == each.KIND)
    observations = dict(scheme.detect(noise(100, 14)).observations) | changes
    with pytest.raises(CountermarkError):
        RECOMPUTE[kind](observations)


def test_holm_keeps_the_order() -> None:
    assert holm([0.01, 0.2, 0.03]) == pytest.approx([0.03, 0.2, 0.06])
