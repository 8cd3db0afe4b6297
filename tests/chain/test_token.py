"""The settlement token: issued and redeemed against bookings of the bank, and stopped by nobody but the regulator."""

from __future__ import annotations

import pytest

from countermark.errors import ConflictError, InputError, LedgerError, OnHold, RightsError, ShortPayment

from .bare import DAY, fresh, name_word, word

word, name_word, DAY = word, name_word, DAY
MAX_AMOUNT = 2**53 - 1


@pytest.fixture
def bare():
    machine = fresh()
    yield machine
    machine.check_books()


def test_tokens_are_issued_against_a_booking(bare):
    done = bare.do("office", "SettlementToken.mint", bare.address("owner"), 500, word("b1"))
    assert done.event("Issued") == {"to": bare.address("owner"), "amount": 500, "bankReference": word("b1")}
    assert (bare.tokens("owner"), bare.read("SettlementToken.totalSupply")) == (500, 500)
    assert bare.read("SettlementToken.isUsed", "0x" + "00" * 20, word("b1"))
    bare.refused(ConflictError, "ReferenceUsed", "office", "SettlementToken.mint", bare.address("heir"), 1, word("b1"))
    bare.refused(RightsError, "MissingRole", "owner", "SettlementToken.mint", bare.address("owner"), 1, word("b2"))


def test_the_holder_redeems_its_own(bare):
    bare.pay_in("owner", 500)
    done = bare.do("owner", "SettlementToken.redeem", 200, word("payment"))
    assert done.event("Redeemed") == {"from": bare.address("owner"), "amount": 200, "bankReference": word("payment")}
    assert bare.tokens("owner") == 300
    bare.refused(ConflictError, "ReferenceUsed", "owner", "SettlementToken.redeem", 1, word("payment"))
    bare.refused(ShortPayment, "ERC20InsufficientBalance", "owner", "SettlementToken.redeem", 301, word("p2"))
    bare.refused(ShortPayment, "ERC20InsufficientBalance", "heir", "SettlementToken.redeem", 1, word("p2"))


def test_nobody_uses_up_the_references_of_another(bare):
    bare.pay_in("owner", 500)
    bare.pay_in("heir", 500)
    bare.do("owner", "SettlementToken.redeem", 1, word("b1"))
    bare.do("heir", "SettlementToken.redeem", 1, word("b1"))
    bare.do("office", "SettlementToken.mint", bare.address("heir"), 1, word("b1"))


@pytest.mark.parametrize("amount", [MAX_AMOUNT + 1, 2**255, 2**256 - 1])
def test_hostile_amounts_are_refused(bare, amount):
    to = bare.address("owner")
    bare.refused(InputError, "AmountOutOfRange", "office", "SettlementToken.mint", to, amount, word("b"))
    bare.refused(ShortPayment, "ERC20InsufficientBalance", "owner", "SettlementToken.redeem", amount, word("b"))
    bare.refused(ShortPayment, "ERC20InsufficientBalance", "owner", "SettlementToken.transfer", to, amount)


def test_nothing_and_no_reference_are_refused(bare):
    to = bare.address("owner")
    bare.refused(InputError, "ZeroAmount", "office", "SettlementToken.mint", to, 0, word("b"))
    bare.refused(InputError, "EmptyDigest", "office", "SettlementToken.mint", to, 1, bytes(32))
    bare.refused(InputError, "ZeroAmount", "owner", "SettlementToken.redeem", 0, word("b"))
    bare.refused(InputError, "EmptyDigest", "owner", "SettlementToken.redeem", 1, bytes(32))


def test_all_tokens_together_stay_within_what_json_carries(bare):
    bare.do("office", "SettlementToken.mint", bare.address("owner"), MAX_AMOUNT - 5, word("b1"))
    bare.refused(InputError, "AmountOutOfRange", "office", "SettlementToken.mint", bare.address("heir"), 6, word("b2"))
    bare.do("office", "SettlementToken.mint", bare.address("heir"), 5, word("b2"))


def test_one_issue_may_be_all_that_there_can_be(bare):
    bare.do("office", "SettlementToken.mint", bare.address("owner"), MAX_AMOUNT, word("b1"))


