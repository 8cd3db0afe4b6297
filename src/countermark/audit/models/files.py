"""Example models in directories: ``model.safetensors``, ``config.json``, ``training.json``; no code, no pickle.

A directory may come from a stranger. Its configuration says which tensors there must be; names, types and shapes in
the header are compared with that before anything is read, and numbers that are not finite are refused.

Laws:
    ``open_model(directory)`` draws what the saved model drew;
    the configuration decides the shapes, so nothing is allocated that the file's own bytes do not fill.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.artifact.directory import SourceFile, open_source, read_named_header, survey
from countermark.artifact.safetensors import TensorSpan
from countermark.audit.models.analytic import AnalyticModel
from countermark.audit.models.diffusion import DiffusionModel
from countermark.audit.models.gan import GanModel
from countermark.audit.models.networks import DenoiserNet, Network, PainterNet, Tensor
from countermark.core.canonical import parse_json
from countermark.errors import HostileFile, InputError, require

TYPE = "countermark.example-model/1"
WEIGHTS, CONFIG, RECORD = "model.safetensors", "config.json", "training.json"
KINDS = ("diffusion", "gan", "analytic")

ExampleModel = DiffusionModel | GanModel | AnalyticModel

_CONFIG_LIMIT = 2**16
_MAX_SIDE = 512
_MAX_BYTES = 2**30
_RANGES: dict[str, dict[str, tuple[int, int]]] = {
    "diffusion": {"hidden": (1, 8192), "blocks": (0, 64), "classes": (0, 100_000), "steps": (1, 10_000)},
    "gan": {"hidden": (1, 8192), "latent": (1, 8192)},
    "analytic": {"steps": (1, 10_000)},
}


def kind_of(model: ExampleModel) -> str:
    """Return which of ``KINDS`` a model is."""
    types = {DiffusionModel: "diffusion", GanModel: "gan", AnalyticModel: "analytic"}
    return types[type(model)]


def save_model(model: ExampleModel, directory: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write a model and the record of its training; returns the record with the digest of the weights in it.

    Weights are kept in half precision, an analytic model's images as bytes.

    Raises:
        MissingExtra: safetensors is not installed.
        InputError: the directory cannot be written, or holds something else.
    """
    save = require("safetensors.numpy", "train").save
    config = {"type": TYPE, "kind": kind_of(model), "shape": list(model.shape)} | model.config()
    check_free(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / WEIGHTS).write_bytes(save(_tensors(model)))
        _write_json(directory / CONFIG, config)
        full = {**record, "weights": {"file": WEIGHTS, "sha256": _sha256(directory / WEIGHTS)}}
        _write_json(directory / RECORD, full)
    except OSError as error:
        raise InputError("cannot write {path}: {reason}", path=directory, reason=error) from error
    return full


def check_free(directory: Path) -> None:
    """Return if a model can be saved there: nothing, or an example model, which is replaced.

    Raises:
        InputError: it holds something else.
    """
    if directory.is_dir() and any(directory.iterdir()) and not is_example(directory):
        raise InputError(
            "{path} is not empty", hint="Give a new folder, or one of an example model, which is replaced.",
            path=directory,
        )  # fmt: skip
    if directory.exists() and not directory.is_dir():
        raise InputError("{path} is not a folder", path=directory)


def is_example(directory: Path) -> bool:
    """Whether a directory says that it is an example model; nothing else of it is believed."""
    try:
        with (directory / CONFIG).open("rb") as file:
            config = parse_json(file.read(_CONFIG_LIMIT + 1), limit=_CONFIG_LIMIT)
    except (OSError, InputError):
        return False
    return isinstance(config, dict) and config.get("type") == TYPE


