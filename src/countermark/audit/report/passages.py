"""The parts of a report about texts: the passages shared with training texts, shown where they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from countermark.audit.report.plots import Series, histogram
from countermark.audit.report.reading import Part, count, decimal, escape, plain
from countermark.audit.report.sections import cell, facts, note, ordered, section, table
from countermark.audit.report.words import Say, probability
from countermark.errors import CountermarkError

_SHOWN, _ROWS, _MOST_COPIED, _EXTRACTED = 12, 100, 30, 50
#: Characters shown of a passage, and before and after it.
_PASSAGE, _AROUND = 1_500, 300
#: A held-out length counts with at most so many values in the figure.
_DRAWN = 100_000

Context = tuple[str, str, str]


class Passages(Protocol):
    """Where a report takes the surroundings of a passage from: what stands before it, itself, and after it."""

    def output(self, item: int, /) -> Context:
        """Return a passage in what the model wrote, by the item's number."""
        ...

    def source(self, item: int, /) -> Context:
        """Return the passage of the same item in the training text."""
        ...


def foremost(say: Say, document: Part, passages: Passages | None) -> str:
    """Return the most suspicious passages in context, most suspicious first."""
    rows = [item for item in ordered(document) if item.flag("flagged")] or ordered(document)[:1]
    shown = "".join(_passage(say, item, passages) for item in rows[:_SHOWN])
    words = say(
        "Marked is the longest passage that stands word for word in a training text. {shown} of {total} texts named.",
        shown=count(min(len(rows), _SHOWN)),
        total=count(sum(item.flag("flagged") for item in rows)),
    )
    return section(say("The longest passages shared with training texts"), note(words), shown) if shown else ""


def lengths(say: Say, document: Part) -> str:
    """Return how long shared passages are, in held-out texts of equal length and in the model's."""
    items = document.parts("items")
    window = Counter(item.whole("window") for item in items).most_common(1)
    used = window[0][0] if window else None
    unseen = _unseen(document.part("calibration"), used)
    made = [-score for item in items if item.whole("window") == used and (score := item.number("score")) is not None]
    title = say("Longest shared passages, beside those of texts the model was never trained on")
    if not unseen or not made:
        return ""
    figure = histogram(
        [Series(escape(say("held-out, real")), "null", unseen), Series(escape(say("made by the model")), "made", made)],
        escape(title),
        escape(say("longest passage shared with a training text, bytes, logarithmic (right: more suspicious)")),
        escape(say("share of each set in a bin, %")),
        log=True,
    )
    equal = "" if used is None else say("Compared over texts of {bytes} bytes.", bytes=count(used))
    return section(title, note(equal), figure)


def listing(say: Say, document: Part) -> str:
    """Return the texts in a table, most suspicious first."""
    rows = ordered(document)
    head = [
        say("text"),
        say("bytes"),
        say("longest shared passage, bytes"),
        say("training text"),
        say("near copy (Jaccard)"),
        "p",
        "q",
        say("named"),
    ]
    words = say(
        "The {shown} most suspicious of {total}; all of them are in report.json.",
        shown=count(len(rows[:_ROWS])),
        total=count(len(rows)),
    )
    return (
        section(say("All texts"), note(words), table(head, [_row(say, item) for item in rows[:_ROWS]], "plain"))
        if rows
        else ""
    )


def most_copied(say: Say, document: Part) -> str:
    """Return the training texts that were copied most."""
    copied = sorted(document.parts("copied"), key=lambda row: -(row.whole("count") or 0))[:_MOST_COPIED]
    rows = [[escape(row.text("name") or row.text("document")), escape(count(row.whole("count")))] for row in copied]
    head = [say("training text"), say("texts of the model that share a passage with it")]
    return section(say("Training texts copied most"), table(head, rows, "plain")) if rows else ""


def further(say: Say, document: Part) -> str:
    """Return what else was measured, where it was: extraction by probability, exposure of canaries."""
    extraction, exposure = document.part("extraction"), document.part("exposure")
    return section(say("Extraction by probability"), _measured(extraction)) + section(
        say("Exposure of canaries"), _measured(exposure)
    )


def all_parts(say: Say, document: Part, passages: Passages | None) -> tuple[str, Sequence[str]]:
    """Return what stands first after the verdict, and the parts about texts in their order."""
    rest = [listing(say, document), most_copied(say, document), further(say, document)]
    return foremost(say, document, passages) + lengths(say, document), rest


def _passage(say: Say, item: Part, passages: Passages | None) -> str:
    number, where = item.whole("item"), item.part("where")
    name = item.text("name") or say("text {number}", number=count(number))
    source = where.text("name") or where.text("document")
    made = _context(getattr(passages, "output", None), number) or ("", item.text("text", _PASSAGE), "")
    trained = _context(getattr(passages, "source", None), number)
    rows = [
        (say("shared"), say("{count} bytes", count=count(item.whole("longest")))),
        ("p", probability(item.number("p"))),
        ("q", probability(item.number("q"))),
    ]
    place = say("in training text {name}, from byte {offset}", name=source, offset=count(where.whole("offset")))
    other = _quote(place, trained) if trained else f"<p><small>{escape(place)}</small></p>"
    return f"<article>{_quote(say('made by the model: {name}', name=name), made)}{other}{facts(rows)}</article>"


def _quote(words: str, context: Context) -> str:
    before, matched, after = context
    return (
        f"<figure><figcaption>{escape(words)}</figcaption><blockquote>{escape(plain(before, _AROUND))}"
        f"<mark>{escape(plain(matched, _PASSAGE))}</mark>{escape(plain(after, _AROUND))}</blockquote></figure>"
    )


def _context(source: Callable[[int], Context] | None, number: int | None) -> Context | None:
    if source is None or number is None:
        return None
    try:
        before, matched, after = source(number)
    except (LookupError, ValueError, TypeError, OSError, CountermarkError):
        return None
    return str(before)[-_AROUND:], str(matched), str(after)[:_AROUND]


def _row(say: Say, item: Part) -> list[str]:
    where, similar = item.part("where"), item.part("similar")
    near = f"{similar.text('document')}: {decimal(similar.number('jaccard'))}" if similar else ""
    return [
        escape(item.text("name") or item.text("item")),
        escape(count(item.whole("bytes"))),
        escape(count(item.whole("longest"))),
        escape(where.text("name") or where.text("document")),
        escape(near),
        cell(item.number("p"), 2),
        cell(item.number("q"), 2),
        escape(say("yes") if item.flag("flagged") else say("no")),
    ]


def _unseen(calibration: Part, window: int | None) -> list[float]:
    """Return lengths of the passages of held-out texts; values and how often they occur, of one length of text."""
    for row in calibration.parts("lengths"):
        if row.whole("bytes") == window:
            pairs = row.pairs("scores")
            total = sum(times for _, times in pairs) or 1
            thin = max(1.0, total / _DRAWN)
            return [-score for score, times in pairs for _ in range(max(1, round(times / thin)))]
    return [-score for score in calibration.numbers("scores")]


def _measured(part: Part) -> str:
    plain_rows = [(name.replace("_", " "), value) for name, value in part.items()]
    rows = part.parts("items")[:_EXTRACTED]
    names = [name for name, _ in rows[0].items()] if rows else []
    cells = [[escape(dict(row.items()).get(name, "")) for name in names] for row in rows]
    return facts(plain_rows) + (table([name.replace("_", " ") for name in names], cells, "plain") if rows else "")
