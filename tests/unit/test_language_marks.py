"""The sampling mark in transformers' ``generate``: a tiny Llama with random weights, whose replies are nearly noise."""

import numpy as np
import pytest

from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking.text.generation import MARKED, UNMARKED, LanguageMark, predicted_power
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


def reply(model, words=WORDS, rows=2, **options):
    torch.manual_seed(3)
    plug = LanguageMark(model, TextMark(KEY, key_id="mark:1"))
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
    assert all(receipt.status == UNMARKED and receipt.power == 0 for receipt in made.receipts)


def test_contexts_of_the_prompt_are_sampled_afresh(model):
    """The same conversation continued twice: what the first turn used, the second does not use again."""
    first = reply(model, [WORDS[0]], rows=1, top_k=1)
    again = reply(
        model, [WORDS[0]], rows=1, top_k=1, input_ids=first.sequences, attention_mask=torch.ones_like(first.sequences)
    )
    assert first.receipts[0].repeated > 0 or again.receipts[0].repeated >= 0
    used = {
        tuple(pair) for pair in np.lib.stride_tricks.sliding_window_view(first.sequences[0, :-1].numpy(), 2).tolist()
    }
    later = again.sequences[0].numpy()
    new = {
        tuple(pair)
        for pair in np.lib.stride_tricks.sliding_window_view(later[first.sequences.shape[1] - 2 : -1], 2).tolist()
    }
    assert again.receipts[0].contexts == len(new - used)


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"num_return_sequences": 2}])
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
