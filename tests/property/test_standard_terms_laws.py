"""Laws of standard terms: a function of the parameters, the same in both languages, and true to the terms."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from countermark.licensing import WHOLE_BPS, Terms
from countermark.standard_terms import (
    LANGUAGES,
    LEDGER_FIELDS,
    LegalText,
    Parameter,
    Template,
    fill,
    read_legal,
    read_parameters,
    template,
    templates,
)
from countermark.standard_terms.parameters import Choice, Flag, Number, Text, say_amount

countries = st.lists(st.from_regex(r"[A-Z]{2}", fullmatch=True), min_size=1, max_size=4, unique=True).map(sorted)
names = st.text("abc 许可-1.", min_size=1, max_size=40).filter(lambda text: text == text.strip())


def values(parameter: Parameter) -> st.SearchStrategy[Any]:
    """Values that a parameter takes."""
    if isinstance(parameter, Number):
        return st.integers(parameter.low, parameter.high)
    if isinstance(parameter, Choice):
        return st.sampled_from(list(parameter.choices))
    if isinstance(parameter, Text):
        return names
    if isinstance(parameter, Flag):
        return st.booleans()
    return {"currency": st.from_regex(r"[A-Z][A-Z0-9]{2,11}", fullmatch=True), "territory": countries}[parameter.kind]


def within(parameters: Mapping[str, Any]) -> bool:
    """Whether products stay in the range of the terms: few templates multiply, and then by far."""
    return parameters.get("price_per_call", 0) * parameters.get("calls", 0) < 2**53


def completed(found: Template) -> st.SearchStrategy[dict[str, Any]]:
    drawn = {name: values(parameter) for name, parameter in found.parameters.items()}
    return st.fixed_dictionaries(drawn).filter(within)


cases = st.sampled_from(templates()).flatmap(lambda found: st.tuples(st.just(found), completed(found)))


@given(cases)
@settings(max_examples=100, deadline=None)
def test_filling_is_a_function_and_parameters_round_trip(case):
    found, parameters = case
    filled = fill(found, parameters)
    assert filled.parameters == parameters
    assert fill(found, dict(reversed(parameters.items()))) == filled
    written = {name: found.parameters[name].show(value) for name, value in parameters.items()}
    assert read_parameters(found, written) == parameters
    assert Terms.from_json(filled.terms.to_json()) == filled.terms
    assert LegalText.from_json(json.loads(filled.document)).document == filled.document
    assert read_legal(filled.document).is_standard()


@given(cases)
@settings(max_examples=50, deadline=None)
def test_the_digest_is_the_files_and_no_gap_is_left(case):
    filled = fill(*case)
    assert filled.terms.legal_text == f"sha256:{hashlib.sha256(filled.document).hexdigest()}"
    for text in filled.texts.values():
        assert not set("{}<>") & set(text.removeprefix("> ").replace("\n> ", "\n"))


@given(cases, st.data())
@settings(max_examples=100, deadline=None)
def test_another_parameter_gives_another_digest(case, data):
    found, parameters = case
    name = data.draw(st.sampled_from(list(parameters)))
    other = parameters | {name: data.draw(values(found.parameters[name]))}
    assume(other[name] != parameters[name])
    assume(within(other))
    before, after = fill(found, parameters), fill(found, other)
    assert before.digest != after.digest
    for lang in LANGUAGES:
        assert before.texts[lang] != after.texts[lang], "every parameter is said"


@given(cases)
@settings(max_examples=100, deadline=None)
def test_both_texts_say_every_number_that_the_ledger_holds(case):
    filled = fill(*case)
    terms = filled.terms
    price, bond, duration, expires, seats, notice, _, revenue, resale, *_ = terms.conditions()
    assert (expires, notice) == (0, 96 * 3600)
    numbers = [say_amount(price), say_amount(bond), f"{duration // 86_400:,}", "96"]
    numbers += [f"{bps // 100}.{bps % 100:02d}" for bps in (revenue, resale)]
    numbers += [f"{seats:,}"] if seats else []
    for text in filled.texts.values():
        assert set(numbers) <= set(re.findall(r"[0-9][0-9,.]*[0-9]|[0-9]", text))


@pytest.mark.parametrize("field", LEDGER_FIELDS)
def test_the_ledger_holds_each_of_its_fields(field):
    source = fill(template("resale"), {"price": 100}).terms.to_json()
    others = {
        "scope": ["infer"],
        "territory": ["CN"],
        "expires": "2090-01-01T00:00:00Z",
        "duration_days": 7,
        "seats": 3,
        "notice_hours": 1,
    }
    value = source[field]
    other = others.get(field, not value if isinstance(value, bool) else WHOLE_BPS // 4)
    assert Terms.from_json(source | {field: other}).conditions() != Terms.from_json(source).conditions()


def test_the_ledger_holds_no_other_field():
    source = fill(template("derivative"), {"royalty": 100}).terms
    changed = {"name": "X", "currency": "EUR", "derivative_royalty_bps": None, "attribution": True, "legal_text": None}
    assert Terms.from_json(source.to_json() | changed).conditions() == source.conditions()
    assert set(LEDGER_FIELDS) | set(changed) == set(Terms.__dataclass_fields__)
