"""Any data set of images: what is read, and what is refused with a reason."""

import gzip
import io
import json
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countermark.audit.images import arrays, tables
from countermark.audit.images.reading import DataSpec, open_images, parse_data
from countermark.audit.images.store import ImageStore
from countermark.errors import CountermarkError, HostileFile, InputError, NotFoundError, UnsupportedImage

RANDOM = np.random.default_rng(20261122)
GREY = RANDOM.integers(0, 256, (40, 9, 7), dtype=np.uint8)
COLORS = RANDOM.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(40) % 4


def everything(source, **options):
    """Return images, labels, names and changes of all batches."""
    batches = list(source.batches(**options))
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return (
        np.concatenate([batch.images for batch in batches]),
        np.concatenate(labels) if labels else None,
        [name for batch in batches for name in batch.names],
        sum((batch.changes for batch in batches[1:]), batches[0].changes),
    )


def png(pixels, **options):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, format="PNG", **options)
    return target.getvalue()


def write(folder, **pictures):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in pictures.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def idx(array, code=8):
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


# What a user calls a data set


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a/b.npz", DataSpec("a/b.npz")),
        ("a/b.npz:train", DataSpec("a/b.npz", "train")),
        ("a/b.npz:train[:300]", DataSpec("a/b.npz", "train", (0, 300))),
        ("a/b.npz[300:6000]", DataSpec("a/b.npz", None, (300, 6000))),
        ("b.npz:x_test-1.0[5:]", DataSpec("b.npz", "x_test-1.0", (5, None))),
        ("b[:]", DataSpec("b")),
        ("C:pictures", DataSpec("C:pictures")),
        ("a:b/x", DataSpec("a:b/x")),
    ],
)
def test_a_data_set_is_path_part_and_slice(text, spec):
    parsed = parse_data(text)
    assert (str(parsed.path), parsed.part, parsed.span) == (spec.path, spec.part, spec.span)


@pytest.mark.parametrize(
    "text", ["", "a.npz[-3:]", "a.npz[1:2:3]", "a.npz[5]", "a.npz[1,2]", "a\0b", "a[:9999999999999999999]"]
)
def test_what_is_no_slice_from_the_start_is_refused(text):
    with pytest.raises(InputError):
        parse_data(text)


def test_a_path_that_exists_is_a_path(tmp_path):
    odd = tmp_path / "photos:2024[0:3]"
    write(odd, a__png=png(GREY[0]))
    assert parse_data(str(odd)).path == odd
    assert open_images(str(odd)).count == 1


# Arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_parts_of_an_npz_with_their_labels(tmp_path, save):
    path = tmp_path / "data.npz"
    save(path, x_train=GREY, y_train=LABELS.astype(np.uint8), x_test=COLORS)
    source = open_images(f"{path}:train")
    images, labels, names, _ = everything(source, size=7)
    assert source.shape == (9, 7, 1)
    assert (source.count, source.has_labels, source.name) == (40, True, "data.npz:train")
    assert np.array_equal(images[..., 0], GREY)
    assert np.array_equal(labels, LABELS)
    assert names[3] == "x_train[3]"
    images, _, names, _ = everything(open_images(f"{path}:train[10:33]"), size=7, start=5)
    assert np.array_equal(images[..., 0], GREY[15:33])
    assert names[0] == "x_train[15]"
    assert np.array_equal(everything(open_images(path, part="x_test"))[0], COLORS)
    assert np.array_equal(everything(open_images(path, part="x_test", channels=1))[0].shape, (12, 8, 8, 1))
    with pytest.raises(InputError, match="which array") as refused:
        open_images(path)
    assert "x_test, x_train" in refused.value.hint


