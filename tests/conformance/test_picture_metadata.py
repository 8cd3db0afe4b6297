"""ExifTool as the outside reader: it finds the same metadata in a written picture as in its source."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from countermark.marking.image import deep
from countermark.marking.image.files import read_image, write_image

# What must differ: the file itself, and how its compressed data is laid out.
_OF_THE_FILE = ("SourceFile", "ExifTool:", "System:", "File:FileSize", "PNG:Interlace")

TAGS = [
    "-Orientation#=6",
    "-EXIF:ImageDescription=a caption",
    "-EXIF:DateTimeOriginal=2026:01:02 03:04:05",
    "-EXIF:GPSLatitude=48.1",
    "-EXIF:GPSLatitudeRef=N",
    "-XMP:Creator=somebody",
    "-XMP:Rights=all of them",
]
MORE = {
    "JPEG": ["-IPTC:Keywords=one", "-IPTC:Keywords=two", "-Comment=a comment", "-Photoshop:CopyrightFlag=1"],
    "PNG": ["-PNG:Author=somebody", "-PNG:PixelsPerUnitX=5906", "-PNG:PixelsPerUnitY=5906"],
    "WEBP": [],
}


OPTIONS = {"RGB, key": {"transparency": (0, 0, 1)}}


def exiftool(*arguments: str | Path) -> str:
    return subprocess.run(["exiftool", *arguments], check=True, capture_output=True, text=True).stdout


def metadata(path: Path) -> dict[str, Any]:
    [tags] = json.loads(exiftool("-json", "-G1", "-struct", path))
    return {key: value for key, value in tags.items() if not key.startswith(_OF_THE_FILE)}


@pytest.mark.tool("exiftool")
@pytest.mark.parametrize(
    ("kind", "mode"),
    [*product(MORE, ("RGB", "L")), ("PNG", "RGBA"), ("WEBP", "RGBA"), ("PNG", "RGB, 16 bits"), ("PNG", "RGB, key")],
)
def test_exiftool_sees_the_same_metadata(tmp_path: Path, kind: str, mode: str) -> None:
    ramp = np.linspace(0, 255, 40 * 60 * 3).reshape(40, 60, 3).astype(np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() if mode == "RGB" else None
    source, written = tmp_path / "source", tmp_path / "written"
    image = Image.fromarray(ramp).convert(mode.partition(",")[0])
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(source, format=kind, icc_profile=profile, quality=95, **OPTIONS.get(mode, {}))
    if mode == "RGB, 16 bits":
        source.write_bytes(deep.encode(ramp.astype(np.uint16) * 257))
    exiftool("-q", "-overwrite_original", *TAGS, *MORE[kind], source)
    picture = read_image(source)
    write_image(picture, 255 - picture.pixels, written)
    before = metadata(source)
    assert any("Creator" in tag for tag in before)
    assert metadata(written) == before
    assert exiftool("-validate", "-s3", written).strip() == exiftool("-validate", "-s3", source).strip()


@pytest.mark.tool("exiftool")
def test_metadata_of_a_phone_that_stores_several_pictures(tmp_path: Path) -> None:
    """An MPO file keeps its first picture and its metadata; the index of the others goes with them."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green")]
    frames[0].save(tmp_path / "a.mpo", format="MPO", save_all=True, append_images=frames[1:])
    source = shutil.copy(tmp_path / "a.mpo", tmp_path / "a.jpg")
    picture = read_image(Path(source))
    write_image(picture, picture.pixels, tmp_path / "b.jpg")
    assert not any(tag.startswith("MPF") for tag in metadata(tmp_path / "b.jpg"))
    assert exiftool("-validate", "-s3", tmp_path / "b.jpg").startswith("OK")
