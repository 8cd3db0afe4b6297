"""``countermark demo audit``: a model that stores its training images and one that does not, told apart with a p-value.

``_walk`` is the sequence.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.demo_folder import FOLDER_HELP, find_model, make_passphrase, prepare, stranger_says
from countermark.cli.session import Session, current, write_json
from countermark.cli.shell import Command
from countermark.cli.text import card, table
from countermark.errors import ProofInvalid, require

if TYPE_CHECKING:
    from countermark.registry import Audit
    from countermark.workflows.office import Office

_OWNER = "Example Studio"
_CASE, _AUDIENCE = "demo", "anybody who runs the demo"
_DRAWS, _SEED = 500, 1
#: Each model, what it was trained on, and what it never saw.
_SUBJECTS = {
    "copyist": ("train[:300]", "test"),
    "honest": ("train", "test"),
}
_PATH = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the demo found."""

    documents: dict[str, dict[str, Any]]
    audits: dict[str, Audit]
    forgery_refused: bool
    bundle_verified: bool


@click.command(cls=Command)
@click.option("--out", type=_PATH, default="demo-audit-out", show_default=True, metavar="DIR", help=FOLDER_HELP)
@click.option("--example", type=_PATH, metavar="DIR", help="Folder of the models; examples/memorization by default.")
def audit(out: Path, example: Path | None) -> int:
    """Audit two models of one recipe: one stored its 300 training images, the other learned from 6,000.

    Both are registered and draw 500 images each. Held-out images say how near to the training data an unseen image
    lies; what lies nearer gets a small p-value. Each audit gets a report in both languages, is signed, logged and
    attached to its title. Then an audit whose flags were struck out is refused, and a separate process verifies the
    evidence, down to every p-value.

    With --json the last line of stdout is one JSON object. Exit status: 0 if every answer was the right one.

    Example:
      countermark demo audit
      countermark demo audit --out /tmp/demo --json
    """
    session, started = current(), time.monotonic()
    for module, extra in (("torch", "train"), ("PIL", "image")):
        require(module, extra)
    folder = find_model(example, "memorization")
    prepare(out)
    with session.progress() as progress:
        outcome = _walk(session, folder, out, progress)
    summary = _summary(outcome, round(time.monotonic() - started, 1))
    if session.json:
        session.print_json(summary)
    else:
        click.echo(_describe(session, outcome, summary, out))
    return 0 if summary["right"] else 1


def _walk(session: Session, folder: Path, out: Path, progress: Any) -> _Outcome:
    """The path: everything below is what a user would do with the commands of the same names."""
    from countermark.bootstrap import create_office, open_office
    from countermark.workflows.audit import make_audit_bundle
    from countermark.workflows.keys import export_trust
    from countermark.workflows.register import add_party, register_model

    passphrase = make_passphrase(out)
    session.note(session.tr("1/4 open an office, admit an owner, register both models"))
    create_office(out / "workspace", passphrase, name="Demo Office", progress=progress)
    with open_office(out / "workspace", passphrase, progress=progress) as office:
        add_party(office, _OWNER, ["owner"])
        titles = {name: register_model(office, folder / name, _OWNER) for name in _SUBJECTS}

        session.note(session.tr("2/4 draw {count} images from each, and audit them", count=_DRAWS))
        documents, audits = {}, {}
        for name, title in titles.items():
            documents[name], files = _examine(folder, name, title.weights_root, out / name, progress)
            audits[name] = _recorded(office, documents[name], title.id, files)

        session.note(session.tr("3/4 strike the flags out of an audit, and try to have it recorded"))
        refused = _forgery_refused(office, documents["copyist"])

        session.note(session.tr("4/4 put the evidence into a bundle; a stranger verifies it"))
        write_json(out / "trust.json", export_trust(office).to_json())
        data = make_audit_bundle(office, audits["copyist"].id, case=_CASE, audience=_AUDIENCE)
    (out / "audit.zip").write_bytes(data)
    (out / "report.json").write_bytes((out / "copyist" / "report.json").read_bytes())
    verified = stranger_says(out, "audit.zip", "report.json", case=_CASE, audience=_AUDIENCE) == 0
    return _Outcome(documents, audits, refused, verified)


