from __future__ import annotations

import pytest

from countermark.adapters.records import Role
from countermark.errors import (
    AlreadyRegistered,
    ConflictError,
    DerivativeRefused,
    InputError,
    NotFoundError,
    NotTitleHolder,
    OnHold,
    RightsError,
    TitleInDispute,
)

TITLE, ACCOUNT = 2, 1
NOBODY = "0x" + "00" * 20
ERC721_TRANSFERS = (
    "transferFrom",
    "safeTransferFrom(address,address,uint256)",
    "safeTransferFrom(address,address,uint256,bytes)",
)


def word(text):
    return text.encode().rjust(32, b"\x01")


def move(world, title, to="other", by="owner"):
    return world.do(by, "ModelTitles.transferByDeed", title, world.address(to), word("deed"))


def stack(world, title):
    return [(share["title_id"], share["bps"]) for share in world.ledger.view("ModelTitles", "royaltyStack", title)]


def test_a_title_is_recorded(world):
    title = world.title(bps=300)
    record = world.ledger.title(title)
    assert (record.id, record.holder, record.weights_root) == (1, world.address("owner"), word("w1"))
    assert (record.manifest_digest, record.key_commitment, record.epoch) == (word("m"), word("k"), 0)
    assert (record.derivative_bps, record.derivatives_open, record.tagged) == (300, True, False)
    assert record.registered_at == world.clock.seconds
    assert world.ledger.title_of(word("w1")) == 1
    assert world.ledger.title_of(word("w2")) is None
    assert world.ledger.record("ModelTitles", "record", 1)["weights_root"] == word("w1")


def test_the_same_weights_are_refused_with_the_earlier_title(world):
    world.title(1), world.title(2)
    with pytest.raises(AlreadyRegistered) as caught:
        world.do("office", "ModelTitles.register", *world.registration(2, to="other"))
    assert caught.value.params["title"] == 2


def test_only_a_registrar_registers_and_only_for_licensors(world):
    world.refused(RightsError, "MissingRole", "owner", "ModelTitles.register", *world.registration())
    world.refused(RightsError, "MissingRole", "office", "ModelTitles.register", *world.registration(to="licensee"))


@pytest.mark.parametrize("empty", [1, 2, 3])
def test_empty_digests_are_refused(world, empty):
    arguments = world.registration()
    arguments[empty] = bytes(32)
    world.refused(InputError, "EmptyDigest", "office", "ModelTitles.register", *arguments)


def test_key_epochs_follow_each_other(world):
    title = world.title()
    receipt = world.do("office", "ModelTitles.commitKey", title, word("k1"))
    assert receipt.event("KeyCommitted") == {"titleId": title, "epoch": 1, "keyCommitment": word("k1")}
    assert receipt.event("MetadataUpdate") == {"_tokenId": title}
    assert world.ledger.title(title).epoch == 1
    world.refused(RightsError, "MissingRole", "owner", "ModelTitles.commitKey", title, word("k2"))
    world.refused(NotFoundError, "UnknownTitle", "office", "ModelTitles.commitKey", 9, word("k2"))
    world.refused(InputError, "EmptyDigest", "office", "ModelTitles.commitKey", title, bytes(32))
    epochs = [event.args["epoch"] for event in world.ledger.events("KeyCommitted")]
    assert epochs == [0, 1], "the event log holds every epoch's commitment"


def test_an_unknown_title_is_not_found(world):
    with pytest.raises(NotFoundError):
        world.ledger.title(1)
    for view, args in (("royaltyStack", ()), ("isClear", ()), ("royaltyInfo", (100,)), ("ownerOf", ())):
        with pytest.raises(NotFoundError):
            world.ledger.view("ModelTitles", view, 1, *args)
    world.refused(NotFoundError, "UnknownTitle", "owner", "ModelTitles.setDerivativeTerms", 1, True, 5)
    world.refused(NotFoundError, "UnknownTitle", "owner", "ModelTitles.approveDerivative", 1, word("w"), 5)
    world.refused(
        NotFoundError, "UnknownTitle", "owner", "ModelTitles.transferByDeed", 1, world.address("other"), word("d")
    )


# Passing titles on.


def test_a_title_passes_by_deed_between_licensors(world):
    title, owner, other = world.title(), world.address("owner"), world.address("other")
    arguments = (title, world.address("licensee"), word("deed"))
    world.refused(RightsError, "MissingRole", "owner", "ModelTitles.transferByDeed", *arguments)
    world.refused(
        NotTitleHolder, "ERC721InsufficientApproval", "other", "ModelTitles.transferByDeed", title, other, word("d")
    )
    world.refused(InputError, "EmptyDigest", "owner", "ModelTitles.transferByDeed", title, other, bytes(32))
    assert move(world, title).event("TitleAssigned") == {
        "titleId": title, "from": owner, "to": other, "deedDigest": word("deed")
    }  # fmt: skip
    assert world.ledger.title(title).holder == other


