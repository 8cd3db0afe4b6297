"""The audit of texts on real ones: speed of the search, planted passages, false flags, and the example model.

    python -m benchmarks.memorization_text --text DIR --json OUT

``--text`` is a folder with ``english-train.txt.gz``, ``english-valid.txt.gz`` and ``chinese-tang.txt.gz``. What was
chosen (runs that make an overlap, the level of the bound, bands of sketches) was chosen on the Tang poems and on every
fifth Python enhancement proposal; reported are the other proposals, and the diary and stories, which nothing was chosen
on. Documents are dealt out whole: those of the corpus, held-out ones, and those that outputs are cut from are different
ones, by the digest of their text. Without ``--text`` the texts of the standard library's modules and of this
repository's documentation are taken, to see it run.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import arguments, write_report
from countermark.audit.text.examine import TextExaminer
from countermark.audit.text.near import NearIndex, fold, jaccard, passages, shingles, sketch
from countermark.audit.text.reading import Corpus, open_corpus
from countermark.audit.text.suffixes import SuffixIndex
from countermark.core.stats import clopper_pearson

Row = dict[str, Any]

MODEL = Path(__file__).parent.parent / "examples" / "prose"
PLANTED, OUTPUT, FDR = 300, 2_000, 0.05
SHARES = (0.05, 0.1, 0.25, 0.5)
_DRAWS = 6
# Starts that a scan of the whole corpus is given: it takes about a tenth of a second for each.
_SCANNED = 100
# Outputs that are cut from one document.
_OF_EACH = 4


def measure(options: argparse.Namespace) -> tuple[list[Row], Row]:
    """Return rows with a ``part`` each, and a summary."""
    texts, quick = _texts(options.text), bool(options.quick)
    rows: list[Row] = []
    for name, documents in texts.items():
        rows += [{"texts": name, **row} for row in _planting(documents, quick)]
    largest = max(texts, key=lambda name: sum(map(len, texts[name])) * (not name.startswith("develop")))
    speed = _speed(texts[largest], quick)
    rows += [{"texts": largest, **row} for row in speed]
    rows += [{"texts": largest, **row} for row in _near(texts[largest], quick)]
    if options.text is not None:
        rows += _model(options.text, quick)
    return rows, _summary(rows)


def _summary(rows: Sequence[Row]) -> Row:
    speeds = [row for row in rows if row["part"] == "text search"]
    rates, used = ({row["method"]: row[unit] for row in speeds} for unit in ("probes_per_s", "probes_per_cpu_s"))
    planted = [row for row in rows if row["part"] == "text planted"]
    clean = [row for row in rows if row["part"] == "text clean"]
    return {
        "probes_per_s": round(rates["all starts"]),
        "probes_per_s_longest": round(rates["longest of each output"]),
        "probes_per_cpu_s": round(used["all starts"]),
        "probes_per_cpu_s_longest": round(used["longest of each output"]),
        "times_python": round(rates["all starts"] / rates["binary search in Python"], 1),
        "times_scan": round(rates["all starts"] / rates["`in` scan"], 1),
        "planted": {f"{row['texts']}, {row['share']:g}": f"{row['found']}/{row['planted']}" for row in planted},
        "clean_flagged": {row["texts"]: f"{row['flagged']}/{row['outputs']} in {row['runs']} runs" for row in clean},
    }


def _texts(folder: Path | None) -> dict[str, list[str]]:
    """Return whole documents by source; those named ``develop`` were looked at while choosing."""
    if folder is None:
        return {"this machine": _at_hand()}
    english = [
        each.text for name in ("train", "valid") for each in open_corpus(folder / f"english-{name}.txt.gz").documents()
    ]
    proposals = [each for each in english if each.startswith("PEP:")]
    poems = [each.text for each in open_corpus(folder / "chinese-tang.txt.gz", split="blank").documents()]
    return {
        "develop: Tang poems": [each for each in poems if _dealt(each, 4) == 0],
        "develop: proposals": [each for each in proposals if _dealt(each, 5) == 0],
        "diary and stories": [each for each in english if not each.startswith("PEP:")],
        "proposals": [each for each in proposals if _dealt(each, 5)],
    }


def _at_hand() -> list[str]:
    found = [Path(argparse.__file__).parent.glob("*.py"), Path(__file__).parent.parent.glob("docs/**/*.md")]
    return [each.read_text(encoding="utf-8") for paths in found for each in sorted(paths)]


def _dealt(text: str, parts: int, salt: int = 0) -> int:
    """Return which of so many parts a document goes to, by its digest."""
    return hashlib.sha256(f"{salt} ".encode() + text.encode()).digest()[0] % parts


def _pools(documents: Sequence[str], salt: int) -> tuple[list[str], list[str], list[str]]:
    """Deal documents out: half to the corpus, a quarter held out, a quarter for outputs."""
    dealt = [(_dealt(each, 4, 100 + salt), each) for each in documents]
    return ([text for part, text in dealt if part > 1], [text for part, text in dealt if part == 0],
            [text for part, text in dealt if part == 1])  # fmt: skip


def _planting(documents: Sequence[str], quick: bool) -> Iterator[Row]:
    """Plant passages of the corpus into texts that it does not hold; deal the documents anew each time."""
    runs = 2 if quick else _DRAWS
    clean: list[tuple[int, int, int, int, int, int]] = []
    planted: dict[float, list[tuple[int, int, int]]] = {share: [] for share in SHARES}
    for salt in range(runs):
        train, held_out, unseen = _pools(documents, salt)
        examiner = TextExaminer.prepare(
            Corpus.of(train, "train"), Corpus.of(held_out, "held out"), near=False, leave_out=True
        )
        generator = np.random.default_rng(salt)
        outputs = _outputs(unseen, generator, keep=_unseen(examiner))
        if not outputs:
            continue
        document = examiner.audit(Corpus.of(outputs, "outputs"), fdr=FDR)
        p = [item["p"] for item in document["items"]]
        low = [sum(each <= level for each in p) for level in (0.05, 0.01)]
        longest, windows = max(item["longest"] for item in document["items"]), document["calibration"]["count"]
        clean.append((len(outputs), document["decision"]["flagged"], *low, longest, windows))
        for share in SHARES:
            chosen = generator.permutation(len(outputs))[: max(1, round(share * len(outputs)))]
            mixed = [
                _planted(text, train, generator) if i in set(chosen.tolist()) else text
                for i, text in enumerate(outputs)
            ]
            flags = [item["flagged"] for item in examiner.audit(Corpus.of(mixed, "outputs"), fdr=FDR)["items"]]
            hits = sum(flags[i] for i in chosen)
            planted[share].append((len(chosen), hits, sum(flags) - hits))
    if not clean:
        return
    outputs_, flagged, five, one, _longest, _windows = (sum(column) for column in zip(*clean, strict=True))
    yield {
        "part": "text clean",
        "runs": len(clean),
        "outputs": outputs_,
        "flagged": flagged,
        "runs_flagged": sum(row[1] > 0 for row in clean),
        "p<=0.05": round(five / outputs_, 4),
        "p<=0.01": round(one / outputs_, 4),
        "longest": max(row[4] for row in clean),
        "windows": min(row[5] for row in clean),
    }
    for share, found in planted.items():
        count, hits, false = (sum(column) for column in zip(*found, strict=True))
        yield {
            "part": "text planted",
            "runs": len(found),
            "share": share,
            "planted": count,
            "found": hits,
            "false": false,
            "fdp": round(float(np.mean([f / max(1, h + f) for _c, h, f in found])), 4),
        }


def _unseen(examiner: TextExaminer) -> Callable[[str], bool]:
    """Return what tells documents that do not stand in the corpus, asked as held-out ones are."""
    return lambda text: examiner.overlap_of(text) is None


def _outputs(
    documents: Sequence[str],
    generator: np.random.Generator,
    most: int = 200,
    keep: Callable[[str], bool] = lambda _text: True,
) -> list[str]:
    """Cut texts of one length out of documents, a few from each; a shorter document is taken whole."""
    found: list[str] = []
    for i in generator.permutation(len(documents)).tolist():
        data = documents[i].encode()
        starts = generator.permutation(max(1, len(data) // OUTPUT))[:_OF_EACH] * OUTPUT
        if len(found) < most and keep(documents[i]):
            found += [data[at : at + OUTPUT].decode(errors="ignore") for at in starts.tolist()]
    return found[:most]


def _planted(text: str, train: Sequence[str], generator: np.random.Generator) -> str:
    """Write a passage of the corpus over a part of a text."""
    rows = [each.encode() for each in train if len(each.encode()) >= PLANTED]
    source = rows[int(generator.integers(len(rows)))]
    at = int(generator.integers(len(source) - PLANTED + 1))
    passage = source[at : at + PLANTED].decode(errors="ignore")
    data = text.encode()
    place = int(generator.integers(max(1, len(data) - PLANTED + 1)))
    return data[:place].decode(errors="ignore") + passage + data[place + PLANTED :].decode(errors="ignore")


def _speed(documents: Sequence[str], quick: bool) -> Iterator[Row]:
    """Search the outputs of unseen documents, beside what one would write in Python."""
    train, held_out, unseen = _pools(documents, 0)
    corpus = Corpus.of([*train, *held_out], "corpus")
    started = time.perf_counter()
    index = SuffixIndex.build(corpus)
    seconds = time.perf_counter() - started
    yield {"part": "text index", "bytes": index.size, "mb_per_s": round(index.size / 1e6 / seconds, 2)}
    outputs = [each.encode() for each in _outputs(unseen, np.random.default_rng(0), 50 if quick else 2_000)]
    probes = sum(map(len, outputs))
    text = b"\xff".join(each.encode() for each in (*train, *held_out)) + b"\xff"
    few = outputs[:2] if quick else outputs[:20]
    peers: dict[str, tuple[list[bytes], Callable[[list[bytes]], Any]]] = {
        "all starts": (outputs, index.statistics),
        "longest of each output": (outputs, index.longest),
        "binary search in Python": (few, lambda texts: _searched(text, _suffixes(text), texts)),
        "`in` scan": (few[:1], lambda texts: _scanned(text, texts)),
    }
    _suffixes(text)
    answers = {}
    for name, (texts, search) in peers.items():
        count = _SCANNED if name == "`in` scan" else sum(map(len, texts))
        best = used = math.inf
        for _repeat in range(1 if quick or texts is not outputs else 3):
            started, spent = time.perf_counter(), time.process_time()
            answers[name] = search(texts)
            best, used = min(best, time.perf_counter() - started), min(used, time.process_time() - spent)
        yield {
            "part": "text search",
            "method": name,
            "bytes": index.size,
            "probes": count,
            "probes_per_s": round(count / best),
            "probes_per_cpu_s": round(count / used),
        }
    ours = [row.tolist() for row in answers["all starts"]]
    agree = ours[: len(few)] == answers["binary search in Python"] and ours[0][:_SCANNED] == answers["`in` scan"][0]
    best_ones = [match.length for match in answers["longest of each output"]] == [max(row) for row in ours]
    yield {"part": "text search agrees", "probes": probes, "equal": bool(agree and best_ones)}


_held: dict[int, Any] = {}


def _suffixes(text: bytes) -> Any:
    from pydivsufsort import divsufsort

    if len(text) not in _held:
        _held[len(text)] = divsufsort(text)
    return _held[len(text)]


def _searched(text: bytes, order: Any, outputs: Sequence[bytes]) -> list[list[int]]:
    """Search one start after the other in a suffix array: the plain way."""
    found = []
    for output in outputs:
        row = []
        for start in range(len(output)):
            probe = output[start : start + 4096]
            low, high = 0, len(order)
            while low < high:
                middle = (low + high) // 2
                place = int(order[middle])
                if text[place : place + len(probe)] < probe:
                    low = middle + 1
                else:
                    high = middle
            row.append(
                max((_common(text, int(order[k]), probe) for k in (low - 1, low) if 0 <= k < len(order)), default=0)
            )
        found.append(row)
    return found


def _common(text: bytes, place: int, probe: bytes) -> int:
    low, high = 0, len(probe)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text[place : place + middle] == probe[:middle] else (low, middle - 1)
    return low


def _scanned(text: bytes, outputs: Sequence[bytes]) -> list[list[int]]:
    """Look whether ever longer starts stand in the corpus; a match is at least as long as the one before less 1."""
    found = []
    for output in outputs:
        row, length = [], 0
        for start in range(min(_SCANNED, len(output))):
            length = max(0, length - 1)
            while start + length < len(output) and output[start : start + length + 1] in text:
                length += 1
            row.append(length)
        found.append(row)
    return found


def _near(documents: Sequence[str], quick: bool) -> Iterator[Row]:
    """Find passages of which words were changed; speed beside datasketch where it is installed."""
    train, _held_out, unseen = _pools(documents, 0)
    train = train[:40] if quick else train
    corpus = Corpus.of(train, "train")
    started = time.perf_counter()
    index = NearIndex(corpus)
    seconds = time.perf_counter() - started
    yield {
        "part": "text near index",
        "method": "ours",
        "bytes": corpus.size,
        "mb_per_s": round(corpus.size / 1e6 / seconds, 2),
    }
    yield from _datasketch(train[: 3 if quick else 10])
    generator = np.random.default_rng(0)
    sources = [text for text in train if len(text) > 2_000]
    for changed in (0.0, 0.02, 0.05, 0.1):
        found, values = 0, []
        trials = 10 if quick else 200
        for _trial in range(trials):
            source = sources[int(generator.integers(len(sources)))]
            at = int(generator.integers(len(source) - 1_000))
            passage = source[at : at + 1_000]
            near = index.nearest(_edited(passage, changed, generator), least=0.2)
            found += near is not None and train[near.document] == source
            values.append(near.jaccard if near else 0.0)
        yield {"part": "text near", "method": "ours", "words_changed": changed, "trials": trials, "found": found,
               "jaccard": round(float(np.median(values)), 3)}  # fmt: skip
    clean = [index.nearest(each, least=0.2) for each in _outputs(unseen, generator, 10 if quick else 200)]
    yield {
        "part": "text near",
        "method": "unseen",
        "trials": len(clean),
        "found": sum(each is not None for each in clean),
    }


def _edited(text: str, share: float, generator: np.random.Generator) -> str:
    words = text.split(" ")
    return " ".join("xyzzy" if generator.random() < share else word for word in words)


def _datasketch(documents: Sequence[str]) -> Iterator[Row]:
    try:
        from datasketch import MinHash
    except ModuleNotFoundError:
        return
    size, errors = sum(len(each.encode()) for each in documents), []
    started = time.perf_counter()
    for text in documents:
        folded = fold(text)
        for at in passages(folded).tolist():
            _minhash(MinHash, folded[at : at + 512])
    seconds = time.perf_counter() - started
    yield {"part": "text near index", "method": "datasketch", "bytes": size, "mb_per_s": round(size / 1e6 / seconds, 3)}
    folded = fold(max(documents, key=len))
    starts = passages(folded)[:40]
    rows = sketch(folded, starts)
    for i, start in enumerate(starts.tolist()[1:], 1):
        exact = jaccard(shingles(folded[start : start + 512]), shingles(folded[int(starts[i - 1]) :][:512]))
        pair = [_minhash(MinHash, folded[at : at + 512]) for at in starts.tolist()[i - 1 : i + 1]]
        errors.append((float((rows[i] == rows[i - 1]).mean()) - exact, pair[0].jaccard(pair[1]) - exact))
    ours, theirs_ = (float(np.sqrt(np.mean(np.square(column)))) for column in zip(*errors, strict=True))
    yield {"part": "text near error", "method": "ours", "pairs": len(errors), "rms": round(ours, 4)}
    yield {"part": "text near error", "method": "datasketch", "pairs": len(errors), "rms": round(theirs_, 4)}


def _minhash(kind: Any, passage: str) -> Any:
    made = kind(num_perm=126)
    made.update_batch([each.encode() for each in shingles(passage)])
    return made


def _model(folder: Path, quick: bool) -> Iterator[Row]:
    """Audit the example model: what it writes, and what it can be made to repeat of its training texts."""
    from countermark.adapters.completions import LocalCompletions
    from countermark.audit.text.extraction import Sampling, cut_pairs, extract

    corpus, valid = (open_corpus(folder / f"english-{name}.txt.gz") for name in ("train", "valid"))
    examiner = TextExaminer.prepare(corpus, valid, near=False, leave_out=True)
    model = LocalCompletions(MODEL)
    count = 4 if quick else 64
    for temperature in (1.0, 0.5):
        ((*replies,),) = model.complete([""], Sampling(temperature), count=count, max_tokens=300, seed=1)
        document = examiner.audit(Corpus.of(replies, "replies"), fdr=FDR)
        longest = sorted(item["longest"] for item in document["items"])
        yield {
            "part": "text model",
            "temperature": temperature,
            "outputs": len(longest),
            "flagged": document["decision"]["flagged"],
            "longest": longest[-1],
            "median": longest[len(longest) // 2],
            "least_p": min(item["p"] for item in document["items"]),
            "smallest_flaggable": document["decision"]["smallest_flaggable"],
        }
    pairs = [cut_pairs(each, 20 if quick else 400, places=model.places, seed=7) for each in (corpus, valid)]
    for sampling in (Sampling(), Sampling(1.0, 40)):
        found = extract(model, *pairs, sampling=sampling, fdr=FDR)
        shares = {(row["n"], row["p"]): row for row in found["rates"]}
        at = shares[1_000_000, 0.5]
        ours = [item["log_p"] for item in found["items"] if item["log_p"] is not None]
        theirs = [value for value in found["control"]["log_p"] if value is not None]
        yield {
            "part": "text extraction",
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "pairs": found["pairs"],
            "control": found["control"]["pairs"],
            "flagged": found["flagged"],
            "(1e6, 0.5) train": at["train"]["share"],
            "(1e6, 0.5) held out": at["held_out"]["share"],
            "best log p train": round(max(ours, default=-math.inf), 1),
            "best log p held out": round(max(theirs, default=-math.inf), 1),
            "model p": found["model_test"]["p"],
            "upper": round(clopper_pearson(at["train"]["count"], found["pairs"])[1], 4),
        }


def main() -> None:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--text", type=Path, metavar="DIR")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rows, summary = measure(options)
    write_report("memorization text", rows, summary, options.json)


if __name__ == "__main__":
    main()
