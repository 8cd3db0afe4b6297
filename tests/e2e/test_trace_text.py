"""Texts of a language model in strangers' hands: traced to whoever had them written, proven, and read again."""

import functools
import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from countermark.bootstrap import open_office
from countermark.cli.root import root
from countermark.core.canonical import show_digest
from countermark.core.keys import DetectionKey, Secret
from countermark.core.payload import permute, read_identifier
from countermark.errors import InputError, PolicyUnmet, VerificationError
from countermark.evidence.rereading import reread
from countermark.evidence.verification import VERIFIED, Demand, verify
from countermark.licensing import Terms
from countermark.marking.reading import pool_digest
from countermark.marking.text.files import MAX_FILE_BYTES, read_texts
from countermark.marking.text.sampling import TextMark
from countermark.marking.text.tokens import TextTokenizer
from countermark.registry import Grant
from countermark.workflows import bundle, keys, license, register, trace, write
from countermark.workflows.languages import TextOrder

from .languages import write_language

PASSPHRASE = "a passphrase for tests"
TERMS = {
    "name": "Prose", "scope": ["infer", "publish"], "price": 0, "currency": "CNY", "duration_days": 30,
    "seats": 2, "resale": False, "territory": ["CN"], "revocable": True,
}  # fmt: skip

pytest.importorskip("tokenizers")


def generator(seed):
    return np.random.Generator(np.random.PCG64(seed))


@functools.cache
def words():
    """Return 400 English words and 300 Chinese characters, all of them made up or common."""
    ends = [b + v + e for b in "bdfgklmnprst" for v in "aeiou" for e in ("", "n", "r", "st", "ly", "nt", "sh")]
    english = [ends[i] for i in generator(1).permutation(len(ends))[:400]]
    return english, [chr(0x4E00 + int(i)) for i in generator(2).permutation(3000)[:300]]


