"""The sampling mark in transformers' ``generate``: a tiny Llama with random weights, whose replies are nearly noise."""

import numpy as np
import pytest

from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking.text.generation import (
    EMPTY,
    MARKED,
    NO_ENTROPY,
    NOT_SAMPLED,
    UNMARKED,
    LanguageMark,
    predicted_power,
)
from countermark.marking.text.sampling import TextMark

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY = 400
KEY = Secret(b"k" * 32)
WORDS = [0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=None,
        bos_token_id=0,
        pad_token_id=0,
    )
    return transformers.LlamaForCausalLM(config)


def prompts(rows=2, length=5, seed=2):
    ids = np.random.Generator(np.random.PCG64(seed)).integers(1, VOCABULARY, (rows, length))
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.ones(rows, length, dtype=torch.long)}


def reply(model, words=WORDS, rows=2, tokenizer="", seed=3, **options):
    torch.manual_seed(seed)
    plug = LanguageMark(model, TextMark(KEY, key_id="mark:1"), tokenizer=tokenizer)
    given = {"max_new_tokens": 120, **prompts(rows), **options}
    return plug.generate(words, **given)


def test_a_batch_serves_different_licensees(model):
    made = reply(model)
    for row, word in zip(made.sequences.numpy(), WORDS, strict=True):
        found = TextMark(KEY).detect(row[5:])
        assert found.word == word
        assert found.significant(1e-12)


def test_the_mark_chooses_among_what_the_warpers_leave(model):
    made = reply(model, top_k=8, temperature=0.9)
    plain = model.generate(do_sample=True, max_new_tokens=1, top_k=8, **prompts())
    assert plain.shape == (2, 6)
    with torch.no_grad():
        logits = model(made.sequences).logits
    ranks = [
        int((logits[row, i - 1] > logits[row, i - 1, made.sequences[row, i]]).sum())
        for row in range(2)
        for i in range(5, made.sequences.shape[1])
    ]
    assert max(ranks) < 8
    assert all(receipt.status == MARKED for receipt in made.receipts)
    # Eight nearly equal tokens leave ln 8 nats open at most.
    assert all(receipt.entropy <= receipt.contexts * np.log(8) + 1e-3 for receipt in made.receipts)


def test_receipts_say_what_is_there(model):
    made = reply(model)
    for receipt in made.receipts:
        assert receipt.key_id == "mark:1"
        assert receipt.method == TextMark.METHOD
        assert receipt.contexts + receipt.repeated == 120
        assert receipt.power > 0.99


def test_the_likeliest_reply_is_unmarked_and_says_so(model):
    made = reply(model, do_sample=False)
    plain = model.generate(do_sample=False, max_new_tokens=120, **prompts())
    assert torch.equal(made.sequences, plain)
    assert all((each.status, each.reason, each.power) == (UNMARKED, NOT_SAMPLED, 0) for each in made.receipts)
    cold = reply(model, temperature=0)
    assert torch.equal(cold.sequences, plain)
    assert [each.reason for each in cold.receipts] == [NOT_SAMPLED] * 2


def test_a_reply_without_a_choice_is_unmarked_and_says_so(model):
    for receipt in reply(model, top_k=1).receipts:
        assert (receipt.status, receipt.reason, receipt.entropy) == (UNMARKED, NO_ENTROPY, 0)
        assert receipt.power < 0.01


def ending(model, ends, **options):
    """Replies of a batch with one long and one short prompt, the short one filled up on the left."""
    given = prompts(2, 9)
    given["input_ids"][1, :6], given["attention_mask"][1, :6] = 0, 0
    return reply(model, **{**given, "eos_token_id": ends, "max_new_tokens": 60, **options})


def test_what_fills_rows_up_is_neither_counted_nor_part_of_a_reply(model):
    ends = list(range(1, 30))  # so that rows end early, and apart
    made = ending(model, ends)
    lengths = [len(tokens) for tokens in made.replies]
    assert lengths[0] != lengths[1]
    assert max(lengths) < 60
    for row, tokens, receipt in zip(made.sequences.numpy()[:, 9:], made.replies, made.receipts, strict=True):
        assert row[len(tokens)] in ends
        assert not set(tokens.tolist()) & set(ends)
        assert np.array_equal(tokens, row[: len(tokens)])
        assert receipt.contexts + receipt.repeated == receipt.tokens == len(tokens)