@pytest.mark.parametrize("by", ["owner", "other"])
@pytest.mark.parametrize("function", ERC721_TRANSFERS)
def test_the_transfers_of_erc_721_all_revert(world, function, by):
    title, owner, other = world.title(), world.address("owner"), world.address("other")
    world.do("owner", "ModelTitles.approve", other, title)
    data = (b"",) if "bytes" in function else ()
    call = (owner, other, title, *data)
    world.refused(RightsError, "DeedRequired", by, f"ModelTitles.{function}", *call)


def test_an_approved_account_may_act_until_the_title_changes_hands(world):
    title = world.title()
    world.admit("agent", Role.EXPERT)
    world.do("owner", "ModelTitles.approve", world.address("agent"), title)
    move(world, title, by="agent")
    world.refused(
        NotTitleHolder,
        "ERC721InsufficientApproval",
        "agent",
        "ModelTitles.transferByDeed",
        title,
        world.address("owner"),
        word("d"),
    )
    assert world.ledger.view("ModelTitles", "getApproved", title) == NOBODY


def test_an_operator_of_the_old_holder_is_none_of_the_new_one(world):
    title = world.title()
    world.admit("agent", Role.EXPERT)
    world.do("owner", "ModelTitles.setApprovalForAll", world.address("agent"), True)
    move(world, title, by="agent")
    with pytest.raises(NotTitleHolder):
        move(world, title, to="owner", by="agent")


def test_a_suspended_holder_keeps_its_title_but_cannot_use_it(world):
    title, owner = world.title(), world.address("owner")
    offer = world.offer(title)
    world.do("office", "Members.suspend", owner)
    for call in (
        ("ModelTitles.transferByDeed", title, world.address("other"), word("d")),
        ("ModelTitles.setDerivativeTerms", title, True, 1),
        ("ModelTitles.approveDerivative", title, word("w"), 1),
        ("Grants.withdrawOffer", offer),
    ):
        world.refused(RightsError, "MissingRole", "owner", *call)
    assert world.ledger.title(title).holder == owner


@pytest.mark.parametrize("held", ["title", "owner", "other"])
def test_a_hold_on_the_title_or_on_either_side_stops_a_transfer_until_it_ends(world, held):
    title = world.title()
    world.hold(TITLE, title) if held == "title" else world.hold(ACCOUNT, int(world.address(held), 16))
    arguments = (title, world.address("other"), word("d"))
    world.refused(OnHold, "OnHold", "owner", "ModelTitles.transferByDeed", *arguments)
    world.clock.turn(1000)
    move(world, title)


# Derived models.


def test_a_derived_title_carries_the_shares_of_all_its_ancestors(world):
    world.title(1, bps=500)
    world.title(2, bps=300, parents=[(1, 500)])
    world.title(3, bps=0, parents=[(2, 400)], to="other")
    assert stack(world, 1) == []
    assert stack(world, 2) == [(1, 500)]
    assert stack(world, 3) == [(2, 400), (1, 500)]
    derived = [event.args for event in world.ledger.events("Derived")]
    assert derived == [{"titleId": 2, "parentId": 1, "bps": 500}, {"titleId": 3, "parentId": 2, "bps": 400}]


def test_an_ancestor_on_two_ways_counts_once_with_the_larger_share(world):
    world.title(1, bps=100)
    world.title(2, bps=100, parents=[(1, 900)])
    world.title(3, bps=100, parents=[(1, 200), (2, 300)])
    assert stack(world, 3) == [(1, 900), (2, 300)]


def test_the_shares_are_capped(world):
    world.title(1, bps=0), world.title(2, bps=0)
    refused = (DerivativeRefused, "TooManyAncestors"), (InputError, "RoyaltyTooHigh")
    world.refused(*refused[1], "office", "ModelTitles.register", *world.registration(3, parents=[(1, 5001)]))
    both = [(1, 3000), (2, 2001)]
    world.refused(*refused[1], "office", "ModelTitles.register", *world.registration(3, parents=both))
    world.refused(*refused[1], "office", "ModelTitles.register", *world.registration(3, bps=5001))
    world.refused(*refused[1], "owner", "ModelTitles.setDerivativeTerms", 1, True, 5001)
    world.refused(*refused[1], "owner", "ModelTitles.approveDerivative", 1, word("w3"), 5001)
    world.title(3, parents=[(1, 3000), (2, 2000)], bps=0)


