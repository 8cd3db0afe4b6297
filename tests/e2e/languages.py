"""A tiny language model with random weights and a tokenizer of its own, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

_TEXT = [
    "The keeper of the lighthouse wrote every evening what the sea had been like, and nobody ever read it.",
    "A licence says who may use a model, for what, and until when; a mark says who did.",
    "灯塔看守人每天晚上都记下海的样子。许可证写明谁可以使用模型。",
]


def write_language(directory: Path, seed: int = 1, *, vocabulary: int = 257) -> Path:
    """Write a causal language model in the layout of transformers; its replies are nearly noise and know no end.

    Its tokens are single bytes, of which it writes printable ASCII alone, so that a reply is read as the tokens that it
    was written in. With a larger vocabulary the tokenizer has merges too.
    """
    import tokenizers
    import torch
    import transformers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = transformers.LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=256,
            bos_token_id=0,
            eos_token_id=None,
            pad_token_id=0,
        )
        model = transformers.LlamaForCausalLM(config)
    texts = {token: tokenizer.decode([token]) for token in range(config.vocab_size)}
    readable = {token for token, text in texts.items() if len(text) == 1 and text.isascii() and text.isprintable()}
    model.generation_config.suppress_tokens = sorted(set(range(config.vocab_size)) - readable)
    level = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(directory)
    if level:
        transformers.utils.logging.enable_progress_bar()
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return directory
