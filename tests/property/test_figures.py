"""Money as people read it says the amount exactly."""

import re

from hypothesis import given
from hypothesis import strategies as st

from countermark.cli.figures import Figures, share
from countermark.cli.session import Session

FIGURES = Figures(session=Session(), currency="CNY", names={"0x" + "a" * 40: "Nord"})


@given(st.integers(0, 2**53 - 1))
def test_money_and_amount_say_the_same(amount: int) -> None:
    shown = re.fullmatch(r"([\d,]+)\.(\d\d) CNY \((\d+)\)", FIGURES.money(amount))
    assert shown is not None
    assert int(shown[1].replace(",", "") + shown[2]) == int(shown[3]) == amount


@given(st.integers(0, 10_000))
def test_a_share_is_exact(bps: int) -> None:
    assert round(float(share(bps).removesuffix(" %")) * 100, 6) == bps


def test_a_name_stands_for_an_address_however_it_is_written() -> None:
    assert FIGURES.who("0x" + "A" * 40) == "Nord"
    assert FIGURES.who("0x" + "b" * 40) == "0x" + "b" * 40
