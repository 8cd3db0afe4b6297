"""The demo's pictures: the photographs that are submitted, the leak, and the sheet that shows them side by side."""

from __future__ import annotations

from pathlib import Path

#: Photographs in scikit-image's wheel, and the format that each is submitted in.
PICTURES = {"astronaut": "png", "coffee": "jpg", "chelsea": "png", "rocket": "jpg"}
_JPEG_QUALITY = 92
_LEAK_QUALITY = 60
_WIDTH, _HEIGHT, _FRAME = 760, 380, (236, 236, 236)


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
    from PIL import Image

    from countermark.marking.image.files import read_pixels
    from countermark.marking.image.preview import difference, fitted, sheet

    before, after, found = (read_pixels(path) for path in (original, marked, leaked))
    panels = [fitted(pixels, _WIDTH, _HEIGHT) for pixels in (before, after, difference(before, after))]
    # The leaked copy stands at the scale of the original, in a frame of the original's size.
    frame = Image.new("RGB", panels[0].size, _FRAME)
    inner = fitted(found, _WIDTH, round(frame.height * found.shape[0] / before.shape[0]))
    frame.paste(inner, ((frame.width - inner.width) // 2, (frame.height - inner.height) // 2))
    sheet([list(zip([*panels, frame], captions, strict=True))]).save(target, optimize=True)
    return target
