"""Train the language model of the examples on a CPU: a small Llama of English prose, technical text and Tang poems.

    python examples/prose/train.py --data text --out examples/prose

The data folder holds ``english-train.txt.gz``, ``english-valid.txt.gz`` and ``chinese-tang.txt.gz``. A byte-level BPE
tokenizer is trained first. Weights are trained in float32 with bfloat16 products, inner matrices by Muon
(K. Jordan et al., 2024) and the rest by AdamW, and saved as bfloat16. Every so often
state is written beside the output, from which ``--resume`` goes on. The loss on held-out text stands in
``training.json`` beside that of a Kneser-Ney trigram model of the same tokens.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trigram import KneserNey

FILES = ("english-train.txt.gz", "english-valid.txt.gz", "chinese-tang.txt.gz")
END = "<|end|>"
VOCABULARY = 4096
# Of the poems, one in so many is held out.
HELD_OUT = 40
LENGTH = 256
REPORT_EVERY, SAVE_EVERY = 50, 500


def new_model() -> LlamaForCausalLM:
    """Four million weights, 8 MB as bfloat16."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def documents(folder: Path) -> dict[str, list[str]]:
    """Return the documents of the training part and of both held-out parts."""
    train, valid, tang = (gzip.decompress((folder / name).read_bytes()).decode() for name in FILES)
    english, held_out = ([text.strip() for text in each.split("<|doc|>") if text.strip()] for each in (train, valid))
    poems = [poem.strip() for poem in tang.split("\n\n") if poem.strip()]
    return {
        "train": english + [poem for i, poem in enumerate(poems) if i % HELD_OUT],
        "english": held_out,
        "chinese": poems[::HELD_OUT],
    }


def new_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; token 0 begins and ends a document."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=END, eos_token=END, pad_token=END)


