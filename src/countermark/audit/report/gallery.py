"""The parts of a report about images: pictures side by side, what is copied most, and what fixed cut-offs would say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from countermark.audit.report.pictures import Image, Pictures, changed, difference, fetch, gain_for, picture
from countermark.audit.report.plots import Mark, Series, histogram
from countermark.audit.report.reading import ABSENT, Part, count, decimal, escape, percent
from countermark.audit.report.sections import cell, curve, facts, note, ordered, section, table, yes_or_no
from countermark.audit.report.words import Say, probability, transform

#: How many pairs a page shows: the most suspicious ones, and a few from the middle to compare them with.
_SUSPICIOUS, _ORDINARY = 20, 4
_MOST_COPIED = 24
_NEAR = 12


class Pairs:
    """The pictures of one page, with one gain for all differences.

    Args:
        document: of the audit.
        pictures: where they come from; None where there are none any more.
        gain: of the differences; None for the one that suits the document.
    """

    def __init__(self, document: Part, pictures: Pictures | None, *, gain: int | None = None) -> None:
        rows = ordered(document)
        middle = range(len(rows) // 2, len(rows), max(1, len(rows) // (2 * _ORDINARY)))
        self.suspicious = rows[:_SUSPICIOUS]
        self.ordinary = [rows[at] for at in middle if at >= _SUSPICIOUS][:_ORDINARY]
        shown = [*self.suspicious, *self.ordinary]
        fitted = [row.part("transform") or row for row in shown]
        self.gain = gain or gain_for([rmse for row in fitted if (rmse := row.number("rmse")) is not None])
        self.names = {row.whole("nearest"): row.text("name") for row in document.parts("copied")}
        self._sample: Callable[[int], Image] | None = getattr(pictures, "sample", None)
        self._training: Callable[[int], Image] | None = getattr(pictures, "training", None)

    def made(self, item: Part) -> Image | None:
        """Return what the model made."""
        return fetch(self._sample, item.whole("item"))

    def trained(self, item: Part) -> Image | None:
        """Return the training image that its score speaks of."""
        return fetch(self._training, source(item))

    def apart(self, item: Part) -> Image | None:
        """Return the difference of the two with the page's gain, the training image changed as the score has it."""
        made, trained, change = self.made(item), self.trained(item), item.part("transform")
        if trained is not None and change:
            gain, offset = change.number("gain"), change.number("offset")
            trained = changed(
                trained,
                mirror=change.flag("mirror"),
                across=change.whole("dx") or 0,
                down=change.whole("dy") or 0,
                gain=1.0 if gain is None else gain,
                offset=offset or 0.0,
            )
        return None if made is None or trained is None else difference(made, trained, self.gain)


def source(item: Part) -> int | None:
    """Return the training image that an item's score speaks of: as it stands, changed, or by a descriptor."""
    found = item.part("descriptor") or item.part("transform")
    return found.whole("nearest") if found.has("nearest") else item.whole("nearest")


def foremost(say: Say, pairs: Pairs) -> str:
    """Return the most suspicious image, its nearest training image and their difference, large."""
    if not pairs.suspicious:
        return ""
    return section(say("The most suspicious image"), three(say, pairs, pairs.suspicious[0]))


def three(say: Say, pairs: Pairs, item: Part, words: str = "") -> str:
    """Return an image, the training image nearest to it and their difference, with what was measured.

    ``words`` are the image's, unescaped, where its number in the audit does not say what it is.
    """
    figures = [
        (pairs.made(item), words or say("made by the model: number {number}", number=item.text("item"))),
        (pairs.trained(item), say("nearest training image: {name}", name=_name(say, pairs, source(item)))),
        (pairs.apart(item), _apart(say, pairs, item)),
    ]
    drawn = "".join(
        f"<figure>{picture(image, 224, escape(words))}<figcaption>{escape(words)}</figcaption></figure>"
        for image, words in figures
    )
    distance = say("{rmse}, where 0 is equal and 1 is black against white", rmse=decimal(item.number("rmse")))
    rows = [
        (say("best fit"), transform(say, item.part("transform"))),
        (say("distance (RMSE)"), say(", ").join(filter(None, [distance, _unchanged(say, item)]))),
        (say("L2 / dimensions"), decimal(item.number("l2_per_dim"))),
        (say("ratio"), say("{ratio} of the distance to its next neighbours", ratio=decimal(item.number("ratio")))),
        (
            say("descriptor"),
            decimal(number) if (number := item.part("descriptor").number("distance")) is not None else "",
        ),
        ("p", probability(item.number("p"))),
        ("q", probability(item.number("q")) if item.has("q") else ""),
        (say("named as a copy?"), yes_or_no(say, item, "flagged")),
    ]
    return f'<div class="three">{drawn}</div>{facts(rows)}'


