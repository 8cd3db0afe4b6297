"""The market demo's picture: what each party was credited, for what, as an SVG that needs nothing to be drawn with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_LEFT, _WIDTH, _ROW, _BAR = 170, 620, 44, 24
_TOP, _BOTTOM = 84, 34
#: Colours that stay apart for colour-blind readers (Okabe and Ito, 2008).
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def draw_credits(title: str, rows: Mapping[str, Mapping[str, int]], labels: Mapping[str, str]) -> str:
    """Return an SVG of stacked bars.

    Args:
        title: above the bars.
        rows: per party, amounts in the smallest unit by reason.
        labels: reasons in the order of the stack, with the words for them; at most six.
    """
    largest = max((sum(row.get(reason, 0) for reason in labels) for row in rows.values()), default=0) or 1
    scale = (_WIDTH - _LEFT - 110) / largest
    height = _TOP + _ROW * len(rows) + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + 40}" height="{height}" '
        f'viewBox="0 0 {_WIDTH + 40} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="100%" fill="#ffffff"/><text x="16" y="28" font-size="16">{escape(title)}</text>',
        *_legend(labels),
    ]
    for number, (name, row) in enumerate(rows.items()):
        parts += _bar(_TOP + number * _ROW, name, [row.get(reason, 0) for reason in labels], scale)
    return "\n".join([*parts, "</svg>", ""])


def _legend(labels: Mapping[str, str]) -> list[str]:
    parts, x = [], 16.0
    for colour, text in zip(_COLOURS, labels.values(), strict=False):
        parts.append(f'<rect x="{x:.0f}" y="44" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 17:.0f}" y="55">{escape(text)}</text>')
        x += 34 + sum(13 if ord(letter) > 0x2E80 else 7.2 for letter in text)
    return parts


def _bar(y: int, name: str, amounts: Sequence[int], scale: float) -> list[str]:
    parts = [f'<text x="{_LEFT - 10}" y="{y + 17}" text-anchor="end">{escape(name)}</text>']
    x = float(_LEFT)
    for colour, amount in zip(_COLOURS, amounts, strict=False):
        wide = amount * scale
        if amount:
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{max(wide, 1):.1f}" height="{_BAR}" fill="{colour}"/>')
        x += wide
    total = sum(amounts)
    return [*parts, f'<text x="{x + 8:.1f}" y="{y + 17}">{total // 100:,}.{total % 100:02d}</text>']
