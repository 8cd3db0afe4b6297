"""Read the noise mark of suspects: straighten, invert with the registered pipeline, read, search the noise ledger.

Each title and epoch that something was generated under gives two sightings: what ``NoiseMark.read`` finds by itself,
and the recorded generation that fits best. Which views of the suspect are inverted follows from the picture and from
lattice keys alone; every view counts in both, and so do all records in the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.artifact import digest_model, survey
from countermark.core.canonical import show_digest
from countermark.core.keys import DetectionKey
from countermark.errors import CountermarkError, NotFoundError
from countermark.marking import Detection, NotExamined
from countermark.marking.image.lattice import magnification
from countermark.marking.image.noise import NoiseMark
from countermark.marking.image.noise_ledger import METHOD, search
from countermark.marking.image.pattern import TILE
from countermark.marking.image.straighten import straighten
from countermark.registry import Output, Title, Transaction
from countermark.tracing import Sighting
from countermark.workflows.generate import counter_word, model_directory
from countermark.workflows.office import Office, titles
from countermark.workflows.pipelines import Painter, Pixels, Way, open_model

#: A lattice found at this level gives its placement; what comes of a wrong one is one more view that shows nothing.
_PLACED = 1e-4


#: Damage takes what is fine first: a latent is searched whole, by its first quarter, and by its first sixteenth.
_CUTS = (1, 4, 16)


@dataclass(frozen=True, slots=True)
class _View:
    """A suspect as it is inverted, and its geometry as a report says it."""

    pixels: Pixels
    geometry: dict[str, Any]


class NoiseReader:
    """Reads noise marks of one picture after another; pipelines stay loaded in between.

    Args:
        office: where.
        models: directories of pipelines, for titles whose model is not where it was registered from.

    Raises:
        NotFoundError: a directory holds the weights of no title.
    """

    def __init__(self, office: Office, models: Iterable[Path] = ()) -> None:
        self._office = office
        with office.store.transaction() as transaction:
            self._titles = {title.id: title for title in titles(transaction)}
        self._given = dict(self._placed(directory) for directory in models)
        self._painters: dict[int, Painter | NotExamined] = {}

    def __call__(
        self, title: Title, epochs: Sequence[tuple[int, DetectionKey]], pixels: Pixels, seen: Sequence[Sighting]
    ) -> list[Sighting]:
        """Return two sightings for each epoch of a title.

        Args:
            title: the title.
            epochs: its epochs, each with its key of the noise mark.
            pixels: the suspect, (H, W, 3) uint8.
            seen: what the lattice showed in it.
        """
        sightings: list[Sighting] = []
        inverted: dict[Way, NDArray[np.float32]] = {}
        views: list[_View] = []
        for epoch, key in epochs:
            painter = self._painter(title, epoch)
            if isinstance(painter, NotExamined):
                sightings += [Sighting(title.id, epoch, key, painter)] * 2
                continue
            views = views or _views(pixels, painter.side, [s for s in seen if s.title == title.id])
            ways = self._ways(title, epoch)
            for way in ways:
                if way not in inverted:
                    inverted[way] = painter.invert([view.pixels for view in views], way)
            latents = np.concatenate([inverted[way] for way in ways])
            sightings += self._look(title, epoch, key, latents, views)
        return sightings

    def _look(
        self, title: Title, epoch: int, key: DetectionKey, latents: NDArray[np.float32], views: list[_View]
    ) -> list[Sighting]:
        mark = NoiseMark(key.embedding, key_id=key.key_id)
        read = mark.read(*latents)
        if isinstance(read, Detection):
            read = replace(read, geometry=views[int(read.geometry["candidate"]) % len(views)].geometry)
        size = latents.shape[1]
        spread = np.stack([mark.spread(part) for latent in latents for part in _parts(latent)])
        match = search(self._office.noise.of(title.id, epoch, size).read(), spread, own=mark.own_signs(size))
        if match is None:
            nothing = NotExamined("nothing-generated", "nothing of this size was generated under this key")
            return [Sighting(title.id, epoch, key, read), Sighting(title.id, epoch, key, nothing)]
        found = Detection(
            method=METHOD,
            key_id=key.key_id,
            p_value=match.p_value,
            statistic=match.statistic,
            trials=size,
            searched=match.searched,
            word=None,
            words_tried=0,
            geometry=views[match.variant // len(_CUTS) % len(views)].geometry,
            observations=match.observations,
        )
        with self._office.store.transaction() as transaction:
            output = recorded_output(transaction, title.id, epoch, match.name)
        owner = None if output is None else f"grant:{output.grant}"
        return [Sighting(title.id, epoch, key, read), Sighting(title.id, epoch, key, found, owner)]

    def _painter(self, title: Title, epoch: int) -> Painter | NotExamined:
        """Return a title's pipeline, or why there is none for this epoch."""
        if not self._office.noise.sizes(title.id, epoch):
            return NotExamined("nothing-generated", "nothing was generated under this key")
        if title.id not in self._painters:
            self._painters[title.id] = self._open(title)
        return self._painters[title.id]

    def _open(self, title: Title) -> Painter | NotExamined:
        progress = self._office.progress("digest")
        if title.id in self._given:
            return open_model(self._office.pipelines, title, self._given[title.id], progress)
        try:
            return open_model(self._office.pipelines, title, model_directory(self._office, title), progress)
        except CountermarkError as error:
            return NotExamined("no-pipeline", str(error))

    def _placed(self, directory: Path) -> tuple[int, Path]:
        root = show_digest(digest_model(survey(directory), progress=self._office.progress("digest")).content_root)
        for title in self._titles.values():
            if title.weights_root == root:
                return title.id, directory
        raise NotFoundError("no title has the weights in {path}", path=directory)

    def _ways(self, title: Title, epoch: int) -> list[Way]:
        with self._office.store.transaction() as transaction:
            state = transaction.get("noise-counter", f"{title.id}/{epoch}") or {"ways": [[1.0, None]]}
        return [(strength, steps) for strength, steps in state["ways"]]


def _parts(latent: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [np.where(np.arange(len(latent)) * cut < len(latent), latent, 0) for cut in _CUTS]


def recorded_output(transaction: Transaction, title: int, epoch: int, counter: int) -> Output | None:
    """Return the output that grew from a generation, or None where none was delivered."""
    found = transaction.find("output", counter_word(title, epoch, counter))
    return Output.from_json(found[0]) if found else None


def _views(pixels: Pixels, side: tuple[int, int], lattice: Sequence[Sighting]) -> list[_View]:
    """Return the suspect laid on its original's frame where the lattice says how, as it is, and mirrored."""
    found = [s.seen for s in lattice if isinstance(s.seen, Detection) and s.seen.p_value <= _PLACED]
    placed = [seen for seen in found if "placement" in seen.geometry]
    views = []
    if placed:
        seen = min(placed, key=lambda each: each.p_value)
        geometry: dict[str, Any] = dict(seen.geometry)
        grown = magnification(*side)
        placement = np.diag((grown, grown, 1.0)) @ np.array(geometry["placement"], dtype=np.float64).reshape(3, 3)
        laid = straighten(pixels, placement, float(grown * TILE), side)
        views = [_View(one, geometry) for one in laid]
    mirrored = _View(np.ascontiguousarray(pixels[:, ::-1]), {"mirrored": True})
    return [*views, _View(pixels, {}), *([] if placed else [mirrored])]
