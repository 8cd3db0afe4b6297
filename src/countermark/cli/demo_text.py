"""``countermark demo text``: a language model's replies, an edited leak, and a text that two licensees wrote together.

``_walk`` is the sequence.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.demo_folder import FOLDER_HELP, find_model, make_passphrase, prepare, stranger_says
from countermark.cli.pages import page_caption
from countermark.cli.session import Session, current, write_json
from countermark.cli.shell import Command
from countermark.cli.text import card
from countermark.errors import require

if TYPE_CHECKING:
    from countermark.workflows.mark import Marked
    from countermark.workflows.trace import Trace

_DECOYS = 1000
_OWNER, _LICENSEES = "Example Studio", ("Agency North", "Agency South")
_CASE, _AUDIENCE = "demo", "anybody who runs the demo"
_TERMS = {
    "name": "Texts, one year",
    "scope": ["infer", "commercial", "publish"],
    "price": 120_000,
    "currency": "EUR",
    "duration_days": 365,
    "seats": 2,
    "resale": False,
    "territory": "worldwide",
    "revocable": True,
}
_PROMPTS = (
    "It was late in the evening, and we",
    "Up betimes and to the office, where",
    "This document describes",
    "春風",
)
_TOKENS = 240
# What somebody wrote by hand around a part that was not.
_BEFORE = (
    "The ferry leaves at ten past six, and whoever misses it waits for the next morning. I had missed it twice that"
    " summer and made friends with the man who sells tickets, a retired surveyor with firm opinions on tides. He lent"
    " me the following, which he said a cousin had sent him, and asked what I made of it.\n\n"
)
_AFTER = (
    "\n\nI made very little of it, and told him so. He folded the sheet into his pocket, looked at the water for a"
    " while, and said that the cousin had never been much of a writer, but that this did not sound like her at all."
    " Then the lights of the ferry came round the point, half an hour late, and we both forgot about it.\n"
)
_PATH = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the demo found."""

    replies: list[Marked]
    leak: Trace
    mixed: list[Trace]
    clean: Trace
    candidates: int
    page: Path | None
    bundle_verified: bool


@click.command(cls=Command)
@click.option("--out", type=_PATH, default="demo-text-out", show_default=True, metavar="DIR", help=FOLDER_HELP)
@click.option("--model", type=_PATH, metavar="DIR", help="Language model to register; examples/prose by default.")
def text(out: Path, model: Path | None) -> int:
    """Let a language model write for two licensees, leak an edited part of what it wrote, and trace it.

    It registers a small language model, licenses it to two licensees among 1,000 decoy identifiers, and generates
    replies to the same prompts for both, in English and Chinese. A part of one reply leaks with every tenth word left
    out, between paragraphs that a person wrote. It is traced, as are a text to which both contributed and one by
    nobody but the person; and a separate process verifies the evidence.

    With --json the last line of stdout is one JSON object. Exit status: 0 if every answer was the right one.

    Example:
      countermark demo text
      countermark demo text --out /tmp/demo --json
    """
    session, started = current(), time.monotonic()
    for module, extra in (("torch", "train"), ("transformers", "train"), ("tokenizers", "text")):
        require(module, extra)
    directory = find_model(model, "prose")
    prepare(out)
    with session.progress() as progress:
        outcome = _walk(session, directory, out, progress)
    summary = _summary(outcome, round(time.monotonic() - started, 1))
    if session.json:
        session.print_json(summary)
    else:
        click.echo(_describe(session, outcome, summary, out))
    return 0 if summary["right"] else 1


