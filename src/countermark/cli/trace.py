"""``countermark trace``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.pages import page_caption
from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import Row, card, plain, wrap
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.workflows.trace import Trace

_COLUMNS = 100
#: Exit status of each verdict, the one that settles several files first.
STATUS = {"attributed": 0, "not-attributable": 3, "not-examined": 3, "nothing-found": 1}


@click.command(cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--alpha", type=float, default=1e-6, show_default=True, help="Level for both p-values, after correction.")
@click.option("--use", "scope", metavar="SCOPE", help="The use that was made: infer, commercial, publish, ...")
@click.option("--where", "territory", metavar="CC", help="Country of the use, two letters.")
@click.option("--at", metavar="TIME", help="Time of the use; now by default.")
@click.option(
    "--model", "models", multiple=True, type=click.Path(path_type=Path), metavar="DIR",
    help="A registered model that is not where it was registered from, or a folder with its tokenizer.json. "
    "May be given again.",
)  # fmt: skip
@click.option("--pool", is_flag=True, help="Read all files as one: what one account has posted.")
@click.option(
    "--regions",
    is_flag=True,
    help="Read each picture part by part: pasted fragments, mosaics. Takes many times as long.",
)
@click.option(
    "--draw", "folder", type=click.Path(path_type=Path), metavar="DIR",
    help="Folder for drawings of where a lattice mark was found, NAME.lattice.png, and of texts, NAME.marks.html.",
)  # fmt: skip
def trace(
    files: tuple[Path, ...],
    alpha: float,
    scope: str | None,
    territory: str | None,
    at: str | None,
    models: tuple[Path, ...],
    pool: bool,
    regions: bool,
    folder: Path | None,
) -> int:
    """Trace suspect pictures and texts to the grant whose mark they carry.

    Each file has one answer: attributed; found, but not attributable; nothing found; not examined. A text that several
    licensees had a part in has an answer for each of them.

    Where no decoded word is an issued identifier's, all issued ones are compared with what was read (a soft read).

    Where pictures were generated under a title, the suspect is also inverted with the registered pipeline, if its
    folder and the extra are there, and held against every recorded generation; one that is recognized is named.

    Texts are plain ones, chats as JSON, of which the replies are read, and JSON lines. They are read with the tokenizer
    that was registered with the model, as a whole and by their best part.

    With --pool all files together have one answer, and what each is too damaged to say adds up. Decide which files
    belong together before tracing any: a pool chosen by its results proves nothing.

    With --regions a file has an answer for each marked picture that its parts come from, by the lattice mark.

    Exit status: 0 if any file is attributed; else 3 if any could not be told (not attributable, not examined); else 1.
    So 1 is a clear no for every file, and no unexamined file hides behind it.

    Example:
      countermark trace suspect.jpg --use publish --where DE
      countermark trace post1.jpg post2.jpg post3.jpg --pool
      countermark trace essay.txt chat.json --model models/prose
      countermark trace collage.png --regions --draw drawings
    """
    from countermark.workflows.drawings import draw_marks
    from countermark.workflows.text_pages import write_pages
    from countermark.workflows.trace import Use, trace_files, trace_pool, trace_regions

    if pool and regions:
        raise InputError("files are read as one or part by part, not both", hint="Leave out --pool or --regions.")
    session, suspects = current(), list(files)
    use = Use(scope=scope, territory=territory and territory.upper(), at=at)
    with session.office() as office:
        if pool:
            traces = [trace_pool(office, suspects, alpha=alpha, use=use, models=models)]
        elif regions:
            traces = trace_regions(office, suspects, alpha=alpha, use=use)
        else:
            traces = trace_files(office, suspects, alpha=alpha, use=use, models=models)
        drawings = draw_marks(office, suspects, traces, folder) if folder else {}
        if folder:
            drawings |= write_pages(office, suspects, traces, folder, partial(page_caption, session), models=models)
    document = {"traces": [_shown(each, drawings.get(each.id)) for each in traces]}
    session.answer("traces", document, "\n\n".join(describe(session, each, drawings.get(each.id)) for each in traces))
    return status(traces)


def _shown(trace: Trace, drawing: Path | None) -> dict[str, Any]:
    """Leave out the soft observations: they hold the word, which leaves the office in a bundle and nowhere else."""
    shown = {name: value for name, value in trace.to_json().items() if name != "observations"}
    return shown | {"drawing": drawing and str(drawing)}


def status(traces: list[Trace]) -> int:
    """Return the exit status of several traces: any yes is 0, else any doubt is 3, else 1."""
    found = {STATUS[each.verdict] for each in traces}
    return next(code for code in (0, 3, 1) if code in found)


def describe(session: Session, trace: Trace, drawing: Path | None = None) -> str:
    """Return the answer about one file, for people."""
    verdict = verdicts(session)[trace.verdict]
    if trace.verdict != "attributed":
        reason = _reasons(session).get(trace.reason, trace.reason)
        verdict = session.tr("{answer}: {reason}", answer=verdict, reason=reason)
    rows = _rows(session, trace) + ([(session.tr("drawing"), str(drawing))] if drawing else [])
    parts = [f"{plain(trace.file)}: {verdict}", card(rows)]
    if trace.verdict == "attributed":
        parts += _warnings(session, trace)
        parts.append("  " + session.tr("evidence: countermark bundle {trace} --out case.zip", trace=trace.id))
    return "\n".join(parts)


def _rows(session: Session, trace: Trace) -> list[Row]:
    rows = [(session.tr("trace"), f"{trace.id}  ({trace.suspect})")]
    if trace.pictures:
        examined = sum(each["examined"] for each in trace.pictures)
        rows.append(
            (
                session.tr("pool"),
                session.tr("{count} files, {examined} examined", count=len(trace.pictures), examined=examined),
            )
        )
    if trace.region:
        names = ("left", "top", "right", "bottom")
        place = dict(zip(names, trace.region, strict=True))
        rows.append((session.tr("part"), session.tr("{left}, {top} to {right}, {bottom}, in pixels", **place)))
    if trace.verdict in ("attributed", "not-attributable"):
        rows.append(
            (
                session.tr("mark"),
                session.tr(
                    "found under title {title}, epoch {epoch}; {geometry}",
                    title=trace.title,
                    epoch=trace.epoch,
                    geometry=_geometry(session, trace.geometry, is_text=_is_text(trace)),
                ),
            )
        )
    if trace.p_ours is not None:
        tried = trace.p_ours["corrected_for"]
        many = {"geometries": tried["geometries"], "keys": tried["keys"]}
        corrected = session.tr("corrected for {geometries} geometries and {keys} keys", **many)
        if trace.method is not None and trace.method.startswith("image.noise"):
            corrected = session.tr("corrected for {geometries} hypotheses and {keys} keys", **many)
        if _is_text(trace):
            corrected = session.tr(
                "corrected for {parts} parts, {readings} readings and {identifiers} identifiers",
                parts=tried["geometries"],
                readings=tried["keys"],
                identifiers=tried.get("identifiers", 1),
            )
        rows.append(("p_ours", f"{_show_p(trace.p_ours['value'])}  {corrected}"))
    if trace.p_innocent is not None:
        tried = trace.p_innocent["corrected_for"]
        corrected = session.tr(
            "corrected for {identifiers} identifiers issued and {words} words tried",
            identifiers=tried["identifiers"],
            words=tried["words"],
        )
        if trace.read == "recorded":
            corrected = session.tr("corrected for every recorded generation")
        rows.append(("p_innocent", f"{_show_p(trace.p_innocent['value'])}  {corrected}"))
    if trace.read is not None:
        said = {
            "exact": session.tr("exact: a word that was decoded is an issued identifier's"),
            "soft": session.tr("soft: of all issued identifiers, the one that fits what was seen best"),
            "recorded": session.tr("recorded: the noise ledger holds the noise that this grew from"),
        }
        rows.append((session.tr("read"), said[trace.read]))
    rows.append((session.tr("level"), f"{trace.alpha:g}"))
    if trace.verdict == "attributed":
        rows += _attributed_rows(session, trace)
    return rows


def _attributed_rows(session: Session, trace: Trace) -> list[Row]:
    rows = [
        (session.tr("grant"), str(trace.grant)),
        (session.tr("licensee"), f"{trace.licensee_name}  ({trace.licensee})"),
    ]
    if trace.generation is not None:
        rows.append((session.tr("generation"), session.tr("number {number}", number=trace.generation)))
    if trace.coverage is not None:
        rows.append((session.tr("coverage"), _coverage(session, trace.coverage)))
    if trace.output is None:
        rows.append((session.tr("output"), session.tr("no recorded output of this grant looks alike")))
    else:
        kind = (
            session.tr("identical file")
            if trace.output["is_identical"]
            else session.tr("recognized by its noise")
            if trace.generation is not None
            else session.tr("likeness {likeness}, a lead and not a statistic", likeness=trace.output["likeness"])
        )
        rows.append(
            (
                session.tr("output"),
                session.tr(
                    "log entry {index} of {time}; {kind}",
                    index=trace.output["log_index"],
                    time=trace.output["time"],
                    kind=kind,
                ),
            )
        )
    return rows


def _warnings(session: Session, trace: Trace) -> list[str]:
    warnings = [
        session.tr(
            "Neither p-value covers forgery (a mark copied onto foreign content) or a dishonest key holder. "
            "A mark is never the only exhibit."
        )
    ]
    if trace.output is None:
        warnings.append(session.tr("No signed request stands behind this: a lead, not an accusation."))
    if trace.copied_from is not None:
        warnings.append(
            session.tr(
                "The mark has the pattern of log entry {index}, whose picture does not look like this one (likeness "
                "{likeness}): it may have been copied from there.",
                index=trace.copied_from["log_index"],
                likeness=trace.copied_from["likeness"],
            )
        )
    return ["  " + "\n  ".join(wrap(session.tr("note: {text}", text=text), _COLUMNS)) for text in warnings]


def _coverage(session: Session, coverage: dict[str, Any]) -> str:
    said = {
        True: session.tr("the grant covered the use"),
        False: session.tr("the grant did not cover the use"),
        None: session.tr("no use was named"),
    }[coverage["covered"]]
    reasons = [_against(session).get(reason, reason) for reason in coverage["reasons"] if reason != "use-not-named"]
    return session.tr("{answer}: {reason}", answer=said, reason=session.tr(", ").join(reasons)) if reasons else said


def _geometry(session: Session, geometry: dict[str, Any], *, is_text: bool) -> str:
    """Say how a picture differs from the original's frame, or which part of a text was read, as the detector says."""
    parts = []
    if "scale" in geometry:
        parts.append(session.tr("tile scale {value}", value=f"{geometry['scale']:.3f}"))
    if "rotation_deg" in geometry:
        parts.append(session.tr("rotation {value} degrees", value=f"{geometry['rotation_deg']:.2f}"))
    if geometry.get("mirrored"):
        parts.append(session.tr("mirrored"))
    if "first" in geometry:
        parts.append(session.tr("tokens {first} to {last}", first=geometry["first"], last=geometry["last"]))
    if "characters" in geometry:
        start, end = geometry["characters"]
        parts.append(session.tr("characters {start} to {end}", start=start, end=end))
    if not parts and is_text:
        return session.tr("several texts, read as one")
    return session.tr(", ").join(parts) or session.tr("geometry as it was")


