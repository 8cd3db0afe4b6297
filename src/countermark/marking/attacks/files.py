"""What storing a picture does to it: compression, few colors."""

from __future__ import annotations

import io

import numpy as np

from countermark.marking.attacks.pixels import Pixels, picture, pillow, to_bytes, within


def jpeg(image: Pixels, quality: float) -> Pixels:
    """Compress as JPEG with 4:2:0 chroma, quality 1 to 95."""
    return _recoded(image, "JPEG", quality=round(within(quality, 1, 95)), subsampling=2)


def webp(image: Pixels, quality: float) -> Pixels:
    """Compress as lossy WebP, quality 1 to 100."""
    return _recoded(image, "WEBP", quality=round(within(quality, 1, 100)))


def palette(image: Pixels, colors: float) -> Pixels:
    """Keep 2 to 256 ``colors``, found by median cut; each pixel's error is spread over its neighbors, as in a GIF."""
    source, dither = picture(image), pillow().Dither.FLOYDSTEINBERG
    chosen = source.quantize(round(within(colors, 2, 256)))
    return np.array(source.quantize(palette=chosen, dither=dither).convert("RGB"))


def posterize(image: Pixels, bits: float) -> Pixels:
    """Keep the upper 1 to 8 ``bits`` of every level, and put it in the middle of what they leave open."""
    step = 1 << (8 - round(within(bits, 1, 8)))
    return to_bytes(image // step * step + (step - 1) / 2)


def _recoded(image: Pixels, container: str, **options: int) -> Pixels:
    file = io.BytesIO()
    picture(image).save(file, container, **options)
    with pillow().open(file) as read:
        return np.array(read.convert("RGB"))
