"""``countermark demo market``: the market between parties who do not trust each other, in one place to read.

``_tell`` is the sequence. The demo's ledger has a clock of its own, which is turned forward where the contracts ask for
a wait: a complaint's window, an appeal's, a hold's end.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.demo_folder import FOLDER_HELP, find_model, make_passphrase, prepare
from countermark.cli.session import Session, current, write_json
from countermark.cli.shell import Command
from countermark.cli.text import card, table
from countermark.errors import CountermarkError, require

if TYPE_CHECKING:
    from countermark.workflows.office import Office

LAB, STUDIO, FORGER = "Origin Lab", "Example Studio", "Careless Models"
NORTH, SOUTH = "Agency North", "Agency South"
REGULATOR, ARBITER, EXPERT = "Market Regulator", "Arbiter", "Image Expert"
_PLATFORM = "Demo Exchange"
_FEE_BPS, _PARENT_BPS = 200, 500
_DEPOSITS = {_PLATFORM: 500_000, STUDIO: 300_000, FORGER: 600_000, NORTH: 2_000_000, SOUTH: 2_000_000}
_FILE_PRICE, _BOND = 400_000, 100_000
_RESALE_PRICE = 250_000
_LICENSE = {
    "name": "Pictures, one year, resale allowed",
    "scope": ["infer", "commercial", "publish"],
    "price": 300_000,
    "currency": "CNY",
    "duration_days": 365,
    "seats": 0,
    "resale": True,
    "territory": "worldwide",
    "revocable": True,
    "notice_hours": 96,
    "on_market": True,
    "bond": 50_000,
    "resale_royalty_bps": 1_000,
    "revenue_share_bps": 500,
}
_PATH = click.Path(path_type=Path)


@dataclass(slots=True)
class Clock:
    """The machine's clock, turned forward by as much as the story needs."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        """Return the demo's present."""
        from countermark.bootstrap import utc_now

        return utc_now() + self.ahead

    def turn(self, **step: int) -> None:
        """Let time pass: arguments as of ``timedelta``."""
        self.ahead += timedelta(**step)


@dataclass(slots=True)
class _Story:
    """What the demo has found so far."""

    office: Office
    clock: Clock
    session: Session
    out: Path
    found: dict[str, Any] = field(default_factory=dict)

    def say(self, template: str, **values: object) -> None:
        self.session.note(self.session.tr(template, **values))

    def refused(self, name: str, attempt: Callable[[], object]) -> None:
        """Expect a refusal and keep its code; its absence is a fault of the demo's."""
        try:
            attempt()
        except CountermarkError as error:
            self.found[name] = error.code
            return
        self.found[name] = None


@click.command(cls=Command)
@click.option("--out", type=_PATH, default="demo-market-out", show_default=True, metavar="DIR", help=FOLDER_HELP)
@click.option("--model", type=_PATH, metavar="DIR", help="Parent model; examples/fashion-mnist by default.")
def market(out: Path, model: Path | None) -> int:
    """Play the market between parties who do not trust each other, and print who got what.

    An owner sells a licence and a file of a model that derives from another one. One seller cheats with a wrong block
    and loses. A licensee resells where allowed, with royalty to the owner and to the parent's owner. One leaks a marked
    picture, is traced from it, and loses licence and bond. The regulator holds an account and releases it. All balances
    add up.

    With --json the last line of stdout is one JSON object. Exit status: 0 if everything came out as it must.

    Example:
      countermark demo market
      countermark demo market --out /tmp/market --json
    """
    session, started = current(), time.monotonic()
    for module in ("skimage", "PIL"):
        require(module, "demo")
    parent = find_model(model)
    prepare(out)
    story = _play(session, parent, out)
    summary = _summary(story, round(time.monotonic() - started, 1))
    write_json(out / "market.json", summary)
    _draw(session, summary, out)
    if session.json:
        session.print_json(summary)
    else:
        click.echo(_describe(session, summary, out))
    return 0 if summary["right"] else 1


def _play(session: Session, parent: Path, out: Path) -> _Story:
    from countermark.bootstrap import create_office, open_office

    clock, passphrase = Clock(), make_passphrase(out)
    with session.progress() as progress:
        create_office(
            out / "workspace", passphrase, name=_PLATFORM, progress=progress, platform_fee_bps=_FEE_BPS, clock=clock
        )
        with open_office(out / "workspace", passphrase, progress=progress, clock=clock) as office:
            story = _Story(office, clock, session, out)
            _tell(story, parent)
            story.found["accounts"] = _accounts(story)
            story.found["supply"] = int(office.ledger.view("SettlementToken", "totalSupply"))
            story.found["vault"] = int(
                office.ledger.view("SettlementToken", "balanceOf", office.ledger.deployment["contracts"]["Revenue"])
            )
    return story


