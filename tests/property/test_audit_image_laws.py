"""Laws of reading and storing images, for any sizes, starts and shards."""

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from countermark.audit.images.decoding import fitted
from countermark.audit.images.reading import DataSpec, open_images, parse_data
from countermark.audit.images.store import ImageStore, duplicates, overlap
from countermark.errors import CountermarkError, InputError

PLAIN = st.text("abcdef/._- 猫", min_size=2, max_size=12).filter(lambda text: str(Path(text)) == text)
PARTS = st.none() | st.from_regex(r"[a-z0-9_][\w.-]{0,8}", fullmatch=True)
SPANS = st.just((0, None)) | st.tuples(st.integers(0, 10**9), st.none() | st.integers(0, 10**9))


@st.composite
def images(draw, most=12):
    """Few colours, so that some images are equal."""
    shape = (
        draw(st.integers(1, most)),
        draw(st.integers(1, 4)),
        draw(st.integers(1, 4)),
        draw(st.sampled_from([1, 3])),
    )
    return draw(arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 255])))


@given(PLAIN, PARTS, SPANS)
def test_a_spec_is_read_as_it_is_written(path, part, span):
    spec = DataSpec(Path(path), part, span)
    assert parse_data(str(spec)) == spec


@given(st.text(max_size=30))
def test_any_text_is_a_data_set_or_a_problem_of_the_input(text):
    try:
        spec = parse_data(text)
    except InputError:
        return
    assert str(spec.path)
    assert spec.span[0] >= 0


@settings(max_examples=40)
@given(images(), st.integers(1, 13), st.integers(0, 13), st.booleans())
def test_batches_are_the_images_from_any_start(pixels, size, start, is_packed):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        (np.savez_compressed if is_packed else np.savez)(path, x=pixels, y=np.arange(len(pixels)))
        batches = list(open_images(path).batches(size, start=start))
    assert [len(batch.images) for batch in batches[:-1]] == [size] * len(batches[:-1])
    read = [image.tobytes() for batch in batches for image in batch.images]
    assert read == [image.tobytes() for image in pixels[start:]]
    assert [label for batch in batches for label in batch.labels] == list(range(start, len(pixels)))
    assert [name for batch in batches for name in batch.names] == [f"x[{at}]" for at in range(start, len(pixels))]


@settings(max_examples=40)
@given(images(), st.integers(1, 13), st.data())
def test_a_store_is_the_images_in_shards_of_whatever_size(pixels, shard, data):
    memory = ImageStore.of(pixels)
    start = data.draw(st.integers(0, len(pixels)))
    stop = data.draw(st.integers(start, len(pixels)))
    wanted = data.draw(st.lists(st.integers(0, len(pixels) - 1), max_size=20))
    # What is on the disk after a power cut is not what is tested here.
    with tempfile.TemporaryDirectory() as folder, mock.patch("os.fsync"):
        np.save(Path(folder) / "a.npy", pixels)
        stored = ImageStore.build(open_images(Path(folder) / "a.npy"), Path(folder) / "s", shard_images=shard)
        assert stored.digest == memory.digest
        for store in (stored, memory):
            assert np.array_equal(store.rows(start, stop), pixels.reshape(len(pixels), -1)[start:stop])
            assert np.array_equal(store.take(wanted), pixels[wanted])
            assert np.array_equal(np.concatenate([rows for _, rows in store.shards()]), pixels.reshape(len(pixels), -1))


@given(images(), st.data())
def test_overlap_and_duplicates_are_what_comparing_every_pair_gives(pixels, data):
    other = pixels[data.draw(st.lists(st.integers(0, len(pixels) - 1), min_size=1, max_size=8))]
    first = {image.tobytes(): at for at, image in reversed(list(enumerate(pixels)))}
    found = overlap(ImageStore.of(other), ImageStore.of(pixels))
    assert found.count == len(other)
    assert found.pairs == tuple((at, first[image.tobytes()]) for at, image in enumerate(other))
    back = overlap(ImageStore.of(pixels), ImageStore.of(other))
    assert back.count == sum(image.tobytes() in {one.tobytes() for one in other} for image in pixels)
    assert duplicates(ImageStore.of(pixels)) == len(pixels) - len(first)


@given(images(most=1), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 255))
def test_a_picture_in_another_shape(pixels, height, width, channels, level):
    picture, shape = pixels[0], (height, width, channels)
    assert fitted(picture, shape)[0].shape == shape
    assert fitted(picture, picture.shape)[0] is picture
    flat = np.full_like(picture, level)
    assert (fitted(flat, shape)[0] == level).all()


@given(images(most=1), st.integers(1, 3), st.integers(1, 3))
def test_reducing_what_was_repeated_gives_it_back(pixels, down, across):
    picture = pixels[0]
    large = picture.repeat(down, axis=0).repeat(across, axis=1)
    assert np.array_equal(fitted(large, picture.shape)[0], picture)


@settings(max_examples=150)
@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\x93NUMPY\1\0", b"PK\3\4", b"\0\0\x08\3", b"\x1f\x8b\x08\0", b"PAR1"]),
)
def test_any_bytes_are_images_or_a_problem_of_ours(data, magic):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(magic + data)
        try:
            list(open_images(path).batches())
        except CountermarkError as error:
            # A field without a value would raise here.
            f"{error}{error.hint}"