def test_labels_of_another_array_or_file(tmp_path):
    path, beside = tmp_path / "data.npz", tmp_path / "kinds.npy"
    np.savez(path, images=GREY, other=LABELS)
    np.save(beside, LABELS + 1)
    assert open_images(path).has_labels is False
    assert np.array_equal(everything(open_images(path, labels="other"))[1], LABELS)
    assert np.array_equal(everything(open_images(path, labels=beside))[1], LABELS + 1)
    assert np.array_equal(everything(open_images(path, labels=str(beside)))[1], LABELS + 1)
    for labels in ("none", "folders", tmp_path / "missing.npy"):
        with pytest.raises(InputError):
            open_images(path, labels=labels)
    np.save(beside, LABELS[:-1])
    with pytest.raises(InputError, match="one whole number per image"):
        open_images(path, labels=beside)


@pytest.mark.parametrize(
    "stored",
    [
        GREY.astype(np.int64),
        GREY.astype(">i4"),
        (GREY / 255).astype(np.float32),
        GREY.astype(np.uint16) * 257,
        GREY.astype(">u2") * 257,
        GREY[..., np.newaxis],
        np.ascontiguousarray(GREY[:, np.newaxis]),
    ],
    ids=lambda stored: f"{stored.dtype}{stored.ndim}",
)
def test_numbers_and_axes_that_can_only_mean_one_thing(tmp_path, stored):
    path = tmp_path / "a.npy"
    np.save(path, stored)
    images, _, _, changes = everything(open_images(path))
    assert np.array_equal(images[..., 0], GREY)
    assert changes.scaled == (40 if stored.dtype.kind == "f" or stored.dtype.itemsize == 2 else 0)


def test_flat_rows_booleans_channels_first_and_alpha(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, GREY[:, :7].reshape(40, 49))
    assert np.array_equal(everything(open_images(path))[0][..., 0], GREY[:, :7])
    np.save(path, GREY > 127)
    assert np.array_equal(everything(open_images(path))[0][..., 0], (GREY > 127) * 255)
    np.save(path, np.ascontiguousarray(COLORS.transpose(0, 3, 1, 2)))
    assert np.array_equal(everything(open_images(path))[0], COLORS)
    alpha = np.full((12, 8, 8, 1), 255, dtype=np.uint8)
    alpha[:, 0] = 0
    np.save(path, np.concatenate([COLORS, alpha], axis=3))
    images = everything(open_images(path))[0]
    assert np.array_equal(images[:, 1:], COLORS[:, 1:])
    assert (images[:, 0] == 255).all()


