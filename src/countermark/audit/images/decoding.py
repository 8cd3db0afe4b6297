"""One encoded picture, or one image of an array, brought to the shape of its data set.

What a viewer shows is what is compared: transparency on white, 16 bits rounded to 8, CMYK without its profile, turned
by the orientation tag (``marking.image.files``). Another size is stretched by area averaging, in Pillow's fixed-point
arithmetic, so that every machine gets the same bytes. (Reducing a JPEG inside its decoder would take a third of the
time, and differs from this by more than a "perfect copy" may.) A coloured picture in a grey data set becomes its luma
(Rec. 601), a grey one in a coloured data set three equal channels.

Laws, for every picture ``p`` and shape ``s``:
    ``fitted(p, s)`` has the shape s, and is p itself where p has that shape;
    a picture of one colour stays of this colour.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from countermark.audit.images.batches import Changes, Images, Shape
from countermark.errors import HostileFile, InputError, require
from countermark.marking.image import files
from countermark.marking.image.samples import Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture as it is seen.

    Attributes:
        pixels: (H, W, channels) uint8.
        deep: whether it has more than 8 bits per sample.
    """

    pixels: Pixels
    deep: bool


def decode(data: bytes, path: Path) -> Decoded:
    """Decode a stranger's picture, its format told by content; ``path`` is only what errors name.

    Args:
        data: the file.
        path: its name.

    Raises:
        UnsupportedImage: several frames, no known format, or samples without a fixed range.
        HostileFile: truncated, malformed, over 512 MiB or 200 million pixels.
        MissingExtra: Pillow is not installed.
    """
    if len(data) > files.MAX_FILE_BYTES:
        raise HostileFile("{path} is over the limit of 512 MiB", path=path)
    return Decoded(*files.decode_pixels(data, path, animated=False))


def fitted(pixels: Pixels, shape: Shape) -> tuple[Images, bool]:
    """Return an image (H, W, 1 or 3) in another shape, and whether it lost colours."""
    if pixels.shape == shape:
        return pixels, False
    height, width, channels = shape
    if pixels.shape[:2] != (height, width):
        pixels = _resized(pixels, height, width)
    if pixels.shape[2] == channels:
        return pixels, False
    if channels == 3:
        return np.repeat(pixels, 3, axis=2), False
    if is_grey(pixels):
        return pixels[..., :1], False
    require("PIL", "audit")
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).convert("L"))[..., np.newaxis], True


def is_grey(pixels: Pixels) -> bool:
    """Whether the channels of an image are equal."""
    return bool((pixels[..., :1] == pixels[..., 1:]).all())


def fit_all(images: Images | Iterable[Decoded], shape: Shape) -> tuple[Images, Changes]:
    """Return images in the data set's shape, (n, h, w, c), and what had to be done to them."""
    if isinstance(images, np.ndarray):
        if images.shape[1:] == shape:
            return images, Changes()
        images = [Decoded(image, False) for image in images]
    images = list(images)
    result = np.empty((len(images), *shape), dtype=np.uint8)
    resized = greyed = scaled = 0
    for place, image in enumerate(images):
        result[place], lost = fitted(image.pixels, shape)
        resized, greyed, scaled = resized + (image.pixels.shape[:2] != shape[:2]), greyed + lost, scaled + image.deep
    return result, Changes(resized, greyed, scaled)


def reason(error: InputError, path: Path, name: str) -> str:
    """Say why an image was skipped, under its name in the data set instead of its path on this machine."""
    return str(error).replace(str(path), name)


def _resized(pixels: Pixels, height: int, width: int) -> Pixels:
    require("PIL", "audit")
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BOX))
    return resized.reshape(height, width, pixels.shape[2])
