"""Laws of terms and coverage."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import InputError
from countermark.licensing import SCOPES, Terms, coverage

moments = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1)).map(lambda m: m.replace(tzinfo=UTC, microsecond=0))
countries = st.lists(st.from_regex(r"[A-Z]{2}", fullmatch=True), min_size=1, max_size=4)
terms_bodies = st.fixed_dictionaries(
    {
        "name": st.text("abc許可 ", min_size=1).filter(str.strip),
        "scope": st.lists(st.sampled_from(SCOPES), min_size=1),
        "price": st.integers(0, 2**53 - 1),
        "currency": st.sampled_from(["CNY", "EUR", "USDC"]),
        "duration_days": st.integers(1, 36_525),
        "seats": st.integers(0, 256),
        "resale": st.booleans(),
        "territory": countries | st.just("worldwide"),
        "revocable": st.booleans(),
    }
)
good = {
    "name": "Evaluation",
    "scope": ["infer", "publish"],
    "price": 120_000,
    "currency": "CNY",
    "duration_days": 30,
    "seats": 5,
    "resale": False,
    "territory": ["CN"],
    "revocable": True,
}


@given(terms_bodies)
def test_terms_round_trip(body):
    terms = Terms.from_json(body)
    assert Terms.from_json(terms.to_json()) == terms
    assert Terms.from_json(dict(reversed(body.items()))).digest == terms.digest


@pytest.mark.parametrize(
    "change",
    [
        {"price": 1.5}, {"price": -1}, {"price": True}, {"price": 2**53}, {"currency": "yuan"}, {"scope": []},
        {"scope": ["fly"]}, {"scope": "infer"}, {"seats": 257}, {"resale": "no"}, {"territory": []},
        {"territory": ["China"]}, {"duration_days": 0}, {"duration_days": None}, {"name": " "}, {"surprise": 1},
        {"format": "countermark.terms/9"}, {"legal_text": "sha256:12"}, {"expires": "soon"},
        {"expires": "2030-01-01T00:00:00"},
    ],
    ids=lambda change: next(iter(change.items()))[0],
)  # fmt: skip
def test_wrong_terms_are_named(change):
    with pytest.raises(InputError):
        Terms.from_json(good | change)


@pytest.mark.parametrize("value", [None, [], "terms", 3])
def test_terms_are_a_mapping(value):
    with pytest.raises(InputError):
        Terms.from_json(value)


@given(moments, st.integers(1, 1000))
def test_the_window_ends_at_the_earlier_end(starts, days):
    expires = starts + timedelta(days=10)
    terms = Terms.from_json(good | {"duration_days": days, "expires": expires.isoformat()})
    assert terms.window(starts) == (starts, min(expires, starts + timedelta(days=days)))
    with pytest.raises(InputError):
        terms.window(expires)


@given(moments, st.integers(-5, 40), st.none() | st.integers(-5, 40), st.none() | st.sampled_from(SCOPES))
def test_coverage_is_the_conjunction_of_its_reasons(starts, day, revoked_day, use):
    terms = Terms.from_json(good)
    at, revoked = starts + timedelta(days=day), None if revoked_day is None else starts + timedelta(days=revoked_day)
    decided = coverage(
        terms, use=use, territory="CN", at=at, starts=starts, expires=starts + timedelta(days=30), revoked_at=revoked
    )
    against = {
        "before-window": day < 0,
        "expired": day >= 30,
        "revoked": revoked_day is not None and day >= revoked_day,
        "outside-scope": use is not None and use not in terms.scope,
    }
    if any(against.values()):
        assert decided.covered is False
        assert set(decided.reasons) == {reason for reason, holds in against.items() if holds}
    else:
        assert decided.covered is (None if use is None else True)


def test_territory_and_unknown_use():
    terms, now = Terms.from_json(good), datetime(2026, 1, 1, tzinfo=UTC)
    window = {"at": now, "starts": now, "expires": now + timedelta(days=1), "revoked_at": None}
    assert coverage(terms, use="infer", territory="FR", **window).reasons == ("outside-territory",)
    with pytest.raises(InputError):
        coverage(terms, use="fly", territory=None, **window)