def object_array():
    class Bomb:
        def __reduce__(self):
            return os.mkdir, ("was-run",)

    return np.array([Bomb()], dtype=object)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (GREY.astype(np.float64), "outside 0 to 1"),
        (np.full((3, 4, 4), np.nan), "outside 0 to 1"),
        (GREY.astype(np.int16) - 1, "outside 0 to 255"),
        (GREY.astype(np.uint16), "none of the first is over 255"),
        (np.zeros((5, 9, 9, 2), np.uint8), "not of images"),
        (np.zeros((5, 50), np.uint8), "not of images"),
        (np.zeros((0, 5, 5), np.uint8), "not of images"),
        (np.zeros((4, 0, 5), np.uint8), "not of images"),
        (np.zeros((), np.uint8), "not of images"),
        (np.zeros((4, 5, 5), "U3"), "not of images"),
        (np.zeros((4, 5, 5), complex), "not of images"),
        (np.zeros((4, 5, 5), [("a", "u1")]), "not of images"),
        (np.asfortranarray(GREY), "column by column"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, stored, said):
    path = tmp_path / "a.npy"
    np.save(path, stored)
    with pytest.raises(InputError, match=said):
        everything(open_images(path))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_nothing_is_unpickled(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    (np.save if suffix == "npy" else np.savez)(tmp_path / f"a.{suffix}", object_array(), allow_pickle=True)
    with pytest.raises(HostileFile, match="Python objects"):
        open_images(tmp_path / f"a.{suffix}")
    (tmp_path / "b.npy").write_bytes(pickle.dumps(object_array()[0]))
    with pytest.raises(InputError):
        open_images(tmp_path / "b.npy")
    assert not (tmp_path / "was-run").exists()


def npy(shape, body=b"", descr="|u1"):
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + body


@pytest.mark.parametrize(
    "data",
    [
        npy((10**12, 28, 28)),
        npy((-1, 28, 28), b"0" * 784),
        npy((-1, -28, 28), b"0" * 784),
        npy((2, 28, 28), b"0" * 784),
        npy((1, 28, 28), b"0" * 785),
        npy((1, 70000, 70000)),
        npy(("1", 28, 28), b"0" * 784),
        npy((1, 28, 28), b"0" * 784, "O"),
        npy((1, 28, 28), b"0" * 784, "no"),
        b"\x93NUMPY\1\0" + struct.pack("<H", 20) + b"__import__('os')    ",
        b"\x93NUMPY\1\0" + struct.pack("<H", 60000) + b"(" * 60000,
        b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1),
        b"\x93NUMPY\x09\0\0\0",
        b"\x93NUMPY",
    ],
)
def test_headers_are_held_against_what_is_there(tmp_path, data):
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    with pytest.raises(HostileFile):
        open_images(path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", data)
    with pytest.raises(HostileFile):
        open_images(tmp_path / "a.npz")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        member.write(npy((70 * 2**20, 1, 1)))
        for _ in range(70):
            member.write(bytes(2**20))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", None)
    with pytest.raises(HostileFile, match="would unpack to"):
        open_images(path)


def test_an_archive_of_too_many_members_is_refused_before_they_are_listed(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}", b"")
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(HostileFile, match="10001 members"):
        open_images(path)


def test_a_large_archive_has_its_list_elsewhere(tmp_path, monkeypatch):
    """As NumPy writes more than 4 GiB: made small by lowering zipfile's limit."""
    path = tmp_path / "a.npz"
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    np.savez(path, x=GREY)
    data = path.read_bytes()
    assert b"PK\6\7" in data
    assert np.array_equal(everything(open_images(path))[0][..., 0], GREY)
    at = data.rindex(b"PK\6\6")
    path.write_bytes(data[: at + 32] + (10**6).to_bytes(8, "little") + data[at + 40 :])
    with pytest.raises(HostileFile, match="1000000 members"):
        open_images(path)
    path.write_bytes(data.replace(b"PK\6\6", b"PK\6\5"))
    with pytest.raises(HostileFile):
        open_images(path)


@pytest.mark.parametrize("change", ["cut", "middle", "encrypted", "bzip2"])
def test_a_damaged_archive_names_itself(tmp_path, change):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=GREY)
    data = bytearray(path.read_bytes())
    if change == "cut":
        del data[-30:]
    elif change == "middle":
        data[len(data) // 2] ^= 255
    elif change == "encrypted":
        data[data.rindex(b"PK\1\2") + 8] |= 1
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
            archive.writestr("x.npy", npy((1, 28, 28), b"0" * 784))
        data = path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(HostileFile, match=r"a\.npz"):
        everything(open_images(path))


def test_only_a_damaged_array_that_is_wanted_is_a_problem(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (("x_train", GREY), ("y_train", b"no"), ("x_test", b"no"), ("z", GREY[:3])):
            target = io.BytesIO()
            target.write(data) if isinstance(data, bytes) else np.save(target, data)
            archive.writestr(f"{name}.npy", target.getvalue())
    assert open_images(f"{path}:z").count == 3
    for part, named in (("test", "x_test"), ("train", "y_train")):
        with pytest.raises(HostileFile, match=f"a.npz:{named} cannot be read"):
            open_images(path, part=part)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_with_their_labels(tmp_path, packed):
    pack, end = (gzip.compress, ".gz") if packed else (bytes, "")
    (tmp_path / f"train-images-idx3-ubyte{end}").write_bytes(pack(idx(GREY)))
    (tmp_path / f"train-labels-idx1-ubyte{end}").write_bytes(pack(idx(LABELS.astype(np.uint8))))
    (tmp_path / f"t10k-images-idx3-ubyte{end}").write_bytes(pack(idx(GREY[:5])))
    images, labels, names, _ = everything(open_images(f"{tmp_path}:train[3:]"), size=4)
    assert np.array_equal(images[..., 0], GREY[3:])
    assert np.array_equal(labels, LABELS[3:])
    assert names[0] == "train-images-idx3-ubyte[3]"
    assert open_images(tmp_path / f"t10k-images-idx3-ubyte{end}").count == 5
    assert open_images(tmp_path, part="test").has_labels is False
    with pytest.raises(InputError, match="2 files"):
        open_images(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        idx(GREY)[:-1],
        idx(GREY) + b"0",
        bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(100),
        bytes([0, 0, 8, 3]) + b"\0\0",
        gzip.compress(idx(GREY))[:-20],
        gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**30, 28, 28) + bytes(100)),
        gzip.compress(idx(GREY)[:-1]),
        b"\x1f\x8b\x08garbage",
        gzip.compress(b"not images"),
        b"neither",
        b"",
    ],
)
def test_idx_headers_are_held_against_what_is_there(tmp_path, data):
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(InputError, match="idx3"):
        everything(open_images(path))