def test_ancestors_are_at_most_eight(world):
    for number in range(1, 10):
        world.title(number, bps=0)
    eight = [(number, 10) for number in range(1, 9)]
    refused = (DerivativeRefused, "TooManyAncestors", "office", "ModelTitles.register")
    world.refused(*refused, *world.registration(10, parents=[*eight, (9, 10)]))
    world.title(10, parents=eight, bps=0)
    world.refused(*refused, *world.registration(11, parents=[(10, 1)]))


def test_a_parents_terms_are_kept(world):
    world.title(1, bps=300), world.title(2)
    refused = (DerivativeRefused, "DerivativeNotAllowed", "office", "ModelTitles.register")
    world.refused(*refused, *world.registration(3, to="other", parents=[(1, 299)]))
    world.refused(*refused, *world.registration(3, to="other", parents=[(2, 5000)]))
    world.title(3, to="other", parents=[(1, 300)])
    world.title(4, parents=[(1, 0), (2, 0)])
    world.do("owner", "ModelTitles.setDerivativeTerms", 1, False, 0)
    world.refused(*refused, *world.registration(5, to="other", parents=[(1, 5000)]))
    world.refused(
        NotFoundError, "UnknownTitle", "office", "ModelTitles.register", *world.registration(5, parents=[(6, 1)])
    )


def test_a_holder_approves_one_set_of_weights_at_a_share(world):
    world.title(1)
    receipt = world.do("owner", "ModelTitles.approveDerivative", 1, word("w2"), 250)
    assert receipt.event("DerivativeApproved") == {"titleId": 1, "weightsRoot": word("w2"), "bps": 250}
    refused = (DerivativeRefused, "DerivativeNotAllowed", "office", "ModelTitles.register")
    world.refused(*refused, *world.registration(2, to="other", parents=[(1, 249)]))
    world.refused(*refused, *world.registration(3, to="other", parents=[(1, 250)]))
    world.title(2, to="other", parents=[(1, 250)])


def test_an_approval_ends_when_the_title_changes_hands(world):
    world.title(1)
    world.admit("third", Role.LICENSOR)
    world.do("owner", "ModelTitles.approveDerivative", 1, word("w2"), 250)
    move(world, 1)
    refused = (DerivativeRefused, "DerivativeNotAllowed", "office", "ModelTitles.register")
    world.refused(*refused, *world.registration(2, to="third", parents=[(1, 250)]))


def test_only_the_holder_sets_terms_of_derivatives(world):
    title = world.title()
    for call in (
        ("ModelTitles.setDerivativeTerms", title, True, 1),
        ("ModelTitles.approveDerivative", title, word("w"), 1),
    ):
        world.refused(NotTitleHolder, "NotTitleHolder", "other", *call)
    world.refused(InputError, "EmptyDigest", "owner", "ModelTitles.approveDerivative", title, bytes(32), 1)
    event = world.do("owner", "ModelTitles.setDerivativeTerms", title, True, 700).event("DerivativeTermsSet")
    assert event == {"titleId": title, "open": True, "bps": 700}
    assert world.ledger.title(title).derivative_bps == 700