def _tell(story: _Story, parent: Path) -> None:
    """The story: everything below is what a user would do with the commands of the same names."""
    story.say("1/8 admit the parties; their deposits become money on the ledger")
    _admit(story)
    story.say("2/8 register a model, and one derived from it; without naming its parent it is refused")
    title, derived = _register(story, parent)
    story.say("3/8 sell a licence; price and bond wait in escrow until it is delivered")
    grant = _sell_license(story, title)
    story.say("4/8 sell the file: the buyer checks the ciphertext, pays, and gets the key")
    _sell_file(story, title, grant, derived)
    story.say("5/8 another seller cheats with one wrong block, and loses")
    _cheat(story, parent)
    story.say("6/8 the licensee resells its licence; royalties leave the price first")
    resold = _resell(story, grant)
    story.say("7/8 the new licensee leaks a marked picture: traced, ruled, licence and bond lost")
    _leak(story, resold)
    story.say("8/8 the regulator holds an account and releases it; everybody claims")
    _hold_and_claim(story)


def _admit(story: _Story) -> None:
    from countermark.workflows.market import issue_money
    from countermark.workflows.register import add_party

    roles = {
        LAB: ["owner"],
        STUDIO: ["owner"],
        FORGER: ["owner", "marker"],
        NORTH: ["licensee"],
        SOUTH: ["licensee"],
        REGULATOR: ["regulator"],
        ARBITER: ["arbiter"],
        EXPERT: ["expert"],
    }
    for name, held in roles.items():
        add_party(story.office, name, held)
    for number, (name, amount) in enumerate(_DEPOSITS.items(), 1):
        issue_money(story.office, None if name == _PLATFORM else name, amount, f"deposit {number}")


def _register(story: _Story, parent: Path) -> tuple[int, Path]:
    """Register the parent, and two models that share most of its tensors; return the studio's title and its folder."""
    from countermark.cli.demo_models import derive
    from countermark.workflows.register import register_model

    root = register_model(story.office, parent, LAB, derivatives=_PARENT_BPS)
    derived = derive(parent, story.out / "models" / "studio", seed=1)
    story.refused("undeclared_derivative", lambda: register_model(story.office, derived, STUDIO))
    title = register_model(story.office, derived, STUDIO, parents=[(root.id, _PARENT_BPS)])
    story.found["parent"] = root.id
    return title.id, derived


def _sell_license(story: _Story, title: int) -> int:
    from countermark.licensing import Terms
    from countermark.workflows import market as trade
    from countermark.workflows.license import offer_terms

    offer = offer_terms(story.office, title, Terms.from_json(_LICENSE))
    sale = trade.buy_license(story.office, offer.id, NORTH)
    again = trade.buy_license(story.office, offer.id, NORTH)
    story.found["repeated_purchase_pays_once"] = again["sale_id"] == sale["sale_id"]
    return trade.deliver_license(story.office, sale["sale_id"]).id


def _sell_file(story: _Story, title: int, grant: int, model: Path) -> None:
    from countermark.artifact import digest_model, survey
    from countermark.workflows import market as trade

    office, package = story.office, story.out / "packages" / "honest"
    listing = trade.sell_file(office, title, price=_FILE_PRICE, bond=_BOND, until=_in(story, days=30))["listing_id"]
    sale = trade.deliver_file(office, listing, grant, model, package)["sale_id"]
    trade.pay_file(office, sale, package)
    trade.reveal_key(office, sale)
    opened = story.out / "packages" / "opened"
    trade.open_file(office, sale, package, opened)
    same = digest_model(survey(opened)).content_root == digest_model(survey(model)).content_root
    story.found["file_received_is_the_registered_model"] = same
    story.refused("false_complaint", lambda: trade.complain(office, sale, package, block=0))
    story.clock.turn(days=3)
    trade.settle_file(office, sale)