# Pictures


def test_a_folder_of_pictures_and_its_labels(tmp_path):
    for place in range(12):
        write(tmp_path / "猫狗"[place % 2], **{f"{place:02}__png": png(COLORS[place])})
    (tmp_path / "猫" / ".hidden.png").write_bytes(b"not read")
    (tmp_path / "README.md").write_text("not read")
    source = open_images(tmp_path, labels="folders")
    images, labels, names, _ = everything(source, size=5)
    order = [1, 3, 5, 7, 9, 11, 0, 2, 4, 6, 8, 10]
    assert sorted("猫狗") == ["狗", "猫"]
    assert source.shape == (8, 8, 3)
    assert np.array_equal(images, COLORS[order])
    assert labels.tolist() == [0] * 6 + [1] * 6
    assert source.label_names == ("狗", "猫")
    assert names[0] == "狗/01.png"
    assert open_images(tmp_path).has_labels is False
    assert open_images(f"{tmp_path}:猫").count == 6
    with pytest.raises(InputError, match="several parts"):
        open_images(tmp_path, part="..")
    (tmp_path / "top.png").write_bytes(png(COLORS[0]))
    with pytest.raises(InputError, match=r"top\.png lies in no folder"):
        open_images(tmp_path, labels="folders")


def test_one_picture_is_a_data_set(tmp_path):
    (tmp_path / "a.png").write_bytes(png(GREY[0]))
    (tmp_path / "b.png").write_bytes(png(GREY[1]))
    assert np.array_equal(everything(open_images(tmp_path / "a.png"))[0][..., 0], GREY[:1])


def test_large_and_mixed_sizes_become_one_and_it_is_said(tmp_path):
    large = np.repeat(np.repeat(COLORS[0], 16, axis=0), 16, axis=1)
    write(tmp_path, a__png=png(large), b__png=png(COLORS[1]), c__png=png(np.repeat(COLORS[2], 8, axis=0).repeat(8, 1)))
    source = open_images(tmp_path)
    images, _, _, changes = everything(source)
    assert source.shape == (64, 64, 3)
    assert changes.resized == 2
    assert changes.notes(source.shape) == ("images of another size, resized to 64x64 by area averaging: 2",)
    assert np.array_equal(images[0], np.repeat(np.repeat(COLORS[0], 8, axis=0), 8, axis=1))
    images = everything(open_images(tmp_path, size=(8, 8)))[0]
    assert np.array_equal(images, COLORS[:3])
    assert everything(open_images(tmp_path, size=(4, 16), channels=1))[0].shape == (3, 4, 16, 1)