def open_model(directory: Path) -> ExampleModel:
    """Load an example model, as a stranger's.

    Raises:
        MissingExtra: torch is not installed.
        InputError: no such directory, or it is no example model.
        HostileFile: a pickle, a link out of the directory, a configuration that is out of range or does not fit the
            tensors, or numbers that are not finite.
    """
    files = {file.path: file for file in survey(directory).files}
    if CONFIG not in files or not is_example(directory):
        raise InputError("{path} is no example model", hint="Make one with: countermark train example", path=directory)
    kind, shape, numbers = _checked(_read_config(files[CONFIG]))
    if WEIGHTS not in files:
        raise InputError("{path} holds no {file}", path=directory, file=WEIGHTS)
    name, pixels = directory.resolve().name, shape[0] * shape[1] * shape[2]
    if kind == "analytic":
        return AnalyticModel(name, _read_images(files[WEIGHTS], shape), **numbers)
    if kind == "gan":
        painter = PainterNet(pixels, **numbers)
        return GanModel(name, shape, painter, _read_weights(files[WEIGHTS], painter))
    steps = numbers.pop("steps")
    net = DenoiserNet(pixels, **numbers)
    return DiffusionModel(name, shape, net, _read_weights(files[WEIGHTS], net), steps)


def _tensors(model: ExampleModel) -> dict[str, NDArray[Any]]:
    if isinstance(model, AnalyticModel):
        return {"images": np.ascontiguousarray(model.images).reshape(len(model.images), -1)}
    return {name: tensor.half().numpy() for name, tensor in model.weights.items()}


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_config(file: SourceFile) -> Any:
    with open_source(file) as stream:
        return parse_json(stream.read(_CONFIG_LIMIT + 1), limit=_CONFIG_LIMIT)


def _checked(config: Any) -> tuple[str, tuple[int, int, int], dict[str, int]]:
    """Return kind, shape and numbers of a configuration, each within its range."""
    kind, sides = config.get("kind"), config.get("shape")
    if kind not in KINDS or config.keys() != {"type", "kind", "shape", *_RANGES[kind]}:
        raise HostileFile("{path} is not the configuration of an example model", path=CONFIG)
    if not isinstance(sides, list) or len(sides) != 3:
        raise HostileFile("{path}: {name} is out of range", path=CONFIG, name="shape")
    ranges = [("shape", side, (1, _MAX_SIDE)) for side in sides]
    ranges += [(name, config[name], allowed) for name, allowed in _RANGES[kind].items()]
    for name, value, (least, most) in ranges:
        if type(value) is not int or not least <= value <= most:
            raise HostileFile("{path}: {name} is out of range", path=CONFIG, name=name)
    if sides[2] not in (1, 3):
        raise HostileFile("{path}: {name} is out of range", path=CONFIG, name="shape")
    return kind, (sides[0], sides[1], sides[2]), {name: config[name] for name in _RANGES[kind]}


def _read_weights(file: SourceFile, net: Network) -> dict[str, Tensor]:
    torch = require("torch", "train")
    spans, content = _read_tensors(file)
    if {name: (span.dtype, span.shape) for name, span in spans.items()} != {
        name: ("F16", shape) for name, shape in net.shapes().items()
    }:
        raise HostileFile("{path}: its tensors are not those of its configuration", path=file.path)
    weights = {name: np.frombuffer(content[span.begin : span.end], "<f2") for name, span in spans.items()}
    if not all(np.isfinite(values).all() for values in weights.values()):
        raise HostileFile("{path} holds numbers that are not finite", path=file.path)
    return {
        name: torch.from_numpy(values.astype(np.float32)).reshape(spans[name].shape) for name, values in weights.items()
    }


def _read_images(file: SourceFile, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    spans, content = _read_tensors(file)
    images = spans.get("images")
    if (
        len(spans) != 1
        or images is None
        or images.dtype != "U8"
        or images.shape[1:] != (shape[0] * shape[1] * shape[2],)
    ):
        raise HostileFile("{path}: its tensors are not those of its configuration", path=file.path)
    return np.frombuffer(content[images.begin : images.end], np.uint8).reshape(-1, *shape)


def _read_tensors(file: SourceFile) -> tuple[dict[str, TensorSpan], memoryview]:
    """Return the tensors by name, and the bytes of the file that their spans count in."""
    if file.size > _MAX_BYTES:
        raise HostileFile("{path} is too large for an example model", path=file.path)
    with open_source(file) as stream:
        header = read_named_header(file, stream)
        stream.seek(0)
        content = stream.read(file.size)
    return {span.name: span for span in header.tensors}, memoryview(content)
