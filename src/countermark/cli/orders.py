"""Orders on the command line: what ``generate`` and ``request`` take to say what a model shall make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import read_file
from countermark.errors import InputError, UsageProblem

if TYPE_CHECKING:
    from countermark.workflows.languages import TextOrder
    from countermark.workflows.pipelines import Order

_STRENGTH = 0.6
_PROMPTS_LIMIT = 4 * 2**20
_OF_PICTURES = ("steps", "image", "strength")
_OF_TEXT = ("prompts", "max_tokens", "temperature", "top_p", "top_k")
_FILE = click.Path(path_type=Path)
_OPTIONS = (
    click.option("--n", "count", type=int, metavar="N", help="Pictures, or replies to each prompt; 1 by default."),
    click.option("--prompt", metavar="TEXT", help="What to draw, where the model takes a prompt, or to go on from."),
    click.option("--prompts", type=_FILE, metavar="FILE", help="Language models: a file of prompts, one a line."),
    click.option("--max-tokens", type=int, metavar="N", help="Language models: tokens of one reply; 256 by default."),
    click.option(
        "--temperature", type=float, metavar="T", help="Language models: how freely to choose; 0 leaves no mark."
    ),
    click.option("--top-p", type=float, metavar="P", help="Language models: choose among the likeliest of this share."),
    click.option("--top-k", type=int, metavar="K", help="Language models: choose among so many of the likeliest."),
    click.option("--steps", type=int, metavar="N", help="Steps of the sampler; the pipeline's own number by default."),
    click.option("--seed", type=int, metavar="N", help="Repeats everything but what marks decide."),
    click.option("--image", type=_FILE, metavar="FILE", help="A picture to start from."),
    click.option("--strength", type=float, metavar="S", help="With --image: how far from it, up to 1; 0.6 by default."),
)  # fmt: skip


def order_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what to make."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def orders_text(given: dict[str, Any]) -> bool:
    """Whether one of the options is for language models alone."""
    return any(given[name] is not None for name in _OF_TEXT)


def read_order(given: dict[str, Any]) -> Order | None:
    """Return the order of pictures that options name, or None where none of them was given.

    Raises:
        UsageProblem: an option for language models.
        InputError: a value out of range, or an unreadable picture.
    """
    from countermark.core.canonical import show_digest
    from countermark.marking.image.files import content_digest
    from countermark.workflows.pipelines import Order

    named = _named(given, _OF_TEXT)
    if not named:
        return None
    image = named.pop("image", None)
    if image is not None:
        named = {"strength": _STRENGTH, **named, "source": show_digest(content_digest(image))}
    return Order(**named)


def read_text_order(given: dict[str, Any]) -> TextOrder:
    """Return the order of text that options name.

    Raises:
        UsageProblem: an option for pictures, or not one of --prompt and --prompts.
        InputError: a value out of range, or an unreadable file of prompts.
    """
    from countermark.workflows.languages import TextOrder

    named = _named(given, _OF_PICTURES)
    prompt, prompts = named.pop("prompt", None), named.pop("prompts", None)
    if (prompt is None) == (prompts is None):
        raise UsageProblem("a language model needs a prompt", hint="Give --prompt TEXT, or --prompts FILE with many.")
    return TextOrder(prompts=[prompt] if prompts is None else _read_prompts(prompts), **named)


def _named(given: dict[str, Any], unsuited: tuple[str, ...]) -> dict[str, Any]:
    """Return the options that were given; none of those that the other kind of model takes may be."""
    named = {name: value for name, value in given.items() if value is not None}
    for name in unsuited:
        if name in named:
            raise UsageProblem(
                "{option} is for language models" if name in _OF_TEXT else "{option} is for models that draw",
                option=f"--{name.replace('_', '-')}",
            )
    return named


def _read_prompts(path: Path) -> list[str]:
    """Return a file's lines that are not blank."""
    from countermark.marking.text.files import decode_text

    text = decode_text(read_file(path, limit=_PROMPTS_LIMIT))
    prompts = [] if text is None else [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    if not prompts:
        raise InputError("{path} holds no prompts", path=path)
    return prompts