def _is_text(trace: Trace) -> bool:
    return trace.method is not None and trace.method.startswith("text.")


def _show_p(value: float) -> str:
    return f"{value:.2g}"


def verdicts(session: Session) -> dict[str, str]:
    """Return each verdict in words."""
    return {
        "attributed": session.tr("attributed"),
        "not-attributable": session.tr("mark found, but not attributable"),
        "nothing-found": session.tr("nothing found"),
        "not-examined": session.tr("not examined"),
    }


def _reasons(session: Session) -> dict[str, str]:
    return {
        "below-level": session.tr("no mark of ours at the level asked"),
        "word-not-read": session.tr("its word could not be read"),
        "identifier-never-issued": session.tr("its identifier was never issued"),
        "identifier-never-delivered": session.tr("its identifier is a reserved one that nobody ever got"),
        "mark-below-level": session.tr("what names the licensee does not prove the mark at this level"),
        "too-many-candidates": session.tr("too many identifiers to tell one from chance at this level"),
        "nothing-generated": session.tr("nothing was generated under the key"),
        "no-pipeline": session.tr("the registered pipeline cannot be loaded here"),
        "not-pooled": session.tr("recorded generations are not pooled"),
        "no-keys": session.tr("no model is registered, so there is no key to look with"),
        "too-small": session.tr("the picture is too small"),
        "other-method": session.tr("the keys are of a method that this version does not read"),
        "unsupported-image": session.tr("not a picture of a kind that is examined"),
        "hostile-file": session.tr("the file is damaged or breaks a limit"),
        "input": session.tr("the file cannot be read as a picture"),
        "not-a-picture": session.tr("it is a text, and there are no keys for texts"),
        "not-a-text": session.tr("it is a picture, and there are no keys for pictures"),
        "no-text": session.tr("it holds no text of a model"),
        "too-short": session.tr("the text is too short"),
        "too-long": session.tr("the text is too long"),
        "tokenizer-missing": session.tr("the registered tokenizer is not at hand"),
        "tokenizer-mismatch": session.tr("the tokenizer at hand is not the registered one"),
    }


def _against(session: Session) -> dict[str, str]:
    return {
        "before-window": session.tr("before the grant began"),
        "expired": session.tr("after it expired"),
        "revoked": session.tr("after it was revoked"),
        "outside-scope": session.tr("outside its scope"),
        "outside-territory": session.tr("outside its territory"),
    }