def _examine(folder: Path, name: str, weights: str, out: Path, progress: Any) -> tuple[dict[str, Any], list[Path]]:
    from countermark.adapters.samplers import open_sampler
    from countermark.audit.images.reading import open_images
    from countermark.bootstrap import utc_now
    from countermark.core.times import show_time
    from countermark.workflows.memorization import Measure, audit_images, prepare_images

    train, held_out = (open_images(f"{folder / 'images.npz'}:{part}") for part in _SUBJECTS[name])
    examiner = prepare_images(train, held_out, out / "index", Measure(), progress=progress)
    generator = open_sampler(folder / name)
    samples = generator.sample(_DRAWS, seed=_SEED, progress=progress("draw"))
    subject = {"name": name, "weights": weights, "sampler": type(generator).__name__, "seed": _SEED, "drawn": _DRAWS}
    return audit_images(examiner, samples, out, subject, made_at=show_time(utc_now()), progress=progress)


def _recorded(office: Office, document: dict[str, Any], title: int, files: list[Path]) -> Audit:
    from countermark.cli.audit_memorization import digests_of
    from countermark.workflows.audit import record_audit

    return record_audit(office, document, title=title, reports=digests_of(files))


def _forgery_refused(office: Office, document: dict[str, Any]) -> bool:
    """Whether an audit is refused that says of itself that it found nothing."""
    from countermark.workflows.audit import record_audit

    forged = copy.deepcopy(document)
    for item in forged["items"]:
        item["flagged"] = False
    forged["decision"] |= {"flagged": 0, "verdict": "no-copies-found"}
    forged["copied"] = []
    try:
        record_audit(office, forged)
    except ProofInvalid:
        return True
    return False


def _summary(outcome: _Outcome, seconds: float) -> dict[str, Any]:
    found = {
        name: {
            "flagged": document["decision"]["flagged"],
            "of": len(document["items"]),
            "verdict": document["decision"]["verdict"],
            "at_least": document["decision"]["at_least"],
            "p_model": document["model_test"]["p"],
            "by_source_cutoff": document["cutoffs"][0]["flagged"],
        }
        for name, document in outcome.documents.items()
    }
    right = (
        found["copyist"]["flagged"] >= 0.6 * _DRAWS
        and found["honest"]["flagged"] <= 0.01 * _DRAWS
        and outcome.forgery_refused
        and outcome.bundle_verified
    )
    return {
        **found,
        "audits": {name: audit.id for name, audit in outcome.audits.items()},
        "forgery_refused": outcome.forgery_refused,
        "bundle_verified": outcome.bundle_verified,
        "right": right,
        "seconds": seconds,
    }


def _describe(session: Session, outcome: _Outcome, summary: dict[str, Any], out: Path) -> str:
    yes_no = {True: session.tr("yes"), False: session.tr("no")}
    head = [
        session.tr("model"),
        session.tr("trained on"),
        session.tr("flagged"),
        session.tr("share copied"),
        session.tr("by RMSE < 0.006"),
    ]
    models = [
        [
            name,
            f"{document['data']['train']['count']:,}",
            f"{summary[name]['flagged']} / {summary[name]['of']}",
            session.tr("at least {share} %", share=f"{100 * summary[name]['at_least']:.3g}"),
            str(summary[name]["by_source_cutoff"]),
        ]
        for name, document in outcome.documents.items()
    ]
    rows = [
        (session.tr("altered audit refused"), yes_no[summary["forgery_refused"]]),
        (session.tr("bundle verified"), yes_no[summary["bundle_verified"]]),
        (session.tr("time"), f"{summary['seconds']} s"),
        (session.tr("reports"), ", ".join(str(out / name / "report.html") for name in _SUBJECTS)),
        (session.tr("bundle"), str(out / "audit.zip")),
        (session.tr("the stranger's report"), str(out / "audit-verification.txt")),
    ]
    return f"\n{table(head, models)}\n\n{card(rows)}"