def curves(say: Say, document: Part) -> str:
    """Return where the model's images lie among held-out ones, by the score that decides."""
    calibration, items = document.part("calibration"), document.parts("items")
    scores = [score for item in items if (score := item.number("score")) is not None]
    title = say("The model's images among real ones it was never trained on")
    figure = curve(
        say,
        document,
        title,
        say("score: log distance to the nearest training image, beside its neighbours (left: more suspicious)"),
        calibration.numbers("scores"),
        scores,
    )
    words = say(
        "The grey curve shows how near real images, never used in training, come to the training images by chance. "
        "What a copying model makes lies left of it."
    )
    return section(title, note(words) if figure else "", figure)


def pairs_table(say: Say, document: Part, pairs: Pairs) -> str:
    """Return the most suspicious pairs and some ordinary ones, with their figures."""
    if not pairs.suspicious:
        return ""
    labels = any(item.whole("label") is not None for item in pairs.suspicious)
    head = [
        say("made by the model"),
        say("nearest training image"),
        say("difference ×\u00a0{gain}", gain=pairs.gain),
        "RMSE\u00a0(0–1)",
        say("L2 / dimensions"),
        say("ratio"),
        *([say("label, nearest's")] if labels else []),
        "p",
        "q",
        say("named"),
    ]
    total = len(document.parts("items"))
    words = say(
        "The {shown} most suspicious of {total}; all of them are in report.json. One gain for all differences, so that "
        "they can be compared.",
        shown=count(len(pairs.suspicious)),
        total=count(total),
    )
    ordinary = ""
    if pairs.ordinary:
        heading = f"<h3>{escape(say('For comparison: images from the less suspicious half'))}</h3>"
        ordinary = heading + table(head, [_row(say, pairs, item, labels) for item in pairs.ordinary], "pairs")
    suspicious = table(head, [_row(say, pairs, item, labels) for item in pairs.suspicious], "pairs")
    return section(say("Generated, nearest, difference"), note(words), suspicious, ordinary)


def most_copied(say: Say, document: Part, pairs: Pairs) -> str:
    """Return the training images that were copied most, with counts."""
    copied = sorted(document.parts("copied"), key=lambda row: -(row.whole("count") or 0))
    if not copied:
        return ""
    figures = ""
    for row in copied[:_MOST_COPIED]:
        name = escape(_name(say, pairs, row.whole("nearest")))
        times = escape(say("{count} times", count=count(row.whole("count"))))
        drawn = picture(pairs.trained(row), 84, name)
        figures += f"<figure>{drawn}<figcaption><b>{times}</b> {name}</figcaption></figure>"
    words = say(
        "The {shown} training images that most of the named images lie nearest to, of {listed} in report.json.",
        shown=count(min(len(copied), _MOST_COPIED)),
        listed=count(len(copied)),
    )
    again = document.part("data").part("train").whole("duplicates")
    repeated = (
        ""
        if not again
        else say(
            "{count} training images repeat another byte for byte; what is repeated is copied more often.",
            count=count(again),
        )
    )
    return section(
        say("Training images copied most"), note(words), f'<div class="gallery">{figures}</div>', note(repeated)
    )


def cutoffs(say: Say, document: Part) -> str:
    """Return what two fixed cut-offs would have said, and how often they are wrong about real unseen images."""
    rows = document.parts("cutoffs")
    if not rows:
        return ""
    known = {"near copy": say("near copy"), "perfect copy": say("perfect copy")}
    units = {"rmse": "RMSE\u00a0(0–1)", "l2/dims": say("L2 / dimensions")}
    unseen = document.part("calibration").whole("count")
    cells = []
    for row in rows:
        interval = row.numbers("interval")
        between = f" ({percent(interval[0])} – {percent(interval[1])})" if len(interval) == 2 else ""
        named = f"{count(row.whole('flagged'))} / {count(row.whole('of'))}"
        wrong = f"{count(row.whole('false_positives'))} / {count(unseen)}"
        what, unit = row.text("name"), row.text("unit")
        rate = percent(row.number("false_positive_rate")) + between
        cells.append(
            [known.get(what, what), f"{cell(row.number('value'))} {units.get(unit, unit)}", named, wrong, rate]
        )
    head = [
        say("called"),
        say("below"),
        say("images of the model so called"),
        say("real unseen images so called"),
        say("wrong about real unseen images"),
    ]
    why = say(
        "A public demonstration calls an image a near copy below 0.006 and a perfect copy below 0.0009, without a "
        "unit. Both units are shown. Such a line knows nothing of how alike the images of a data set are anyway: in "
        "one unit it may miss every copy, in the other it may call real images copies that no model ever saw. The "
        "verdict of this page does not use it."
    )
    return section(
        say("Why fixed cut-offs mislead"),
        note(why),
        table(head, [[escape(text) for text in row] for row in cells], "plain"),
        _distances(say, document),
    )


