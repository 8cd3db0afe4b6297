"""Replies are marked while they are sampled, each with a record and a log entry, for the licensee that asked."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from countermark.adapters.language import LocalLanguages
from countermark.artifact import survey
from countermark.bootstrap import create_office, open_office, save_party_key
from countermark.cli.root import root
from countermark.core.canonical import show_digest
from countermark.core.keys import SigningKey
from countermark.core.payload import permute, read_identifier
from countermark.errors import ConflictError, InputError, ManifestMismatch, NotFoundError, SignatureInvalid
from countermark.evidence import log
from countermark.licensing import Terms
from countermark.marking.image.files import content_digest
from countermark.marking.text.sampling import TextMark
from countermark.marking.text.tokens import TextTokenizer
from countermark.registry import Grant, Title
from countermark.workflows import check, license, register, write
from countermark.workflows.generate import generate_pictures, request_generation
from countermark.workflows.languages import TextOrder, registered_tokenizer, title_tokenizer
from countermark.workflows.office import Office
from countermark.workflows.pipelines import Order
from countermark.workflows.write import generate_texts

from .conftest import PASSPHRASE, TERMS
from .languages import write_language

PROMPTS = ["The keeper of the", "灯塔看守人", "A licence says who may"]
LENGTH = 120


@dataclass
class Desk:
    """An office with a language model's title and a grant for each of two licensees."""

    office: Office
    folder: Path

    def write(self, grant: int = 1, **options: Any) -> list[Any]:
        if "request" not in options:
            options["order"] = text_order(**options.pop("order", {}))
        return generate_texts(self.office, grant, self.folder / "out", **options)

    def request(self, grant: int = 1, order: Any = None, **given: Any) -> dict[str, Any]:
        with self.office.store.transaction() as transaction:
            (licensee,) = transaction.find("party", {1: "North", 2: "South"}[grant])
        key = SigningKey(self.office.keys.secret(f"party/{licensee['id']}/signing"))
        return request_generation(grant, self.office.id, order or text_order(**given), key, clock=self.office.clock)

    @property
    def title(self) -> Title:
        with self.office.store.transaction() as transaction:
            return Title.from_json(transaction.get("title", "1") or {})

    def word(self, grant: int) -> int:
        (key,) = self.office.epoch_keys(self.title, 0)
        with self.office.store.transaction() as transaction:
            body = Grant.from_json(transaction.get("grant", str(grant)) or {})
        return permute(key.permutation, read_identifier(body.identifier))

    def detect(self, path: Path) -> Any:
        (key,) = self.office.epoch_keys(self.title, 0)
        tokens = title_tokenizer(self.office, self.title).encode(path.read_text(encoding="utf-8"))
        return TextMark(key.embedding, key_id=key.key_id).detect(tokens)


