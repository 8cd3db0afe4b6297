"""A desk for file sales on the bare machine: sealed copies, right and wrong, and the steps of a sale."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from countermark.adapters.records import Role
from countermark.core import exchange
from countermark.core.exchange import BLOCK_BYTES, Tree
from countermark.core.keys import Secret

from .bare import DAY, FEE_BPS, FOREVER, fresh, word

word, DAY, FEE_BPS, FOREVER = word, DAY, FEE_BPS, FOREVER
PRICE, BOND, SELLER_BOND, MONEY = 10_000, 15_000, 7_000, 10**6
DELIVERED, PAID, REVEALED, SETTLED, REFUNDED, ABORTED = range(1, 7)
PAY_WINDOW, REVEAL_WINDOW, COMPLAINT_WINDOW, BOND_GRACE = 7 * DAY, DAY, 3 * DAY, 30 * DAY
SALE = 1


@dataclass(frozen=True)
class Copy:
    """A sealed file as the service hands it over."""

    key: bytes
    cipher: tuple[bytes, ...]
    plain_leaves: tuple[bytes, ...]

    @property
    def leaves(self):
        return exchange.leaves(self.plain_leaves, b"".join(self.cipher))

    @property
    def root(self):
        return self.tree(None).root()

    def tree(self, watch):
        tree, leaves = Tree(len(self.cipher), watch), self.leaves
        for at in range(0, len(leaves), exchange.SEGMENT_BLOCKS):
            tree.add(leaves[at : at + exchange.SEGMENT_BLOCKS])
        return tree

    def delivery(self):
        digest = sha256(self.key).digest()
        return word("plain"), self.root, digest, len(self.cipher), word("attestation"), bytes(32)

    def complaint(self, index):
        tree = self.tree(index)
        tree.root()
        return self.key, index, self.cipher[index], self.plain_leaves[index], tree.path


def copy(blocks=11, key="key", wrong=()):
    """Seal a file of so many blocks, and encrypt other ones in place of the wrong ones."""
    secret, size = Secret(word(key)), exchange.SEGMENT_BYTES
    plain = bytearray(b"".join(sha256(bytes([at % 251])).digest() * (BLOCK_BYTES // 32) for at in range(blocks)))
    parts = range(0, len(plain), size)
    leaves = [leaf for n, at in enumerate(parts) for leaf in exchange.plain_leaves(secret, n, plain[at : at + size])]
    for index in wrong:
        plain[index * BLOCK_BYTES + 17] ^= 1
    cipher = b"".join(exchange.encrypt(secret, n, bytes(plain[at : at + size])) for n, at in enumerate(parts))
    cut = tuple(cipher[at : at + BLOCK_BYTES] for at in range(0, len(cipher), BLOCK_BYTES))
    return Copy(word(key), cut, tuple(leaves))


RIGHT, WRONG = copy(), copy(wrong=(9,))


def open_desk():
    """A machine with a marking service, and money for everyone."""
    machine = fresh()
    machine.do("office", "Members.admit", machine.address("marker"), word("m"), word("key"), Role.MARKER, FOREVER)
    for who in ("owner", "licensee", "second", "marker"):
        machine.pay_in(who, MONEY)
    return machine


def close_desk(machine):
    """Check that all money is where the books say."""
    pots = [n.to_bytes(32, "big") for n in range(1, 1 + machine.read("FileSales.salesMade"))]
    pots += [listing_pot(n) for n in range(1, 1 + machine.read("FileSales.listingsMade"))]
    machine.other_pots = sum(machine.read("Revenue.inPot", machine.address("FileSales"), pot) for pot in pots)
    machine.check_books()


def give_grant(bare, title, mark="mark", to="licensee"):
    args = (bare.address(to), word("acceptance"), word(mark), bare.now, bare.now + 300 * DAY)
    return bare.do("owner", "Grants.grant", bare.offer(title, bond=0, duration=301 * DAY), *args).value


def listing_pot(listing):
    return b"listing".ljust(24, b"\0") + listing.to_bytes(8, "big")


def offer(bare, title, price=PRICE, bond=SELLER_BOND):
    return bare.do("owner", "FileSales.offer", title, price, bond, word("terms"), bare.now + 30 * DAY).value


def deliver(bare, listing, grant, sealed=RIGHT, bond=BOND):
    return bare.do("marker", "FileSales.deliver", listing, grant, *sealed.delivery(), bond).value


def paid(bare, listing, grant, sealed=RIGHT):
    sale = deliver(bare, listing, grant, sealed)
    bare.do("licensee", "FileSales.pay", sale, PRICE)
    return sale


def revealed(bare, listing, grant, sealed=RIGHT):
    sale = paid(bare, listing, grant, sealed)
    bare.do("marker", "FileSales.reveal", sale, sealed.key)
    return sale


def state(bare, sale=SALE):
    return bare.read("FileSales.saleRecord", sale)[1]


def moved(bare, *people):
    """What each party has more, or less, than it began with, credits included."""
    return [bare.tokens(who) + bare.credit(who) - MONEY for who in people]


def file_sale(number=SALE):
    return bytes([5]) + number.to_bytes(31, "big")