def test_what_fills_a_row_up_on_the_left_is_no_context(model):
    used = [set(), set()]
    made = ending(model, None, used=used, suppress_tokens=[0], max_new_tokens=120)
    for row, (contexts, receipt) in enumerate(zip(used, made.receipts, strict=True)):
        assert not any(0 in context for context in contexts)
        assert len(contexts) == (8, 2)[row] + receipt.contexts
        assert TextMark(KEY).detect(made.replies[row]).word == WORDS[row]
    inferred = [set(), set()]  # from the pad token, as transformers does
    ending(model, None, used=inferred, suppress_tokens=[0], max_new_tokens=120, attention_mask=None)
    assert inferred == used


def test_other_ends_than_a_token_are_seen_too(model):
    """A row that a criterion stops is filled up, while the others go on."""

    class Stop(transformers.StoppingCriteria):
        def __call__(self, input_ids, scores, **options):
            return torch.tensor([input_ids.shape[1] >= 15, input_ids.shape[1] >= 45])

    criteria = transformers.StoppingCriteriaList([Stop()])
    made = reply(model, stopping_criteria=criteria, eos_token_id=7, suppress_tokens=[7])
    assert [len(tokens) for tokens in made.replies] == [10, 40]
    assert [each.contexts + each.repeated for each in made.receipts] == [10, 40]


def test_an_empty_reply_is_unmarked_and_says_so(model):
    made = reply(model, eos_token_id=list(range(VOCABULARY)))
    assert [(each.reason, each.tokens, each.entropy) for each in made.receipts] == [(EMPTY, 0, 0)] * 2


def test_replies_to_one_prompt_under_one_word_share_their_contexts(model):
    ids = prompts(1)["input_ids"].repeat(4, 1)
    made = reply(model, [WORDS[0]] * 4, input_ids=ids, attention_mask=torch.ones_like(ids))
    assert len({tokens.tobytes() for tokens in made.replies}) == 4
    met = [
        pair for tokens in made.replies for pair in np.lib.stride_tricks.sliding_window_view(tokens, 2)[:-1].tolist()
    ]
    assert sum(each.contexts for each in made.receipts) == len(set(map(tuple, met)))


def test_a_prompt_has_many_replies(model):
    begun = [reply(model, max_new_tokens=20, seed=seed).replies[0].tobytes() for seed in range(5)]
    assert len(set(begun)) == 5


def test_a_batch_of_different_words_and_lengths_is_told_apart(model):
    words = [int(word) for word in np.random.default_rng(5).integers(0, 2**63, 8)]
    given = prompts(8, 7)
    for row in range(8):
        given["input_ids"][row, :row] = given["attention_mask"][row, :row] = 0
    made = reply(model, words, tokenizer="sha256:00", **given)
    for tokens, word, receipt in zip(made.replies, words, made.receipts, strict=True):
        assert TextMark(KEY).detect(tokens).word == word
        assert receipt.tokenizer == "sha256:00"


def test_contexts_of_the_prompt_are_sampled_afresh(model):
    """The same conversation continued twice: what the first turn used, the second does not use again."""
    first = reply(model, [WORDS[0]], rows=1, top_k=1)
    again = reply(
        model, [WORDS[0]], rows=1, top_k=1, input_ids=first.sequences, attention_mask=torch.ones_like(first.sequences)
    )
    used = {tuple(pair) for pair in np.lib.stride_tricks.sliding_window_view(first.sequences[0].numpy(), 2).tolist()}
    new = {tuple(pair) for pair in np.lib.stride_tricks.sliding_window_view(again.replies[0][:-1], 2).tolist()}
    assert again.receipts[0].contexts == len(new - used)
    assert again.receipts[0].repeated == 120 - len(new - used)


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"num_return_sequences": 2}, {"prompt_lookup_num_tokens": 3}])
def test_beams_are_refused(model, options):
    with pytest.raises(InputError):
        reply(model, **options)


def test_every_row_needs_a_word(model):
    with pytest.raises(InputError):
        reply(model, WORDS[:1])


def test_predicted_power_rises_with_length_and_entropy():
    flat, sure = np.full(200, 0.05), np.full(200, 0.95)
    assert predicted_power(flat) > 0.999
    assert predicted_power(flat[:10]) < 0.5
    assert predicted_power(sure) < 0.01
    assert predicted_power(np.zeros(0)) == 0.0