def _cheat(story: _Story, parent: Path) -> None:
    """Commit to a good file and encrypt another one: the buyer finds the block, and the contract recomputes it."""
    from countermark.artifact.exchange import combine, seal
    from countermark.cli.demo_models import derive, spoil
    from countermark.core.keys import Secret
    from countermark.licensing import Terms
    from countermark.workflows import market as trade
    from countermark.workflows.license import grant_to_held, offer_terms
    from countermark.workflows.register import register_model

    office, folder = story.office, story.out / "packages"
    model = derive(parent, story.out / "models" / "careless", seed=2)
    title = register_model(office, model, FORGER, parents=[(story.found["parent"], _PARENT_BPS)])
    offer = offer_terms(office, title.id, Terms.from_json(_LICENSE | {"on_market": False, "bond": 0}))
    grant = grant_to_held(office, offer.id, SOUTH)
    listing = trade.sell_file(office, title.id, price=_FILE_PRICE, bond=_BOND, until=_in(story, days=30))["listing_id"]

    spoiled = shutil.copytree(model, story.out / "models" / "spoiled")
    weights = max(spoiled.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    spoil(weights, at=weights.stat().st_size // 2)
    key = Secret.random()
    honest = seal(model, folder / "promised", key, progress=office.progress("seal"))
    other = seal(spoiled, folder / "encrypted", key, progress=office.progress("seal"))
    package = combine(honest, other, folder / "cheating")
    sale = trade.commit_package(office, listing, grant.id, package, key, service=FORGER)["sale_id"]

    trade.pay_file(office, sale, folder / "cheating")  # every root is as committed, so nothing shows before the key
    trade.reveal_key(office, sale)
    wrong = trade.open_file(office, sale, folder / "cheating", folder / "cheated")
    story.found["wrong_block"] = wrong
    if wrong is not None:
        trade.complain(office, sale, folder / "cheating", block=wrong)
    story.found["cheated_sale"] = _state_of(story, sale)
    story.clock.turn(days=31)
    trade.withdraw_listing(office, listing)


def _resell(story: _Story, grant: int) -> int:
    from countermark.workflows import market as trade

    office = story.office
    sale = trade.resell(office, grant, price=_RESALE_PRICE, until=_in(story, days=30))["sale_id"]
    trade.buy_grant(office, sale, SOUTH)
    return trade.deliver_license(office, sale).id


def _leak(story: _Story, grant: int) -> None:
    from countermark.cli.demo_pictures import leak, submit
    from countermark.workflows import market as trade
    from countermark.workflows.mark import mark_images
    from countermark.workflows.trace import Use, trace_files

    office, out = story.office, story.out
    picture = submit(out / "submitted")[0]
    marked = mark_images(office, grant, [picture], out / "marked")[0].path
    suspect = leak(marked, out / "leaked.jpg")
    (found,) = trace_files(office, [suspect], use=Use(scope="redistribute"))
    story.found["traced_grant"], story.found["leaking_grant"] = found.grant, grant
    story.found["p_ours"] = found.p_ours and found.p_ours["value"]
    case = trade.open_case(
        office, STUDIO, f"grant:{grant}", SOUTH, kind="leak", evidence=f"trace {found.id} of {found.suspect}"
    )["case_id"]
    trade.respond(office, case, "The picture was passed on by a subcontractor.")
    trade.add_statement(
        office,
        case,
        EXPERT,
        schema="image-trace/1",
        text=f"The mark of grant {found.grant}.",
        expires=_in(story, days=90),
    )
    ruling = "The licence covers publication by the licensee, not by others."
    trade.rule(office, case, ARBITER, upheld=True, remedies=["revoke", "slash"], text=ruling)
    story.refused("execution_before_the_appeal_window_is_over", lambda: trade.execute(office, case))
    story.clock.turn(days=15)
    story.found["slashed"] = trade.execute(office, case)["amount"]
    now = int(office.clock().timestamp())
    story.found["licence_lost"] = not office.ledger.permitted(grant, now)
    story.refused("marking_after_the_ruling", lambda: mark_images(office, grant, [picture], out / "late"))


def _hold_and_claim(story: _Story) -> None:
    from countermark.workflows import market as trade

    office = story.office
    trade.hold(office, REGULATOR, f"account:{LAB}", days=30, case="demo 1", reason="Who owns the account?")
    story.refused("claim_under_a_hold", lambda: trade.claim(office, LAB))
    trade.release(office, REGULATOR, f"account:{LAB}", reason="The owner was identified.")
    for name in (LAB, STUDIO, FORGER, NORTH, SOUTH):
        if trade.balance(office, name)["credit"]:
            trade.claim(office, name)
    trade.claim(office, None)


def _accounts(story: _Story) -> dict[str, dict[str, int]]:
    """Return for everyone: what it brought, what it was credited for each reason, and what it has now."""
    from countermark.workflows.market import balance
    from countermark.workflows.market.money import CREDIT_REASONS, credits_by_reason

    credited = credits_by_reason(story.office)
    rows = {}
    for name in (LAB, STUDIO, FORGER, NORTH, SOUTH, None):
        got = credited.get(name or _PLATFORM, {})
        reasons = {reason: got.get(reason, 0) for reason in CREDIT_REASONS}
        rows[name or _PLATFORM] = {
            "brought": _DEPOSITS.get(name or _PLATFORM, 0),
            **reasons,
            **balance(story.office, name),
        }
    return rows


def _state_of(story: _Story, sale: int) -> str:
    from countermark.core.exchange import SALE_STATES
    from countermark.workflows.market.files import file_sale_record

    return SALE_STATES[file_sale_record(story.office, sale)["state"] - 1]


def _in(story: _Story, *, days: int) -> datetime:
    return story.clock() + timedelta(days=days)


#: What each expected refusal has to be.
_REFUSALS = {
    "undeclared_derivative": "undeclared-derivative",
    "false_complaint": "complaint-refused",
    "execution_before_the_appeal_window_is_over": "out-of-time",
    "marking_after_the_ruling": "grant-revoked",
    "claim_under_a_hold": "on-hold",
}


def _summary(story: _Story, seconds: float) -> dict[str, Any]:
    found = story.found
    has = sum(row["tokens"] + row["credit"] for row in found["accounts"].values())
    credits = sum(row["credit"] for row in found["accounts"].values())
    checks = {
        "repeated_purchase_pays_once": found["repeated_purchase_pays_once"],
        "file_received_is_the_registered_model": found["file_received_is_the_registered_model"],
        "cheating_seller_lost": found["cheated_sale"] == "refunded",
        "leak_traced_to_the_second_licensee": found["traced_grant"] == found["leaking_grant"],
        "licence_and_bond_lost": found["licence_lost"] and found["slashed"] == _LICENSE["bond"],
        "refusals": all(found[name] == code for name, code in _REFUSALS.items()),
        "balances_add_up": found["supply"] == has - credits + found["vault"] == sum(_DEPOSITS.values()),
    }
    return {
        "right": all(checks.values()),
        "checks": checks,
        "refusals": {name: found[name] for name in _REFUSALS},
        "wrong_block": found["wrong_block"],
        "p_ours": found["p_ours"],
        "accounts": found["accounts"],
        "supply": found["supply"],
        "vault": found["vault"],
        "escrow": found["vault"] - credits,
        "seconds": seconds,
    }


def _describe(session: Session, summary: dict[str, Any], out: Path) -> str:
    yes_no = {True: session.tr("yes"), False: session.tr("no")}
    labels = {
        "repeated_purchase_pays_once": session.tr("a repeated purchase pays once"),
        "file_received_is_the_registered_model": session.tr("the file received is the registered model"),
        "cheating_seller_lost": session.tr("the cheating seller lost"),
        "leak_traced_to_the_second_licensee": session.tr("the leak was traced to the second licensee"),
        "licence_and_bond_lost": session.tr("licence and bond were lost by the ruling"),
        "refusals": session.tr("what had to be refused was refused"),
        "balances_add_up": session.tr("all balances add up"),
    }
    head = [
        session.tr(word) for word in ("party", "brought", "revenue", "royalty", "fee", "paid from escrow", "has now")
    ]
    rows = [
        [
            name,
            *(_money(row[column]) for column in ("brought", "revenue", "royalty", "fee", "payout")),
            _money(row["tokens"] + row["credit"]),
        ]
        for name, row in summary["accounts"].items()
    ]
    rows.append([session.tr("still in escrow"), *[""] * 5, _money(summary["escrow"])])
    checks = [(label, yes_no[summary["checks"][name]]) for name, label in labels.items()]
    facts = [(session.tr("time"), f"{summary['seconds']} s"), (session.tr("picture"), str(out / "who-got-what.svg"))]
    look = f"countermark -w {out / 'workspace'} --passphrase-file {out / 'passphrase'} history sale:1"
    closing = session.tr("The market is still there to look at: {command}", command=look)
    return f"\n{table(head, rows)}\n\n{card(checks)}\n\n{card(facts)}\n\n{closing}"


def _money(amount: int) -> str:
    return f"{amount // 100:,}.{amount % 100:02d}"


def _draw(session: Session, summary: dict[str, Any], out: Path) -> None:
    from countermark.cli.demo_chart import draw_credits

    labels = {
        "revenue": session.tr("revenue"),
        "royalty": session.tr("royalty"),
        "fee": session.tr("fee"),
        "payout": session.tr("paid from escrow"),
    }
    picture = draw_credits(session.tr("What everyone was credited on the market (CNY)"), summary["accounts"], labels)
    (out / "who-got-what.svg").write_text(picture, encoding="utf-8")
