"""``countermark demo``: the whole path on real pictures, in one place to read. ``_walk`` is the sequence."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.demo_audit import audit
from countermark.cli.demo_folder import FOLDER_HELP, find_model, make_passphrase, prepare, stranger_says
from countermark.cli.demo_market import market
from countermark.cli.demo_text import text
from countermark.cli.session import Session, current, write_json
from countermark.cli.shell import Group
from countermark.cli.text import card
from countermark.errors import require

if TYPE_CHECKING:
    from countermark.registry import Grant
    from countermark.workflows.trace import Trace

_DECOYS = 1000
_OWNER, _LICENSEES = "Example Studio", ("Agency North", "Agency South")
_LEAKED, _UNMARKED = "astronaut", "coffee"
_CASE, _AUDIENCE = "demo", "anybody who runs the demo"
_TERMS = {
    "name": "Catalogue pictures, one year",
    "scope": ["infer", "commercial", "publish"],
    "price": 250_000,
    "currency": "EUR",
    "duration_days": 365,
    "seats": 2,
    "resale": False,
    "territory": "worldwide",
    "revocable": True,
}
_PATH = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the demo found."""

    leak: Trace
    clean: Trace
    grant: Grant
    candidates: int
    psnr_db: float
    bundle_verified: bool
    tampered_bundle_rejected: bool


@click.group(cls=Group, invoke_without_command=True)
@click.option("--out", type=_PATH, default="demo-out", show_default=True, metavar="DIR", help=FOLDER_HELP)
@click.option("--model", type=_PATH, metavar="DIR", help="Model to register; examples/fashion-mnist by default.")
@click.pass_context
def demo(context: click.Context, out: Path, model: Path | None) -> int:
    """Run the whole path on real photographs, from an empty folder to verified evidence.

    It registers a small diffusion model, licenses it to two licensees, issues 1,000 decoy identifiers, marks
    photographs as images that the licensees submit, lets one copy leak cropped, shrunk and compressed, traces it,
    and has a separate process verify the evidence. Everything stays in the folder to look at.

    With --json the last line of stdout is one JSON object. Exit status: 0 if every answer was the right one.
    "demo market" plays the market instead, "demo text" a language model, "demo audit" looks for stored training images.

    Example:
      countermark demo
      countermark demo --out /tmp/demo --json
    """
    if context.invoked_subcommand is not None:
        return 0
    session, started = current(), time.monotonic()
    for module in ("skimage", "PIL"):
        require(module, "demo")
    weights = find_model(model)
    prepare(out)
    with session.progress() as progress:
        outcome = _walk(session, weights, out, progress)
    _draw(out, outcome)
    seconds = round(time.monotonic() - started, 1)
    if session.json:
        session.print_json(_summary(outcome, seconds))
    else:
        click.echo(_describe(session, outcome, out, seconds))
    return 0 if _is_right(outcome) else 1


demo.add_command(market)
demo.add_command(text)
demo.add_command(audit)


def _walk(session: Session, weights: Path, out: Path, progress: Any) -> _Outcome:
    """The path: everything below is what a user would do with the commands of the same names."""
    from countermark.bootstrap import create_office, open_office, save_party_key
    from countermark.cli.demo_pictures import PICTURES, leak, submit
    from countermark.core.keys import SigningKey
    from countermark.licensing import Terms
    from countermark.workflows.bundle import make_bundle
    from countermark.workflows.keys import export_trust
    from countermark.workflows.license import accept, grant_license, invite, offer_terms, reserve_identifiers
    from countermark.workflows.mark import mark_images, request_marks
    from countermark.workflows.register import add_party, register_model
    from countermark.workflows.trace import Use, trace_files

    passphrase = make_passphrase(out)
    submitted = submit(out / "submitted")

    session.note(session.tr("1/7 open an office, admit an owner and two licensees"))
    create_office(out / "workspace", passphrase, name="Demo Office", progress=progress)
    with open_office(out / "workspace", passphrase, progress=progress) as office:
        add_party(office, _OWNER, ["owner"])
        # Each licensee keeps its own key, so that nobody can say that the office signed for it.
        keys = {name: SigningKey.generate() for name in _LICENSEES}
        for name, key in keys.items():
            save_party_key(out / f"{name} key.pem", key)
            add_party(office, name, ["licensee"], public_key=key.public)

        session.note(session.tr("2/7 register the model"))
        title = register_model(office, weights, _OWNER)

        session.note(session.tr("3/7 license it to both; issue {count} decoy identifiers", count=_DECOYS))
        offer = offer_terms(office, title.id, Terms.from_json(_TERMS))
        grants = {}
        for name, key in keys.items():
            acceptance = accept(invite(office, offer.id, name), key, at=office.clock())
            grants[name] = grant_license(office, acceptance)
        reserve_identifiers(office, _DECOYS)

        session.note(session.tr("4/7 mark {count} photographs for each, at their request", count=len(submitted)))
        marked = []
        for name, key in keys.items():
            request = request_marks(grants[name].id, office.id, submitted, key, clock=office.clock)
            marked += mark_images(office, grants[name].id, submitted, out / "marked" / name, request=request)

        session.note(session.tr("5/7 one copy leaks; trace it, and a picture that was never marked"))
        leaked = leak(out / "marked" / _LICENSEES[1] / f"{_LEAKED}.png", out / "leaked.jpg")
        clean = out / "submitted" / f"{_UNMARKED}.{PICTURES[_UNMARKED]}"
        found, nothing = trace_files(office, [leaked, clean], use=Use(scope="redistribute"))

        session.note(session.tr("6/7 put the evidence into a bundle, and the trust file beside it"))
        write_json(out / "trust.json", export_trust(office).to_json())
        data = make_bundle(office, found.id, case=_CASE, audience=_AUDIENCE) if found.verdict == "attributed" else b""
        candidates = office.ledger.identifiers_issued()
    (out / "case.zip").write_bytes(data)

    session.note(session.tr("7/7 a stranger verifies it, and a copy with one byte changed"))
    (out / "tampered.zip").write_bytes(_tamper(data) if data else b"")
    psnr = [each.output.psnr_db for each in marked]
    return _Outcome(
        leak=found,
        clean=nothing,
        grant=grants[_LICENSEES[1]],
        candidates=candidates,
        psnr_db=sum(psnr) / len(psnr),
        bundle_verified=stranger_says(out, "case.zip", "leaked.jpg", case=_CASE, audience=_AUDIENCE) == 0,
        tampered_bundle_rejected=stranger_says(out, "tampered.zip", "leaked.jpg", case=_CASE, audience=_AUDIENCE) == 1,
    )


