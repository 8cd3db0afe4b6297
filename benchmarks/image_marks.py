"""Does the lattice mark survive, does it show, and does it accuse nobody? Beside the peers that a user would install.

``python -m benchmarks.image_marks --images DIR --limit N --json OUT`` marks photographs, each with a fresh key and
word, attacks the copies and reads them. A row counts: ``exact`` reads of all ``bits`` (with its 95 % Clopper-Pearson
interval), ``bit_accuracy``, and ``tpr_1e6``, the share of copies found at a false-positive rate of 1e-6: for the
lattice mark by its own p-value, corrected for every hypothesis searched; for a peer, which has none, by the binomial
tail of its matching bits, which presumes that the right word is known beforehand and nothing is searched. ``read_1e6``
asks both of a copy: found at 1e-6 and read exactly. ``--null N`` examines unmarked crops instead, a fresh key each.

Photographs and their use, so that nothing is tuned on what is reported:

* development: the first 40, by name, of the training part of clothing-dataset-small (CC0), and scikit-image's pictures;
* calibration: nothing is calibrated, as the null is a bound that rests on the key alone; ``--null`` checks it on
  training photographs, whichever are given;
* report: the test part of clothing-dataset-small (small: 0.16 to 0.32 megapixel) and 16 photographs of the Kodak suite
  (large: 0.39 megapixel). None of them was marked or read before the final run.

Times are processor time of one thread, in milliseconds per megapixel of the picture that was handled.
"""

from __future__ import annotations

import math
import multiprocessing
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.report import arguments, write_report
from countermark.core.keys import Secret
from countermark.core.stats import binomial_tail, clopper_pearson
from countermark.marking import Detection
from countermark.marking.attacks import apply
from countermark.marking.image.lattice import LatticeMark

Pixels = NDArray[np.uint8]
Row = dict[str, Any]

BITS = 64
ALPHA = 1e-6
REQUIRED = ("clean", "jpeg(50)", "resize(0.5)", "crop(0.8)")
REPORTED = ("rotate(15)", "hflip", "brightness(0.7)", "crop(0.5)")
FURTHER = (
    "leak", "jpeg(30)", "webp(50)", "webp(30)", "resize(0.4)", "resize(2)", "resize(0.5)+jpeg(75)", "crop(0.25)",
    "blur(2)", "noise(15)", "rotate(90)", "rotate(15)+crop(0.7)+resize(0.75)+jpeg(60)",
)  # fmt: skip
# Every method marks a picture of this side; invisible-watermark asks for 256 by 256.
SMALLEST = 256
PEER_LIMIT = 12
LIMITS = {"invisible-watermark/rivaGan": 6}  # several seconds for one reading
LARGE_PIXELS = 350_000


class Method(Protocol):
    """A marking method under test, under one fresh key if it has keys: it carries words of ``bits`` bits."""

    bits: int

    def embed(self, image: Pixels, word: int) -> Pixels:
        """Return the marked picture."""

    def read(self, image: Pixels) -> tuple[int | None, float | None]:
        """Return the word read, and the p-value if the method has one."""


class Lattice:
    """The lattice mark under a fresh key."""

    bits = BITS

    def __init__(self) -> None:
        self._mark = LatticeMark(Secret.random())

    def embed(self, image: Pixels, word: int) -> Pixels:
        """Return the marked picture."""
        return self._mark.embed(image, word)

    def read(self, image: Pixels) -> tuple[int | None, float | None]:
        """Return word and p-value."""
        seen = self._mark.detect(image)
        return (seen.word, seen.p_value) if isinstance(seen, Detection) else (None, 1.0)


class BlindWatermark:
    """The package blind-watermark (DWT, DCT and SVD), bit mode, default strengths."""

    bits = BITS

    def __init__(self) -> None:
        self._passwords = {"password_img": secrets.randbits(31), "password_wm": secrets.randbits(31)}
        self._class = _blind_watermark()

    def embed(self, image: Pixels, word: int) -> Pixels:
        """Return the marked picture."""
        marker = self._class(**self._passwords)
        marker.read_img(img=_swapped(image))
        marker.read_wm(_bits(word, self.bits), mode="bit")
        return _swapped(np.clip(np.rint(marker.embed()), 0, 255).astype(np.uint8))

    def read(self, image: Pixels) -> tuple[int | None, float | None]:
        """Return the word."""
        marker = self._class(**self._passwords)
        try:
            bits = marker.extract(embed_img=_swapped(image), wm_shape=self.bits, mode="bit")
        except (AssertionError, IndexError, ValueError):  # it refuses pictures that got too small
            return None, None
        return _word(bits), None