def text_order(**given: Any) -> TextOrder:
    return TextOrder(**{"prompts": PROMPTS[:1], "max_tokens": LENGTH, "seed": 7, **given})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and an office that has registered and licensed it; to be copied."""
    folder = tmp_path_factory.mktemp("desk")
    create_office(folder / "office", PASSPHRASE, name="Test office")
    with open_office(folder / "office", PASSPHRASE) as office:
        register.add_party(office, "Atelier", ["owner"])
        title = register.register_model(office, write_language(folder / "model"), "Atelier")
        terms = {name: value for name, value in TERMS.items() if name != "legal_text"}
        offer = license.offer_terms(office, title.id, Terms.from_json(terms))
        for name in ("North", "South"):
            register.add_party(office, name, ["licensee"])
            license.grant_to_held(office, offer.id, name)
    return folder


@pytest.fixture
def desk(prepared: Path, tmp_path: Path) -> Iterator[Desk]:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    with open_office(tmp_path / "office", PASSPHRASE) as office:
        with office.store.transaction() as transaction:
            transaction.put("model", "1", {"title": 1, "directory": str(tmp_path / "model")})
        yield Desk(office, tmp_path)


def test_a_language_model_is_registered_for_text_alone(desk: Desk) -> None:
    assert desk.title.methods == [[TextMark.METHOD]]
    assert register.rotate_epoch(desk.office, 1).methods == [[TextMark.METHOD]] * 2
    assert registered_tokenizer(desk.title) == TextTokenizer.open(desk.folder / "model").digest


@pytest.mark.parametrize(
    ("change", "layout"),
    [
        ({"architectures": ["LlamaModel"]}, "transformers"),
        ({"architectures": []}, "transformers"),
        ({"architectures": "LlamaForCausalLM"}, "transformers"),
        ({"architectures": ["T5ForConditionalGeneration"]}, "transformers"),
        ({}, "causal-lm"),
    ],
)
def test_what_is_no_language_model_keeps_its_layout(
    prepared: Path, tmp_path: Path, change: dict[str, Any], layout: str
) -> None:
    model = Path(shutil.copytree(prepared / "model", tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, **change}))
    assert survey(model).layout == layout
    (model / "tokenizer.json").unlink()
    assert survey(model).layout == "transformers"


def test_every_reply_has_a_record_a_log_entry_and_the_licensees_word(desk: Desk) -> None:
    made = [*desk.write(1, order={"prompts": PROMPTS}), *desk.write(2, order={"prompts": PROMPTS})]
    assert [each.path.name for each in made] == [
        *(f"grant-1-0-00000{i}.txt" for i in range(3)), *(f"grant-2-0-00000{i}.txt" for i in range(3, 6)),
    ]  # fmt: skip
    for each in made:
        born = each.output.generation
        assert show_digest(content_digest(each.path)) == each.output.content_digest
        with desk.office.store.transaction() as transaction:
            entry = json.loads(log.entry(transaction.tiles, each.output.log_index))
        assert (entry["content"], entry["grant"]) == (each.output.content_digest, each.output.grant)
        assert (born["status"], born["reason"], born["tokenizer"]) == ("marked", "", registered_tokenizer(desk.title))
        assert born["power"] > 0.5
        found = desk.detect(each.path)
        assert found.significant(1e-9)
        assert found.word == desk.word(each.output.grant)
    assert not list((desk.folder / "out").glob(".*"))
    check.check_office(desk.office)


def test_replies_to_one_prompt_differ_also_from_batch_to_batch(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "BATCH", 2)
    made = desk.write(order={"count": 4})
    assert len({each.output.content_digest for each in made}) == 4
    assert all(desk.detect(each.path).significant(1e-6) for each in made)


def test_temperature_zero_says_that_nothing_is_marked(desk: Desk) -> None:
    first, second = desk.write(order={"temperature": 0, "count": 2})
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.path != second.path
    for each in (first, second):
        assert (each.output.generation["status"], each.output.generation["reason"]) == ("unmarked", "not-sampled")
    check.check_office(desk.office)


def test_an_interrupted_run_goes_on_with_new_numbers_and_publishes_what_was_recorded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, publish = desk.request(count=4, max_tokens=40), write.publish
    names: list[str] = []

    def stop_at_second(temporary: Path, target: Path) -> None:
        names.append(target.name)
        if len(names) == 2:
            raise KeyboardInterrupt
        publish(temporary, target)

    monkeypatch.setattr(write, "publish", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        desk.write(request=request)
    monkeypatch.setattr(write, "publish", publish)
    rest = desk.write(request=request)
    assert [each.output.generation["counter"] for each in rest] == [1, 4, 5]
    texts = [path.read_bytes() for path in sorted((desk.folder / "out").iterdir())]
    assert len(set(texts)) == len(texts) == 4
    with pytest.raises(ConflictError):
        desk.write(request=request)
    check.check_office(desk.office)


def test_requests_of_others_and_for_other_things_are_refused(desk: Desk) -> None:
    with pytest.raises(SignatureInvalid):
        desk.write(1, request=desk.request(2))
    with pytest.raises(InputError, match="does not order text"):
        desk.write(request=desk.request(order=Order()))
    with pytest.raises(InputError, match="does not order pictures"):
        generate_pictures(desk.office, 1, desk.folder / "out", request=desk.request())
    with pytest.raises(InputError, match="no diffusers pipeline"):
        generate_pictures(desk.office, 1, desk.folder / "out", order=Order())


@pytest.mark.parametrize(
    "order",
    [{"prompts": []}, {"prompts": "text"}, {"prompts": [5]}, {"prompts": ["a" * 200_001]}, {"count": 0},
     {"count": 501, "prompts": PROMPTS[:2]}, {"count": True}, {"max_tokens": 0}, {"temperature": -1},
     {"temperature": "hot"}, {"top_p": 0}, {"top_p": 1.5}, {"top_k": 0}, {"seed": -1}, {"kind": "pictures"}],
)  # fmt: skip
def test_a_malformed_order_is_refused(order: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="malformed or out of range"):
        text_order(**order)


def test_a_prompt_must_leave_room_for_its_reply(desk: Desk) -> None:
    with pytest.raises(InputError, match="more than the 256"):
        desk.write(order={"prompts": ["sea " * 100], "max_tokens": 200})
    with pytest.raises(InputError, match="needs a prompt"):
        desk.write(order={"prompts": [""]})


def test_the_model_must_hold_the_registered_weights_and_tokenizer(desk: Desk) -> None:
    with pytest.raises(ManifestMismatch, match="weights"):
        desk.write(model=write_language(desk.folder / "other", 2))
    moved = (desk.folder / "model").rename(desk.folder / "moved")
    with pytest.raises(NotFoundError, match="registered from"):
        desk.write()
    assert desk.write(model=moved, order={"max_tokens": 4})
    tokenizer = moved / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    with pytest.raises(ManifestMismatch, match="tokenizer"):
        desk.write(model=moved)


def test_a_titles_tokenizer_is_looked_for_where_one_says_and_where_it_was_registered(desk: Desk) -> None:
    digest = registered_tokenizer(desk.title)
    other = write_language(desk.folder / "other", vocabulary=300)
    assert title_tokenizer(desk.office, desk.title, [other, desk.folder]).digest == digest
    moved = (desk.folder / "model").rename(desk.folder / "moved")
    assert title_tokenizer(desk.office, desk.title, [other, moved]).digest == digest
    with pytest.raises(ManifestMismatch):
        title_tokenizer(desk.office, desk.title, [other])
    with pytest.raises(NotFoundError):
        title_tokenizer(desk.office, desk.title)


def test_what_is_no_language_model_is_not_loaded(prepared: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(prepared / "model", tmp_path / "model"))
    for config in ("", "{}", '{"model_type": "own", "auto_map": {"AutoModelForCausalLM": "code.Model"}}'):
        (model / "config.json").write_text(config)
        with pytest.raises(InputError, match="cannot be loaded"):
            LocalLanguages().open(model)


def test_the_command_line(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    (tmp_path / "prompts.txt").write_text("\n".join([*PROMPTS, "", ""]), encoding="utf-8")
    with open_office(tmp_path / "office", PASSPHRASE) as office:
        identity = office.id
        with office.store.transaction() as transaction:
            (licensee,) = transaction.find("party", "North")
        save_party_key(tmp_path / "north.pem", SigningKey(office.keys.secret(f"party/{licensee['id']}/signing")))

    def run(*arguments: str, status: int = 0, plain: bool = False) -> Any:
        with contextlib.chdir(tmp_path):
            given = [*arguments, "--workspace", "office", *([] if plain else ["--json"])]
            result = CliRunner().invoke(root, given, env={"COUNTERMARK_PASSPHRASE": PASSPHRASE})
        assert result.exit_code == status, result.output
        return result.stdout if plain else json.loads(result.stdout)

    few = ("--max-tokens", "30", "--out", "texts")
    outputs = run("generate", "1", "--prompts", "prompts.txt", "--n", "2", "--seed", "5", *few)["outputs"]
    assert [each["counter"] for each in outputs] == list(range(6))
    assert all((tmp_path / each["path"]).stat().st_size == 30 for each in outputs)
    assert all(each["entropy"] > 0 and each["tokens"] == 30 and "psnr_db" not in each for each in outputs)
    shown = run("generate", "1", "--prompt", PROMPTS[1], "--temperature", "0", *few, plain=True)
    assert "temperature 0 leaves no choice" in shown
    assert "1 of 1 replies bear no mark" in shown
    for wrong in (("--steps", "3", "--prompt", "a"), ("--prompt", "a", "--prompts", "prompts.txt"), ()):
        assert run("generate", "1", *wrong, *few, status=2)["code"] == "usage"
    signing = ("--office", identity, "--key", "north.pem", "--out", "request.json")
    assert run("request", "1", "--steps", "3", "--text", "--prompt", "a", *signing, status=2)["code"] == "usage"
    run("request", "1", "--prompt", PROMPTS[1], "--max-tokens", "20", *signing)
    (output,) = run("generate", "1", "--request", "request.json", "--out", "signed")["outputs"]
    assert (output["tokens"], output["status"]) == (20, "marked")
    assert run("generate", "1", "--request", "request.json", "--out", "signed", status=1)["code"] == "conflict"
