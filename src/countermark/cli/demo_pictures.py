"""The demo's pictures: the photographs that are submitted, the leak, and the sheet that shows them side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

#: Photographs in scikit-image's wheel, and the format that each is submitted in.
PICTURES = {"astronaut": "png", "coffee": "jpg", "chelsea": "png", "rocket": "jpg"}
_JPEG_QUALITY = 92
_LEAK_QUALITY = 60
_AMPLIFIED = 10
_HEIGHT, _GAP, _CAPTION = 380, 16, 52
_INK, _PAPER = (32, 32, 32), (255, 255, 255)


def submit(folder: Path) -> list[Path]:
    """Write the photographs at full size, as licensees would submit them, and return their paths."""
    from PIL import Image
    from skimage import data

    folder.mkdir(parents=True)
    paths = [folder / f"{name}.{suffix}" for name, suffix in PICTURES.items()]
    for path in paths:
        # PNG has no quality and takes no notice of one.
        Image.fromarray(getattr(data, path.stem)()).save(path, quality=_JPEG_QUALITY)
    return paths


def leak(marked: Path, target: Path) -> Path:
    """Write a copy that was trimmed to 85 % of its area, shrunk to three quarters, and saved as JPEG 60."""
    from PIL import Image

    from countermark.marking.attacks import apply
    from countermark.marking.image.files import read_pixels

    # The attack "leak" ends in JPEG; here the file itself is that JPEG, so that it is compressed once.
    copy = apply("crop(0.85)+resize(0.75)", read_pixels(marked))
    Image.fromarray(copy).save(target, quality=_LEAK_QUALITY, subsampling=2)
    return target


def draw_sheet(original: Path, marked: Path, leaked: Path, captions: list[str], target: Path) -> Path:
    """Write one picture: original, marked copy, their difference times ten about grey, and the leaked copy.

    Args:
        original: the submitted photograph.
        marked: its marked copy, of the same size.
        leaked: what became of it.
        captions: four, each of one or two lines.
        target: PNG to write.
    """
    from PIL import Image, ImageDraw, ImageFont

    from countermark.marking.image.files import read_pixels

    before, after, found = (read_pixels(path) for path in (original, marked, leaked))
    panels = [_scaled(before), _scaled(after), _scaled(difference(before, after)), _framed(found, before)]
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) + 1)
    sheet = Image.new("RGB", (width, _HEIGHT + _CAPTION + 2 * _GAP), _PAPER)
    pen, font, left = ImageDraw.Draw(sheet), ImageFont.load_default(16), _GAP
    for panel, caption in zip(panels, captions, strict=True):
        sheet.paste(panel, (left, _GAP))
        pen.multiline_text((left, _GAP + _HEIGHT + 8), caption, fill=_INK, font=font, spacing=4)
        left += panel.width + _GAP
    sheet.save(target, optimize=True)
    return target


def difference(before: Pixels, after: Pixels) -> Pixels:
    """Return the difference of two pictures, ten times enlarged, about middle grey."""
    enlarged = 128.0 + _AMPLIFIED * (after.astype(np.float64) - before.astype(np.float64))
    return np.clip(np.rint(enlarged), 0, 255).astype(np.uint8)


def _scaled(pixels: Pixels, height: int = _HEIGHT) -> Any:
    from PIL import Image

    rows, columns = pixels.shape[:2]
    return Image.fromarray(pixels).resize((round(columns * height / rows), height), Image.Resampling.LANCZOS)


def _framed(pixels: Pixels, original: Pixels) -> Any:
    """Show a smaller picture at the scale of the original, in a frame of the original's size."""
    from PIL import Image

    full = _scaled(original).size
    frame = Image.new("RGB", full, (236, 236, 236))
    inner = _scaled(pixels, round(_HEIGHT * pixels.shape[0] / original.shape[0]))
    frame.paste(inner, ((full[0] - inner.width) // 2, (full[1] - inner.height) // 2))
    return frame
