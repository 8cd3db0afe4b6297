"""The panels of the audit page: what is known of a model, the finding about an image, and the copies found so far.

Pure functions from a visit to HTML. Everything that a model or a data set calls itself comes out escaped; pictures and
figures are those of ``audit.report``.
"""

from __future__ import annotations

from countermark.audit.report.gallery import Pairs, three
from countermark.audit.report.pictures import Image, picture
from countermark.audit.report.plots import Mark, Series, histogram
from countermark.audit.report.reading import Part, count, decimal, escape, percent, plain
from countermark.audit.report.sections import note
from countermark.audit.report.style import DARK, FIGURES, LIGHT
from countermark.audit.report.words import Say, probability
from countermark.audit.shapes import write
from countermark.web.cases import FDR, Case, Look, Visit

__all__ = ["STYLE", "Say", "about", "choice", "copies", "finding", "heading"]

_LISTED = 48
#: Of every difference, so that one image can be compared with the next.
_GAIN = 4
#: Fewer images make no curve.
_CURVE = 50
_MARKUP = """
h1 { font-size: 1.5rem; line-height: 1.3; margin: 0 0 .3rem } h2 { font-size: 1.1rem; margin: 1.4rem 0 .4rem }
p { margin: .4rem 0; max-width: 46rem; line-height: 1.55 } color: var(--ink);
.say { font-size: 1.08rem; border-left: 5px solid var(--soft); padding-left: .9rem }
.say.copy { border-color: var(--made) }
small { color: var(--soft) }
.two { display: flex; gap: 3px; margin-bottom: .3rem }
.gallery { grid-template-columns: repeat(auto-fill, minmax(8.2rem, 1fr)) }
"""
#: For the whole page: the panels' own, and what keeps Gradio's parts readable beside them.
STYLE = f".audit {{ {LIGHT} }} .dark .audit {{ {DARK} }}\n.audit {{ {FIGURES}{_MARKUP} }}\n"


def heading(say: Say) -> str:
    """Return the page's title and what it is for."""
    words = say(
        "Does this model store what it was trained on? Let it make an image and see the training image nearest to it. "
        "Whether the two are nearer than chance is judged by real images that the model never saw."
    )
    return _panel(f"<h1>{escape(say('What a model memorized'))}</h1>{note(words)}")


def choice(say: Say) -> str:
    """Return the label of the models to choose from."""
    return say("1. Choose a model")


def about(say: Say, case: Case) -> str:
    """Return what is known of a model."""
    data = case.examiner.prepared
    words = say(
        "Trained on {train} images ({name}). The scale is set by {held_out} images of the same source that it "
        "never saw.",
        train=count(data.train.count),
        name=plain(data.train.name),
        held_out=count(data.held_out.count),
    )
    doubt = ""
    if data.same_source.warning:
        doubt = say(
            "Warning: the held-out data do not look as if they came from the same source as the training data "
            "(p = {p}). Where they do not, the error rates of this page do not hold.",
            p=probability(data.same_source.p),
        )
    return _panel(note(words) + (f'<p class="caution">{escape(doubt)}</p>' if doubt else ""))


def finding(say: Say, case: Case, visit: Visit) -> str:
    """Return the image drawn last, the training image nearest to it and their difference, with p and the null curve."""
    title = f"<h2>{escape(say('3. The nearest training image'))}</h2>"
    look = visit.last
    if look is None:
        return _panel(title + note(say("Nothing was made yet.")))
    pairs = Pairs(_alone(look), _Shown(case, look), gain=_GAIN)
    curve = _curve(say, case, visit, look)
    words = say("made by the model: seed {seed}, image {at}", seed=look.seed, at=look.at + 1)
    shown = three(say, pairs, pairs.suspicious[0], words)
    return _panel(title + _many(say, visit) + _sentence(say, case, look) + shown + curve)


