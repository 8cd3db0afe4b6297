"""The audit of texts: corpora read from every kind of file, indexes kept and refused, copies found, clean texts not."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from countermark.audit.result import recompute
from countermark.audit.text.examine import TextExaminer, audit_texts
from countermark.audit.text.near import BINS, NearIndex, agreement, jaccard, passages, shingles, sketch
from countermark.audit.text.reading import Corpus, fold, holds_texts, open_corpus
from countermark.audit.text.suffixes import SuffixIndex
from countermark.core.canonical import canonical_json, parse_json
from countermark.errors import HeldOutOverlap, HostileFile, IndexMismatch, InputError, ProofInvalid

SYLLABLES = [a + b for a in "bdfgklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "or")]
WORDS = ["".join(random.Random(i).choices(SYLLABLES, k=1 + i % 3)) for i in range(3_000)]
OFTEN = list(itertools.accumulate(1 / (i + 10) for i in range(len(WORDS))))
POEM = "春眠不覺曉,處處聞啼鳥。夜來風雨聲,花落知多少。"


def prose(generator: random.Random, words: int) -> str:
    """Made-up words, some of them much more often than others."""
    return " ".join(generator.choices(WORDS, cum_weights=OFTEN, k=words))


def many(seed: int, count: int, words: int = 400) -> list[str]:
    generator = random.Random(seed)
    return [prose(generator, words) for _ in range(count)]


@pytest.fixture(scope="module")
def train() -> Corpus:
    return Corpus.of(many(1, 60), "train")


@pytest.fixture(scope="module")
def examiner(train: Corpus) -> TextExaminer:
    return TextExaminer.prepare(train, Corpus.of(many(2, 60, words=1_000), "held-out"))


def planted(text: str, passage: str) -> str:
    middle = len(text) // 2
    return text[: middle - len(passage) // 2] + passage + text[middle + len(passage) // 2 :]


def test_planted_passages_are_found_and_clean_texts_are_not(train: Corpus, examiner: TextExaminer) -> None:
    sources = [each.text for each in train.documents()]
    clean = [text[:1_500] for text in many(3, 40)]
    document = examiner.audit(Corpus.of(clean, "clean"))
    assert document["decision"]["verdict"] == "no-copies-found"
    assert max(item["longest"] for item in document["items"]) < 120
    mixed = [planted(text, sources[i][200:500]) if i < 10 else text for i, text in enumerate(clean)]
    document = examiner.audit(Corpus.of(mixed, "mixed"), subject={"name": "a model", "seed": 3, "drawn": 50})
    assert [item["flagged"] for item in document["items"]] == [True] * 10 + [False] * 30
    assert all(item["longest"] >= 300 for item in document["items"][:10])
    assert [item["where"]["document"] for item in document["items"][:10]] == [f"train[{i}]" for i in range(10)]
    assert document["decision"]["verdict"] == "copies-found"
    assert document["subject"]["samples"]["seed"] == 3
    assert {each["name"] for each in document["copied"]} == {f"train[{i}]" for i in range(10)}


def test_the_document_recomputes_and_a_changed_one_does_not(train: Corpus, examiner: TextExaminer) -> None:
    sources = [each.text for each in train.documents()]
    outputs = [planted(text[:1_000], sources[0][:300]) for text in many(4, 8)] + [POEM]
    document = parse_json(canonical_json(examiner.audit(Corpus.of(outputs, "outputs"))))
    recompute(document)
    for change in (
        lambda it: it["items"][0].update(score=-10, longest=10),
        lambda it: it["items"][0].update(flagged=False),
        lambda it: it["calibration"]["lengths"][-1]["scores"][0].__setitem__(0, -5_000),
        lambda it: it["decision"].update(verdict="no-copies-found"),
    ):
        changed = parse_json(canonical_json(document))
        change(changed)
        with pytest.raises((ProofInvalid, HostileFile)):
            recompute(changed)


def test_passages_show_what_stands_around(train: Corpus, examiner: TextExaminer) -> None:
    source = next(iter(train.documents())).text
    outputs = Corpus.of([planted(many(5, 1)[0], source[300:600])], "outputs")
    shown = examiner.passages(outputs, around=50)
    before, match, after = shown.output(0)
    assert source[300:600] in match
    assert before + match + after in next(iter(outputs.documents())).text
    before, match, after = shown.source(0)
    assert before + match + after in source
    assert len(before) == len(after) == 50


def test_a_training_set_that_holds_the_held_out_texts_is_refused(train: Corpus) -> None:
    sources = [each.text for each in train.documents()]
    held = many(6, 30)
    held[4] = sources[7]
    held[9] = "An introduction. " + sources[8][100:]
    with pytest.raises(HeldOutOverlap, match=r"2 of 30 .*held\[4\].*train\[7\].*held\[9\].*train\[8\]"):
        TextExaminer.prepare(train, Corpus.of(held, "held"), near=False)
    kept = TextExaminer.prepare(train, Corpus.of(held, "held"), near=False, leave_out=True)
    document = kept.audit(Corpus.of(many(7, 5)))
    assert document["data"]["held_out"]["overlap"] == 2
    assert document["calibration"]["documents"] == 28
    assert "overlap-left-out" in document["limits"]
    assert any("held[4]" in note for note in document["data"]["notes"])


def test_long_outputs_are_read_in_pieces(train: Corpus) -> None:
    sources = [each.text for each in train.documents()]
    short = Corpus.of([text[at : at + 240] for text in many(8, 150, words=1_000) for at in range(0, 4_800, 240)])
    long = [text * 3 for text in many(9, 3, words=100)] + [planted(many(10, 1, words=300)[0], sources[3][:400])]
    document = audit_texts(Corpus.of(long, "long"), train, short, near=False)
    assert all(item["pieces"] > 10 and item["window"] <= 240 for item in document["items"])
    assert [item["flagged"] for item in document["items"]] == [False] * 3 + [True]
    assert document["items"][3]["longest"] >= 400
    assert document["items"][3]["score"] >= -240
    recompute(parse_json(canonical_json(document)))


def test_chinese_is_matched_byte_for_byte_and_folded() -> None:
    lines = [f"{POEM}\n其{i}:{''.join(random.Random(i).choices('山水雲月松石鶴琴酒劍江湖', k=40))}" for i in range(8)]
    index = SuffixIndex.build(Corpus.of(lines), form="bytes")
    (match,) = index.longest([index.encoded("詩曰「" + POEM)])
    assert match.length == len(POEM.encode())
    wide = SuffixIndex.build(Corpus.of([*lines, "THE  Quick\nBrown Fox"]), form="folded")
    assert wide.longest([wide.encoded("the quick   brown FOX")])[0].length == len("the quick brown fox")
    assert wide.longest([wide.encoded(POEM.replace(",", ","))])[0].length == len(fold(POEM).encode())


def test_an_index_is_kept_and_is_of_one_corpus(train: Corpus, tmp_path: Path) -> None:
    index = SuffixIndex.build(train, tmp_path / "index", shard_bytes=20_000)
    texts = [each.encode() for each in many(11, 5)] + [next(iter(train.documents())).text.encode()]
    opened = SuffixIndex.open(tmp_path / "index", train)
    opened.check()
    assert opened.longest(texts) == index.longest(texts)
    assert [m.length for m in SuffixIndex.build(train).longest(texts)] == [m.length for m in index.longest(texts)]
    assert opened.name_of(index.longest(texts)[-1].document) == "train[0]"
    other = Corpus.of(many(12, 3), "other")
    with pytest.raises(IndexMismatch, match="not of other"):
        SuffixIndex.open(tmp_path / "index", other)
    with pytest.raises(IndexMismatch):
        TextExaminer.prepare(other, Corpus.of(many(13, 3)), index=index, near=False)
    with pytest.raises(InputError, match="no index"):
        SuffixIndex.open(tmp_path)


def test_a_broken_off_build_goes_on(train: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from countermark.audit.text import suffixes

    sorted_now, sort, broken = list[int](), suffixes._sorted, [True]

    def counted(first: int, documents: Any) -> Any:
        if broken[0] and len(sorted_now) == 2:
            raise KeyboardInterrupt
        sorted_now.append(first)
        return sort(first, documents)

    monkeypatch.setattr(suffixes, "_sorted", counted)
    with pytest.raises(KeyboardInterrupt):
        SuffixIndex.build(train, tmp_path, shard_bytes=30_000)
    with pytest.raises(InputError, match="no index"):
        SuffixIndex.open(tmp_path)
    broken[0] = False
    SuffixIndex.build(train, tmp_path, shard_bytes=30_000)
    assert len(sorted_now) == len(set(sorted_now)) > 3
    SuffixIndex.open(tmp_path, train).check()


@pytest.mark.parametrize("part", ["text", "suffixes", "keys", "starts"])
def test_a_damaged_index_is_refused(train: Corpus, tmp_path: Path, part: str) -> None:
    SuffixIndex.build(train, tmp_path, shard_bytes=40_000)
    file = tmp_path / f"{part}-0000.npy"
    array = np.load(file)
    np.save(file, array[:-1])
    with pytest.raises(IndexMismatch):
        SuffixIndex.open(tmp_path)
    array[5] ^= 1
    np.save(file, array)
    with pytest.raises(IndexMismatch):
        SuffixIndex.open(tmp_path, train).check()
    file.write_bytes(b"\x93NUMPY")
    with pytest.raises(IndexMismatch):
        SuffixIndex.open(tmp_path)


def test_equal_texts_have_equal_digests_however_they_are_stored(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    texts = ["First text.\n\nIn two parts.", POEM, "Third, with accents: déjà vu."]
    joined = "\n<|doc|>\n".join(texts)
    (tmp_path / "plain.txt").write_text(joined, encoding="utf-8")
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(joined.encode()))
    (tmp_path / "wide.md").write_bytes(joined.encode("utf-16"))
    (tmp_path / "old.txt").write_bytes("\n<|doc|>\n".join([*texts[1:2] * 9]).encode("gb18030"))
    (tmp_path / "lines.jsonl").write_text("\n".join(json.dumps({"text": each}) for each in texts) + "\n\n")
    parquet.write_table(pyarrow.table({"text": [*texts, None, " "], "id": [1, 2, 3, 4, 5]}), tmp_path / "table.parquet")
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, text in enumerate(texts):
        (folder / f"{i}.txt").write_text(f"  {text}\r\n", encoding="utf-8")
    (folder / "notes.csv").write_text("left, alone")
    expected = Corpus.of(texts).digest
    for name in ("plain.txt", "packed.txt.gz", "wide.md", "lines.jsonl", "table.parquet", "folder"):
        corpus = open_corpus(tmp_path / name)
        assert corpus.digest == expected, name
        assert corpus.digest == expected
        assert holds_texts(tmp_path / name)
    assert [each.text for each in open_corpus(tmp_path / "old.txt").documents()] == [POEM] * 9
    assert open_corpus(tmp_path / "old.txt").measure.duplicates == 8
    blank = open_corpus(tmp_path / "plain.txt", split="blank")
    assert next(iter(blank.documents())).text == "First text."


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    def refused(name: str, data: bytes, match: str, **options: Any) -> None:
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(InputError, match=match):
            list(open_corpus(path, **options).documents())

    refused("picture.png", b"\x89PNG", "of no kind")
    refused("nul.txt", b"abc\0def", "NUL")
    refused("bytes.txt", b"\x81\xff\xfe\x00\x80" * 9, "no text")
    refused("broken.txt.gz", gzip.compress(b"text" * 99)[:-9], "cannot read")
    refused("none.txt.gz", b"no gzip", "cannot read")
    refused("broken.jsonl", b'{"text": "a"}\n{', "line 2 .* no JSON")
    refused("other.jsonl", b'{"prompt": "a"}\n', "no text in its field text")
    refused("deep.jsonl", b'{"text": ' + b"[" * 9_999, "no JSON")
    refused("broken.parquet", b"PAR1 no", "cannot read")
    refused("plain.txt", b"text", "parted by one of", split="lines")
    with pytest.raises(InputError, match="no such file"):
        open_corpus(tmp_path / "missing.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no texts"):
        open_corpus(tmp_path / "empty")
    assert not holds_texts(tmp_path / "empty")
    assert not holds_texts(tmp_path / "picture.png")
    with pytest.raises(InputError, match="holds no text"):
        SuffixIndex.build(Corpus.of([" "]))


def test_an_unpacked_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countermark.audit.text.reading.MAX_DOCUMENT_BYTES", 2**20)
    (tmp_path / "line.txt.gz").write_bytes(gzip.compress(b"a" * 2**24))
    (tmp_path / "lines.txt.gz").write_bytes(gzip.compress(b"aaaaaaa\n" * 2**20))
    for name in ("line.txt.gz", "lines.txt.gz"):
        with pytest.raises(HostileFile, match="over the limit"):
            list(open_corpus(tmp_path / name).documents())


def test_near_copies_are_found_with_their_exact_likeness(train: Corpus) -> None:
    index = NearIndex(train)
    sources = [each.text for each in train.documents()]
    words = sources[12][300:1_300].split(" ")
    edited = " ".join("other" if i % 20 == 19 else word.upper() for i, word in enumerate(words))
    near = index.nearest(edited, least=0.3)
    assert near is not None
    assert near.document == 12
    theirs = fold(sources[12])[near.offset : near.offset + 512]
    ours = fold(edited)
    exact = max(jaccard(shingles(ours[at : at + 512]), shingles(theirs)) for at in passages(ours).tolist())
    assert near.jaccard == exact > 0.3
    assert [index.nearest(text, least=0.3) for text in many(14, 10)] == [None] * 10
    assert index.nearest("short") is None


def test_sketches_estimate_as_well_as_those_of_datasketch() -> None:
    from datasketch import MinHash

    generator = random.Random(5)
    ours_off, theirs_off = [], []
    for trial in range(60):
        text = prose(generator, 200)[:700]
        other = fold(text[trial * 7 :] + prose(generator, 100))[:512]
        text = fold(text)[:512]
        exact = jaccard(shingles(text), shingles(other))
        start = np.array([0])
        ours = agreement(sketch(text, start)[0], sketch(other, start)[0])
        made = []
        for each in (text, other):
            minhash = MinHash(num_perm=BINS)
            minhash.update_batch([shingle.encode() for shingle in shingles(each)])
            made.append(minhash)
        ours_off.append(ours - exact)
        theirs_off.append(made[0].jaccard(made[1]) - exact)
    # Independent bins would have a standard deviation of at most sqrt(1/4 / 126) = 0.045.
    assert abs(float(np.mean(ours_off))) < 4 * 0.045 / np.sqrt(60)
    assert float(np.std(ours_off)) < 0.06
    assert float(np.std(ours_off)) < 1.5 * float(np.std(theirs_off))
