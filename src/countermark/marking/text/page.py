"""A text as a page to look at: every token shaded by how well it agrees with a word."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# A token's score is 1 on average without the mark. From _DULL on it is shaded, fully at _VIVID.
_DULL, _VIVID = 1.0, 6.0
_COLOR = "15, 118, 110"
_STYLE = """
body { font: 17px/1.9 "Noto Serif", "Noto Serif CJK SC", Georgia, "Songti SC", serif; color: #1f2328;
  background: #fff; max-width: 46em; margin: 2.5em auto; padding: 0 1.5em }
h1 { font-size: 1.25em; line-height: 1.4 }
h1, dl, footer { font-family: system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2em 1.2em; font-size: .85em; line-height: 1.6 }
dt { color: #59636e } dd { margin: 0 }
p { white-space: pre-wrap; overflow-wrap: anywhere }
b { font-weight: inherit; border-radius: 2px }
u { text-decoration: none; color: #59636e; border-bottom: 1px dotted #b7bec6 }
footer { font-size: .8em; color: #59636e; border-top: 1px solid #d1d9e0; padding-top: .8em; line-height: 1.6 }
i { display: inline-block; width: 2.2em; height: .9em; vertical-align: -.1em; border-radius: 2px }
"""


def shaded_page(
    text: str,
    places: Sequence[tuple[int, int]],
    scores: NDArray[np.float64],
    *,
    heading: str,
    facts: Sequence[tuple[str, str]],
    legend: tuple[str, str, str],
    language: str = "en",
) -> str:
    """Return an HTML page that needs nothing else.

    Args:
        text: as it was read; everything in it is escaped.
        places: where each token begins and ends in it, in characters; parts of one character share its place.
        scores: (n,) of the tokens, NaN where a token does not count.
        heading: of the page.
        facts: names and values to list above the text.
        legend: what no shade, full shade and a dotted line mean.
        language: of heading, facts and legend, a BCP 47 tag.
    """
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts)
    plain, full, uncounted = map(html.escape, legend)
    return (
        f'<!doctype html>\n<html lang="{html.escape(language)}"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(heading)}</title><style>{_STYLE}</style>\n"
        f"<h1>{html.escape(heading)}</h1>\n<dl>{rows}</dl>\n<p>{_shaded(text, places, scores)}</p>\n"
        f'<footer><i style="{_shade(_DULL + 0.4)}"></i> {plain} &nbsp; <i style="{_shade(_VIVID)}"></i> {full} &nbsp; '
        f"<u>abc</u> {uncounted}</footer></html>\n"
    )


def _shaded(text: str, places: Sequence[tuple[int, int]], scores: NDArray[np.float64]) -> str:
    parts, done = list[str](), 0
    for start, end, score in _together(places, scores):
        parts.append(html.escape(text[done:start]))
        piece, done = html.escape(text[max(start, done) : end]), max(end, done)
        if piece and np.isnan(score):
            parts.append(f"<u>{piece}</u>")
        elif piece:
            parts.append(f'<b style="{_shade(score)}" title="{score:.1f}">{piece}</b>' if score > _DULL else piece)
    return "".join([*parts, html.escape(text[done:])])


def _together(places: Sequence[tuple[int, int]], scores: NDArray[np.float64]) -> list[tuple[int, int, float]]:
    """Join tokens that are parts of one character; the largest score speaks for them."""
    joined = list[tuple[int, int, float]]()
    for (start, end), score in zip(places, scores.tolist(), strict=True):
        if joined and start < joined[-1][1]:
            first, last, other = joined[-1]
            joined[-1] = (first, max(last, end), float(np.fmax(other, score)))
        else:
            joined.append((start, end, score))
    return joined


def _shade(score: float) -> str:
    share = min(1.0, max(0.0, (score - _DULL) / (_VIVID - _DULL)))
    return f"background: rgba({_COLOR}, {0.65 * share:.2f})"