class InvisibleWatermark:
    """One method of the package invisible-watermark, default strength. It has no key: whoever installs it can read."""

    def __init__(self, method: str, bits: int) -> None:
        import imwatermark

        self.bits = bits
        self._method = method
        self._package = imwatermark
        if method == "rivaGan":
            _load_rivagan()

    def embed(self, image: Pixels, word: int) -> Pixels:
        """Return the marked picture."""
        encoder = self._package.WatermarkEncoder()
        encoder.set_watermark("bits", _bits(word, self.bits))
        return _swapped(encoder.encode(_swapped(image), self._method))

    def read(self, image: Pixels) -> tuple[int | None, float | None]:
        """Return the word."""
        decoder = self._package.WatermarkDecoder("bits", self.bits)
        try:
            return _word(decoder.decode(_swapped(image), self._method)), None
        except RuntimeError:  # it refuses pictures of fewer than 256 by 256 pixels
            return None, None


METHODS: dict[str, Callable[[], Method]] = {
    "lattice": Lattice,
    "blind-watermark": BlindWatermark,
    "invisible-watermark/dwtDctSvd": partial(InvisibleWatermark, "dwtDctSvd", BITS),
    "invisible-watermark/rivaGan": partial(InvisibleWatermark, "rivaGan", 32),
}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--images", required=True, action="append", metavar="DIR", help="folder of photographs; repeatable"
    )
    parser.add_argument("--attacks", default=",".join((*REQUIRED, *REPORTED, *FURTHER)), help="separated by commas")
    parser.add_argument("--methods", default=",".join(METHODS), help="separated by commas")
    parser.add_argument("--null", type=int, default=0, metavar="N", help="examine N unmarked crops instead")
    given = parser.parse_args()
    paths = [path for folder in given.images for path in _photographs(Path(folder), given.limit)]
    if not paths:
        parser.error(f"no photograph of at least {SMALLEST} pixels a side in {', '.join(given.images)}")
    if given.null:
        rows, summary = measure_null(paths, given.null)
    else:
        rows, summary = measure(paths, given.methods.split(","), given.attacks.split(","))
    write_report("image_marks", rows, summary, given.json)


def measure(paths: list[Path], methods: list[str], attacks: list[str]) -> tuple[list[Row], Row]:
    """Mark, attack and read every photograph with every method; a peer gets the first few of each folder."""
    trials: list[Row] = []
    for name in methods:
        if name != "lattice" and not _importable(name):
            print(f"{name} is not installed and left out", flush=True)
            continue
        chosen = _few_of_each_folder(paths, LIMITS.get(name, PEER_LIMIT)) if name != "lattice" else paths
        for done, path in enumerate(chosen):
            trials += _trials(name, path, attacks)
            print(f"{name} {done + 1}/{len(chosen)}", end="\r", flush=True)
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for trial in trials:
        groups[trial["method"], trial["size_class"], trial["attack"]].append(trial)
    rows = [_summed(*key, group) for key, group in groups.items()]
    return rows, _summary(rows)


def measure_null(paths: list[Path], count: int) -> tuple[list[Row], Row]:
    """Examine random crops of unmarked photographs, a fresh key each, and compare the p-values with their levels."""
    generator = np.random.Generator(np.random.PCG64(7))
    values, cost = [], 0.0
    for i in range(count):
        image = _random_crop(_open(paths[i % len(paths)]), generator)
        started = time.process_time()
        seen = LatticeMark(Secret.random()).detect(image)
        cost += time.process_time() - started
        values.append(seen.p_value if isinstance(seen, Detection) else 1.0)
        print(f"unmarked {i + 1}/{count}", end="\r", flush=True)
    rows = [_null_row(level, values) for level in (ALPHA, 1e-3, 1e-2, 0.05, 0.2)]
    return rows, {"crops": count, "smallest_p": min(values), "seconds_each": round(cost / count, 3)}


def _trials(name: str, path: Path, attacks: list[str]) -> Iterator[Row]:
    image, method = _open(path), METHODS[name]()
    bits, word = method.bits, secrets.randbits(method.bits)
    started = time.process_time()
    marked = method.embed(image, word)
    embed_s = time.process_time() - started
    psnr, ssim = _psnr(image, marked), _ssim(image, marked)
    for attack in attacks:
        attacked = apply(attack, marked)
        started = time.process_time()
        read, p_value = method.read(attacked)
        read_s = time.process_time() - started
        matching = bits - (read ^ word).bit_count() if read is not None else bits // 2
        yield {
            "method": name,
            "size_class": "large" if image.size >= 3 * LARGE_PIXELS else "small",
            "attack": attack,
            "bits": bits,
            "psnr": psnr,
            "ssim": ssim,
            "matching": matching,
            "found": (binomial_tail(matching, bits, 0.5) if p_value is None else p_value) <= ALPHA,
            "embed_ms_per_mp": embed_s / image.size * 3e9,
            "detect_ms_per_mp": read_s / attacked.size * 3e9,
        }


