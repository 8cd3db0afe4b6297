"""``countermark market file``: the sale of a model's file, sealed first, paid second, revealed third."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.figures import Figures, answer_act, figures
from countermark.cli.session import Session, current
from countermark.cli.shell import Group
from countermark.cli.text import Row, card

if TYPE_CHECKING:
    from countermark.workflows.market.catalogue import Quote

_PATH = click.Path(path_type=Path)
_SALE = click.argument("sale", type=int)
_PACKAGE = click.argument("package", type=_PATH)


@click.group(cls=Group)
def file() -> None:
    """Deliver, check, pay, reveal and open a model's file, or prove that a block of it is wrong.

    The marking service seals a copy and commits to its plain and encrypted blocks on the ledger. The buyer checks what
    it got against that and pays into escrow; then the key is revealed, or the buyer is refunded. One wrong block proves
    the wrong, and gives price and bond to the buyer. Such a sale is unmarked: weights carry no mark yet.

    Example:
      countermark market file deliver 1 --grant 1 --model my-model --out package
      countermark market file pay 1 --package package
      countermark market file reveal 1
      countermark market file open 1 package --out bought-model
    """


@file.command("deliver")
@click.argument("listing", type=int)
@click.option("--grant", required=True, type=int, metavar="GRANT", help="The buyer's grant; it has to be in force.")
@click.option("--model", required=True, type=_PATH, metavar="DIR", help="The seller's master: the registered model.")
@click.option("--out", required=True, type=_PATH, metavar="PACKAGE", help="Folder to make, for the buyer alone.")
@click.option("--service", metavar="NAME", help="Party that is the marking service; the office by default.")
def deliver(listing: int, grant: int, model: Path, out: Path, service: str | None) -> None:
    """Seal a copy of the model for a grant, and commit to it, as the marking service.

    The service leaves the price as its bond. The key stays here until it is revealed.

    Example:
      countermark market file deliver 1 --grant 1 --model my-model --out package
    """
    from countermark.workflows.market.files import deliver_file

    session = current()
    with session.office() as office:
        done = deliver_file(office, listing, grant, model, out, service=service)
        bond = figures(session, office).money(done["bond"])
    text = session.tr(
        "Sealed for grant {grant} in {path}: file sale {sale}, unmarked.", grant=grant, path=out, sale=done["sale_id"]
    )
    answer_act(session, done, text, [(session.tr("bond of the service"), bond)])


@file.command("check")
@_SALE
@_PACKAGE
def check(sale: int, package: Path) -> None:
    """Check a package against what the marking service committed to, before paying. Moves no money.

    Example:
      countermark market file check 1 package
    """
    from countermark.workflows.market.files import check_file

    session = current()
    with session.office() as office:
        found = check_file(office, sale, package)
    document = {
        "sale": sale,
        "files": [{"path": path, "size": size} for path, size in found.files],
        "blocks": found.blocks,
        "plain_root": found.plain_root.hex(),
        "cipher_root": found.cipher_root.hex(),
        "mark": "unmarked",
    }
    rows = [
        (session.tr("files"), str(len(found.files))),
        (session.tr("size"), f"{sum(size for _, size in found.files):,}"),
        (session.tr("blocks"), f"{found.blocks:,}"),
        (session.tr("plain blocks"), f"sha256:{found.plain_root.hex()}"),
        (session.tr("encrypted blocks"), f"sha256:{found.cipher_root.hex()}"),
    ]
    text = session.tr("The package is the one that file sale {sale} commits to, whole.", sale=sale)
    session.answer("package", document, f"{text}\n{card(rows)}")


@file.command("pay")
@_SALE
@click.option("--package", required=True, type=_PATH, metavar="PACKAGE", help="What was delivered; checked first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def pay(sale: int, package: Path, yes: bool) -> None:
    """Check a package, and pay for it into escrow, as the buyer.

    Example:
      countermark market file pay 1 --package package
    """
    from countermark.workflows.market.catalogue import file_sale_facts, quote_file_sale
    from countermark.workflows.market.files import pay_file

    session = current()
    with session.office() as office:
        facts = file_sale_facts(office, sale)
        shown, quote = figures(session, office), quote_file_sale(office, sale)
        session.confirm(session.tr("Buy it?"), card(_rows(session, shown, quote, facts)), yes=yes)
        done = pay_file(office, sale, package)
    text = session.tr("Paid {amount} into escrow for file sale {sale}.", amount=shown.money(quote.price), sale=sale)
    answer_act(session, done, text)


@file.command("reveal")
@_SALE
def reveal(sale: int) -> None:
    """Reveal the key of a paid sale, as the marking service that sealed it.

    Example:
      countermark market file reveal 1
    """
    from countermark.workflows.market.files import reveal_key

    session = current()
    with session.office() as office:
        done = reveal_key(office, sale)
    answer_act(session, done, session.tr("The key of file sale {sale} is revealed.", sale=sale))


@file.command("open")
@_SALE
@_PACKAGE
@click.option("--out", required=True, type=_PATH, metavar="DIR", help="Folder to make, for the model.")
def open_(sale: int, package: Path, out: Path) -> int:
    """Open a package with the revealed key, as the buyer: write the model, or say which block is wrong.

    Exit status: 0 the model is there; 1 a block is wrong, and nothing was written.

    Example:
      countermark market file open 1 package --out bought-model
    """
    from countermark.workflows.market.files import open_file

    session = current()
    with session.office() as office:
        wrong = open_file(office, sale, package, out)
    if wrong is None:
        text = session.tr("The model is in {path}, every block as it was committed to.", path=out)
        session.answer("opened", {"sale": sale, "path": str(out), "wrong_block": None}, text)
        return 0
    text = session.tr(
        "Block {block} is wrong; nothing was written. Prove it with: {command}",
        block=wrong,
        command=f"countermark market file complain {sale} {package} --block {wrong}",
    )
    session.answer("opened", {"sale": sale, "path": None, "wrong_block": wrong}, text)
    return 1


@file.command("complain")
@_SALE
@_PACKAGE
@click.option("--block", required=True, type=click.IntRange(min=0), metavar="N", help="The wrong block; open names it.")
def complain(sale: int, package: Path, block: int) -> None:
    """Prove one wrong block on the ledger, as the buyer: the price comes back, with the service's bond.

    A complaint about a right block is refused, and costs the service nothing.

    Example:
      countermark market file complain 1 package --block 17
    """
    from countermark.workflows.market.files import complain as prove

    session = current()
    with session.office() as office:
        done = prove(office, sale, package, block=block)
    text = session.tr("Block {block} of file sale {sale} is proven wrong: price and bond are the buyer's.",
                      block=block, sale=sale)  # fmt: skip
    answer_act(session, done, text)


@file.command("settle")
@_SALE
def settle(sale: int) -> None:
    """Share the price out when the time for complaints is over, and free the service's bond.

    Example:
      countermark market file settle 1
    """
    from countermark.workflows.market.files import settle_file

    session = current()
    with session.office() as office:
        done = settle_file(office, sale)
        shown = figures(session, office)
    rows = [
        (session.tr("platform fee"), shown.money(done["fee"])),
        (session.tr("royalties"), shown.money(done["royalty"])),
        (session.tr("to the seller"), shown.money(done["proceeds"])),
    ]
    answer_act(session, done, session.tr("File sale {sale} is settled.", sale=sale), rows)


@file.command("abort")
@_SALE
def abort(sale: int) -> None:
    """End a sale before its key is revealed: the buyer's money comes back, and the bond to the marking service.

    The marking service may at any time; anybody once the payment or the key is overdue.

    Example:
      countermark market file abort 1
    """
    from countermark.workflows.market.files import abort_file

    session = current()
    with session.office() as office:
        done = abort_file(office, sale)
    answer_act(session, done, session.tr("File sale {sale} is over.", sale=sale))


@file.command("withdraw")
@click.argument("listing", type=int)
def withdraw(listing: int) -> None:
    """Take a listing back, as its seller. Nothing is delivered under it any more.

    Your bond comes back at once if no copy was ever delivered; otherwise repeat the command 30 days after the last sale
    was over, when no case about one is open.

    Example:
      countermark market file withdraw 1
    """
    from countermark.workflows.market.files import withdraw_listing

    session = current()
    with session.office() as office:
        done = withdraw_listing(office, listing)
        bond = figures(session, office).money(done["bond"])
    rows = [(session.tr("bond that came back"), bond)]
    answer_act(session, done, session.tr("Listing {listing} is withdrawn.", listing=listing), rows)


@file.command("show")
@_SALE
def show(sale: int) -> None:
    """Show a file sale: its mark, its state, its parties, every amount and who gets it, its deadline.

    Example:
      countermark market file show 1
    """
    from countermark.workflows.market.catalogue import file_sale_facts, quote_file_sale

    session = current()
    with session.office() as office:
        facts = file_sale_facts(office, sale)
        shown, quote = figures(session, office), quote_file_sale(office, sale)
    document = {**quote.to_json(), **facts, "currency": shown.currency}
    session.answer("file-sale", document, card(_rows(session, shown, quote, facts)))


def _rows(session: Session, shown: Figures, quote: Quote, facts: dict[str, Any]) -> list[Row]:
    from countermark.cli.quotes import price_rows

    marked = session.tr("unmarked: the weights carry no mark of this buyer")
    rows = [
        (session.tr("file sale"), session.tr("{sale}, of listing {listing}", sale=facts["sale"], listing=quote.number)),
        (session.tr("mark"), marked if facts["mark"] == "unmarked" else facts["mark"]),
        (session.tr("title"), str(quote.title)),
        (session.tr("grant"), str(facts["grant"])),
        (session.tr("state"), _states(session)[facts["state"]]),
        (session.tr("seller"), shown.who(quote.seller)),
        (session.tr("buyer"), shown.who(facts["buyer"])),
        (session.tr("marking service"), shown.who(facts["service"])),
        *price_rows(session, shown, quote),
        (session.tr("bond of the service"), shown.money(facts["service_bond"])),
        (session.tr("bond of the seller"), shown.money(facts["seller_bond"])),
        (session.tr("blocks"), f"{facts['blocks']:,}"),
        (session.tr("plain blocks"), f"sha256:{facts['plain_root']}"),
        (session.tr("encrypted blocks"), f"sha256:{facts['cipher_root']}"),
    ]
    waits = _deadlines(session).get(facts["state"])
    return [*rows, (waits, facts["deadline"])] if waits else rows


def _states(session: Session) -> dict[str, str]:
    return {
        "delivered": session.tr("delivered, to be checked and paid"),
        "paid": session.tr("paid, in escrow"),
        "revealed": session.tr("key revealed"),
        "settled": session.tr("settled"),
        "refunded": session.tr("refunded: a block was wrong"),
        "aborted": session.tr("ended without a sale"),
    }


def _deadlines(session: Session) -> dict[str, str]:
    return {
        "delivered": session.tr("to be paid before"),
        "paid": session.tr("key to be revealed before"),
        "revealed": session.tr("complaints before"),
    }