@functools.cache
def tokenizer_bytes():
    """Train a byte-level BPE to which each of the words is a token; no two characters ever merge."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    alone = pre_tokenizers.Split(Regex("[\\u4e00-\\u9fff]"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([alone, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=3000, initial_alphabet=alphabet, show_progress=False)
    english, chinese = words()
    tokenizer.train_from_iterator([" " + " ".join(english)] * 3 + ["".join(chinese)] * 3, trainer)
    return tokenizer.to_str().encode()


def write_language_model(folder: Path) -> Path:
    """Write a directory that is laid out as a causal language model of transformers."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
    (folder / "tokenizer.json").write_bytes(tokenizer_bytes())
    header = json.dumps({"w": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\1" * 32)
    return folder


@dataclass(frozen=True)
class Press:
    """An office with a language model as title 2, which North and South have grants of."""

    office: object
    model: Path
    key: DetectionKey
    grants: dict[str, Grant]

    def write(self, name, length, *, seed=1, chinese=False):
        """Write a text with a licensee's mark, or an unmarked one by nobody, of about 4 nats a token."""
        tokenizer = TextTokenizer(tokenizer_bytes())
        listed = words()[1] if chinese else [f" {word}" for word in words()[0]]
        ids = [int(tokenizer.encode(word)[0]) for word in listed]
        size = max(ids) + 1
        law = np.full(size, -np.inf, np.float32)
        law[ids] = -np.log(np.arange(len(ids)) + 8.0)
        mark, used, draws = TextMark(self.key.embedding), set(), generator(seed)
        plain = np.exp(law) / np.exp(law).sum(dtype=np.float64)
        word = 0 if name is None else permute(self.key.permutation, read_identifier(self.grants[name].identifier))
        tokens = draws.choice(size, 2, p=plain).tolist()
        while len(tokens) < length:
            context = tuple(tokens[-2:])
            if name is None or context in used:
                tokens.append(int(draws.choice(size, p=plain)))
            else:
                tokens.append(int(mark.choose(law[None], np.array([context]), np.array([word], dtype=np.uint64))[0]))
            used.add(context)
        return tokenizer.decode(np.array(tokens))


@pytest.fixture(scope="module")
def press(case_office, tmp_path_factory):
    folder = tmp_path_factory.mktemp("press")
    with open_office(case_office.copy_workspace(folder / "office"), PASSPHRASE) as office:
        title = register.register_model(office, write_language_model(folder / "prose"), "Atelier")
        offer = license.offer_terms(office, title.id, Terms.from_json(TERMS))
        grants = {name: license.grant_to_held(office, offer.id, name) for name in ("North", "South")}
        yield Press(office, folder / "prose", text_key(office, title), grants)


def text_key(office, title):
    return office.detection_key(title.weights_root, TextMark.METHOD, 0)


def saved(folder, text, name="post.txt", encoding="utf-8"):
    folder.joinpath(name).write_bytes(text.encode(encoding))
    return folder / name


def edited(text, seed=3):
    """Replace a tenth of the words, and drop another."""
    draws, parts = generator(seed), text.split(" ")
    changed = [words()[0][int(draws.integers(400))] if draws.random() < 0.1 else part for part in parts]
    return " ".join(part for part in changed if draws.random() > 0.1)


def ask(press, *paths, **options):
    return trace.trace_files(press.office, list(paths), **options)


def named(traces):
    return [(each.verdict, each.licensee_name) for each in traces]


def test_a_clean_leak_and_an_edited_one_name_their_licensee(press, tmp_path):
    text = press.write("North", 300)
    leaks = [saved(tmp_path, text, "clean.txt"), saved(tmp_path, edited(text), "edited.txt")]
    clean, changed = ask(press, *leaks, use=trace.Use(scope="publish", territory="CN"))
    for found in (clean, changed):
        assert (found.verdict, found.licensee_name, found.title) == ("attributed", "North", 2)
        assert found.p_ours["value"] <= 1e-6
        assert found.p_innocent["value"] <= 1e-6
        assert found.p_ours["corrected_for"]["keys"] == 2
        assert found.p_ours["corrected_for"]["identifiers"] == found.p_innocent["corrected_for"]["identifiers"]
        assert found.tokenizer == show_digest(hashlib.sha256(tokenizer_bytes()).digest())
        assert found.coverage["covered"] is True
        assert found.output is None


def test_a_part_pasted_into_a_text_by_a_person_is_found_where_it_is(press, tmp_path):
    before, part, after = press.write(None, 400), press.write("South", 120), press.write(None, 400, seed=2)
    (found,) = ask(press, saved(tmp_path, before + part + after))
    assert found.licensee_name == "South"
    start, end = found.geometry["characters"]
    assert abs(start - len(before)) < len(part) / 2
    assert abs(end - len(before + part)) < len(part) / 2
    assert 300 < found.geometry["first"] < found.geometry["last"] < 600


def test_a_text_by_two_names_both_and_nobody_else(press, tmp_path):
    mixed = press.write("North", 200) + press.write("South", 200, seed=2)
    found = ask(press, saved(tmp_path, mixed))
    assert sorted(named(found)) == [("attributed", "North"), ("attributed", "South")]
    assert len({each.id for each in found}) == 2


@pytest.mark.parametrize("text", ["too short", " ".join(words()[0]), "", "{}", "[1, 2]", "\ufeff" + "字" * 400])
def test_what_nobody_marked_names_nobody(press, tmp_path, text):
    (found,) = ask(press, saved(tmp_path, text))
    assert found.verdict in ("nothing-found", "not-examined")
    assert found.reason not in ("not-a-picture", "no-keys")


def test_chinese_in_every_encoding_is_read(press, tmp_path):
    text = press.write("South", 200, chinese=True)
    files = [saved(tmp_path, text, f"{name}.txt", name) for name in ("utf-8", "utf-8-sig", "utf-16", "gb18030")]
    found = ask(press, *files)
    assert named(found) == [("attributed", "South")] * 4
    assert found[0].geometry["characters"][1] == len(text)


def test_of_a_chat_the_replies_are_read_as_one(press, tmp_path):
    replies = [press.write("North", 70, seed=seed) for seed in range(4)]
    turns = [
        turn
        for reply in replies
        for turn in ({"role": "user", "content": press.write("South", 80)}, {"role": "assistant", "content": reply})
    ]
    servers = {"choices": [{"index": i, "message": turn} for i, turn in enumerate(turns[1::2])]}
    parts = [{"role": "assistant", "content": [{"type": "text", "text": reply}]} for reply in replies]
    files = [
        saved(tmp_path, json.dumps(turns), "chat.json"),
        saved(tmp_path, json.dumps({"title": "a chat", "messages": turns}, ensure_ascii=False), "export"),
        saved(tmp_path, json.dumps(servers), "answer.json"),
        saved(tmp_path, json.dumps(parts), "parts.json"),
        saved(tmp_path, "\n".join(json.dumps({"id": i, "text": reply}) for i, reply in enumerate(replies)), "l.jsonl"),
    ]
    found = ask(press, *files)
    assert named(found) == [("attributed", "North")] * 5
    assert len({each.p_innocent["value"] for each in found}) == 1
    assert all(each.geometry == {} and each.p_ours["corrected_for"]["keys"] == 1 for each in found)


def test_json_of_another_shape_is_a_text(tmp_path):
    for text in ('{"prose": "x"}', '[{"role": "assistant", "content": "x"}, 7]', "[" * 100_000, '{"text": "x"', "{}"):
        assert read_texts(saved(tmp_path, text)) == [text]
    quiet = [{"role": ["assistant"], "content": "x"}, {"role": "user", "content": {}}, {"role": "assistant"}]
    assert read_texts(saved(tmp_path, json.dumps(quiet))) == []
    odd = '{"text": "\\ud800"}'
    assert read_texts(saved(tmp_path, odd)) == ["\ud800"]


def test_hostile_files_are_answers_and_no_ends(press, tmp_path):
    def write(name, data):
        tmp_path.joinpath(name).write_bytes(data)
        return tmp_path / name

    files = [
        write("large.txt", b"word " * (MAX_FILE_BYTES // 5 + 1)),
        write("noise", generator(4).bytes(5000)),
        write("zeros", bytes(5000)),
        write("broken.png", b"\x89PNG\r\n\x1a\n" + bytes(50)),
        write("many.jsonl", b'{"text": "x"}\n' * 10_001),
        write("half.txt", b"\xff\xfea"),
        write("alone.json", json.dumps([{"role": "assistant", "content": "\ud800" * 100}]).encode()),
    ]
    found = ask(press, *files)
    assert [each.verdict for each in found] == ["not-examined"] * 7
    assert [each.reason for each in found[:3]] == ["hostile-file", "unsupported-image", "unsupported-image"]


def test_keys_of_the_other_kind_are_not_tried(press, case_office, tmp_path):
    Image.fromarray(generator(5).integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
    picture, leak, text = ask(press, tmp_path / "noise.png", case_office.leak, saved(tmp_path, press.write(None, 300)))
    assert (picture.verdict, picture.p_ours["corrected_for"]["keys"]) == ("nothing-found", 1)
    assert (leak.verdict, leak.tokenizer) == ("attributed", None)
    assert (text.verdict, text.p_ours["corrected_for"]["keys"]) == ("nothing-found", 2)


def test_an_office_without_language_models_says_so(case_office, tmp_path):
    with open_office(case_office.copy_workspace(tmp_path / "office"), PASSPHRASE) as office:
        (found,) = trace.trace_files(office, [saved(tmp_path, "a text " * 30)])
    assert (found.verdict, found.reason) == ("not-examined", "not-a-picture")


@pytest.fixture
def pool(press, tmp_path):
    """Ten edited snippets of one account; the fourth says nothing."""
    snippets = [edited(press.write("North", 22, seed=seed)) for seed in range(10)]
    snippets[3] = ""
    return [saved(tmp_path, text, f"{i}.txt") for i, text in enumerate(snippets)]


def test_a_pool_adds_up_what_its_texts_say(press, pool, tmp_path):
    alone = [each.p_ours["value"] for each in ask(press, *pool) if each.p_ours]
    found = trace.trace_pool(press.office, pool)
    assert found.p_ours["value"] < min(alone)
    assert named([found]) == [("attributed", "North")]
    assert [each["examined"] for each in found.pictures] == [True] * 3 + [False] + [True] * 6
    assert found.p_ours["corrected_for"]["keys"] == 1
    Image.new("RGB", (300, 300)).save(tmp_path / "picture.png")
    with pytest.raises(InputError, match="pictures and texts"):
        trace.trace_pool(press.office, [*pool, tmp_path / "picture.png"])


def demand(press, paths):
    digests = [show_digest(hashlib.sha256(path.read_bytes()).digest()) for path in paths]
    suspect = pool_digest(digests) if len(digests) > 1 else digests[0]
    return Demand(trust=keys.export_trust(press.office), suspect=suspect, case="case 5", audience="court")


@pytest.mark.parametrize("kind", ["whole", "part", "second", "pool"])
def test_evidence_verifies_offline_and_is_read_again(press, pool, tmp_path, kind):
    texts = {
        "whole": edited(press.write("North", 300)),
        "part": press.write(None, 400) + press.write("South", 120) + press.write(None, 400, seed=2),
        "second": press.write("North", 200) + press.write("South", 200, seed=2),
    }
    suspects = pool if kind == "pool" else [saved(tmp_path, texts[kind], "suspect.txt")]
    found = trace.trace_pool(press.office, pool) if kind == "pool" else ask(press, *suspects)[-1]
    evidence = bundle.make_bundle(press.office, found.id, case="case 5", audience="court")
    verified = verify(evidence, demand(press, suspects))
    assert verified.outcome == VERIFIED
    assert verified.statement["tokenizer"] == found.tokenizer
    assert verified.statement["p_ours"]["value"] == pytest.approx(found.p_ours["value"])
    texts = [read_texts(path) for path in suspects]
    again = reread(evidence, verified, texts, press.key.embedding, tokenizer=TextTokenizer.open(press.model))
    assert again.significant(1e-6)
    for wrong in ([[press.write(None, 300)]], [["short"]], []):
        with pytest.raises(PolicyUnmet):
            reread(evidence, verified, wrong, press.key.embedding, tokenizer=TextTokenizer.open(press.model))
    with pytest.raises(VerificationError):
        reread(evidence, verified, texts, Secret.random(), tokenizer=TextTokenizer.open(press.model))


def test_another_tokenizer_proves_nothing(press, tmp_path):
    suspect = saved(tmp_path, press.write("North", 300))
    (found,) = ask(press, suspect)
    evidence = bundle.make_bundle(press.office, found.id, case="case 5", audience="court")
    asked = demand(press, [suspect])
    verified, texts = verify(evidence, asked), [read_texts(suspect)]
    other = TextTokenizer(tokenizer_bytes() + b"\n")
    for wrong in (None, other):
        with pytest.raises(PolicyUnmet, match="tokenizer"):
            reread(evidence, verified, texts, press.key.embedding, tokenizer=wrong)
    with press.office.store.transaction() as transaction:
        transaction.put("trace", found.id, replace(found, tokenizer=other.digest).to_json())
    lie = bundle.make_bundle(press.office, found.id, case="case 5", audience="court")
    with pytest.raises(VerificationError, match="tokenizer") as caught:
        verify(lie, asked)
    assert caught.value.params["step_name"] == "title"


def test_the_registered_tokenizer_is_looked_for_and_no_other_used(press, tmp_path):
    suspect, elsewhere = saved(tmp_path, press.write("North", 300)), tmp_path / "elsewhere"
    press.model.rename(press.model.with_name("moved"))
    try:
        (missing,) = ask(press, suspect)
        elsewhere.mkdir()
        (elsewhere / "tokenizer.json").write_bytes(tokenizer_bytes() + b"\n")
        (mismatch,) = ask(press, suspect, models=[elsewhere])
        (found,) = ask(press, suspect, models=[elsewhere, press.model.with_name("moved")])
    finally:
        press.model.with_name("moved").rename(press.model)
    assert (missing.verdict, missing.reason) == ("not-examined", "tokenizer-missing")
    assert (mismatch.verdict, mismatch.reason) == ("not-examined", "tokenizer-mismatch")
    assert found.licensee_name == "North"


def test_a_reply_as_it_was_delivered_has_its_signed_request_in_the_bundle(case_office, tmp_path):
    pytest.importorskip("transformers")
    with open_office(case_office.copy_workspace(tmp_path / "office"), PASSPHRASE) as office:
        title = register.register_model(office, write_language(tmp_path / "model"), "Atelier")
        offer = license.offer_terms(office, title.id, Terms.from_json(TERMS))
        grant = license.grant_to_held(office, offer.id, "South")
        order = TextOrder(prompts=["The keeper"], max_tokens=200, seed=7)
        (reply,) = write.generate_texts(office, grant.id, tmp_path / "out", order=order)
        leak = saved(tmp_path, reply.path.read_text()[10:], "leak.txt")
        whole, part = trace.trace_files(office, [reply.path, leak])
        assert named([whole, part]) == [("attributed", "South")] * 2
        assert (whole.output["is_identical"], whole.output["log_index"]) == (True, reply.output.log_index)
        assert (part.output["is_identical"], part.output["likeness"] > 0.8) == (False, True)
        evidence = bundle.make_bundle(office, whole.id, case="case 5", audience="court")
        asked = Demand(trust=keys.export_trust(office), suspect=whole.suspect, case="case 5", audience="court")
    verified = verify(evidence, asked)
    assert verified.outcome == VERIFIED
    assert not {"no-signed-request", "output-linked-by-likeness"} & set(verified.caveats)


def test_the_whole_path_on_the_command_line(press, tmp_path):
    """On a copy of the office, where the epoch is over in the end and its key disclosed."""
    text = press.write("North", 200)
    for name, part in (("post.txt", text), ("second.txt", press.write("North", 150, seed=9))):
        saved(tmp_path, part, name)
    post, bundled, trust = tmp_path / "post.txt", tmp_path / "case.zip", tmp_path / "trust.json"

    def run(*arguments, status=0):
        env = {
            "COUNTERMARK_WORKSPACE": str(tmp_path / "office"), "COUNTERMARK_PASSPHRASE": PASSPHRASE,
            "COUNTERMARK_LANG": "en",
        }  # fmt: skip
        result = CliRunner().invoke(root, [str(each) for each in arguments], env=env)
        assert result.exit_code == status, result.output
        return result.stdout

    shutil.copytree(press.model.parent / "office", tmp_path / "office")
    said = run("trace", post)
    assert "tokens 2 to 199, characters" in said
    assert "corrected for 1 parts, 2 readings" in said
    pooled = run("trace", post, tmp_path / "second.txt", "--pool")
    assert "several texts, read as one" in pooled
    assert "2 files, 2 examined" in pooled
    (answer,) = json.loads(run("trace", post, "--json"))["traces"]
    assert "observations" not in answer
    run("bundle", answer["id"], "--case", "c", "--audience", "a", "--out", bundled)
    run("trust", "export", "--out", trust)
    run("key", "epoch", "2")
    run("key", "disclose", "2", "--epoch", "0", "--out", tmp_path / "key.json")
    again = ("verify", bundled, "--trust", trust, "--suspect", post, "--key", tmp_path / "key.json")
    assert "give the model's tokenizer" in run(*again, "--json", status=2)
    assert "read again" in run(*again, "--tokenizer", press.model / "tokenizer.json")
    run("log", "check")
