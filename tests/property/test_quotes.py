"""A quote's parts add up to its price, and its royalties to what ERC-2981 names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from countermark.workflows.market.catalogue import quote_offer
from countermark.workflows.office import Office

STACKS = st.lists(st.integers(1, 5000), max_size=8).filter(lambda stack: sum(stack) <= 5000)


class Chain:
    """A ledger with one offer under title 9, whose parents are titles 1, 2, ..."""

    def __init__(self, price: int, fee_bps: int, stack: list[int], fee_account: int) -> None:
        self._offer = {
            "title_id": 9,
            "fee_bps": fee_bps,
            "conditions": {"price": price, "bond": 7, "expires_at": 0},
        }
        self._stack = [{"title_id": number, "bps": bps} for number, bps in enumerate(stack, 1)]
        self._fee_account = fee_account

    def record(self, _contract: str, _function: str, *_args: Any) -> dict[str, Any]:
        return self._offer

    def view(self, contract: str, function: str, *args: Any) -> Any:
        if contract == "Directory":
            return self._fee_account
        return self._stack if function == "royaltyStack" else f"holder of {args[0]}"


@given(st.integers(0, 2**53 - 1), st.integers(0, 1000), STACKS, st.booleans())
def test_the_parts_of_a_quote_add_up(price: int, fee_bps: int, stack: list[int], platform: bool) -> None:
    chain = Chain(price, fee_bps, stack, int(platform))
    quote = quote_offer(cast(Office, SimpleNamespace(ledger=chain)), 1)
    royalties = [royalty.amount for royalty in quote.royalties]
    assert quote.fee + sum(royalties) + quote.proceeds == quote.price == price
    assert sum(royalties) == price * sum(stack) // 10_000
    assert quote.fee == (price * fee_bps // 10_000 if platform else 0)
    assert min([quote.proceeds, *royalties]) >= 0
    assert [royalty.holder for royalty in quote.royalties] == [
        f"holder of {number}" for number in range(1, len(stack) + 1)
    ]