def _summed(method: str, size_class: str, attack: str, trials: list[Row]) -> Row:
    bits = trials[0]["bits"]
    exact = sum(trial["matching"] == bits for trial in trials)
    low, high = clopper_pearson(exact, len(trials))
    return {
        "method": method,
        "size_class": size_class,
        "attack": attack,
        "bits": bits,
        "n": len(trials),
        "psnr": round(_mean(trials, "psnr"), 2),
        "ssim": round(_mean(trials, "ssim"), 4),
        "exact": round(exact / len(trials), 4),
        "exact_low": round(low, 4),
        "exact_high": round(high, 4),
        "bit_accuracy": round(_mean(trials, "matching") / bits, 4),
        "tpr_1e6": round(_mean(trials, "found"), 4),
        "read_1e6": round(sum(t["found"] and t["matching"] == bits for t in trials) / len(trials), 4),
        "embed_ms_per_mp": round(_mean(trials, "embed_ms_per_mp"), 1),
        "detect_ms_per_mp": round(_mean(trials, "detect_ms_per_mp"), 1),
    }


def _summary(rows: list[Row]) -> Row:
    ours = [row for row in rows if row["method"] == "lattice"]
    required = [row for row in ours if row["attack"] in REQUIRED]
    return {
        "method": LatticeMark.METHOD,
        "photographs": {row["size_class"]: row["n"] for row in ours},
        "mean_psnr": {row["size_class"]: row["psnr"] for row in ours},
        "least_exact_required": min((row["exact"] for row in required), default=None),
        "required": list(REQUIRED),
    }


def _null_row(level: float, values: list[float]) -> Row:
    below = sum(value <= level for value in values)
    low, high = clopper_pearson(below, len(values))
    rate = below / len(values)
    return {
        "level": level,
        "n": len(values),
        "false": below,
        "rate": rate,
        "low": round(low, 6),
        "high": round(high, 6),
    }


def _photographs(folder: Path, limit: int) -> list[Path]:
    """Return the first pictures of a folder and of those in it that every method can mark; say what is left out."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    paths: list[Path] = []
    for path in found:
        if limit and len(paths) == limit:
            break
        if _smaller_side(path) >= SMALLEST:
            paths.append(path)
        else:
            print(f"left out: {path.name} cannot be read, or has under {SMALLEST} pixels a side", flush=True)
    return paths


def _smaller_side(path: Path) -> int:
    try:
        with Image.open(path) as picture:
            return min(picture.size)
    except (OSError, Image.DecompressionBombError):
        return 0


def _few_of_each_folder(paths: list[Path], limit: int) -> list[Path]:
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        by_folder[path.parent].append(path)
    return [path for group in by_folder.values() for path in group[:limit]]


def _open(path: Path) -> Pixels:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _random_crop(image: Pixels, generator: np.random.Generator) -> Pixels:
    height, width = (int(generator.integers(min(side, 192), side + 1)) for side in image.shape[:2])
    top, left = (
        int(generator.integers(0, full - part + 1)) for full, part in zip(image.shape, (height, width), strict=False)
    )
    return image[top : top + height, left : left + width]


def _psnr(one: Pixels, other: Pixels) -> float:
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return 10 * math.log10(255**2 / error) if error else 99.0


def _ssim(one: Pixels, other: Pixels) -> float:
    from skimage.metrics import structural_similarity

    return float(structural_similarity(one, other, channel_axis=2))


def _mean(trials: list[Row], column: str) -> float:
    return float(np.mean([trial[column] for trial in trials]))


def _bits(word: int, count: int) -> list[bool]:
    return [bool(word >> i & 1) for i in range(count)]


def _word(bits: Iterable[float]) -> int:
    return sum(int(bit > 0.5) << i for i, bit in enumerate(bits))


def _swapped(image: Pixels) -> Pixels:
    """Return RGB as BGR, which OpenCV and the peers expect, or BGR as RGB."""
    return np.ascontiguousarray(image[..., ::-1])


def _importable(name: str) -> bool:
    try:
        METHODS[name]()
    except ImportError:
        return False
    return True


def _blind_watermark() -> Any:
    """Import the peer, which sets the start method of processes on import and fails where one is set already."""
    keep, multiprocessing.set_start_method = multiprocessing.set_start_method, lambda *_, **__: None
    try:
        import blind_watermark
    finally:
        multiprocessing.set_start_method = keep
    blind_watermark.bw_notes.close()
    return blind_watermark.WaterMark


@cache
def _load_rivagan() -> None:
    """Load the two networks for one thread: the package's own loader takes every core, and idle threads count time."""
    import onnxruntime
    from imwatermark import rivaGan

    options, folder = onnxruntime.SessionOptions(), Path(rivaGan.__file__).parent
    options.intra_op_num_threads = 1
    for part in ("encoder", "decoder"):
        session = onnxruntime.InferenceSession(folder / f"rivagan_{part}.onnx", options)
        setattr(rivaGan.RivaWatermark, part, session)


if __name__ == "__main__":
    main()