def copies(say: Say, case: Case, visit: Visit) -> str:
    """Return the copies among everything that was drawn of a model in this visit."""
    if not visit.looks:
        return _panel("")
    named = visit.named()
    words = say(
        "{named} of {total} images of this model are named as copies. Every image counts: on average at most {fdr} of "
        "those named are named wrongly.",
        named=count(len(named)),
        total=count(len(visit.looks)),
        fdr=percent(FDR),
    )
    smallest = visit.smallest(case.examiner.calibration.count)
    least = ""
    if not named and smallest > 1:
        least = say("Fewer than {smallest} copies among so many images could not be named.", smallest=count(smallest))
    limits = say(
        "Who stops as soon as something is found is not corrected for. For a finding that holds, fix the number of "
        "images beforehand: countermark audit memorization."
    )
    shown = "".join(_copy(say, case, look) for look in named[:_LISTED])
    title = f"<h2>{escape(say('Copies found so far'))}</h2>"
    return _panel(
        f'{title}{note(words)}{note(least)}<div class="gallery">{shown}</div><p><small>{escape(limits)}</small></p>'
    )


class _Shown:
    """The pictures of one finding."""

    def __init__(self, case: Case, look: Look) -> None:
        self._case, self._look = case, look

    def sample(self, _item: int) -> Image:
        if self._look.image is None:
            raise LookupError
        return self._look.image

    def training(self, nearest: int) -> Image:
        image: Image = self._case.examiner.train.take([nearest])[0]
        return image


def _alone(look: Look) -> Part:
    """Return one finding as the document of its own, without what belongs to the batch it was drawn in."""
    item = {name: value for name, value in write(look.item).items() if name not in ("q", "flagged")}
    return Part({"items": [item]})


def _sentence(say: Say, case: Case, look: Look) -> str:
    held_out = case.examiner.calibration.count
    near = round(look.item.p * (1 + held_out)) - 1
    params = {"p": probability(look.item.p), "near": count(near), "held_out": count(held_out)}
    if look.item.p <= FDR:
        words = say(
            "This image lies nearer to a training image than chance explains: of {held_out} real images that the model "
            "never saw, {near} come as near (p = {p}).",
            **params,
        )
        return f'<p class="say copy">{escape(words)}</p>'
    words = say(
        "This image lies no nearer to a training image than chance explains: of {held_out} real images that the model "
        "never saw, {near} come as near (p = {p}).",
        **params,
    )
    return f'<p class="say">{escape(words)}</p>'


def _many(say: Say, visit: Visit) -> str:
    if visit.many is None:
        return ""
    total = sum(look.seed == visit.many for look in visit.looks)
    words = say(
        "Of these {total} images of seed {seed}, {named} are named as copies at a false discovery rate of {fdr}. Below "
        "is the most suspicious of them.",
        total=count(total),
        seed=visit.many,
        named=count(visit.named_of(visit.many)),
        fdr=percent(FDR),
    )
    return note(words)


def _curve(say: Say, case: Case, visit: Visit, look: Look) -> str:
    series = [Series(escape(say("held-out, real")), "null", case.examiner.calibration.scores)]
    if len(visit.looks) >= _CURVE:
        series.append(Series(escape(say("made by the model")), "made", [one.item.score for one in visit.looks]))
    return histogram(
        series,
        escape(say("The model's images among real ones it was never trained on")),
        escape(say("score: log distance to the nearest training image, beside its neighbours (left: more suspicious)")),
        escape(say("share of each set in a bin, %")),
        [Mark(look.item.score, escape(say("this image")))],
    )


def _copy(say: Say, case: Case, look: Look) -> str:
    nearest = case.examiner.train.take([look.item.source])[0]
    both = [(look.image, say("made by the model")), (nearest, say("nearest training image"))]
    drawn = "".join(picture(image, 56, escape(words)) for image, words in both)
    figures = say(
        "seed {seed}, image {at}; RMSE {rmse}; p = {p}",
        seed=look.seed,
        at=look.at + 1,
        rmse=decimal(look.item.rmse),
        p=probability(look.item.p),
    )
    return f'<figure><div class="two">{drawn}</div><figcaption>{escape(figures)}</figcaption></figure>'


def _panel(body: str) -> str:
    return f'<div class="audit">{body}</div>' if body else ""
