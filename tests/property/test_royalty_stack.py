"""The royalty stack against an obvious model: every path to an ancestor, the largest share, a cap on the sum."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.adapters.ledger import Ledger
from countermark.adapters.records import Role
from countermark.core.keys import Secret
from countermark.errors import DerivativeRefused, InputError

OFFICE = Secret(bytes([1]) * 32)
CAP, MOST = 5_000, 8
NEVER = 2**63

Family = dict[int, list[tuple[int, int]]]
"""Declared parents and shares of every title, as numbered in the example."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, str, Iterator[int]]]:
    path = tmp_path_factory.mktemp("stack") / "ledger.db"
    clock = lambda: datetime(2026, 11, 21, tzinfo=UTC)  # noqa: E731
    ledger = Ledger.create(path, chain_id=7, treasury=OFFICE, clock=clock)
    owner = ledger.address_of(Secret(bytes([2]) * 32))
    call = (owner, bytes(32), bytes(32), Role.LICENSOR, NEVER)
    ledger.submit(ledger.prepare_call(OFFICE, "Members", "admit", call))
    yield ledger, owner, itertools.count(1)
    ledger.close()


def slow_stack(family: Family, title: int) -> dict[int, int]:
    """Return the share of every ancestor: the largest that is declared on any path to it."""
    paths = [[(title, 0)]]
    shares: dict[int, int] = {}
    while paths:
        path = paths.pop()
        for parent, bps in family[path[-1][0]]:
            shares[parent] = max(bps, shares.get(parent, 0))
            paths.append([*path, (parent, bps)])
    return shares


def families() -> st.SearchStrategy[list[list[tuple[int, int]]]]:
    """Parents as distances back, so that every title's parents come before it."""
    parent = st.tuples(st.integers(1, 12), st.integers(0, 1500) | st.just(CAP) | st.just(CAP + 1))
    return st.lists(st.lists(parent, max_size=3, unique_by=lambda pair: pair[0]), min_size=2, max_size=14)


@settings(max_examples=25, deadline=None)
@given(plan=families())
def test_the_stack_is_every_ancestors_largest_share_and_never_over_the_cap(
    office: tuple[Ledger, str, Iterator[int]], plan: list[list[tuple[int, int]]]
) -> None:
    ledger, owner, serial = office
    family: Family = {}
    titles: dict[int, int] = {}
    for number, given_parents in enumerate(plan):
        parents = [(number - back, bps) for back, bps in given_parents if number - back in titles]
        family[number] = parents
        expected = slow_stack(family, number)
        allowed = len(expected) <= MOST and sum(expected.values()) <= CAP
        weights = next(serial).to_bytes(32, "big")
        declared = [(titles[parent], bps) for parent, bps in parents]
        call = (owner, b"m" * 32, weights, b"k" * 32, declared, 0, False)
        try:
            raw = ledger.prepare_call(OFFICE, "ModelTitles", "register", call)
        except (InputError, DerivativeRefused):
            assert not allowed
            del family[number]
            continue
        assert allowed
        titles[number] = int(ledger.submit(raw).event("TitleRegistered")["titleId"])
        stack = ledger.view("ModelTitles", "royaltyStack", titles[number])
        assert {share["title_id"]: share["bps"] for share in stack} == {
            titles[ancestor]: bps for ancestor, bps in expected.items()
        }
        assert len({share["title_id"] for share in stack}) == len(stack)
