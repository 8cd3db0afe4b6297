"""File sales: a copy for money, one wrong block proven and a right one not, deadlines, whose money it is."""

from __future__ import annotations

from hashlib import sha256

import pytest

from countermark.core.exchange import BLOCK_BYTES
from countermark.errors import (
    ComplaintRefused,
    ConflictError,
    InputError,
    NotAParty,
    OutOfTime,
    ProofInvalid,
)

from .file_desk import (
    ABORTED,
    BOND,
    COMPLAINT_WINDOW,
    DAY,
    FEE_BPS,
    MONEY,
    PAY_WINDOW,
    PRICE,
    REFUNDED,
    REVEAL_WINDOW,
    REVEALED,
    RIGHT,
    SALE,
    SELLER_BOND,
    SETTLED,
    WRONG,
    close_desk,
    copy,
    deliver,
    give_grant,
    moved,
    offer,
    open_desk,
    paid,
    revealed,
    state,
    word,
)


@pytest.fixture
def bare():
    machine = open_desk()
    yield machine
    close_desk(machine)


@pytest.fixture
def title(bare):
    return bare.title()


@pytest.fixture
def grant(bare, title):
    return give_grant(bare, title)


@pytest.fixture
def listing(bare, title):
    return offer(bare, title)


def test_an_honest_sale_pays_the_holder_and_frees_the_bond(bare, listing, grant):
    done = bare.do("marker", "FileSales.deliver", listing, grant, *RIGHT.delivery(), BOND)
    assert done.event("Delivered")["markDigest"] == bytes(32)
    assert done.event("Delivered")["buyer"] == bare.address("licensee")
    assert bare.do("licensee", "FileSales.pay", SALE, PRICE).event("Paid")["price"] == PRICE
    assert bare.do("marker", "FileSales.reveal", SALE, RIGHT.key).event("KeyRevealed")["key"] == RIGHT.key
    bare.turn(COMPLAINT_WINDOW)
    done = bare.do("stranger", "FileSales.settle", SALE)
    fee = PRICE * FEE_BPS // 10_000
    assert done.event("Settled") == {"saleId": SALE, "fee": fee, "royalty": 0, "proceeds": PRICE - fee}
    assert state(bare) == SETTLED
    assert moved(bare, "licensee", "owner", "marker") == [-PRICE, PRICE - fee - SELLER_BOND, 0]
    assert bare.credit("platform") == fee


def test_the_fee_is_that_of_the_delivery(bare, listing, grant):
    sale = revealed(bare, listing, grant)
    bare.set_parameter("market.fee", 1_000)
    bare.turn(COMPLAINT_WINDOW)
    assert bare.do("stranger", "FileSales.settle", sale).event("Settled")["fee"] == PRICE * FEE_BPS // 10_000


def test_ancestors_share_in_the_price_of_a_file(bare, title, grant):
    bare.do(
        "office",
        "ModelTitles.register",
        bare.address("heir"),
        *(word("m"), word("x"), word("k"), [(title, 2_000)], 0, True),
    )
    child = bare.read("ModelTitles.titlesIssued")
    bare.pay_in("heir", MONEY)
    args = (bare.address("licensee"), word("acceptance"), word("mark 2"), bare.now, bare.now + 300 * DAY)
    of_child = bare.do("heir", "Grants.grant", bare.offer(child, "heir", bond=0, duration=301 * DAY), *args).value
    listed = bare.do("heir", "FileSales.offer", child, PRICE, 0, word("terms"), bare.now + DAY).value
    sale = revealed(bare, listed, of_child)
    bare.turn(COMPLAINT_WINDOW)
    done = bare.do("stranger", "FileSales.settle", sale).event("Settled")
    assert done["royalty"] == PRICE // 5
    assert bare.credit("owner") == PRICE // 5


@pytest.mark.parametrize(
    ("blocks", "index"), [(1, 0), (8, 7), (9, 8), (11, 0), (11, 10), (100, 63), (2050, 2048), (2050, 5)]
)
def test_one_wrong_block_brings_the_price_and_the_bond(bare, listing, grant, blocks, index):
    sealed = copy(blocks, wrong=(index,))
    sale = revealed(bare, listing, grant, sealed)
    done = bare.do("licensee", "FileSales.complain", sale, *sealed.complaint(index))
    assert done.event("Complained") == {"saleId": sale, "index": index}
    assert done.event("Refunded")["amount"] == PRICE + BOND
    assert state(bare) == REFUNDED
    assert moved(bare, "licensee", "owner", "marker") == [BOND, -SELLER_BOND, -BOND]


