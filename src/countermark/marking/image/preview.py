"""Pictures of pictures, for people: what a mark changed, and where a suspect carries it.

Captions are drawn with Pillow's own font, which has Latin letters only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from countermark.errors import StorageError
from countermark.marking.image.samples import Pixels, bands

if TYPE_CHECKING:
    from PIL.Image import Image

    from countermark.marking.image.cells import Cell

#: How many times a difference is enlarged.
AMPLIFIED: Final = 10
_SIDE, _GAP, _TEXT = 480, 16, 16
INK, PAPER = (32, 32, 32), (255, 255, 255)

# Colours of cells by their evidence in standard deviations, from each bound on: none, then light to dark. By chance one
# cell in 741 is over 3, one in a billion over 6; a cell of an undamaged copy has about 20.
_EVIDENCE: Final = (
    (-np.inf, None, "z < 3: no sign"),
    (3.0, (255, 221, 87), "3 to 6"),
    (6.0, (253, 141, 60), "6 to 12"),
    (12.0, (197, 27, 138), "z > 12"),
)
_SURE: Final = 6.0
_OPACITY, _LARGE, _SHARPNESS = 110, 720, 2
#: Left, top, right and bottom, in pixels; right and bottom lie outside.
Box = tuple[int, int, int, int]

#: What is shown, and the caption under it, of one line or more.
Panel = tuple["Image", str]


def preview(before: Pixels, after: Pixels, quality_db: float) -> Image:
    """Show a picture, its marked copy and what differs, (H, W, 3) uint8 both; large ones also in a part at full size.

    Args:
        before: the picture.
        after: its marked copy, of the same size.
        quality_db: their PSNR, for the caption.
    """
    panels = {
        "original": before,
        f"marked, {quality_db:.1f} dB PSNR": after,
        f"difference x {AMPLIFIED}": difference(before, after),
    }
    whole = [(fitted(pixels, _SIDE, _SIDE), caption) for caption, pixels in panels.items()]
    if max(before.shape[:2]) <= _SIDE:
        return sheet([whole])
    return sheet([whole, [(_center(pixels), f"{caption}, part at 1:1") for caption, pixels in panels.items()]])


def difference(before: Pixels, after: Pixels) -> Pixels:
    """Return the difference of two pictures, ``AMPLIFIED`` times enlarged, about middle grey."""
    enlarged = np.empty_like(before)
    for rows in bands(before):
        change = after[rows].astype(np.int16) - before[rows]
        enlarged[rows] = np.clip(128 + AMPLIFIED * change, 0, 255)
    return enlarged


def fitted(pixels: Pixels, width: int, height: int) -> Image:
    """Return a picture shrunk, if it must be, to fit a frame."""
    import PIL.Image

    image = PIL.Image.fromarray(pixels)
    scale = min(1.0, width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if scale == 1.0 else image.resize(size, PIL.Image.Resampling.LANCZOS)


def lattice(suspect: Pixels, cells: Sequence[Cell], boxes: Sequence[Box] = ()) -> Image:
    """Show a suspect beside itself with the recovered lattice on it: each cell in the colour of its evidence.

    Args:
        suspect: (H, W, 3) uint8.
        cells: where the mark's tiles lie on it.
        boxes: parts of it that were answered for by themselves; they are numbered from 1.
    """
    import PIL.Image

    image = fitted(suspect, _LARGE, _LARGE)
    scale = image.width / suspect.shape[1]
    sure = sum(cell.evidence > _SURE for cell in cells)
    # On grey, so that no colour of the picture is taken for evidence.
    plain = image.convert("L").convert("RGBA")
    drawn = PIL.Image.alpha_composite(plain, _overlay(image.size, scale, cells, boxes)).convert("RGB")
    legend = [(_swatch(color), caption) for _, color, caption in _EVIDENCE]
    return sheet([[(image, "suspect"), (drawn, f"cells: {len(cells)}, of them with z > {_SURE:g}: {sure}")], legend])


def _overlay(size: tuple[int, int], scale: float, cells: Sequence[Cell], boxes: Sequence[Box]) -> Image:
    """Draw cells and boxes on nothing, larger at first, so that slanted lines are smooth."""
    import PIL.Image
    from PIL import ImageDraw, ImageFont

    scale *= _SHARPNESS
    layer = PIL.Image.new("RGBA", (size[0] * _SHARPNESS, size[1] * _SHARPNESS), (255, 255, 255, 0))
    pen, font = ImageDraw.Draw(layer), ImageFont.load_default(_TEXT * _SHARPNESS)
    for cell in cells:
        color = next(color for least, color, _ in reversed(_EVIDENCE) if cell.evidence >= least)
        corners = [(float(x) * scale, float(y) * scale) for x, y in cell.corners]
        pen.polygon(corners, fill=color and (*color, _OPACITY), outline=(*PAPER, 160), width=_SHARPNESS)
    for number, box in enumerate(boxes, 1):
        left, top, right, bottom = (side * scale for side in box)
        for outline, width in ((PAPER, 5), (INK, 3)):
            pen.rectangle((left, top, right - 1, bottom - 1), outline=(*outline, 255), width=width * _SHARPNESS // 2)
        place = (left + _GAP, top + _GAP // 2)
        pen.text(place, str(number), fill=(*PAPER, 255), font=font, stroke_width=4, stroke_fill=(*INK, 255))
    return layer.reduce(_SHARPNESS)


def _swatch(color: tuple[int, int, int] | None) -> Image:
    import PIL.Image
    from PIL import ImageDraw

    swatch = PIL.Image.new("RGB", (120, 14), color or PAPER)
    ImageDraw.Draw(swatch).rectangle((0, 0, 119, 13), outline=INK)
    return swatch


def sheet(rows: Sequence[Sequence[Panel]]) -> Image:
    """Lay out rows of panels on white, each above its caption."""
    import PIL.Image

    lines = [[_captioned(image, caption) for image, caption in row] for row in rows]
    width = max(sum(card.width + _GAP for card in line) for line in lines) + _GAP
    height = sum(max(card.height for card in line) + _GAP for line in lines) + _GAP
    paper, top = PIL.Image.new("RGB", (width, height), PAPER), _GAP
    for line in lines:
        left = _GAP
        for card in line:
            paper.paste(card, (left, top))
            left += card.width + _GAP
        top += max(card.height for card in line) + _GAP
    return paper


def write_drawing(drawing: Image, path: Path) -> None:
    """Write a drawing as PNG, whatever the suffix of ``path``.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        drawing.save(path, format="PNG")
    except OSError as error:
        raise StorageError("cannot write {path}: {reason}", path=path, reason=error.strerror) from error


def _captioned(image: Image, caption: str) -> Image:
    import PIL.Image
    from PIL import ImageDraw, ImageFont

    font, place = ImageFont.load_default(_TEXT), (0, image.height + _GAP // 2)
    box = ImageDraw.Draw(image).multiline_textbbox(place, caption, font=font)
    card = PIL.Image.new("RGB", (max(image.width, round(box[2])), round(box[3]) + 1), PAPER)
    card.paste(image, (0, 0))
    ImageDraw.Draw(card).multiline_text(place, caption, fill=INK, font=font)
    return card


def _center(pixels: Pixels) -> Image:
    import PIL.Image

    top, left = (max(0, side - _SIDE) // 2 for side in pixels.shape[:2])
    return PIL.Image.fromarray(pixels[top : top + _SIDE, left : left + _SIDE])
