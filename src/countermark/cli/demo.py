"""``countermark demo``: the whole path on real pictures, in one place to read. ``_walk`` is the sequence."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import card
from countermark.errors import ConflictError, InputError, StorageError, VerificationError, require

if TYPE_CHECKING:
    from countermark.core.progress import Progress
    from countermark.registry import Grant
    from countermark.workflows.office import Office
    from countermark.workflows.trace import Trace

_SIGN = "countermark-demo.json"
_DECOYS = 1000
_OWNER, _LICENSEES = "Studio Lin", ("Agency Nord", "Verlag Sued")
#: Photographs in scikit-image's wheel, and the format that each is submitted in.
_PICTURES = {"astronaut": "png", "coffee": "jpg", "chelsea": "png", "rocket": "jpg"}
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
# A process of its own: it can see the bundle, the trust file and the suspect, and must not load what it does not need.
_STRANGER = """
import sys
from countermark.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    loaded = {"torch", "web3", "eth", "sqlalchemy", "PIL", "scipy"} & set(sys.modules)
    sys.exit(f"loaded {sorted(loaded)}" if loaded else end.code)
"""


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


@click.command(cls=Command)
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo-out"), show_default=True, metavar="DIR", help="Folder to write; an earlier demo's is replaced, no other.")
@click.option("--model", type=click.Path(path_type=Path), metavar="DIR", help="Model to register; examples/fashion-mnist by default.")
def demo(out: Path, model: Path | None) -> int:
    """Run the whole path on real photographs, from an empty folder to verified evidence.

    It registers a small diffusion model, licenses it to two licensees, issues 1,000 decoy identifiers, marks
    photographs as images that the licensees submit, lets one copy leak cropped, shrunk and compressed, traces it,
    and has a separate process verify the evidence. Everything stays in the folder to look at.

    With --json the last line of stdout is one JSON object. Exit status: 0 if every answer was the right one.

    \b
    Example:
      countermark demo
      countermark demo --out /tmp/demo --json
    """
    session, started = current(), time.monotonic()
    for module in ("skimage", "PIL"):
        require(module, "demo")
    weights = _find_model(model)
    _prepare(out)
    with session.progress() as progress:
        outcome = _walk(session, weights, out, progress)
    _draw(out, outcome)
    seconds = round(time.monotonic() - started, 1)
    if session.json:
        session.print_json(_summary(outcome, seconds))
    else:
        click.echo(_describe(session, outcome, out, seconds))
    return 0 if _is_right(outcome) else 1


def _walk(session: Session, weights: Path, out: Path, progress: Any) -> _Outcome:
    """The path: everything below is what a user would do with the commands of the same names."""
    from countermark.bootstrap import create_office, open_office
    from countermark.evidence.bundle import pack
    from countermark.licensing import Terms
    from countermark.workflows.bundle import make_bundle
    from countermark.workflows.keys import export_trust
    from countermark.workflows.license import grant_to_held, offer_terms, reserve_identifiers
    from countermark.workflows.mark import mark_images
    from countermark.workflows.register import add_party, register_model
    from countermark.workflows.trace import Use, trace_files

    passphrase = _make_passphrase(out)
    submitted = _submit_pictures(out / "submitted")

    session.note(session.tr("1/7 open an office, admit an owner and two licensees"))
    create_office(out / "workspace", passphrase, name="Demo Office", progress=progress)
    with open_office(out / "workspace", passphrase, progress=progress) as office:
        add_party(office, _OWNER, ["owner"])
        for name in _LICENSEES:
            add_party(office, name, ["licensee"])

        session.note(session.tr("2/7 register the model"))
        title = register_model(office, weights, _OWNER)

        session.note(session.tr("3/7 license it to both; issue {count} decoy identifiers", count=_DECOYS))
        offer = offer_terms(office, title.id, Terms.from_json(_TERMS))
        grants = {name: grant_to_held(office, offer.id, name) for name in _LICENSEES}
        reserve_identifiers(office, _DECOYS)

        session.note(session.tr("4/7 mark {count} photographs for each, at their request", count=len(submitted)))
        marked = {
            name: mark_images(office, grant.id, submitted, out / "marked" / name) for name, grant in grants.items()
        }

        session.note(session.tr("5/7 one copy leaks; trace it, and a picture that was never marked"))
        leak = _leak(out / "marked" / _LICENSEES[1] / f"{_LEAKED}.png", out / "leaked.jpg")
        clean = out / "submitted" / f"{_UNMARKED}.{_PICTURES[_UNMARKED]}"
        use = Use(scope="redistribute")
        found, nothing = trace_files(office, [leak, clean], use=use)

        session.note(session.tr("6/7 put the evidence into a bundle, and the trust file beside it"))
        _write_json(out / "trust.json", export_trust(office).to_json())
        data = make_bundle(office, found.id, case=_CASE, audience=_AUDIENCE) if found.verdict == "attributed" else b""
        candidates = office.ledger.identifiers_issued()
    (out / "case.zip").write_bytes(data)

    session.note(session.tr("7/7 a stranger verifies it, and a copy with one byte changed"))
    (out / "tampered.zip").write_bytes(pack(_tamper(data)) if data else b"")
    psnr = [each.output.psnr_db for several in marked.values() for each in several]
    return _Outcome(
        leak=found,
        clean=nothing,
        grant=grants[_LICENSEES[1]],
        candidates=candidates,
        psnr_db=sum(psnr) / len(psnr),
        bundle_verified=_stranger_says(out, "case.zip") == 0,
        tampered_bundle_rejected=_stranger_says(out, "tampered.zip") == 1,
    )