def test_a_colour_picture_among_grey_ones_is_turned_grey_and_counted(tmp_path):
    for place in range(40):
        write(tmp_path, **{f"{place:02}__png": png(GREY[place])})
    (tmp_path / "04.png").write_bytes(png(RANDOM.integers(0, 256, (9, 7, 3), dtype=np.uint8)))
    source = open_images(tmp_path)
    assert source.shape == (9, 7, 1)
    assert everything(source)[3].greyed == 1
    assert open_images(tmp_path, channels=3).shape == (9, 7, 3)


def odd_pictures():
    """Pictures that are seen as the first colours, or nearly."""
    first, rgb = COLORS[0], Image.fromarray(COLORS[0])
    seen = {"plain": png(first)}
    for name, mode in (("cmyk__tif", "CMYK"), ("rgba__png", "RGBA"), ("webp__webp", "RGB"), ("bmp__bmp", "RGB")):
        target = io.BytesIO()
        options = {"lossless": True} if mode == "RGB" and "webp" in name else {}
        kind = {"tif": "TIFF", "png": "PNG", "webp": "WEBP", "bmp": "BMP"}[name.split("__")[1]]
        rgb.convert(mode).save(target, format=kind, **options)
        seen[name] = target.getvalue()
    return seen


def test_every_kind_of_picture_is_read_as_it_is_seen(tmp_path):
    write(tmp_path, **{name if "__" in name else f"{name}__png": data for name, data in odd_pictures().items()})
    images = everything(open_images(tmp_path))[0]
    assert len(images) == 5
    assert all(np.array_equal(image, COLORS[0]) for image in images)


def test_depth_palette_transparency_turns_and_wrong_names(tmp_path):
    deep = Image.fromarray(GREY[0].astype(np.uint16) * 257)
    palette = Image.fromarray(GREY[0]).convert("P")
    clear = Image.fromarray(np.stack([GREY[0], np.zeros_like(GREY[0])], axis=2), "LA")
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, image, kind, options in (
        ("a.png", deep, "PNG", {}),
        ("b.png", palette, "PNG", {}),
        ("c.png", clear, "PNG", {}),
        ("d.png", Image.fromarray(np.full((9, 7), 77, np.uint8)), "JPEG", {}),
        ("e.png", Image.fromarray(GREY[0].T), "PNG", {"exif": turned}),
    ):
        image.save(tmp_path / name, format=kind, **options)
    images, _, names, changes = everything(open_images(tmp_path))
    assert names == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert np.array_equal(images[0, ..., 0], GREY[0])
    assert np.array_equal(images[1, ..., 0], GREY[0])
    assert (images[2] == 255).all()
    assert (images[3] == 77).all()
    assert images[4].shape == (9, 7, 1)
    assert np.array_equal(images[4, ..., 0], GREY[0][:, ::-1])
    assert (changes.scaled, changes.resized) == (1, 0)


def animated():
    target = io.BytesIO()
    frames = [Image.fromarray(frame) for frame in GREY[:3]]
    frames[0].save(target, format="GIF", save_all=True, append_images=frames[1:])
    return target.getvalue()