@pytest.mark.parametrize("index", [0, 7, 8, 10])
def test_a_right_block_proves_nothing(bare, listing, grant, index):
    sale = revealed(bare, listing, grant)
    bare.refused(ComplaintRefused, "BlockIsRight", "licensee", "FileSales.complain", sale, *RIGHT.complaint(index))


def test_the_right_blocks_beside_a_wrong_one_prove_nothing(bare, listing, grant):
    sale = revealed(bare, listing, grant, WRONG)
    for index in (8, 10):
        bare.refused(ComplaintRefused, "BlockIsRight", "licensee", "FileSales.complain", sale, *WRONG.complaint(index))
    bare.do("licensee", "FileSales.complain", sale, *WRONG.complaint(9))


def flipped(data, at=0):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def falsified():
    """Complaints about a right file, and about a wrong block, of which something is changed: what refuses them."""
    other = copy(key="other", wrong=(9,))
    key, index, cipher, leaf, path = WRONG.complaint(9)
    path_kinds = {
        "a hash of the path": [*path[:-1], flipped(path[-1])],
        "a sibling in the group": [flipped(path[0]), *path[1:]],
        "siblings in another order": [path[1], path[0], *path[2:]],
        "a shorter path": path[:-1],
        "a longer path": [*path, bytes(32)],
        "half a group": path[:6],
        "no path": [],
    }
    yield from ((name, (key, index, cipher, leaf, kind), "PathInvalid") for name, kind in path_kinds.items())
    yield "another index", (key, 8, cipher, leaf, path), "PathInvalid"
    yield "an index beyond the end", (key, 11, cipher, leaf, path), "BlockOutOfRange"
    yield "an index far beyond the end", (key, 2**64 - 1, cipher, leaf, path), "BlockOutOfRange"
    yield "a bit of the block", (key, index, flipped(cipher), leaf, path), "PathInvalid"
    yield "another plain leaf", (key, index, cipher, flipped(leaf), path), "PathInvalid"
    yield "a short block", (key, index, cipher[:-1], leaf, path), "WrongBlockLength"
    yield "a long block", (key, index, cipher + b"\0", leaf, path), "WrongBlockLength"
    yield "no block", (key, index, b"", leaf, path), "WrongBlockLength"
    yield "another sale's key", (other.key, index, cipher, leaf, path), "WrongKey"
    yield "another sale's block", (key, *other.complaint(9)[1:]), "PathInvalid"
    yield "another sale's complaint", other.complaint(9), "WrongKey"


KINDS = {
    "PathInvalid": ProofInvalid,
    "BlockOutOfRange": InputError,
    "WrongBlockLength": InputError,
    "WrongKey": InputError,
}


@pytest.mark.parametrize(("args", "reason"), [case[1:] for case in falsified()], ids=[case[0] for case in falsified()])
@pytest.mark.parametrize("sealed", [RIGHT, WRONG], ids=["right file", "wrong file"])
def test_a_false_complaint_is_refused(bare, listing, grant, sealed, args, reason):
    sale = revealed(bare, listing, grant, sealed)
    bare.refused(KINDS[reason], reason, "licensee", "FileSales.complain", sale, *args)
    assert state(bare) == REVEALED


def test_a_leaf_that_fills_up_the_last_group_is_no_block(bare, listing, grant):
    """Below the root stand zeros in place of leaves, at indices that the file does not have."""
    sale = revealed(bare, listing, grant)
    tree = RIGHT.tree(10)
    tree.root()
    for index in (11, 15, 16):
        args = (RIGHT.key, index, bytes(BLOCK_BYTES), bytes(32), tree.path)
        bare.refused(InputError, "BlockOutOfRange", "licensee", "FileSales.complain", sale, *args)