def test_the_royalty_is_the_sum_of_the_stack(world):
    vault = world.address(world.stand_in("Revenue"))
    world.title(1, bps=0), world.title(2, bps=0, parents=[(1, 1234)]), world.title(3, parents=[(2, 66)])
    for price in (0, 1, 9999, 10_000, 2**53 - 1, 2**256 - 1):
        found = world.ledger.record("ModelTitles", "royaltyInfo", 3, price)
        assert found == {"receiver": vault, "royalty_amount": price * 1300 // 10_000}


# What the market and the court do.


def test_only_the_market_locks_and_only_the_court_tags(world):
    title = world.title()
    for name, call in (
        ("Market", ("ModelTitles.lockForSale", title, 1)),
        ("Market", ("ModelTitles.unlock", title)),
        ("Market", ("ModelTitles.assignBySale", title, world.address("other"), word("d"))),
        ("Disputes", ("ModelTitles.setTag", title, True, 1)),
    ):
        world.stand_in(name)
        world.refused(RightsError, "NotTheContract", "owner", *call)
        world.refused(RightsError, "NotTheContract", "office", *call)


def test_a_new_market_moves_no_title_whose_holder_has_not_accepted_it(world):
    title = world.title()
    first = world.ledger.view("ModelTitles", "marketOf", title)
    rival = world.stand_in("Market")  # what governors can do
    world.refused(RightsError, "MarketNotAccepted", rival, "ModelTitles.lockForSale", title, 1)
    world.refused(
        RightsError, "NotTheContract", rival, "ModelTitles.assignBySale", title, world.address("other"), word("d")
    )
    world.refused(RightsError, "NotTitleHolder", "other", "ModelTitles.acceptMarket", title)
    accepted = world.do("owner", "ModelTitles.acceptMarket", title).event("MarketAccepted")
    assert accepted == {"titleId": title, "market": world.address(rival)}
    assert first != world.address(rival) == world.ledger.view("ModelTitles", "marketOf", title)
    world.do(rival, "ModelTitles.lockForSale", title, 1)


def test_a_lock_is_ended_by_the_market_that_set_it(world):
    market, title = world.stand_in("Market"), world.title()
    world.do(market, "ModelTitles.lockForSale", title, 1)
    world.govern("Market", int(world.address("owner"), 16))
    world.do("owner", "ModelTitles.acceptMarket", title)
    world.refused(
        RightsError, "NotTheContract", "owner", "ModelTitles.assignBySale", title, world.address("other"), word("d")
    )
    world.do(market, "ModelTitles.assignBySale", title, world.address("other"), word("d"))
    assert world.ledger.title(title).holder == world.address("other")


def test_a_locked_title_moves_by_its_sale_only(world):
    market, title = world.stand_in("Market"), world.title()
    other = world.address("other")
    assert world.do(market, "ModelTitles.lockForSale", title, 7).event("Locked") == {"titleId": title, "saleId": 7}
    assert world.ledger.view("ModelTitles", "lockOf", title) == 7
    arguments = (title, other, word("d"))
    world.refused(ConflictError, "TitleLocked", "owner", "ModelTitles.transferByDeed", *arguments)
    world.refused(ConflictError, "TitleLocked", market, "ModelTitles.lockForSale", title, 8)
    receipt = world.do(market, "ModelTitles.assignBySale", *arguments)
    assert [event.name for event in receipt.events] == ["Unlocked", "Transfer", "TitleAssigned"]
    assert (world.ledger.title(title).holder, world.ledger.view("ModelTitles", "lockOf", title)) == (other, 0)
    world.refused(ConflictError, "TitleNotLocked", market, "ModelTitles.assignBySale", *arguments)
    world.refused(ConflictError, "TitleNotLocked", market, "ModelTitles.unlock", title)
    world.do(market, "ModelTitles.lockForSale", title, 8)
    world.do(market, "ModelTitles.unlock", title)
    move(world, title, to="owner", by="other")


def test_neither_a_held_nor_a_tagged_title_is_locked_or_sold(world):
    market, court, title = world.stand_in("Market"), world.stand_in("Disputes"), world.title()
    sale = (market, "ModelTitles.assignBySale", title, world.address("other"), word("d"))
    world.hold(TITLE, title)
    world.refused(OnHold, "OnHold", market, "ModelTitles.lockForSale", title, 1)
    world.clock.turn(1000)
    world.do(market, "ModelTitles.lockForSale", title, 1)
    world.hold(TITLE, title)
    world.refused(OnHold, "OnHold", *sale)
    world.clock.turn(1000)
    world.do(court, "ModelTitles.setTag", title, True, 3)
    world.refused(TitleInDispute, "TitleTagged", *sale)
    world.do(market, "ModelTitles.unlock", title)
    world.refused(TitleInDispute, "TitleTagged", market, "ModelTitles.lockForSale", title, 1)


def test_a_tag_reaches_every_descendant_and_stops_no_deed(world):
    court = world.stand_in("Disputes")
    world.title(1, bps=0), world.title(2, bps=0, parents=[(1, 1)]), world.title(3, bps=0, parents=[(2, 1)])
    receipt = world.do(court, "ModelTitles.setTag", 1, True, 3)
    assert receipt.event("StatusChanged") == {"titleId": 1, "tagged": True, "caseId": 3}
    assert receipt.event("MetadataUpdate") == {"_tokenId": 1}
    assert world.ledger.title(1).tagged
    assert [world.ledger.view("ModelTitles", "isClear", title) for title in (1, 2, 3)] == [False] * 3
    world.refused(
        TitleInDispute, "TitleTagged", "office", "ModelTitles.register", *world.registration(4, parents=[(3, 1)])
    )
    move(world, 1)
    assert world.do(court, "ModelTitles.setTag", 1, True, 4).events == (), "what stands already stays"
    world.do(court, "ModelTitles.setTag", 1, False, 5)
    assert world.ledger.view("ModelTitles", "isClear", 3)


def test_the_interfaces_that_it_names_stand_there(world):
    there, not_there = ("01ffc9a7", "80ac58cd", "5b5e139f", "2a55205a", "49064906"), ("ffffffff", "ad092b5c")
    for interface in (*there, *not_there):
        answer = world.ledger.view("ModelTitles", "supportsInterface", bytes.fromhex(interface))
        assert answer is (interface in there), interface