def _walk(session: Session, directory: Path, out: Path, progress: Any) -> _Outcome:
    """The path: everything below is what a user would do with the commands of the same names."""
    from countermark.bootstrap import create_office, open_office, save_party_key
    from countermark.core.keys import SigningKey
    from countermark.licensing import Terms
    from countermark.workflows.bundle import make_bundle
    from countermark.workflows.generate import request_generation
    from countermark.workflows.keys import export_trust
    from countermark.workflows.languages import TextOrder
    from countermark.workflows.license import accept, grant_license, invite, offer_terms, reserve_identifiers
    from countermark.workflows.register import add_party, register_model
    from countermark.workflows.text_pages import write_pages
    from countermark.workflows.trace import Use, trace_files
    from countermark.workflows.write import generate_texts

    passphrase, order = make_passphrase(out), TextOrder(prompts=list(_PROMPTS), max_tokens=_TOKENS, temperature=0.9)

    session.note(session.tr("1/6 open an office, admit an owner and two licensees"))
    create_office(out / "workspace", passphrase, name="Demo Office", progress=progress)
    with open_office(out / "workspace", passphrase, progress=progress) as office:
        add_party(office, _OWNER, ["owner"])
        # Each licensee keeps its own key, so that nobody can say that the office signed for it.
        keys = {name: SigningKey.generate() for name in _LICENSEES}
        for name, key in keys.items():
            save_party_key(out / f"{name} key.pem", key)
            add_party(office, name, ["licensee"], public_key=key.public)

        session.note(session.tr("2/6 register the language model and its tokenizer"))
        title = register_model(office, directory, _OWNER)

        session.note(session.tr("3/6 license it to both; issue {count} decoy identifiers", count=_DECOYS))
        offer = offer_terms(office, title.id, Terms.from_json(_TERMS))
        grants = {
            name: grant_license(office, accept(invite(office, offer.id, name), key, at=office.clock())).id
            for name, key in keys.items()
        }
        reserve_identifiers(office, _DECOYS)

        session.note(session.tr("4/6 generate replies to {count} prompts for each", count=len(_PROMPTS)))
        replies: dict[str, list[Marked]] = {}
        for name, key in keys.items():
            request = request_generation(grants[name], office.id, order, key, clock=office.clock)
            replies[name] = generate_texts(office, grants[name], out / "replies" / name, request=request)

        session.note(session.tr("5/6 an edited part leaks; trace it, a text that both wrote, and an unmarked one"))
        north, south = ([each.path.read_text(encoding="utf-8") for each in replies[name]] for name in _LICENSEES)
        leaked, mixed, human = (out / f"{name}.txt" for name in ("leaked", "mixed", "human"))
        leaked.write_text(_BEFORE + _edited(max(south[:2], key=len)) + _AFTER, encoding="utf-8")
        mixed.write_text("\n\n".join([*north, *south]), encoding="utf-8")
        human.write_text(_BEFORE + _AFTER, encoding="utf-8")
        traces = trace_files(office, [leaked, mixed, human], use=Use(scope="redistribute"))
        found = next(each for each in traces if each.file == leaked.name)
        pages = write_pages(office, [leaked], [found], out, partial(page_caption, session))

        session.note(session.tr("6/6 put the evidence into a bundle; a stranger verifies it"))
        write_json(out / "trust.json", export_trust(office).to_json())
        is_attributed = found.verdict == "attributed"
        data = make_bundle(office, found.id, case=_CASE, audience=_AUDIENCE) if is_attributed else b""
        candidates = office.ledger.identifiers_issued()
    (out / "case.zip").write_bytes(data)
    return _Outcome(
        replies=[each for name in _LICENSEES for each in replies[name]],
        leak=found,
        mixed=[each for each in traces if each.file == mixed.name],
        clean=next(each for each in traces if each.file == human.name),
        candidates=candidates,
        page=pages.get(found.id),
        bundle_verified=stranger_says(out, "case.zip", leaked.name, case=_CASE, audience=_AUDIENCE) == 0,
    )


def _edited(reply: str) -> str:
    """Leave out every tenth word, as somebody does who shortens a text."""
    pieces = re.split(r"(\s+)", reply.strip())
    return "".join(piece for i, piece in enumerate(pieces) if i % 20 != 18)


def _summary(outcome: _Outcome, seconds: float) -> dict[str, Any]:
    leak = outcome.leak
    authors = sorted(str(each.licensee_name) for each in outcome.mixed)
    receipts = [each.output.generation or {} for each in outcome.replies]
    right = (
        leak.licensee_name == _LICENSEES[1]
        and authors == sorted(_LICENSEES)
        and outcome.clean.verdict == "nothing-found"
        and outcome.bundle_verified
    )
    return {
        "traced_licensee": leak.licensee_name,
        "grant": leak.grant,
        "p_ours": leak.p_ours and leak.p_ours["value"],
        "p_innocent": leak.p_innocent and leak.p_innocent["value"],
        "mixed_licensees": authors,
        "unmarked": outcome.clean.verdict,
        "candidates": outcome.candidates,
        "replies": len(receipts),
        "least_predicted_power": min(float(each["power"]) for each in receipts),
        "bundle_verified": outcome.bundle_verified,
        "right": right,
        "seconds": seconds,
    }


def _describe(session: Session, outcome: _Outcome, summary: dict[str, Any], out: Path) -> str:
    from countermark.cli.trace import verdicts

    rows = [
        (session.tr("leak traced to"), f"{summary['traced_licensee']} ({session.tr('grant')} {summary['grant']})"),
        (session.tr("candidates"), session.tr("{count} identifiers issued", count=summary["candidates"])),
        ("p_ours", f"{summary['p_ours'] or 1:.1e}"),
        ("p_innocent", f"{summary['p_innocent'] or 1:.1e}"),
        (session.tr("written by both"), ", ".join(summary["mixed_licensees"])),
        (session.tr("unmarked text"), verdicts(session)[outcome.clean.verdict]),
        (session.tr("bundle verified"), session.tr("yes") if summary["bundle_verified"] else session.tr("no")),
        (session.tr("time"), f"{summary['seconds']} s"),
        (session.tr("drawing"), str(outcome.page)),
        (session.tr("bundle"), str(out / "case.zip")),
        (session.tr("the stranger's report"), str(out / "case-verification.txt")),
    ]
    look = f"countermark -w {out / 'workspace'} --passphrase-file {out / 'passphrase'} title list"
    return f"\n{card(rows)}\n\n" + session.tr("The office is still there to look at: {command}", command=look)