def near_duplicates(say: Say, document: Part) -> str:
    """Return the held-out images that lie nearest to training images: what the data repeat themselves."""
    rows = document.part("data").part("held_out").parts("near")[:_NEAR]
    cells = [[escape(row.text("item")), escape(row.text("nearest")), cell(row.number("rmse"))] for row in rows]
    words = say(
        "Real images, never used in training, that lie nearest to a training image. An output as near as these may "
        "only resemble what the data repeat anyway."
    )
    head = [say("held-out image, number"), say("training image, number"), "RMSE\u00a0(0–1)"]
    return section(say("Near-duplicates in the data"), note(words), table(head, cells, "plain")) if rows else ""


def _distances(say: Say, document: Part) -> str:
    unseen = document.part("calibration").numbers("rmse")
    made = [rmse for item in document.parts("items") if (rmse := item.number("rmse")) is not None]
    if not unseen or not made:
        return ""
    marks = {
        value: say("{value} in {unit}", value=decimal(row.number("value")), unit=_unit(say, row))
        for row in document.parts("cutoffs")[:4]
        if (value := _as_rmse(row, document)) is not None
    }
    title = say("Distances, and where the fixed cut-offs lie")
    return histogram(
        [
            Series(escape(say("held-out, real")), "null", unseen),
            Series(escape(say("made by the model")), "made", made),
        ],
        escape(title),
        escape(say("RMSE to the nearest training image (0: equal, 1: black against white)")),
        escape(say("share of each set in a bin, %")),
        [Mark(value, escape(words)) for value, words in sorted(marks.items())],
        start=0.0,
    )


def _unit(say: Say, row: Part) -> str:
    return "RMSE" if row.text("unit") == "rmse" else say("L2 / dimensions")


def _as_rmse(row: Part, document: Part) -> float | None:
    """Return a cut-off as RMSE: the root of the summed squares over d is RMSE over the root of d."""
    value, shape = row.number("value"), document.part("data").part("train").wholes("shape")
    if value is None or not 0 <= value <= 1 or row.text("unit") == "rmse":
        return value if value is not None and 0 <= value <= 1 else None
    dims = math.prod(shape) if shape and min(shape) > 0 and len(shape) <= 3 else 0
    return value * math.sqrt(dims) if 0 < dims < 2**53 and row.text("unit") == "l2/dims" else None


def _row(say: Say, pairs: Pairs, item: Part, labels: bool) -> list[str]:
    number, name, apart = escape(item.text("item")), escape(_name(say, pairs, source(item))), escape(say("difference"))
    fitted = escape(transform(say, item.part("transform")))
    unchanged, classes = escape(_unchanged(say, item)), f"{item.text('label')}, {item.text('nearest_label')}"
    return [
        f"{picture(pairs.made(item), 84, number)}<small>{number}</small>",
        f"{picture(pairs.trained(item), 84, name)}<small>{name}</small>",
        picture(pairs.apart(item), 84, apart) + (f"<small>{fitted}</small>" if fitted else ""),
        cell(item.number("rmse")) + (f"<small>{unchanged}</small>" if unchanged else ""),
        cell(item.number("l2_per_dim")),
        cell(item.number("ratio")),
        *([escape(classes)] if labels else []),
        cell(item.number("p"), 2),
        cell(item.number("q"), 2),
        escape(say("yes") if item.flag("flagged") else say("no")),
    ]


def _name(say: Say, pairs: Pairs, nearest: int | None) -> str:
    number, name = say("number {number}", number=ABSENT if nearest is None else nearest), pairs.names.get(nearest, "")
    return number if not name or name.endswith(f"[{nearest}]") else f"{number} ({name})"


def _unchanged(say: Say, item: Part) -> str:
    """Return what the distance is to, where the score speaks of another training image or of a changed one."""
    if source(item) != item.whole("nearest"):
        return say("to number {number} as it stands", number=item.text("nearest"))
    return say("as it stands") if item.part("transform") else ""


def _apart(say: Say, pairs: Pairs, item: Part) -> str:
    if item.part("transform"):
        return say("difference × {gain} (black: none), after the best fit", gain=pairs.gain)
    return say("difference × {gain} (black: none)", gain=pairs.gain)


def all_parts(say: Say, document: Part, pictures: Pictures | None) -> tuple[str, Sequence[str]]:
    """Return what stands first after the verdict, and the parts about images in their order."""
    pairs = Pairs(document, pictures)
    rest = [
        pairs_table(say, document, pairs),
        most_copied(say, document, pairs),
        cutoffs(say, document),
        near_duplicates(say, document),
    ]
    return foremost(say, pairs) + curves(say, document), rest