def _tamper(data: bytes) -> bytes:
    """Change one byte of one member and pack the bundle again, so that only what is proven can notice."""
    from countermark.evidence.bundle import pack, unpack

    members = dict(unpack(data).members)
    opening = members["opening.json"]
    at = opening.index(b'"salt": "') + len(b'"salt": "')
    members["opening.json"] = opening[:at] + (b"0" if opening[at : at + 1] != b"0" else b"1") + opening[at + 1 :]
    return pack(members)


def _draw(out: Path, outcome: _Outcome) -> None:
    from countermark.cli.demo_pictures import draw_sheet
    from countermark.marking.image.files import read_pixels
    from countermark.workflows.mark import psnr_db

    original, marked = out / "submitted" / f"{_LEAKED}.png", out / "marked" / _LICENSEES[1] / f"{_LEAKED}.png"
    quality = psnr_db(read_pixels(original), read_pixels(marked))
    p_ours = "-" if outcome.leak.p_ours is None else f"{outcome.leak.p_ours['value']:.0e}"
    captions = [
        "submitted photograph",
        f"marked copy for {_LICENSEES[1]}\n{quality:.1f} dB PSNR",
        "difference, ten times enlarged",
        f"leaked: cropped, shrunk, JPEG 60\ntraced to {outcome.leak.licensee_name}, p_ours {p_ours}",
    ]
    draw_sheet(original, marked, out / "leaked.jpg", captions, out / "pictures.png")


def _is_right(outcome: _Outcome) -> bool:
    return (
        outcome.leak.grant == outcome.grant.id
        and outcome.clean.verdict == "nothing-found"
        and outcome.bundle_verified
        and outcome.tampered_bundle_rejected
    )


def _summary(outcome: _Outcome, seconds: float) -> dict[str, Any]:
    leak = outcome.leak
    return {
        "traced_licensee": leak.licensee_name,
        "grant": leak.grant,
        "p_ours": leak.p_ours and leak.p_ours["value"],
        "p_innocent": leak.p_innocent and leak.p_innocent["value"],
        "candidates": outcome.candidates,
        "bundle_verified": outcome.bundle_verified,
        "tampered_bundle_rejected": outcome.tampered_bundle_rejected,
        "seconds": seconds,
    }


def _describe(session: Session, outcome: _Outcome, out: Path, seconds: float) -> str:
    summary, yes_no = _summary(outcome, seconds), {True: session.tr("yes"), False: session.tr("no")}
    rows = [
        (session.tr("leak traced to"), f"{summary['traced_licensee']} ({session.tr('grant')} {summary['grant']})"),
        (session.tr("candidates"), session.tr("{count} identifiers issued", count=summary["candidates"])),
        ("p_ours", f"{summary['p_ours'] or 1:.1e}"),
        ("p_innocent", f"{summary['p_innocent'] or 1:.1e}"),
        (session.tr("unmarked picture"), _verdict(session, outcome.clean)),
        (session.tr("quality of marked copies"), f"{outcome.psnr_db:.1f} dB PSNR"),
        (session.tr("bundle verified"), yes_no[outcome.bundle_verified]),
        (session.tr("tampered bundle rejected"), yes_no[outcome.tampered_bundle_rejected]),
        (session.tr("time"), f"{seconds} s"),
        (session.tr("pictures"), str(out / "pictures.png")),
        (session.tr("bundle"), str(out / "case.zip")),
        (session.tr("trust file"), str(out / "trust.json")),
        (session.tr("the stranger's report"), str(out / "case-verification.txt")),
    ]
    look = f"countermark -w {out / 'workspace'} --passphrase-file {out / 'passphrase'} title list"
    return f"\n{card(rows)}\n\n" + session.tr("The office is still there to look at: {command}", command=look)


def _verdict(session: Session, trace: Trace) -> str:
    from countermark.cli.trace import verdicts

    return verdicts(session)[trace.verdict]
