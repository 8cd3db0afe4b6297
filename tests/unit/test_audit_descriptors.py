"""Descriptors: the built-in one, Python callables, ONNX files made here, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from countermark.audit.images.descriptors import (
    BUILT_IN,
    BuiltIn,
    DescriptorIndex,
    Function,
    OnnxDescriptor,
    open_descriptor,
    unit_rows,
)
from countermark.audit.images.store import ImageStore
from countermark.errors import InputError

Bytes = NDArray[np.uint8]

torch = pytest.importorskip("torch")


def pictures(count: int, side: int = 28, channels: int = 1, seed: int = 0) -> Bytes:
    """Smooth random pictures."""
    coarse = np.random.default_rng(seed).random((count, 7, 7, channels))
    fine = np.repeat(np.repeat(coarse, side // 7, axis=1), side // 7, axis=2)
    for axis in (1, 2):
        fine = sum(np.roll(fine, step, axis=axis) for step in range(side // 7))
    fine -= fine.min(axis=(1, 2, 3), keepdims=True)
    return np.asarray(fine / fine.max(axis=(1, 2, 3), keepdims=True) * 230 + 10, np.uint8)


def resized(image: Bytes, border: int) -> Bytes:
    image_module = pytest.importorskip("PIL.Image")
    middle = image_module.fromarray(image[border:-border, border:-border, 0])
    return np.asarray(middle.resize(image.shape[1::-1], image_module.Resampling.BICUBIC), np.uint8)[..., None]


def test_crops_mirrors_and_blurs_are_found_by_the_built_in_descriptor():
    images = pictures(400)
    index = DescriptorIndex(ImageStore.of(images), BuiltIn())
    whole = images[:30].astype(float)
    blurred = sum(np.roll(whole, (y, x), axis=(1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
    changed = {
        "itself": images[:30],
        "mirror": images[:30, :, ::-1],
        "light": (images[:30] * 0.6 + 20).astype(np.uint8),
        "crop": np.stack([resized(image, 2) for image in images[:30]]),
        "blur": blurred.astype(np.uint8),
    }
    for name, copies in changed.items():
        found = index.nearest(copies, 2)
        assert (found.index[:, 0] == np.arange(30)).all(), name
        assert (found.distance[:, 0] < 0.2 * found.distance[:, 1]).all(), name


def test_the_built_in_descriptor_gives_unit_rows_and_nothing_for_flat_pictures():
    for shape in ((5, 28, 28, 1), (5, 64, 48, 3), (5, 9, 11, 3)):
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        assert np.linalg.norm(BuiltIn()(images), axis=1) == pytest.approx(1, abs=1e-4)
        assert np.linalg.norm(BuiltIn().views(images), axis=2) == pytest.approx(1, abs=1e-4)
    assert not BuiltIn()(np.full((2, 28, 28, 3), 99, np.uint8)).any()


def test_flat_pictures_are_near_to_nothing():
    images = pictures(20)
    images[3] = 50
    found = DescriptorIndex(ImageStore.of(images), BuiltIn()).nearest(images[:5], 20)
    assert (found.distance[3] == 1).all()
    assert found.distance[[0, 1, 2, 4], 0] == pytest.approx(0, abs=1e-12)


def test_name_and_digest_say_what_the_descriptor_depends_on():
    assert BuiltIn().digest == BuiltIn().digest
    assert BuiltIn().digest != BuiltIn(zooms=(1.0,)).digest
    assert BuiltIn().digest.startswith("sha256:")
    assert open_descriptor(BUILT_IN) == BuiltIn()


def test_a_python_callable_is_a_descriptor():
    images = pictures(90, channels=3)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(28 * 28 * 3, 33))
    describe = Function("linear", "sha256:00", lambda batch: network(torch.from_numpy(batch.astype(np.float32))))
    rows = describe(images).astype(np.float64)
    found = DescriptorIndex(ImageStore.of(images), describe).nearest(images[:9], 4)
    expected = np.square(rows[:9, None] - rows[None]).sum(2) / 2
    order = np.argsort(expected, axis=1, kind="stable")[:, :4]
    assert np.array_equal(found.index, order)
    assert found.distance == pytest.approx(np.take_along_axis(expected, order, 1), abs=1e-9)


def test_a_descriptor_that_gives_something_else_is_refused():
    images = pictures(5)
    for wrong in (lambda batch: np.ones((len(batch), 4)), lambda batch: np.eye(2, 4), lambda batch: np.ones(4)):

        class Wrong:
            name, digest = "wrong", "sha256:00"

            def __call__(self, batch, wrong=wrong):
                return wrong(batch)

        with pytest.raises(InputError, match="one unit row"):
            DescriptorIndex(ImageStore.of(images), Wrong()).nearest(images, 1)


def test_what_cannot_be_compared_is_refused():
    index = DescriptorIndex(ImageStore.of(pictures(5)), BuiltIn())
    with pytest.raises(InputError, match="cannot be compared"):
        index.nearest(np.zeros((1, 27, 28, 1), np.uint8), 1)
    for k in (0, 6):
        with pytest.raises(InputError, match="among 5 images"):
            index.nearest(pictures(1), k)
    told = []
    index.nearest(pictures(5), 1, progress=lambda *step: told.append(step))
    assert told == [(5, 5, "images")]


# -- ONNX files, written field by field: the tests need no package for that


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def text(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def tensor_of(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(text(1, number(1, side) if side else text(2, "n")) for side in shape)
    return text(1, name) + text(2, text(1, number(1, 1) + text(2, dims)))


def pooling_network(shape: tuple[int, ...]) -> bytes:
    """A network of one average over squares of 7 pixels, and its values in a row."""
    ints = text(5, text(1, "kernel_shape") + number(8, 7) + number(8, 7) + number(20, 7))
    strides = text(5, text(1, "strides") + number(8, 7) + number(8, 7) + number(20, 7))
    pool = text(1, "x") + text(2, "y") + text(4, "AveragePool") + ints + strides
    flat = text(1, "y") + text(2, "z") + text(4, "Flatten")
    graph = text(1, pool) + text(1, flat) + text(2, "g") + text(11, tensor_of("x", shape))
    graph += text(12, tensor_of("z", (0, 0)))
    return number(1, 8) + text(7, graph) + text(8, text(1, "") + number(2, 13))


def test_an_onnx_file_is_a_descriptor(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "pool.onnx"
    path.write_bytes(pooling_network((0, 1, 28, 28)))
    describe = open_descriptor(path)
    images = pictures(70)
    rows = describe(images)
    expected = unit_rows(images.reshape(70, 4, 7, 4, 7).mean((2, 4)).reshape(70, 16))
    assert rows == pytest.approx(expected, abs=1e-5)
    assert describe.name == "pool.onnx"
    assert describe.digest != OnnxDescriptor(path, mean=(0.5,)).digest
    found = DescriptorIndex(ImageStore.of(images), describe).nearest(images[:7], 1)
    assert (found.index[:, 0] == np.arange(7)).all()
    # pictures of another size are averaged over areas, colours made grey
    larger = np.repeat(np.repeat(np.repeat(images, 2, axis=1), 2, axis=2), 3, axis=3)
    assert describe(larger) == pytest.approx(expected, abs=1e-5)


def test_a_network_for_colours_takes_grey_pictures(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "colour.onnx").write_bytes(pooling_network((0, 3, 28, 28)))
    assert open_descriptor(tmp_path / "colour.onnx")(pictures(3)).shape == (3, 48)


def test_files_that_are_no_such_network_are_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "five.onnx").write_bytes(pooling_network((0, 5, 28, 28)))
    for name in ("text.onnx", "missing.onnx"):
        with pytest.raises(InputError, match="is not a network"):
            open_descriptor(tmp_path / name)
    with pytest.raises(InputError, match="1 or 3 channels"):
        open_descriptor(tmp_path / "five.onnx")