def test_only_members_in_force_receive(bare):
    bare.pay_in("owner", 500)
    stranger = bare.address("stranger")
    bare.refused(RightsError, "MissingRole", "owner", "SettlementToken.transfer", stranger, 1)
    bare.refused(RightsError, "MissingRole", "office", "SettlementToken.mint", stranger, 1, word("b"))
    bare.refused(LedgerError, "ERC20InvalidReceiver", "owner", "SettlementToken.transfer", "0x" + "00" * 20, 1)
    bare.do("owner", "SettlementToken.transfer", bare.address("heir"), 100)
    bare.do("office", "Members.suspend", bare.address("heir"))
    bare.refused(RightsError, "MissingRole", "owner", "SettlementToken.transfer", bare.address("heir"), 1)


def test_a_governor_cannot_keep_money_from_its_owner(bare):
    bare.pay_in("heir", 500)
    bare.do("office", "Members.suspend", bare.address("heir"))
    bare.do("heir", "SettlementToken.transfer", bare.address("owner"), 100)
    bare.do("heir", "SettlementToken.redeem", 400, word("payment"))


def test_the_vault_takes_tokens_by_its_own_hand_only(bare):
    bare.pay_in("owner", 500)
    vault = bare.address("Revenue")
    bare.refused(InputError, "OnlyByTheVault", "owner", "SettlementToken.transfer", vault, 1)
    bare.refused(InputError, "OnlyByTheVault", "owner", "SettlementToken.transfer", vault, 0)
    bare.refused(InputError, "OnlyByTheVault", "office", "SettlementToken.mint", vault, 1, word("b"))
    bare.do("owner", "SettlementToken.approve", bare.address("heir"), 100)
    args = (bare.address("owner"), vault, 1)
    bare.refused(InputError, "OnlyByTheVault", "heir", "SettlementToken.transferFrom", *args)


def test_a_held_account_sends_nothing_for_a_time(bare):
    for who in ("owner", "heir"):
        bare.pay_in(who, 500)
    owner, heir, subject = bare.address("owner"), bare.address("heir"), bare.subject("account", "owner")
    bare.do("owner", "SettlementToken.approve", heir, 100)
    bare.hold(subject)
    bare.refused(OnHold, "OnHold", "owner", "SettlementToken.transfer", heir, 1)
    bare.refused(OnHold, "OnHold", "owner", "SettlementToken.redeem", 1, word("p"))
    bare.refused(OnHold, "OnHold", "heir", "SettlementToken.transferFrom", owner, heir, 1)
    bare.refused(OnHold, "OnHold", "Market", "Revenue.fund", word("pot"), owner, 1)
    bare.do("heir", "SettlementToken.transfer", owner, 1)
    bare.turn(DAY)
    bare.do("owner", "SettlementToken.transfer", heir, 1)
    bare.hold(subject)
    bare.release(subject)
    bare.do("owner", "SettlementToken.redeem", 1, word("p"))


def test_an_allowance_is_all_that_another_may_send(bare):
    bare.pay_in("owner", 500)
    owner, heir = bare.address("owner"), bare.address("heir")
    bare.do("owner", "SettlementToken.approve", heir, 100)
    bare.refused(ShortPayment, "ERC20InsufficientAllowance", "heir", "SettlementToken.transferFrom", owner, heir, 101)
    bare.do("heir", "SettlementToken.transferFrom", owner, heir, 100)
    bare.refused(ShortPayment, "ERC20InsufficientAllowance", "heir", "SettlementToken.transferFrom", owner, heir, 1)


def test_the_currency_is_fixed_by_the_first_issue(bare):
    assert (bare.read("SettlementToken.decimals"), bare.read("SettlementToken.symbol")) == (2, "CNY")
    bare.set_parameter("market.currency", int.from_bytes(name_word("HKD"), "big"))
    assert bare.read("SettlementToken.symbol") == "HKD"
    bare.pay_in("owner", 1)
    bare.set_parameter("market.currency", int.from_bytes(name_word("USD"), "big"))
    assert bare.read("SettlementToken.symbol") == "HKD"
    assert bare.read("SettlementToken.name") == "Countermark Settlement"


def test_without_a_named_currency_it_is_the_yuan_for_good(bare):
    bare.pay_in("owner", 1)
    bare.set_parameter("market.currency", int.from_bytes(b"X" * 32, "big"))
    assert bare.read("SettlementToken.symbol") == "CNY"


def test_a_code_may_fill_the_whole_word(bare):
    bare.set_parameter("market.currency", int.from_bytes(b"X" * 32, "big"))
    assert bare.read("SettlementToken.symbol") == "X" * 32
