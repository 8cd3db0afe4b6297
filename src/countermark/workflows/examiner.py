"""Read suspects, pictures and texts, under every detection key of the office.

What a file is follows from its content. A picture is read under the keys of pictures, a text under those of texts.
Under the others it is not examined, so that they do not count among the keys tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from countermark.core.canonical import show_digest
from countermark.core.keys import DetectionKey
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.image import noise_ledger
from countermark.marking.image.files import content_digest, read_pixels
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.noise import NoiseMark
from countermark.marking.image.resemblance import resemblance
from countermark.marking.reading import pool
from countermark.marking.text.files import read_texts
from countermark.marking.text.resemblance import containment
from countermark.marking.text.sampling import TextMark
from countermark.marking.text.tokens import FILE
from countermark.registry import Output, Title
from countermark.tracing import Sighting
from countermark.workflows.noise_reader import NoiseReader
from countermark.workflows.office import Office, titles
from countermark.workflows.regions import Regions, look_at_windows
from countermark.workflows.text_reader import TextReader

_NOT_A_PICTURE = NotExamined("not-a-picture", "a text is not read under a key of pictures")
_NOT_A_TEXT = NotExamined("not-a-text", "a picture is not read under a key of texts")

_Epochs = list[tuple[int, DetectionKey]]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A file, and what was seen in it under every key, or in a part of it.

    ``texts`` are what a file of text holds, and None of any other file; ``damage`` says why it is neither.
    """

    path: Path
    digest: str
    texts: Sequence[str] | None = None
    damage: NotExamined | None = None
    sightings: list[Sighting] = field(default_factory=list)
    regions: Regions | None = None

    def describe(self) -> dict[str, Any]:
        """Return it as the part of a pool that it is."""
        examined = bool(self.texts) or any(isinstance(sighting.seen, Detection) for sighting in self.sightings)
        return {"file": self.path.name, "suspect": self.digest, "examined": examined}

    def likeness(self, key: DetectionKey, output: Output) -> float:
        """Return how alike a recorded output and this are: a picture, brought back by the geometry seen under a key.

        Of a text it is about the share of the output that stands in it.
        """
        if self.texts is not None:
            return containment(self.texts, output.sketch)
        seen = next((s.seen for s in self.sightings if s.key is key and isinstance(s.seen, Detection)), None)
        if seen is None:
            return 0.0
        pixels = read_pixels(self.path)
        if self.regions is not None:
            left, top, right, bottom = self.regions.box(key.key_id)
            pixels = pixels[top:bottom, left:right]
        return resemblance(pixels, seen.geometry, output.sketch)