def encoded(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
    """Return all documents' tokens in one row, the end's token before each."""
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return np.concatenate([np.array([0, *row], dtype=np.int64) for row in rows])


def batch(tokens: torch.Tensor, size: int, source: torch.Generator) -> torch.Tensor:
    """Return ``size`` windows of the training text, at random places."""
    starts = torch.randint(0, len(tokens) - LENGTH, (size,), generator=source).tolist()
    return torch.stack([tokens[start : start + LENGTH] for start in starts])


def loss_of(model: LlamaForCausalLM, windows: torch.Tensor) -> torch.Tensor:
    """Return the mean loss, nats a token."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return model(input_ids=windows, labels=windows, use_cache=False).loss


def held_out_loss(model: LlamaForCausalLM, tokens: np.ndarray, windows: int) -> float:
    """Return the loss over evenly spread windows of held-out text, at most so many, in nats a token."""
    starts = np.linspace(0, len(tokens) - LENGTH, min(windows, len(tokens) // LENGTH)).astype(int)
    rows = torch.from_numpy(np.stack([tokens[start : start + LENGTH] for start in starts]))
    with torch.no_grad():
        return float(np.mean([loss_of(model, part).item() for part in rows.split(16)]))


def new_optimizers(model: LlamaForCausalLM, options: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding and the norms."""
    inner = [each for name, each in model.named_parameters() if each.ndim == 2 and "embed" not in name]
    outer = [each for name, each in model.named_parameters() if each.ndim != 2 or "embed" in name]
    scale = "match_rms_adamw"
    return [
        torch.optim.Muon(inner, lr=options.learning_rate, weight_decay=0.1, adjust_lr_fn=scale),
        torch.optim.AdamW(outer, lr=options.learning_rate, betas=(0.9, 0.95), weight_decay=0.1),
    ]


def rate(step: int, options: argparse.Namespace) -> float:
    """Return the learning rate: warm-up, then half a cosine down to a tenth."""
    if step < options.warm_up:
        return options.learning_rate * (step + 1) / options.warm_up
    done = min(1.0, (step - options.warm_up) / max(1, options.steps - options.warm_up))
    return options.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def sha256(path: Path) -> str:
    """Return the file's digest in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, record: dict[str, Any], out: Path) -> None:
    """Write weights as bfloat16, tokenizer, and the record that names the weights by digest."""
    LlamaForCausalLM.from_pretrained(
        None, config=model.config, state_dict={k: v.bfloat16() for k, v in model.state_dict().items()}, dtype="bfloat16"
    ).save_pretrained(out)
    tokenizer.save_pretrained(out)
    weights = out / "model.safetensors"
    record = {"weights": {"file": weights.name, "sha256": sha256(weights)}, **record}
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def save_state(path: Path, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], step: int) -> None:
    """Write what ``--resume`` goes on from."""
    kept = [each.state_dict() for each in optimizers]
    torch.save({"model": model.state_dict(), "optimizers": kept, "step": step}, path)


def train(options: argparse.Namespace) -> None:
    """Train, print the loss, and save now and then and at the end."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    texts = documents(options.data)
    tokenizer = new_tokenizer(texts["train"])
    tokens = {part: encoded(tokenizer, each) for part, each in texts.items()}
    trigram = KneserNey(tokens["train"], VOCABULARY)
    bars = {part: -float(trigram.log_probabilities(tokens[part]).mean()) for part in ("english", "chinese")}
    print({part: len(each) for part, each in tokens.items()}, "trigram:", bars, flush=True)
    model = new_model()
    optimizers = new_optimizers(model, options)
    options.out.mkdir(parents=True, exist_ok=True)
    state = options.out / "state.pt"
    first = 0
    if options.resume and state.exists():
        held = torch.load(state, weights_only=True)
        model.load_state_dict(held["model"])
        for optimizer, kept in zip(optimizers, held["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        first = held["step"]
    row, started = torch.from_numpy(tokens["train"]), time.monotonic()
    made = first
    for step in range(first, options.steps):
        # Each step draws its own windows, so that a resumed run sees what an unbroken one does.
        windows = batch(row, options.batch, torch.Generator().manual_seed(options.seed * 1_000_003 + step))
        loss = loss_of(model, windows)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate(step, options)
            optimizer.step()
        made = step + 1
        if made % REPORT_EVERY == 0:
            spent = time.monotonic() - started
            print(f"step {made} loss {loss.item():.3f} {spent / (made - first):.2f} s a step", flush=True)
        if made % SAVE_EVERY == 0:
            save_state(state, model, optimizers, made)
            print({part: held_out_loss(model, tokens[part], 64) for part in bars}, flush=True)
        if options.minutes and time.monotonic() - started > 60 * options.minutes:
            break
    save_state(state, model, optimizers, made)
    losses = {part: held_out_loss(model, tokens[part], 400) for part in bars}
    save(model, tokenizer, provenance(options, made, tokens, losses, bars), options.out)
    print("held out:", losses, "trigram:", bars)


def provenance(
    options: argparse.Namespace,
    steps: int,
    tokens: dict[str, np.ndarray],
    losses: dict[str, float],
    bars: dict[str, float],
) -> dict[str, Any]:
    """Return what another person needs to repeat the run, and what came out."""
    return {
        "data": {
            "files": {name: sha256(options.data / name) for name in FILES},
            "contents": "Python PEPs, Pepys' diary, Sherlock Holmes, Tang poems",
            "license": "public domain or CC0-1.0; collection of poems MIT",
        },
        "tokens": {part: len(each) for part, each in tokens.items()},
        "recipe": {name: getattr(options, name) for name in ("seed", "batch", "learning_rate", "warm_up", "steps")}
        | {"length": LENGTH, "steps_made": steps},
        "nats_per_token": {part: round(loss, 4) for part, loss in losses.items()},
        "nats_per_token_of_trigram": {part: round(loss, 4) for part, loss in bars.items()},
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy")},
        "machine": {"system": platform.system(), "architecture": platform.machine(), "threads": options.threads},
        "when": datetime.now(UTC).replace(microsecond=0).isoformat(),
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--minutes", type=float, default=0, help="end earlier, after so long; 0: never")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    train(parse())