def bomb():
    """A PNG that says it has a hundred thousand pixels a side."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


BROKEN = {
    "animated__gif": (animated, UnsupportedImage),
    "bomb__png": (bomb, HostileFile),
    "cut__png": (lambda: png(COLORS[0])[:60], HostileFile),
    "empty__png": (lambda: b"", UnsupportedImage),
    "page__jpg": (lambda: b"<html>", UnsupportedImage),
    "float__tif": (lambda: tiff_of_floats(), UnsupportedImage),
}


def tiff_of_floats():
    target = io.BytesIO()
    Image.fromarray(np.ones((4, 4), np.float32)).save(target, format="TIFF")
    return target.getvalue()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_picture_is_an_error_that_names_it_or_is_skipped_and_named(tmp_path, name):
    make, error = BROKEN[name]
    write(tmp_path, **{f"{place:02}__png": png(GREY[place]) for place in range(9)}, **{name: make()})
    with pytest.raises(error, match=name.replace("__", ".")) as refused:
        everything(open_images(tmp_path))
    refused.value.hint  # noqa: B018 - every field is given
    source = open_images(tmp_path, skip_broken=True)
    images, _, names, changes = everything(source, size=4)
    assert np.array_equal(images[..., 0], GREY[:9])
    assert source.count == 10
    assert len(names) == 9
    assert changes.skipped == 1
    assert str(tmp_path) not in changes.named[0]
    assert changes.named[0].startswith(name.replace("__", "."))
    assert changes.notes(source.shape)[0] == "broken images skipped: 1"
    # Positions count what is skipped, so that a reading can go on anywhere.
    batches = list(source.batches(4, start=4))
    assert [len(batch.images) for batch in batches] == [4, 1]


def test_the_first_pictures_may_all_be_broken(tmp_path):
    write(tmp_path, **{f"{place:03}__png": b"" for place in range(200)}, z__png=png(COLORS[0]))
    source = open_images(f"{tmp_path}[:]", skip_broken=True)
    assert source.shape == (8, 8, 3)
    assert everything(source)[3].skipped == 200
    assert len(everything(source)[3].named) == 100
    with pytest.raises(InputError, match="no readable picture"):
        open_images(f"{tmp_path}[:200]", skip_broken=True)


def test_pipes_and_other_folders_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match="not a regular file"):
        open_images(tmp_path / "a.png")
    with pytest.raises(InputError, match="not a regular file"):
        open_images(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        open_images(tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist"):
        open_images(tmp_path / "missing")
    np.save(tmp_path / "x.npy", GREY)
    with pytest.raises(InputError, match="none of them"):
        open_images(f"{tmp_path / 'x.npy'}[40:]")


# Tables

HUB = json.dumps(
    {"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}
)


def table(images=GREY, *, labels=None, metadata=HUB, data=None):
    pictures = data or [{"bytes": png(image), "path": f"{place}.png"} for place, image in enumerate(images)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"id": pa.array(range(len(pictures))), "image": pa.array(pictures, kind)}
    columns["label"] = pa.array(LABELS[: len(pictures)] % 2 if labels is None else labels)
    made = pa.table(columns)
    return made.replace_schema_metadata({"huggingface": metadata} if metadata else None)


def test_parquet_as_on_the_hub(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    pq.write_table(table(GREY[:25]), data / "train-00000-of-00002.parquet", row_group_size=10)
    pq.write_table(table(GREY[25:]), data / "train-00001-of-00002.parquet", row_group_size=4)
    pq.write_table(table(GREY[:3]), data / "test-00000-of-00001.parquet")
    source = open_images(f"{tmp_path}:train")
    images, labels, names, _ = everything(source, size=7)
    assert (source.count, source.shape, source.label_names) == (40, (9, 7, 1), ("cat", "dog"))
    assert np.array_equal(images[..., 0], GREY)
    assert np.array_equal(labels[:25], LABELS[:25] % 2)
    assert names[24:26] == ["24.png", "0.png"]
    for start in (0, 9, 10, 11, 24, 25, 26, 39):
        rest = everything(source, size=3, start=start)[0]
        assert np.array_equal(rest[..., 0], GREY[start:])
    assert list(source.batches(start=40)) == []
    with pytest.raises(InputError, match="several parts") as refused:
        open_images(tmp_path)
    assert "test, train" in refused.value.hint
    assert open_images(data / "test-00000-of-00001.parquet").count == 3


def save_to_disk(folder, made, *, chunk=6, files=2, **state):
    """Write as ``datasets.Dataset.save_to_disk`` does."""
    folder.mkdir(parents=True)
    names = [f"data-{number:05}-of-{files:05}.arrow" for number in range(files)]
    per_file = -(-made.num_rows // files)
    for number, name in enumerate(names):
        part = made.slice(number * per_file, per_file)
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, made.schema) as writer:
            writer.write_table(part, max_chunksize=chunk)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0" * 16, **state}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


def test_a_saved_data_set(tmp_path):
    save_to_disk(tmp_path / "train", table())
    save_to_disk(tmp_path / "test", table(GREY[:4]), files=1)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for path in (tmp_path / "train", f"{tmp_path}:train"):
        source = open_images(path)
        images, labels, _, _ = everything(source, size=9)
        assert np.array_equal(images[..., 0], GREY)
        assert np.array_equal(labels, LABELS % 2)
        assert source.label_names == ("cat", "dog")
        for start in (5, 6, 19, 20, 21):
            assert np.array_equal(everything(source, start=start)[0][..., 0], GREY[start:])
    assert open_images(tmp_path / "test" / "data-00000-of-00001.arrow").count == 4
    with pytest.raises(InputError, match="several parts"):
        open_images(tmp_path)


@pytest.mark.parametrize(
    "state",
    [
        {"_data_files": [{"filename": "../secret.arrow"}]},
        {"_data_files": [{"filename": "missing.arrow"}]},
        {"_data_files": []},
        {"_data_files": "data"},
        {"_data_files": [1]},
        {"_indices_data_files": [{"filename": "indices.arrow"}]},
    ],
)
def test_a_state_that_leads_elsewhere_is_refused(tmp_path, state):
    save_to_disk(tmp_path / "set", table(GREY[:3]), files=1, **state)
    (tmp_path / "secret.arrow").write_bytes(b"")
    with pytest.raises(InputError, match=r"state|selection|not there"):
        open_images(tmp_path / "set")


def test_text_labels_are_numbered_in_the_order_of_the_alphabet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(GREY[:4], labels=["dog", "ant", "dog", "cat"], metadata=None), path, row_group_size=2)
    source = open_images(path)
    assert source.label_names == ("ant", "cat", "dog")
    assert everything(source, start=1)[1].tolist() == [0, 2, 1]
    assert everything(open_images(path, labels="id"))[1].tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="no column"):
        open_images(path, labels="image")


def test_rows_without_a_picture_are_named_and_files_are_not_followed(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(GREY[9]))
    data = [{"bytes": png(image), "path": None} for image in GREY[:4]]
    data[1] = {"bytes": None, "path": str(secret)}
    data[2] = None
    data[3] = {"bytes": b"no picture", "path": "x.png"}
    path = tmp_path / "a.parquet"
    pq.write_table(table(data=data), path)
    with pytest.raises(InputError, match=r"a\.parquet\[1\] names a file"):
        open_images(path)
    images, labels, names, changes = everything(open_images(path, skip_broken=True))
    assert np.array_equal(images[..., 0], GREY[:1])
    assert (labels.tolist(), names, changes.skipped) == ([0], ["a.parquet[0]"], 3)
    assert "a.parquet[2] holds no picture" in changes.named[1]
    assert "x.png" in changes.named[2]


@pytest.mark.parametrize(
    "columns",
    [
        {"image": pa.array([1, 2])},
        {"image": pa.array(["a.png", "b.png"])},
        {"image": pa.array([[1, 2], [3]])},
        {"image": pa.array([{"bytes": 1}, {"bytes": 2}])},
        {"other": pa.array([1.5, 2.5])},
    ],
)
def test_tables_without_pictures(tmp_path, columns):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column of pictures"):
        open_images(tmp_path / "a.parquet")


def test_labels_that_are_missing_or_too_large(tmp_path):
    path = tmp_path / "a.parquet"
    for labels in (pa.array([1, None]), pa.array([2**64 - 1, 2**64 - 2], pa.uint64())):
        pq.write_table(table(GREY[:2], labels=labels), path)
        with pytest.raises(InputError, match=r"a\.parquet\[\d\] has no label"):
            everything(open_images(path))


def test_a_group_of_rows_fits_into_memory(tmp_path, monkeypatch):
    pq.write_table(table(), tmp_path / "a.parquet", row_group_size=20)
    monkeypatch.setattr(tables, "_MAX_GROUP_BYTES", 1000)
    with pytest.raises(HostileFile, match=r"a\.parquet: a group of rows") as refused:
        open_images(tmp_path / "a.parquet")
    assert "smaller row groups" in refused.value.hint


def test_files_of_other_columns_do_not_go_together(tmp_path):
    pq.write_table(table(GREY[:2]), tmp_path / "train-0.parquet")
    pq.write_table(table(GREY[:2]).rename_columns(["id", "image", "kind"]), tmp_path / "train-1.parquet")
    with pytest.raises(InputError, match=r"train-1\.parquet has other columns"):
        open_images(tmp_path)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_damaged_tables_raise_only_ours(tmp_path, kind):
    """Any byte may be another: an error of ours, or images; never a crash, never a foreign exception."""
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(table(GREY[:6]), path, row_group_size=3)
    else:
        save_to_disk(tmp_path / "set", table(GREY[:6]), files=1)
        path = tmp_path / "set" / "data-00000-of-00001.arrow"
    data, chance = path.read_bytes(), np.random.default_rng(5)
    for cut in (0, 3, 5, 40, len(data) // 2, len(data) - 9):
        path.write_bytes(data[:cut])
        with pytest.raises(CountermarkError):
            everything(open_images(path))
    for _ in range(150):
        changed = bytearray(data)
        changed[chance.integers(4, len(data))] = chance.integers(256)
        path.write_bytes(changed)
        try:
            everything(open_images(path))
        except CountermarkError as error:
            error.hint  # noqa: B018 - every field is given


def test_metadata_that_is_not_the_hubs_counts_as_none(tmp_path):
    for metadata in (
        "[]",
        "{",
        '{"info": {"features": {"image": 1}}}',
        '{"info": {"features": {"label": {"names": 1}}}}',
    ):
        pq.write_table(table(GREY[:2], metadata=metadata), tmp_path / "a.parquet")
        assert open_images(tmp_path / "a.parquet").label_names is None


# Stores, and what a source says of itself


def test_a_store_is_a_data_set(tmp_path):
    np.savez(tmp_path / "a.npz", x=GREY, y=LABELS)
    store = ImageStore.build(open_images(tmp_path / "a.npz"), tmp_path / "store", shard_images=7)
    images, labels, names, _ = everything(open_images(f"{tmp_path / 'store'}[5:20]"), size=6)
    assert np.array_equal(images[..., 0], GREY[5:20])
    assert np.array_equal(labels, LABELS[5:20])
    assert names[0] == store.name(5) == "x[5]"
    (tmp_path / "store" / "contents.json").unlink()
    with pytest.raises(NotFoundError, match="not finished"):
        open_images(tmp_path / "store")


def test_the_origin_changes_with_the_data_and_the_way_of_reading(tmp_path):
    folder = write(tmp_path / "a", x__png=png(COLORS[0]), y__png=png(COLORS[1]))
    source = open_images(folder)
    origins = {source.origin, open_images(folder, size=(4, 4)).origin, open_images(f"{folder}[1:]").origin}
    (folder / "y.png").write_bytes(png(COLORS[2]) + b" ")
    origins.add(open_images(folder).origin)
    assert len(origins) == 4
    assert open_images(folder).origin == open_images(folder).origin


def test_a_stream_never_holds_the_data(tmp_path):
    """Rows of a large array are read a few at a time, also where the batch asked for is large."""
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        file.write(npy((100, 2000, 2000)))
        file.truncate(file.tell() + 100 * 4_000_000)
    source = open_images(path)
    assert isinstance(source.shape, tuple)
    assert arrays.ArrayImages.of(arrays.open_npy(path), None).step == 4
    assert next(source.batches(8)).images.shape == (8, 64, 64, 1)
