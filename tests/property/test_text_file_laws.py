"""The laws of ``marking.text.files``: what a file of text is read as, whatever its bytes."""

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import InputError
from countermark.marking.text.files import decode_text, read_texts, texts_of

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
prose = texts.filter(lambda text: text.lstrip()[:1] not in ("{", "["))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "messages", "choices", "message", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


def read(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suspect"
        path.write_bytes(data)
        return read_texts(path)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"\xff\xfe" + data))
def test_no_bytes_raise_anything_else(data):
    try:
        found = read(data)
    except InputError:
        return
    assert found is None or all(isinstance(text, str) and text.strip() for text in found)


@given(values)
def test_any_json_is_read_as_texts(value):
    text = json.dumps(value)
    assert all(isinstance(each, str) for each in texts_of(text))
    assert all(isinstance(each, str) for each in texts_of(f"{text}\n{text}"))


@given(prose)
def test_what_is_not_json_is_one_text(text):
    assert texts_of(text) == [text]


@given(texts.filter(lambda text: "\0" not in text), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_text_is_read_in_its_encoding(text, encoding):
    if not text.startswith("\ufeff"):
        assert decode_text(text.encode(encoding)) == text


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system", "tool"]), texts), min_size=1, max_size=5))
def test_of_a_chat_the_replies_are_read_in_their_order(turns):
    chat = [{"role": role, "content": text} for role, text in turns]
    said = [text for role, text in turns if role == "assistant"]
    assert texts_of(json.dumps(chat)) == said
    assert texts_of(json.dumps({"messages": chat}, ensure_ascii=False)) == said
    assert texts_of("\n".join(json.dumps(turn) for turn in chat)) == said