def test_only_the_buyer_complains_only_then_and_only_once(bare, listing, grant):
    sale, args = paid(bare, listing, grant, WRONG), WRONG.complaint(9)
    bare.refused(ConflictError, "WrongSaleState", "licensee", "FileSales.complain", sale, *args)
    bare.do("marker", "FileSales.reveal", sale, WRONG.key)
    for who in ("second", "marker", "owner"):
        bare.refused(NotAParty, "NotBuyer", who, "FileSales.complain", sale, *args)
    bare.turn(COMPLAINT_WINDOW - 1)
    bare.do("licensee", "FileSales.complain", sale, *args)
    bare.refused(ConflictError, "WrongSaleState", "licensee", "FileSales.complain", sale, *args)
    bare.refused(ConflictError, "WrongSaleState", "licensee", "FileSales.settle", sale)


def test_a_complaint_is_too_late_when_the_sale_can_be_settled(bare, listing, grant):
    sale = revealed(bare, listing, grant, WRONG)
    bare.turn(COMPLAINT_WINDOW - 1)
    bare.refused(OutOfTime, "TooEarly", "stranger", "FileSales.settle", sale)
    bare.turn(1)
    bare.refused(OutOfTime, "TooLate", "licensee", "FileSales.complain", sale, *WRONG.complaint(9))
    bare.do("stranger", "FileSales.settle", sale)


# --- the key


def test_only_the_key_itself_is_revealed_and_only_by_its_service(bare, listing, grant):
    sale = deliver(bare, listing, grant)
    bare.refused(ConflictError, "WrongSaleState", "marker", "FileSales.reveal", sale, RIGHT.key)
    bare.do("licensee", "FileSales.pay", sale, PRICE)
    for key in (flipped(RIGHT.key), bytes(32), sha256(RIGHT.key).digest()):
        bare.refused(InputError, "WrongKey", "marker", "FileSales.reveal", sale, key)
    for who in ("licensee", "owner", "office"):
        bare.refused(NotAParty, "NotTheService", who, "FileSales.reveal", sale, RIGHT.key)
    bare.turn(REVEAL_WINDOW)
    bare.refused(OutOfTime, "TooLate", "marker", "FileSales.reveal", sale, RIGHT.key)


def test_without_the_key_the_money_goes_back_and_so_does_the_bond(bare, listing, grant):
    sale = paid(bare, listing, grant)
    bare.turn(REVEAL_WINDOW - 1)
    bare.refused(OutOfTime, "TooEarly", "licensee", "FileSales.abort", sale)
    bare.turn(1)
    done = bare.do("licensee", "FileSales.abort", sale)
    assert done.event("Refunded")["amount"] == PRICE
    assert state(bare) == ABORTED
    assert moved(bare, "licensee", "marker") == [0, 0]


def test_a_service_that_cannot_go_on_gives_the_money_back_at_once(bare, listing, grant):
    sale = paid(bare, listing, grant)
    bare.do("marker", "FileSales.abort", sale)
    assert moved(bare, "licensee", "marker") == [0, 0]
    bare.refused(ConflictError, "WrongSaleState", "marker", "FileSales.reveal", sale, RIGHT.key)


def test_an_unpaid_sale_is_given_up(bare, listing, grant):
    first = deliver(bare, listing, grant)
    bare.refused(OutOfTime, "TooEarly", "licensee", "FileSales.abort", first)
    bare.do("marker", "FileSales.abort", first)
    second = deliver(bare, listing, grant, copy(key="another"))
    bare.turn(PAY_WINDOW)
    bare.refused(OutOfTime, "TooLate", "licensee", "FileSales.pay", second, PRICE)
    bare.do("stranger", "FileSales.abort", second)
    assert [state(bare, sale) for sale in (first, second)] == [ABORTED, ABORTED]
    assert moved(bare, "licensee", "marker") == [0, 0]


def test_a_revealed_or_settled_sale_is_not_given_up(bare, listing, grant):
    sale = revealed(bare, listing, grant)
    bare.refused(ConflictError, "WrongSaleState", "marker", "FileSales.abort", sale)
    bare.turn(COMPLAINT_WINDOW)
    bare.do("stranger", "FileSales.settle", sale)
    for call in ("settle", "abort"):
        bare.refused(ConflictError, "WrongSaleState", "marker", f"FileSales.{call}", sale)
