"""Who is named, and who is accused wrongly: replies marked for some licensees, edited, and traced among a million."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from benchmarks.image_bars import mean
from benchmarks.text_trials import (
    ALPHA,
    EDITS,
    LICENSEES,
    SCREEN,
    SPAN,
    STRICT,
    Register,
    Row,
    Task,
    chernoff,
    counted,
    looked,
    pasted,
    rate,
    table_of,
    usual_p,
)
from benchmarks.text_writers import Reply, Tokens, write_texts
from countermark.marking import Detection, NotExamined
from countermark.marking.attacks import texts

LENGTH, SNIPPET, SNIPPETS, HOST = 200, 60, 10, 1000
EDITED = ("substitute(0.1)", "substitute(0.3)", "delete(0.2)", f"paste({SPAN} in 300)")
MIXED = "mix(50) of two"
# Nats a token of the texts that others are accused of.
OPEN = (1.6, 3.0)
# Registers that a text is traced among.
REGISTERS = 2


def accusations(task: Task) -> Iterator[Row]:
    """Trace edited replies whose authors are not registered, a fresh register each: whoever is named is innocent."""
    generator, edits = task.generator(), (*EDITED, MIXED)
    sources = {f"model, {nats} nats": partial(task.writer, nats) for nats in OPEN}
    sources |= {f"laws, {nats} nats": partial(task.laws, nats) for nats in OPEN}
    texts_each = -(-task.count("traces") // (len(sources) * len(edits) * REGISTERS))
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for source, writer in sources.items():
        replies = _pairs(write_texts(writer(), texts_each, LENGTH, generator))
        for one, other in counted(replies, f"accusations, {source}"):
            for edit in edits:
                suspect = _mixed(one, other) if edit == MIXED else _edited(edit, one, task, generator)
                seen = looked(one.mark.look(suspect))
                found[source, edit] += [_accused(seen, Register(generator)) for _ in range(REGISTERS)]
    for (source, edit), trials in found.items():
        yield {"source": source, "edit": edit} | _accusation_row(trials)
    yield {"source": "all", "edit": "all"} | _accusation_row([trial for trials in found.values() for trial in trials])


def identification(task: Task) -> Iterator[Row]:
    """Trace replies whose authors are registered among strangers, by the whole rule."""
    generator, count = task.generator(), task.count("texts")
    for source, writer in (("model, 1.6 nats", task.writer(1.6)), ("laws, 1.6 nats", task.laws(1.6))):
        replies = write_texts(writer, count, LENGTH, generator)
        about = _about(source, replies, writer)
        trials = []
        for reply in counted(replies, f"identification, {source}"):
            for edit in ("clean", *EDITED[:3], "swap(0.1)"):
                trials.append(
                    {"edit": edit, "nats": reply.nats}
                    | _traced(reply, _edited(edit, reply, task, generator), generator)
                )
        for edit in dict.fromkeys(trial["edit"] for trial in trials):
            chosen = [trial for trial in trials if trial["edit"] == edit]
            yield about | {"edit": edit} | _named_row(chosen)
            wide = [trial for trial in chosen if trial["nats"] >= 1.6]
            if wide and len(wide) < len(chosen):
                yield about | {"source": f"{source}, each at least", "edit": edit} | _named_row(wide)
        yield about | {"edit": MIXED} | _mixed_row(_pairs(replies), generator)
        yield about | {"edit": f"{SNIPPETS} x {SNIPPET} tokens, pooled"} | _pooled(writer, count, generator)
    for source, writer in (("model, 3 nats", task.writer(3.0)), ("laws, 3 nats", task.laws(3.0))):
        replies = write_texts(writer, count, SPAN, generator)
        suspects = [pasted(reply.tokens, task.strangers, HOST, generator) for reply in replies]
        trials = [
            _traced(reply, suspect, generator)
            for reply, suspect in zip(counted(replies, source), suspects, strict=True)
        ]
        yield _about(source, replies, writer) | {"edit": f"paste({SPAN} in {HOST})"} | _named_row(trials)


def _pairs(replies: list[Reply]) -> list[tuple[Reply, Reply]]:
    """Return every reply with another of the same key."""
    groups: dict[int, list[Reply]] = defaultdict(list)
    for reply in replies:
        groups[id(reply.mark)].append(reply)
    return [(one, group[i - 1]) for group in groups.values() for i, one in enumerate(group)]


def _edited(edit: str, reply: Reply, task: Task, generator: np.random.Generator) -> Tokens:
    return EDITS[edit](reply.tokens, task.strangers, generator)


def _mixed(one: Reply, other: Reply) -> Tokens:
    return texts.mix(one.tokens, other.tokens, 50)


def _accused(seen: Sequence[Detection], register: Register) -> Row:
    """Trace among strangers alone, at both levels; beside it, the test for innocents by itself and the usual one.

    A text that repeats itself so much that it is too short to be examined accuses nobody by any of them. Where a bound
    on the tails is far from the level, nobody can be named, and the rule need not be asked.
    """
    if not seen:
        return {
            "wrong": False,
            "wrong_1e6": False,
            "ours": False,
            "p_innocent": 1.0,
            "usual": False,
            "usual_1e6": False,
        }
    if not seen:  # too few different contexts are left to be examined
        return dict.fromkeys(("wrong", "wrong_1e6", "ours", "usual", "usual_1e6"), False) | {"p_innocent": 1.0}
    tables = [table_of(each) for each in seen]
    heights = [register.highest(table) for table in tables]
    close = [chernoff(*each) <= SCREEN * ALPHA / LICENSEES for each in zip(tables, heights, strict=True)]
    listed = any(register.holds(word) for each in seen for word in each.words)
    named = register.trace(seen, ALPHA)[1] if listed or any(close) else None
    usual = usual_p(tables[0], heights[0])
    return {
        "wrong": named is not None,
        "wrong_1e6": named is not None and register.trace(seen, STRICT)[1] is not None,
        "ours": 2 * len(seen) * min(usual, *(each.p_value for each in seen)) <= ALPHA,
        # Of one reading, whether or not there is a mark.
        "p_innocent": min(1.0, LICENSEES * tables[0].tail(heights[0])) if close[0] else 1.0,
        "usual": usual <= ALPHA,
        "usual_1e6": usual <= STRICT,
    }


def _accusation_row(trials: list[Row]) -> Row:
    alone = [trial["p_innocent"] <= ALPHA for trial in trials]
    return (
        {"wrong": sum(trial["wrong"] for trial in trials)}
        | rate("wrong_rate", (trial["wrong"] for trial in trials))
        | {
            "wrong_1e6": sum(trial["wrong_1e6"] for trial in trials),
            "innocent_test_alone": sum(alone),
            "innocent_test_1e6": sum(trial["p_innocent"] <= STRICT for trial in trials),
            "usual_test": sum(trial["usual"] for trial in trials),
            "usual_test_1e6": sum(trial["usual_1e6"] for trial in trials),
            "found": round(mean(trials, "ours"), 4),
        }
    )


def _traced(reply: Reply, suspect: Tokens, generator: np.random.Generator) -> Row:
    """Trace among strangers and the author."""
    register = Register(generator, [reply.word])
    answer, named = register.trace(looked(reply.mark.look(suspect)), ALPHA)
    ours = answer.p_ours is not None and answer.p_ours <= ALPHA
    return {"named": named == reply.word, "wrong": named not in (None, reply.word), "ours": ours}


def _named_row(trials: list[Row]) -> Row:
    return (
        rate("named", (trial["named"] for trial in trials))
        | rate("ours", (trial["ours"] for trial in trials))
        | {"wrong": sum(trial["wrong"] for trial in trials)}
    )


def _mixed_row(pairs: list[tuple[Reply, Reply]], generator: np.random.Generator) -> Row:
    """Trace texts of two authors, asking again without whoever was named first."""
    trials = []
    for one, other in pairs[: len(pairs) // 2]:
        register = Register(generator, [one.word, other.word])
        seen = looked(one.mark.look(_mixed(one, other)))
        answer, first = register.trace(seen, ALPHA)
        second = None
        if first is not None and answer.identifier is not None:
            second = register.trace(seen, ALPHA, frozenset([answer.identifier]))[1]
        words = {word for word in (first, second) if word is not None}
        authors = {one.word, other.word}
        ours = answer.p_ours is not None and answer.p_ours <= ALPHA
        trials.append(
            {"named": bool(words & authors), "both": words == authors, "wrong": len(words - authors), "ours": ours}
        )
    return _named_row(trials) | rate("both", (trial["both"] for trial in trials))


def _pooled(writer: object, count: int, generator: np.random.Generator) -> Row:
    """Trace several short replies of one author, read as one."""
    trials = []
    for _ in counted(range(max(2, count // 2)), "pools"):
        word = generator.integers(0, 2**64, 1, dtype=np.uint64)
        replies = writer.write(word.repeat(SNIPPETS), SNIPPET, generator)  # type: ignore[attr-defined]
        seen = replies[0].mark.detect(*(reply.tokens for reply in replies))
        register = Register(generator, [int(word[0])])
        answer, named = register.trace(() if isinstance(seen, NotExamined) else (seen,), ALPHA)
        ours = answer.p_ours is not None and answer.p_ours <= ALPHA
        trials.append({"named": named == int(word[0]), "wrong": named not in (None, int(word[0])), "ours": ours})
    return _named_row(trials)


def _about(source: str, replies: list[Reply], writer: object) -> Row:
    nats = [reply.nats for reply in replies]
    return {
        "source": source,
        "nats": round(float(np.mean(nats)), 3),
        "temperature": round(float(getattr(writer, "temperature", 1.0)), 3),
    }
