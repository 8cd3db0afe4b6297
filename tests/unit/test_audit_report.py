"""The report of an audit: every part is there, in both languages, with nothing from outside and nothing unescaped."""

from __future__ import annotations

import base64
import copy
import hashlib
import importlib.util
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from countermark.audit.report import pictures as report_pictures
from countermark.audit.report import plots, render, write_report
from countermark.audit.report.reading import Part, decimal, percent, plain
from countermark.errors import InputError, StorageError

_spec = importlib.util.spec_from_file_location("audit_documents", Path(__file__).with_name("audit_documents.py"))
assert _spec is not None
assert _spec.loader is not None
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)


class Reader(HTMLParser):
    """Collects tags, attributes and words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + " "

    def pictures(self) -> list[np.ndarray[Any, Any]]:
        sources = [attributes["src"] or "" for tag, attributes in self.tags if tag == "img"]
        return [np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))) for source in sources]


def read(document: dict[str, Any], pictures: object = None, lang: str = "en") -> Reader:
    reader = Reader(render(document, pictures, lang=lang))  # type: ignore[arg-type]
    assert not [tag for tag in reader.open if tag != "html"]
    return reader


def test_a_page_about_images_has_every_part() -> None:
    page = read(made.images(), made.Squares())
    for part in (
        "Copies of training images were found",
        "Of 30 images that the model made, 6 lie nearer",
        "at most 5\u00a0% of the images named are named wrongly",
        "The most suspicious image",
        "difference × 4 (black: none)",
        "0.01, where 0 is equal",
        "real ones it was never trained on",
        "named up to here",
        "Every p-value against its rank",
        "The smallest number of copies that could be named here: 3.",
        "nearer to the model's output than every one of 19 sets",
        "The smallest value that 19 sets can give is 0.05",
        "At least 8\u00a0%".lower(),
        "Generated, nearest, difference",
        "L2 / dimensions",
        "4 times",
        "number 3 (boot.png)",
        "2 training images repeat another",
        "Why fixed cut-offs mislead",
        "84 / 200",
        "42\u00a0% (35\u00a0% – 49\u00a0%)",
        "Near-duplicates in the data",
        "30, chosen from 100 that were drawn",
        "images resized to 8x8",
        "Whether a copy infringes a right is for a court to say.",
        "a-slug-without-a-sentence",
        "sha256sum report.json",
        made.DIGEST,
        "2026-01-02T03:04:05Z",
        "1, 1",
    ):
        assert part in page.words, part
    assert [tag for tag, _ in page.tags].count("svg") == 5


def test_the_three_pictures_are_the_sample_its_nearest_and_their_difference() -> None:
    squares = made.Squares()
    sample, nearest, apart = read(made.images(), squares).pictures()[:3]
    assert (sample == squares.sample(0)[:, :, 0]).all()
    assert (nearest == squares.training(0)[:, :, 0]).all()
    assert apart[0, 0] == 4 * 9
    assert apart.sum() == 4 * 9


def test_a_changed_copy_is_shown_beside_the_training_image_it_was_made_of() -> None:
    document = made.images()
    document["items"][0]["transform"] = {
        "nearest": 2,
        "mirror": True,
        "dx": 1,
        "dy": -1,
        "gain": 0.5,
        "offset": 0.0,
        "rmse": 0.004,
        "next": 0.1,
    }
    changed = np.zeros((8, 8, 1), np.uint8)
    changed[1:4, 3:7] = 100

    class Copied(made.Squares):  # type: ignore[misc, name-defined]
        def sample(self, item: int) -> Any:
            return changed if item == 0 else super().sample(item)

    page = read(document, Copied())
    _, nearest, apart = page.pictures()[:3]
    assert (nearest == made.Squares().training(2)[:, :, 0]).all()
    assert not apart.any()
    assert "mirrored, moved by 1, -1 px, brightness × 0.5, offset 0, then RMSE 0.004" in page.words
    assert "to number 0 as it stands" in page.words


def test_a_page_that_names_nothing_says_what_it_could_not_have_named() -> None:
    words = read(made.images(flagged=0), made.Squares()).words
    assert "No copies of training images were found" in words
    assert "fewer than 3 copies among these images could not have been named" in words
    assert "some image would still have been named in at most 5\u00a0% of such audits" in words
    assert "the model as a whole lies nearer to its training set than to any of 19 other sets" in words


def test_too_few_held_out_data_are_named_before_the_figures() -> None:
    document = made.images(flagged=0)
    document["decision"]["smallest_flaggable"] = 31
    assert "This audit could not have named anything" in read(document).words


def test_held_out_data_of_another_source_are_a_warning() -> None:
    document = made.images()
    document["same_source"] = {"p": 0.0001, "statistic": 0.5, "warning": True}
    assert "Warning: the held-out data do not look as if" in read(document).words


def test_a_model_that_cannot_be_tested_says_why() -> None:
    document = made.images()
    document["model_test"] = {"p": None, "rank": None, "sets": 0, "of_unseen": [], "reason": "too-few-unseen"}
    assert "Not testable here: too few data were kept out of training" in read(document).words


def test_a_page_about_texts_marks_passages_where_they_stand() -> None:
    page = read(made.texts(), made.Prose())
    for part in (
        "Of 12 texts that the model wrote, 2 share a longer passage",
        "before 1 ",
        "the <passage> itself",
        "CHAPTER I",
        "in training text novel.txt, from byte 4,096",
        "novel.txt: 0.31",
        "Extraction by probability",
        "Exposure of canaries",
        "longest passage shared with a training text, bytes",
    ):
        assert part in page.words, part
    assert [tag for tag, _ in page.tags].count("mark") == 4
    assert "passage without its surroundings" in read(made.texts()).words


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("kind", ["images", "texts"])
def test_a_page_needs_nothing_from_outside(kind: str, lang: str) -> None:
    document, source = (made.images(), made.Squares()) if kind == "images" else (made.texts(), made.Prose())
    page = render(document, source, lang=lang)
    assert "://" not in page
    assert not re.search(r"<(script|link|iframe|object|embed|base|form)\b|@import|url\(|\son\w+=", page, re.IGNORECASE)
    reader = Reader(page)
    for tag, attributes in reader.tags:
        assert not {"style", "href", "srcset", "xlink:href", "action"} & set(attributes), (tag, attributes)
        assert (attributes.get("src") or "data:image/png;").startswith("data:image/png;")
    policy = next(a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    style = page.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert f"style-src 'sha256-{digest}'" in policy
    assert reader.tags[0][1]["lang"] == {"en": "en", "zh": "zh-Hans"}[lang]


def test_every_word_of_a_stranger_is_escaped() -> None:
    hostile = "<img src=x onerror=alert(1)>\"'&\u202egnp\x00\ud800</style></title>"

    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {(key if key != "numpy" else hostile): poison(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [poison(inner) for inner in value]
        return hostile if isinstance(value, str) and value not in ("images", "texts") else value

    for document in (poison(made.images()), poison(made.texts())):
        page = render(document, made.Prose() if document["kind"] == "texts" else made.Squares())
        assert "<img src=x" not in page
        assert page.count("</style>") == page.count("</title></svg>") + 1
        assert "&lt;img src=x onerror=alert(1)&gt;&quot;&#x27;&amp;\\x202egnp\\x00\\xd800" in page
        assert "\u202e" not in page
        page.encode("utf-8")


def test_pages_are_equal_for_equal_documents_and_bounded_for_huge_ones() -> None:
    document = made.images(flagged=3_000, total=50_000)
    document["copied"] *= 1_000
    document["limits"] *= 10_000
    document["calibration"]["scores"] *= 500
    first, second = (render(copy.deepcopy(document), made.Squares()) for _ in range(2))
    assert first == second
    assert len(first) < 1_000_000


def test_a_picture_that_has_gone_leaves_a_frame() -> None:
    class Broken:
        def sample(self, item: int) -> Any:
            raise OSError

        def training(self, nearest: int) -> Any:
            return np.zeros((4, 4, 7), np.float64)

    page = read(made.images(), Broken())
    assert page.pictures() == []
    assert any(attributes.get("class") == "nopic" for _, attributes in page.tags)
    assert "The most suspicious image" in read(made.images()).words


def test_large_pictures_are_made_smaller_and_color_is_kept() -> None:
    image = np.zeros((600, 400, 3), np.uint8)
    image[:, :, 2] = 77
    shown = report_pictures.picture(image, 84, "x")
    stored = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.split("base64,")[1].rstrip('">')))))
    assert max(stored.shape) <= 256
    assert (stored == [0, 0, 77]).all()
    assert 'width="56" height="84"' in shown


def test_the_files_are_written_and_the_digest_is_that_of_the_json(tmp_path: Path) -> None:
    files = write_report(tmp_path / "out", made.images(), made.Squares())
    assert [file.name for file in files] == ["report.html", "report.zh.html", "report.json"]
    assert json.loads(files[2].read_bytes()) == made.images()
    assert hashlib.sha256(files[2].read_bytes()).hexdigest() in files[0].read_text(encoding="utf-8")


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        write_report(tmp_path / "file", made.images())
    with pytest.raises(InputError):
        write_report(tmp_path, {"items": float("nan")})


def test_numbers_print_as_people_read_them() -> None:
    assert [decimal(value) for value in (0.0001234, 0.0, 1234567.0, 1e-9, None)] == [
        "0.000123",
        "0",
        "1230000",
        "1.00e-09",
        "–",
    ]
    assert percent(0.32649) == "32.6\u00a0%"
    assert plain("a\x1bb" * 200).endswith("…")


def test_a_part_reads_only_what_it_says() -> None:
    part = Part({"n": float("inf"), "b": True, "w": 2**60, "l": [1, "x", None, 2.5], "t": ["a", 1], "o": [{}, 3]})
    assert part.number("n") is None
    assert part.number("b") is None
    assert part.whole("w") is None
    assert part.numbers("l") == [1.0, 2.5]
    assert part.texts("t") == ["a"]
    assert len(part.parts("o")) == 1
    assert not Part([1]).part("x")


def test_a_histogram_says_where_values_lie_beyond_its_axis() -> None:
    unseen = plots.Series("unseen", "null", [float(value) for value in np.linspace(-2, -1, 500)])
    far = plots.Series("made", "made", [-20.0, -1.5])
    drawn = plots.histogram([unseen, far], "title", "x", "y")
    assert "≤ -4" in drawn
    assert "≥ " not in drawn
