"""Every event of every contract has its sentence, in both languages; every number of the contracts has its word."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Any, cast

import pytest

from countermark.adapters.contracts import CONTRACTS, artefact
from countermark.adapters.contracts.refusals import ROLE_NAMES
from countermark.cli.document import Documents
from countermark.cli.figures import Figures
from countermark.cli.sentences import SENTENCES, Reader, worth_telling
from countermark.cli.session import Session
from countermark.cli.text import close_up, wrap
from countermark.cli.words import (
    case_kind_words,
    case_state_words,
    credit_words,
    remedy_words,
    role_words,
    setting,
    subject_words,
)
from countermark.core.exchange import SALE_STATES
from countermark.core.statements import CaseState
from countermark.workflows.market import cases, catalogue, money
from countermark.workflows.market.acts import show_facts
from countermark.workflows.market.history import Step

SOURCES = Path(__file__).parents[2] / "contracts" / "src"
EVENTS = {
    f"{contract}.{entry['name']}": entry["inputs"]
    for contract in CONTRACTS
    for entry in artefact(contract)["abi"]
    if entry["type"] == "event"
}
NOBODY = "0x" + "0" * 40


class Quoting:
    """Documents that are all there."""

    def show(self, digest: str) -> str:
        assert len(bytes.fromhex(digest)) == 32
        return "“words”"


def reader(lang: str) -> Reader:
    session = Session(lang=lang)
    figures = Figures(session=session, currency="CNY", names={NOBODY[:-1] + "5": "Nord"})
    return Reader(session, figures, cast(Documents, Quoting()))


def sample(entry: dict[str, Any]) -> Any:
    """A value of an argument as the index keeps it."""
    kind: str = entry["type"]
    if kind.endswith("[]"):
        return [sample({**entry, "type": kind[:-2]})]
    if kind == "tuple":
        return {part["name"]: sample(part) for part in entry["components"]}
    if kind == "bytes32":
        return "0x02" + "0" * 61 + "7" if entry["name"] == "subject" else "0x" + b"market.fee".ljust(32, b"\0").hex()
    return {"address": "Nord", "bool": True}.get(kind, 3)


def facts_of(event: str) -> dict[str, Any]:
    return show_facts({entry["name"]: sample(entry) for entry in EVENTS[event]})


def test_every_event_has_its_line_and_no_line_is_left_over() -> None:
    assert set(SENTENCES) == set(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_a_line_uses_arguments_of_its_event(event: str) -> None:
    facts = facts_of(event)
    inner = {name for group in facts.values() if isinstance(group, dict) for name in group}
    used = {name for _, name, _, _ in Formatter().parse(SENTENCES[event].template) if name}
    assert used <= facts.keys() | inner | {"traded"}
    assert set(SENTENCES[event].shown) <= used


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_line_reads_as_a_sentence(event: str, lang: str) -> None:
    contract, name = event.split(".")
    text = reader(lang).read(contract, name, facts_of(event))
    assert not re.search(r"[{}]|\bTrue\b|0x0", text)
    assert text.endswith("。" if lang == "zh" else ".")
    assert (re.search(r"[\u4e00-\u9fff]", text) is not None) == (lang == "zh")


def test_an_event_of_a_later_version_is_shown_as_it_is() -> None:
    assert reader("en").read("Market", "Unheard", {"a": 1}) == "Market.Unheard {'a': 1}"


def test_a_term_without_end_and_an_erased_account_have_words() -> None:
    facts = {"account": NOBODY, "roles": 12, "valid_until": str(2**64 - 1)}
    assert reader("en").read("Members", "Admitted", facts) == "nobody was admitted as licensor, licensee, without end."


def step(event: str, transaction: str) -> Step:
    contract, name = event.split(".")
    return Step(time="", contract=contract, event=name, facts={}, block=1, transaction=transaction)


def test_echoes_and_minor_events_are_left_out_unless_they_stand_alone() -> None:
    echo, told, minor = "SettlementToken.Transfer", "SettlementToken.Issued", "SettlementToken.Approval"
    steps = [step(echo, "a"), step(told, "a"), step(echo, "b"), step(minor, "c")]
    assert worth_telling(steps) == [steps[1], steps[2]]


def solidity_enum(contract: str, name: str) -> list[str]:
    source = (SOURCES / f"{contract}.sol").read_text(encoding="utf-8")
    (body,) = re.findall(rf"enum {name} \{{(.*?)\}}", source, re.DOTALL)
    return [word.lower() for word in re.findall(r"[A-Z]+", re.sub(r"//.*", "", body))]


def test_words_are_those_of_the_contracts() -> None:
    session = Session()
    assert len(role_words(session)) == len(ROLE_NAMES)
    assert tuple(remedy_words(session)) == cases.REMEDIES
    assert list(case_kind_words(session)) == solidity_enum("Disputes", "Kind")[1:]
    assert list(case_state_words(session)) == solidity_enum("Disputes", "State")[1:]
    assert [state.name.lower() for state in CaseState] == list(case_state_words(session))
    assert len(credit_words(session, 1)) == len(money.CREDIT_REASONS)
    assert list(catalogue.STATES) == solidity_enum("Market", "State")[1:]
    assert len(catalogue.KINDS) == len(solidity_enum("Market", "Kind")[1:])
    assert list(SALE_STATES) == solidity_enum("FileSales", "State")[1:]


def test_settings_are_shown_as_what_they_are() -> None:
    figures = Figures(session=Session(), currency="CNY", names={NOBODY[:-1] + "5": "Nord"})
    shown = {
        ("market.fee", 250): "2.5 %",
        ("case.bond", 12345): "123.45 CNY (12345)",
        ("market.currency", int.from_bytes(b"EUR".ljust(32, b"\0"), "big")): "EUR",
        ("governance.delay", 86400): "86400 seconds",
        ("governance.threshold", 2): "2",
        ("market.fee.account", 5): "Nord",
        ("Market", 5): "Nord",
    }
    assert {key: setting(figures, *key) for key in shown} == shown
    assert subject_words(Session(), figures, f"account:{NOBODY[:-1]}5") == "the account of Nord"
    assert subject_words(Session(lang="zh"), figures, "file-sale:3") == "文件交易单 3"


def test_chinese_closes_up_and_a_number_keeps_its_percent_sign() -> None:
    assert close_up("Nord 为 要约 1 支付 了") == "Nord 为要约 1 支付了"
    assert wrap("a share of 25 % of it", 13) == ["a share of", "25 % of it"]
