"""Templates: what is wrong is named, both languages say the same, and everything is in the package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from countermark.errors import InputError, NotFoundError
from countermark.standard_terms import LegalText, Template, fill, read_legal, read_parameters, template, templates
from countermark.standard_terms.catalogue import articles, common, read_template

NAMES = [
    "derivative", "evaluation", "exclusive", "hosted-calls", "hosted-monthly", "open", "private-copy", "resale",
    "revenue-share",
]  # fmt: skip
CONDITION = re.compile(r"\{[?!]terms\.[a-z_]+\}")
GAP = re.compile(r"\{[@?!+]?[a-z_.-]+\}")


def document(name: str = "hosted-monthly") -> dict[str, Any]:
    path = Path(str(resources.files("countermark") / "standard_terms" / "templates" / f"{name}.json"))
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return body


def free_parameters() -> list[Any]:
    """The parameters of the document, none of which has to be given."""
    return [
        {**{key: value for key, value in each.items() if key != "example"}, "default": "1.00"}
        if isinstance(each, dict) and "example" in each
        else each
        for each in document()["parameters"]
    ]


def filled(found: Template, **parameters: Any) -> str:
    """The English text of a template, its examples changed."""
    return fill(found, found.examples | parameters).texts["en"]


def test_the_templates_are_these() -> None:
    assert [each.name for each in templates()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_package_holds_what_a_template_needs(name: str) -> None:
    folder = resources.files("countermark.standard_terms")
    assert (folder / "common.json").is_file()
    for path in (
        f"templates/{name}.json",
        *(f"texts/{text}.{lang}.md" for text in (name, "common") for lang in ("en", "zh")),
    ):
        assert (folder / path).is_file(), path


@pytest.mark.parametrize("name", [*NAMES, "common"])
def test_both_languages_have_the_same_paragraphs_with_the_same_gaps(name: str) -> None:
    english, chinese = articles("en", name), articles("zh", name)
    assert list(english) == list(chinese)
    for key in english:
        assert len(english[key]) == len(chinese[key]), key
        for ours, theirs in zip(english[key], chinese[key], strict=True):
            assert sorted(GAP.findall(ours)) == sorted(GAP.findall(theirs))
        assert re.search(r"[\u3400-\u9fff]", "".join(chinese[key]))


@pytest.mark.parametrize("found", templates(), ids=lambda each: each.name)
def test_a_text_says_terms_by_the_terms_alone(found: Template) -> None:
    """A parameter that is a field of the terms may not be quoted beside it: both would have to stay equal."""
    used = {gap for text in articles("en", found.name).values() for gap in re.findall(r"\{([a-z_]+)\}", "".join(text))}
    assert not used & found.in_terms()
    assert used <= set(found.parameters)


def test_every_common_article_and_every_word_is_used() -> None:
    used = {name for each in templates() for name in each.articles}
    assert set(articles("en", "common")) <= used
    assert {name for each in templates() for name in articles("en", each.name)} <= used
    assert set(common().parameters) <= {name for each in templates() for name in each.parameters}


@pytest.mark.parametrize("found", templates(), ids=lambda each: each.name)
def test_a_text_has_what_every_contract_needs(found: Template) -> None:
    text = filled(found)
    headings = re.findall(r"^## (?:\d+\. )?(.+)$", text, re.MULTILINE)
    assert headings[0] == "Parties and contract"
    assert headings[-8:] == [
        "Records and reports", "Warranty and liability", "Breach and notice", "Revocation by ruling, and holds",
        "Dispute procedure", "Personal data", "Governing law, jurisdiction and language", "Schedule",
    ]  # fmt: skip
    assert "no legal advice" in text
    assert "The Grant ends 96 hours after the notice is recorded" in text
    assert "the platform's fee fixed in the offer (at most 10 %)" in text
    assert ("Grant is personal" in text) != found.terms["resale"]


def test_paragraphs_follow_the_terms() -> None:
    found = template("private-copy")
    assert "The Licensee leaves no bond." in filled(found)
    assert "a bond of CNY 1,250.00" in filled(found, bond=125_000)
    assert "limited to 3" in filled(found, seats=3)
    assert "by renewing it on the Ledger" in filled(found, renewable=True)
    assert "free of charge" in filled(template("evaluation"))
    assert "for 1 day from its start" in filled(found, days=1)
    assert "CN, SG (codes of ISO 3166)" in filled(found, territory=["CN", "SG"])
    assert filled(found, name="For Nord").startswith("# Private copy: For Nord\n")
    assert "the law of Switzerland" in filled(found, law="CH")


def test_products_are_worked_out() -> None:
    terms = fill(template("hosted-monthly"), {"price": 10_000, "months": 3}).terms
    assert (terms.price, terms.duration_days) == (30_000, 90)
    assert fill(template("hosted-calls"), {"price_per_call": 10, "calls": 5000}).terms.price == 50_000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "template hosted-monthly needs the parameter price"),
        ({"prise": "1"}, "template hosted-monthly has no parameter prise"),
        ({"price": "0.00"}, "price is an amount from 0.01 to 1000000.00 with at most two decimals, not 0.00"),
        ({"price": "1.005"}, "price is an amount from 0.01 to 1000000.00 with at most two decimals, not 1.005"),
        ({"price": "1,000.00"}, "price is an amount from 0.01"),
        ({"price": "-5"}, "price is an amount from 0.01"),
        ({"price": "1e3"}, "price is an amount from 0.01"),
        ({"price": "1", "months": "121"}, "months is a whole number from 1 to 120, not 121"),
        ({"price": "1", "months": "1.0"}, "months is a whole number from 1 to 120, not 1.0"),
        ({"price": "1", "months": "١"}, "months is a whole number from 1 to 120"),
        ({"price": "1", "availability": "101"}, "availability is a share from 50.00 to 100.00 percent"),
        ({"price": "1", "market": "maybe"}, "market is yes or no, not maybe"),
        ({"price": "1", "law": "XX"}, "law is one of CN, HK, "),
        ({"price": "1", "currency": "yuan"}, "currency is a code such as CNY, not yuan"),
        ({"price": "1", "territory": "China"}, "territory is worldwide, or two-letter"),
        ({"price": "1", "territory": ""}, "territory is worldwide, or two-letter"),
        ({"price": "1", "name": "{price}"}, "name is one line of 1 to 120 characters"),
        ({"price": "1", "name": "a\nb"}, "name is one line of 1 to 120 characters"),
        ({"price": "1", "name": "x" * 121}, "name is one line of 1 to 120 characters"),
    ],
)
def test_a_wrong_parameter_is_named(given: dict[str, str], message: str) -> None:
    found = template("hosted-monthly")
    with pytest.raises(InputError) as raised:
        fill(found, read_parameters(found, given))
    assert str(raised.value).startswith(message)
    assert isinstance(raised.value.hint, str)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [1], -1], ids=lambda value: type(value).__name__)
def test_documents_hold_numbers_as_numbers(value: object) -> None:
    with pytest.raises(InputError, match="seats is a whole number"):
        fill(template("hosted-monthly"), {"price": 100, "seats": value})


def test_a_price_beyond_what_documents_carry_is_refused() -> None:
    with pytest.raises(InputError, match="terms: price must be a whole number"):
        fill(template("hosted-calls"), {"price_per_call": 100_000_000, "calls": 1_000_000_000})


def test_the_guide_lists_every_template_with_its_fields() -> None:
    script = Path(__file__).parents[2] / "scripts" / "make_terms_tables.py"
    done = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert done.returncode == 0, "run scripts/make_terms_tables.py"


@pytest.mark.parametrize("value", ["worldwide", ["SG", "CN"], ["CN", "CN"], [], [1], {"CN": 1}])
def test_a_territory_has_one_form(value: object) -> None:
    with pytest.raises(InputError, match="territory is worldwide"):
        fill(template("hosted-monthly"), {"price": 100, "territory": value})


def test_an_unknown_template_is_named_with_those_there_are() -> None:
    with pytest.raises(NotFoundError) as raised:
        template("../common")
    assert "hosted-monthly" in raised.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1}, {"articles": ["parties", "no-such"], "parameters": free_parameters()},
        {"parameters": ["no-such"]},
        {"parameters": ["currency", "currency"]}, {"title": {"en": "only"}},
        {"parameters": [{"name": "x", "kind": "magic", "default": "1", "label": {"en": "x", "zh": "x"}}]},
        {"parameters": [{"name": "x", "kind": "flag", "label": {"en": "x", "zh": "x"}}]},
        {"terms": {"price": 1}}, {"terms": {**document()["terms"], "price": {"of": "nothing"}}},
        {"terms": {**document()["terms"], "price": {"of": "law", "times": 2}}},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_malformed_template_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="malformed"):
        fill(read_template(document() | change), {})


def test_a_legal_text_is_read_strictly() -> None:
    legal = fill(template("open"), {})
    body = legal.to_json()
    for change in ({"format": "x/1"}, {"more": 1}, {"texts": {"en": "a"}}, {"template": 1}, {"parameters": []}):
        with pytest.raises(InputError):
            LegalText.from_json(body | change)
    with pytest.raises(InputError, match="canonical"):
        read_legal(json.dumps(body).encode())
    assert read_legal(legal.document).digest == legal.digest == legal.terms.legal_text


def test_a_changed_word_is_noticed() -> None:
    legal = fill(template("open"), {})
    body = legal.to_json()
    for change in (
        {"texts": {**legal.texts, "zh": legal.texts["zh"].replace("96", "9")}},
        {"parameters": {**legal.parameters, "years": 1}},
        {"template": "open/2"},
        {"template": "nothing"},
    ):
        other = LegalText.from_json(body | change)
        assert not other.is_standard()
        assert other.digest != legal.digest
