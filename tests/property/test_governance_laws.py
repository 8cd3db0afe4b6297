"""Parameters read back as they are shown, whatever the word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import InputError
from countermark.governance import PARAMETERS, name_word, read_value, show_value, word_name

NAMES = [*PARAMETERS, "market.unknown", "Grants"]
words = st.one_of(st.integers(0, 100), st.integers(0, 2**54), st.integers(0, 2**161), st.integers(0, 2**256 - 1))
CNY = int.from_bytes(b"CNY".ljust(32, b"\0"), "big")


@given(st.sampled_from(NAMES), words)
def test_a_value_reads_back(name: str, word: int) -> None:
    assert read_value(name, show_value(name, word)) == word


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=32))
def test_a_name_reads_back(name: str) -> None:
    assert word_name(name_word(name)) == name


@pytest.mark.parametrize(
    ("name", "text", "word", "shown"),
    [
        ("governance.threshold", "2", 2, "2"),
        ("governance.delay", "172800", 172800, "2 d"),
        ("governance.delay", "36h", 129600, "36 h"),
        ("governance.delay", "90 min", 5400, "90 min"),
        ("market.fee", "250", 250, "2.5%"),
        ("market.fee", "250 bp", 250, "2.5%"),
        ("market.fee", "0.07 %", 7, "0.07%"),
        ("market.fee", "10%", 1000, "10%"),
        ("market.identity", "YES", 1, "yes"),
        ("market.identity", "0", 0, "no"),
        ("market.audit", "yes", 1, "yes"),
        ("market.currency", "CNY", CNY, "CNY"),
        ("case.bond", "10000", 10000, "10000"),
        ("market.identity", "0x2", 2, "0x2"),
    ],
)
def test_how_values_are_written(name: str, text: str, word: int, shown: str) -> None:
    assert read_value(name, text) == word
    assert show_value(name, word) == shown


def test_an_address_keeps_its_checksum() -> None:
    address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert show_value("Grants", read_value("Grants", address)) == address
    assert read_value("market.fee.account", address.lower()) == int(address, 16)
    with pytest.raises(InputError):
        read_value("Grants", address.replace("aA", "Aa"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("governance.threshold", ""),
        ("governance.threshold", "-1"),
        ("governance.threshold", "1.5"),
        ("governance.threshold", "9007199254740992"),
        ("governance.delay", "2 weeks"),
        ("governance.delay", "9999999999999999 d"),
        ("market.fee", "2.505%"),
        ("market.fee", "two"),
        ("market.identity", "2"),
        ("market.currency", "yuan"),
        ("Grants", "0x12X"),
        ("Grants", "0x" + "0" * 65),
    ],
)
def test_what_is_no_value(name: str, text: str) -> None:
    with pytest.raises(InputError):
        read_value(name, text)


@pytest.mark.parametrize("name", ["", "a b", "x" * 33, "ä"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InputError):
        name_word(name)
