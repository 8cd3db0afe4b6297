"""The parts of a report that both kinds have: figures, the model as a whole, limits, and how to check it all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from countermark.audit.report.plots import Mark, Series, bar, histogram, p_against_rank, strip
from countermark.audit.report.reading import ABSENT, Part, count, decimal, escape, percent
from countermark.audit.report.words import Say, as_a_whole, limit, probability, share

_LISTED = 100


def section(heading: str, *blocks: str) -> str:
    """Return a section of the page; nothing where it would be empty. The heading comes in unescaped."""
    body = "\n".join(block for block in blocks if block)
    return f"<section>\n<h2>{escape(heading)}</h2>\n{body}\n</section>" if body else ""


def note(text: str) -> str:
    """Return a paragraph of plain words; they come in unescaped."""
    return f"<p>{escape(text)}</p>" if text else ""


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return names and values, unescaped; rows without a value are left out."""
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows if value)
    return f"<dl>{body}</dl>" if body else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    """Return a table; the head comes in unescaped, the cells as HTML."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="wide"><table class="{style}"><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
    )


def ordered(document: Part) -> list[Part]:
    """Return the audited items, most suspicious first."""
    top = float("inf")
    return sorted(document.parts("items"), key=lambda item: (_or(item, "p", top), _or(item, "score", top)))


def summary(say: Say, document: Part) -> str:
    """Return the figures that go with the verdict, large."""
    decision, test = document.part("decision"), document.part("model_test")
    flagged, total = decision.whole("flagged"), len(document.parts("items"))
    wrong = (
        say("of those named are named wrongly, on average")
        if flagged
        else say("chance of a false finding, if nothing is copied")
    )
    least = decision.number("at_least")
    tiles = [
        (say("{flagged} of {total}", flagged=count(flagged), total=count(total)), say("named as copies")),
        (f"≤ {percent(document.part('method').number('fdr'))}", wrong),
        (
            f"≥ {percent(least)}" if least else ABSENT,
            say(
                "of the output is copied, with {confidence} confidence",
                confidence=percent(decision.number("confidence")),
            ),
        ),
        (
            f"p = {probability(test.number('p'))}",
            say("of the model as a whole (least possible: {floor})", floor=probability(test.number("floor"))),
        ),
    ]
    shown = [tile for tile in tiles if ABSENT not in tile[0]]
    return '<div class="tiles">' + "".join(f"<div><b>{escape(a)}</b>{escape(b)}</div>" for a, b in shown) + "</div>"


def ranks(say: Say, document: Part) -> str:
    """Return the p-values against their ranks, with the line that decides."""
    p = [value for item in document.parts("items") if (value := item.number("p")) is not None and 0 <= value <= 1]
    fdr = document.part("method").number("fdr")
    if not p or fdr is None or not 0 < fdr <= 1:
        return ""
    flagged = min(max(document.part("decision").whole("flagged") or 0, 0), len(p))
    title = say("Every p-value against its rank")
    figure = p_against_rank(
        p,
        fdr,
        flagged,
        escape(title),
        escape(say("rank of the p-value, smallest first (logarithmic)")),
        escape(say("p-value (logarithmic)")),
        [escape(text) for text in (say("named"), say("not named"), say("line that decides"), say("chance alone"))],
    )
    smallest = document.part("decision").whole("smallest_flaggable")
    why = say(
        "Each p-value is the share of held-out data that lies at least as near to the training data. Where nothing is "
        "copied the points follow the dotted line. All points up to the last one under the solid line are named "
        "(Benjamini and Hochberg, false discovery rate {fdr}).",
        fdr=percent(fdr),
    )
    least = (
        ""
        if smallest is None
        else say("The smallest number of copies that could be named here: {smallest}.", smallest=count(smallest))
    )
    return section(title, note(why), figure, note(least))


def whole_model(say: Say, document: Part) -> str:
    """Return the test of the model as a whole, as a strip of points."""
    test = document.part("model_test")
    if not test:
        return ""
    inside, outside = test.number("of_train"), test.numbers("of_unseen")
    figure = ""
    if inside is not None and outside:
        figure = strip(
            inside,
            outside,
            escape(say("The training set among sets that were not used in training")),
            escape(say("mean log distance from the output to the nearest member of the set (left: nearer)")),
            [escape(say("training set")), escape(say("sets not used in training"))],
        )
    size = test.whole("set_size")
    part = say(
        "The training set took part with a random part of {size}, drawn by the digests of the data.", size=count(size)
    )
    return section(
        say("The model as a whole"), note(as_a_whole(say, document)), figure, note(part if test.flag("subset") else "")
    )


def copied_share(say: Say, document: Part) -> str:
    """Return what share of the output is copied, with its interval, and what is copied at the least."""
    decision, total = document.part("decision"), len(document.parts("items"))
    below, null, interval = decision.whole("below"), decision.number("null_rate"), decision.numbers("interval")
    if below is None or null is None or not 0 <= below <= total or not total or len(interval) != 2:
        return ""
    confidence, least = percent(decision.number("confidence")), decision.number("at_least")
    figure = bar(
        below / total,
        (interval[0], interval[1]),
        least,
        escape(say("Share of the output that is copied")),
        escape(say("share of the output, %")),
        escape(say("at least {least}", least=percent(least))),
    )
    counted = say(
        "The bar: {below} of {total} outputs lie below a line that was fixed before any of them was seen. Of unseen "
        "data at most {null} do. So {low} to {high} of what the model makes are copies below that line, with "
        "{confidence} confidence. The number of outputs named is another one: its line moves with the outputs.",
        below=count(below),
        total=count(total),
        null=percent(null),
        low=percent(interval[0]),
        high=percent(interval[1]),
        confidence=confidence,
    )
    return section(say("How much is copied"), note(share(say, document)), figure, note(counted))


def curve(say: Say, document: Part, title: str, x_title: str, unseen: Sequence[float], made: Sequence[float]) -> str:
    """Return how what the model made lies over what it was never trained on; nothing where either is missing."""
    if not unseen or not made:
        return ""
    line = _last_named(document)
    words = escape(say("named up to here"))
    return histogram(
        [
            Series(escape(say("held-out, real")), "null", unseen),
            Series(escape(say("made by the model")), "made", made),
        ],
        escape(title),
        escape(x_title),
        escape(say("share of each set in a bin, %")),
        [] if line is None else [Mark(line, words)],
    )


def limits(say: Say, document: Part) -> str:
    """Return what the audit cannot say."""
    rows = "".join(f"<li>{escape(limit(say, slug, document))}</li>" for slug in document.texts("limits")[:_LISTED])
    return section(say("What this audit cannot say"), f"<ul>{rows}</ul>" if rows else "")


def compared(say: Say, document: Part) -> str:
    """Return what was compared with what, and how."""
    subject, data, method = document.part("subject"), document.part("data"), document.part("method")
    samples, fdr = subject.part("samples"), method.number("fdr")
    rows = [
        (say("model"), subject.text("name")),
        (say("made by"), subject.text("sampler")),
        (say("outputs"), _outputs(say, samples)),
        *((name, _data(say, data.part(key))) for key, name in _sets(say)),
        (say("notes on the data"), say(", ").join(data.texts("notes")[:_LISTED])),
        (say("statistic"), method.text("statistic")),
        (say("search"), method.text("index")),
        (say("neighbours compared with"), count(method.whole("neighbours")) if method.whole("neighbours") else ""),
        (say("moved and re-lit copies searched"), yes_or_no(say, method, "aligned")),
        (say("same label only"), yes_or_no(say, method, "same_label")),
        (say("descriptor"), method.part("descriptor").text("name")),
        (say("form of the texts"), method.text("form")),
        (say("false discovery rate"), "" if fdr is None else percent(fdr)),
        (say("same source?"), _same_source(say, document.part("same_source"))),
    ]
    return section(say("What was compared"), facts(rows))


def checking(say: Say, document: Part, digest: str) -> str:
    """Return digests, seeds and versions, and how a stranger repeats the decision."""
    subject, data = document.part("subject"), document.part("data")
    rows = [
        (say("report.json, SHA-256"), digest),
        (say("weights"), subject.text("weights")),
        (say("outputs"), subject.part("samples").text("digest")),
        (say("seed of the outputs"), subject.part("samples").text("seed")),
        *((name, data.part(key).text("digest")) for key, name in _sets(say)),
        (say("descriptor"), document.part("method").part("descriptor").text("digest")),
        (say("made at"), document.text("made_at")),
        *((name, value) for name, value in document.part("versions").items()),
    ]
    steps = [
        say("The file report.json beside this page holds every score. sha256sum report.json prints the digest below."),
        say(
            "p of an item is (1 + held-out scores not above its own) / (1 + held-out scores), for a text times the "
            "number of pieces it was compared in. q, the items named, the share and the rank follow from there by "
            "arithmetic, with neither model nor data."
        ),
        say(
            "Where the audit was recorded and came in a bundle, countermark verify BUNDLE does that arithmetic again "
            "and checks signature, log and time, offline."
        ),
        say("Who holds model and data can repeat the whole: equal digests, seed and versions give equal scores."),
    ]
    listed = "".join(f"<li>{escape(step)}</li>" for step in steps)
    return section(say("How to check this"), f"<ol>{listed}</ol>", f'<div class="digests">{facts(rows)}</div>')


def _sets(say: Say) -> list[tuple[str, str]]:
    return [("train", say("training data")), ("held_out", say("held-out data"))]


def _outputs(say: Say, samples: Part) -> str:
    number, drawn = samples.whole("count"), samples.whole("drawn")
    if number is None:
        return ""
    if drawn is None or drawn == number:
        return count(number)
    return say("{count}, chosen from {drawn} that were drawn", count=count(number), drawn=count(drawn))


def _data(say: Say, data: Part) -> str:
    words = [data.text("name")] if data.text("name") else []
    words += [say("{count} items", count=count(number))] if (number := data.whole("count")) is not None else []
    words += [" × ".join(map(str, shape)) + " px"] if (shape := data.wholes("shape")[:3]) else []
    words += [say("{count} bytes", count=count(size))] if (size := data.whole("bytes")) is not None else []
    words += [say("{count} repeat another", count=count(again))] if (again := data.whole("duplicates")) else []
    words += (
        [say("{count} stand in the training data too", count=count(both))] if (both := data.whole("overlap")) else []
    )
    return say(", ").join(words)


def yes_or_no(say: Say, part: Part, name: str) -> str:
    """Return whether a value is true, in words; nothing where it is not there."""
    if not part.has(name):
        return ""
    return say("yes") if part.flag(name) else say("no")


def _same_source(say: Say, check: Part) -> str:
    p = check.number("p")
    if p is None:
        return ""
    if check.flag("warning"):
        return say("doubtful: held-out and training data differ (two-sample test, p = {p})", p=probability(p))
    return say("nothing speaks against it (two-sample test, p = {p})", p=probability(p))


def _last_named(document: Part) -> float | None:
    scores = [item.number("score") for item in document.parts("items") if item.flag("flagged")]
    return max((score for score in scores if score is not None), default=None)


def _or(item: Part, name: str, other: float) -> float:
    value = item.number(name)
    return other if value is None else value


def cell(value: float | None, digits: int = 3) -> str:
    """Return a number as a table's cell."""
    return escape(decimal(value, digits))