class Examiner:
    """Reads one file after the other under every key of the office.

    Args:
        office: where.
        alpha: level of the trace, which is only checked here, before anything takes long.
        files: how many there will be, to show progress.
        models: directories of models that are not where they were registered from.

    Raises:
        InputError: an alpha out of range.
        NotFoundError: a model is none of those registered.
    """

    def __init__(self, office: Office, alpha: float, files: int, models: Sequence[Path]) -> None:
        if not 0 < alpha <= 0.05:
            raise InputError("alpha lies between 0 and 0.05, not at {alpha}", alpha=alpha)
        with office.store.transaction() as transaction:
            keys = [
                (title, epoch, key)
                for title in titles(transaction)
                for epoch in range(len(title.methods))
                for key in office.epoch_keys(title, epoch)
            ]
        own = (NoiseMark.METHOD, TextMark.METHOD)
        self._keys = [(title.id, epoch, key) for title, epoch, key in keys if key.method not in own]
        self._born, self._written = (_by_title(keys, method) for method in own)
        # A folder of a language model holds its tokenizer, or nothing else; a pipeline has them in folders below.
        languages = [each for each in models if (each / FILE).is_file()]
        self._read_noise = NoiseReader(office, [each for each in models if each not in languages])
        self._texts = TextReader(office, languages)
        self._progress, self._done, self._total = office.progress("trace"), 0, files * len(keys)
        self._progress(0, self._total, "readings")

    def __call__(self, path: Path) -> Suspect:
        """Read a file; a damaged one is a suspect that was not examined."""
        return self._look(self._open(path))

    def together(self, paths: Sequence[Path]) -> tuple[list[Suspect], list[Sighting]]:
        """Read several files as one: what they show each for itself if they are pictures, and what all show together.

        Raises:
            InputError: pictures and texts, or a file that is not there.
        """
        suspects = [self._open(path) for path in paths]
        if len({suspect.texts is None for suspect in suspects if suspect.damage is None}) > 1:
            raise InputError("pictures and texts cannot be read as one", hint="Trace them in two pools.")
        if any(suspect.texts is not None for suspect in suspects):
            texts = [text for suspect in suspects for text in suspect.texts or ()]
            written = [
                each for title, epochs in self._written.values() for each in self._texts.pooled(title, epochs, texts)
            ]
            self._advance(self._total)
            return suspects, [*written, *self._unread(_NOT_A_PICTURE, pictures=True)]
        suspects = [self._look(suspect) for suspect in suspects]
        looks = zip(*(suspect.sightings for suspect in suspects), strict=True)
        return suspects, [replace(each[0], seen=_pooled([s.seen for s in each]), owner=None) for each in looks]

    def regions(self, path: Path) -> Regions:
        """Read a picture window by window; noise marks and texts are not read so."""
        try:
            pixels = read_pixels(path)
        except InputError as error:
            pixels, damage = None, NotExamined(error.code, str(error))
        seen = []
        for title, epoch, key in self._keys:
            seen.append((title, epoch, key, damage if pixels is None else look_at_windows(key, pixels)))
            self._advance(1)
        self._advance(_count(self._born, self._written))
        return Regions(tuple(seen))

    def describe(self, sighting: Sighting, suspects: Sequence[Suspect]) -> dict[str, Any]:
        """Return what is to be said of a sighting in texts, as ``TextReader.describe``; nothing of one in pictures."""
        if not isinstance(sighting.seen, Detection) or sighting.seen.method != TextMark.METHOD:
            return {}
        texts = [text for suspect in suspects for text in suspect.texts or ()]
        return self._texts.describe(sighting.title, sighting.seen, texts)

    def _open(self, path: Path) -> Suspect:
        digest = show_digest(content_digest(path))
        try:
            return Suspect(path, digest, read_texts(path))
        except InputError as error:
            return Suspect(path, digest, damage=NotExamined(error.code, str(error)))

    def _look(self, suspect: Suspect) -> Suspect:
        if suspect.damage is not None:
            return self._damaged(suspect, suspect.damage)
        return self._look_at_picture(suspect) if suspect.texts is None else self._look_at_text(suspect, suspect.texts)

    def _damaged(self, suspect: Suspect, damage: NotExamined) -> Suspect:
        self._advance(len(self._keys) + _count(self._born, self._written))
        return replace(
            suspect,
            damage=damage,
            sightings=[*self._unread(damage, pictures=True), *self._unread(damage, pictures=False)],
        )

    def _look_at_text(self, suspect: Suspect, texts: Sequence[str]) -> Suspect:
        sightings = []
        for title, epochs in self._written.values():
            sightings += self._texts.look(title, epochs, texts)
            self._advance(len(epochs))
        self._advance(len(self._keys) + _count(self._born))
        return replace(suspect, sightings=[*sightings, *self._unread(_NOT_A_PICTURE, pictures=True)])

    def _look_at_picture(self, suspect: Suspect) -> Suspect:
        try:
            pixels = read_pixels(suspect.path)
        except InputError as error:
            return self._damaged(suspect, NotExamined(error.code, str(error)))
        sightings = []
        for title, epoch, key in self._keys:
            sightings.append(Sighting(title, epoch, key, _look(key, pixels)))
            self._advance(1)
        for model, epochs in self._born.values():
            sightings += self._read_noise(model, epochs, pixels, sightings)
            self._advance(len(epochs))
        self._advance(_count(self._written))
        return replace(suspect, sightings=[*sightings, *self._unread(_NOT_A_TEXT, pictures=False)])

    def _unread(self, why: NotExamined, *, pictures: bool) -> list[Sighting]:
        """Return a sighting for each that there would be under the keys of pictures, or of texts."""
        if not pictures:
            return [
                Sighting(model.id, epoch, key, why) for model, each in self._written.values() for epoch, key in each
            ]
        born = [(model.id, epoch, key) for model, each in self._born.values() for epoch, key in each for _ in range(2)]
        return [Sighting(title, epoch, key, why) for title, epoch, key in (*self._keys, *born)]

    def _advance(self, readings: int) -> None:
        self._done = min(self._total, self._done + readings)
        self._progress(self._done, self._total, "readings")


_ByTitle = Mapping[int, tuple[Title, _Epochs]]


def _by_title(keys: Iterable[tuple[Title, int, DetectionKey]], method: str) -> _ByTitle:
    found: dict[int, tuple[Title, _Epochs]] = {}
    for title, epoch, key in keys:
        if key.method == method:
            found.setdefault(title.id, (title, []))[1].append((epoch, key))
    return found


def _count(*groups: _ByTitle) -> int:
    return sum(len(epochs) for group in groups for _, epochs in group.values())


def _look(key: DetectionKey, pixels: Any) -> Detection | NotExamined:
    if key.method != LatticeMark.METHOD:
        return NotExamined("other-method", f"this version does not read {key.method}")
    return LatticeMark(key.embedding, key_id=key.key_id).detect(pixels)


def _pooled(looks: Sequence[Detection | NotExamined]) -> Detection | NotExamined:
    detections = [look for look in looks if isinstance(look, Detection) and look.method != noise_ledger.METHOD]
    if detections:
        return pool(detections)
    missing = [look for look in looks if isinstance(look, NotExamined)]
    return missing[0] if missing else NotExamined("not-pooled", "recorded generations are not pooled")
