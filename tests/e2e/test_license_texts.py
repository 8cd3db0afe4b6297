"""Standard terms at the command line: listed, shown, written, offered, and read again behind an offer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from countermark.bootstrap import open_office
from countermark.cli.root import root
from countermark.errors import ConflictError
from countermark.licensing import Terms
from countermark.standard_terms import LegalText, fill, template
from countermark.workflows.legal import find_text
from countermark.workflows.license import offer_terms

PASSPHRASE = "a passphrase for tests"
PLAIN_TERMS = """
name: In words of our own
scope: [infer]
price: 100
currency: CNY
duration_days: 30
seats: 0
resale: false
territory: worldwide
revocable: true
"""


@dataclass(frozen=True)
class Desk:
    folder: Path

    def run(self, *arguments: str, lang: str = "en") -> Result:
        workspace = {"COUNTERMARK_WORKSPACE": str(self.folder / "office"), "COUNTERMARK_PASSPHRASE": PASSPHRASE}
        with contextlib.chdir(self.folder):
            return CliRunner().invoke(root, arguments, env=workspace | {"COUNTERMARK_LANG": lang})

    def ask(self, *arguments: str) -> dict[str, Any]:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    def refuse(self, *arguments: str) -> dict[str, Any]:
        result = self.run(*arguments, "--json")
        assert result.exit_code in (1, 2), result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """An office with a title, and three offers: standard terms at once, from files, and terms without a text."""
    desk = Desk(tmp_path_factory.mktemp("texts"))
    (desk.folder / "model").mkdir()
    header = json.dumps({"weight": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    (desk.folder / "model" / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(256))
    (desk.folder / "own.yaml").write_text(PLAIN_TERMS)
    (desk.folder / "own.txt").write_text("In words.")
    desk.ask("init")
    desk.ask("party", "add", "Lin", "--role", "owner")
    desk.ask("register", "model", "--owner", "Lin")
    desk.ask("license", "offer", "1", "--template", "hosted-monthly", "--set", "price=100.00", "--set", "months=2")
    desk.ask("license", "templates", "resale", "--set", "price=12.5", "--set", "name=Für Süd", "--out", "terms")
    desk.ask("license", "offer", "1", "--terms", "terms/terms.yaml", "--legal-text", "terms/legal.json")
    desk.ask("license", "offer", "1", "--terms", "own.yaml", "--legal-text", "own.txt")
    return desk


def test_templates_are_listed_in_both_languages(desk: Desk) -> None:
    listed = desk.ask("license", "templates")["templates"]
    assert [each["name"] for each in listed][:2] == ["derivative", "evaluation"]
    assert {"name", "kind", "label", "values", "required", "default"} == set(listed[1]["parameters"][0])
    english, chinese = (desk.run("license", "templates", lang=lang) for lang in ("en", "zh"))
    assert "hosted-monthly  Hosted access by month: access to the hosted model" in english.output
    assert "price=, name, months" in english.output
    assert "按月计费的托管访问：数月的托管模型访问" in chinese.output


def test_a_template_is_shown_with_examples_where_it_has_to_be(desk: Desk) -> None:
    shown = desk.run("license", "templates", "hosted-monthly", "--set", "months=3")
    assert "The price of one month is CNY 100.00; the Grant covers 3 month(s)" in shown.output
    assert "Shown with examples; these have to be given: price" in shown.stderr
    assert "Price of a grant and of each renewal         CNY 300.00" in shown.stdout
    assert "每月价款为 CNY 100.00" in desk.run("license", "templates", "hosted-monthly", lang="zh").output


def test_the_files_are_what_the_digest_says(desk: Desk) -> None:
    folder = desk.folder / "terms"
    assert sorted(path.name for path in folder.iterdir()) == ["legal.en.md", "legal.json", "legal.zh.md", "terms.yaml"]
    digest = hashlib.sha256((folder / "legal.json").read_bytes()).hexdigest()
    answer = desk.ask("license", "text", "terms/legal.json", "--terms", "terms/terms.yaml")
    assert (answer["digest"], answer["named_by_terms"], answer["standard"]) == (f"sha256:{digest}", True, True)
    assert answer["texts"]["zh"] == (folder / "legal.zh.md").read_text(encoding="utf-8")
    assert answer["parameters"]["price"] == 1250


def test_writing_twice_is_harmless_and_nothing_else_is_replaced(desk: Desk) -> None:
    again = ("license", "templates", "resale", "--set", "price=12.5", "--set", "name=Für Süd", "--out", "terms")
    assert desk.ask(*again)["filled"]["digest"]
    assert desk.refuse(*again[:4], "price=99", "--out", "terms")["code"] == "conflict"


@pytest.mark.parametrize(("offer", "name", "price"), [("1", "hosted-monthly/1", 20_000), ("2", "resale/1", 1250)])
def test_the_text_of_an_offer_is_kept_with_it(desk: Desk, offer: str, name: str, price: int) -> None:
    answer = desk.ask("license", "text", offer)
    assert (answer["template"], answer["named_by_terms"], answer["standard"]) == (name, True, True)
    offered = desk.ask("title", "show", "1")["offers"][int(offer) - 1]["terms"]
    assert (offered["legal_text"], offered["price"]) == (answer["digest"], price)
    assert "与模板原文一致  是" in desk.run("license", "text", offer, lang="zh").output


def test_a_text_of_another_kind_is_not_kept(desk: Desk) -> None:
    answer = desk.refuse("license", "text", "3")
    assert answer["code"] == "not-found"
    assert hashlib.sha256(b"In words.").hexdigest() in answer["hint"]
    assert desk.refuse("license", "text", "9")["code"] == "not-found"


def test_a_changed_text_is_not_taken(desk: Desk, tmp_path: Path) -> None:
    body = json.loads((desk.folder / "terms" / "legal.json").read_bytes())
    body["texts"]["en"] = body["texts"]["en"].replace("5.00 %", "0.00 %")
    changed = LegalText.from_json(body)
    (tmp_path / "legal.json").write_bytes(changed.document)
    refused = desk.refuse("license", "text", str(tmp_path / "legal.json"), "--terms", "terms/terms.yaml")
    assert refused["code"] == "conflict"
    alone = desk.ask("license", "text", str(tmp_path / "legal.json"))
    assert (alone["named_by_terms"], alone["standard"]) == (False, False)
    (tmp_path / "legal.json").write_bytes(json.dumps(body).encode())
    assert "canonical" in desk.refuse("license", "text", str(tmp_path / "legal.json"))["message"]


def test_the_store_cannot_hold_another_text_than_the_terms_name(desk: Desk) -> None:
    terms, other = fill(template("open"), {}), fill(template("open"), {"years": 1})
    with open_office(desk.folder / "office", PASSPHRASE) as office:
        with pytest.raises(ConflictError):
            offer_terms(office, 1, terms.terms, other)
        with office.store.transaction() as transaction:
            transaction.put("legal-text", terms.digest, other.to_json())
        with office.store.transaction() as transaction, pytest.raises(ConflictError):
            find_text(transaction, terms.terms)
        with office.store.transaction() as transaction:
            transaction.delete("legal-text", terms.digest)
            assert find_text(transaction, terms.terms) is None
            assert find_text(transaction, Terms.from_json({**terms.terms.to_json(), "legal_text": None})) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["templates", "--set", "price=1"], "name the template that is to be filled in"),
        (["templates", "no-such"], "there is no template no-such"),
        (["templates", "resale", "--out", "x"], "template resale needs the parameter price"),
        (["templates", "resale", "--set", "price"], "a parameter is given as NAME=VALUE"),
        (["templates", "resale", "--set", "price=1", "--set", "price=2"], "a parameter is given twice"),
        (["templates", "resale", "--set", "price=1", "--out", "own.txt"], "cannot write in own.txt"),
        (["offer", "1"], "give either --terms or --template"),
        (["offer", "1", "--terms", "own.yaml", "--template", "open"], "give either --terms or --template"),
        (["offer", "1", "--terms", "own.yaml", "--set", "price=1"], "--set belongs to --template"),
        (["offer", "1", "--template", "open", "--legal-text", "own.txt"], "--legal-text belongs to --terms"),
        (["offer", "1", "--template", "open", "--set", "years=0"], "years is a whole number from 1 to 100, not 0"),
        (["text", "missing.json"], "cannot read missing.json"),
        (["text", "own.txt"], "not valid JSON"),
    ],
)
def test_a_wrong_call_is_named(desk: Desk, arguments: list[str], message: str) -> None:
    result = desk.run("license", *arguments)
    assert result.exit_code in (1, 2, 3)
    assert message in result.stderr
