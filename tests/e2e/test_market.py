"""The market's verbs in one office: buyers with keys of their own, repeated commands, what happens behind its back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from countermark.bootstrap import create_office, open_office
from countermark.core.dsse import read_unverified
from countermark.core.keys import Secret, SigningKey
from countermark.errors import (
    ConflictError,
    GrantRevoked,
    InputError,
    KeystoreError,
    NotFoundError,
    OnHold,
    ShortPayment,
    SignatureInvalid,
    TermsViolated,
)
from countermark.licensing import Terms
from countermark.workflows import license as licenses
from countermark.workflows import market
from countermark.workflows.market.documents import document_behind, erase_document
from countermark.workflows.market.mirror import mirror
from countermark.workflows.office import Office, load
from countermark.workflows.register import add_party, forget_party, register_model

from .conftest import PASSPHRASE, TERMS, write_model

SELLABLE = TERMS | {
    "on_market": True, "resale": True, "bond": 1_000, "resale_royalty_bps": 1_000, "revenue_share_bps": 500,
    "renewable": True, "notice_hours": 96, "legal_text": None,
}  # fmt: skip
START = datetime(2027, 1, 4, 9, tzinfo=UTC)


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@dataclass
class World:
    office: Office
    clock: Clock
    folder: Path
    offer: int

    def grant(self, name: str = "North") -> int:
        sale = market.buy_license(self.office, self.offer, name)["sale_id"]
        return market.deliver_license(self.office, sale).id

    def money(self, name: str | None) -> int:
        return sum(market.balance(self.office, name).values())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market")
    create_office(folder / "office", PASSPHRASE, name="Test office", platform_fee_bps=200, clock=Clock())
    with open_office(folder / "office", PASSPHRASE, clock=Clock()) as office:
        add_party(office, "Atelier", ["owner"])
        for name in ("North", "South"):
            add_party(office, name, ["licensee"])
            market.issue_money(office, name, 1_000_000, f"deposit of {name}")
        add_party(office, "Watch", ["regulator"])
        add_party(office, "Judge", ["arbiter"])
        title = register_model(office, write_model(folder / "model", 1), "Atelier")
        licenses.offer_terms(office, title.id, Terms.from_json(SELLABLE))
    return folder


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Iterator[World]:
    import shutil

    shutil.copytree(template / "office", tmp_path / "office")
    clock = Clock(START + timedelta(minutes=5))
    with open_office(tmp_path / "office", PASSPHRASE, clock=clock) as office:
        yield World(office, clock, tmp_path, 1)


def test_a_purchase_is_paid_once_however_often_it_is_repeated(world: World) -> None:
    first = market.buy_license(world.office, 1, "North")
    assert market.buy_license(world.office, 1, "North") == first
    assert world.money("North") == 1_000_000 - 121_000
    grant = market.deliver_license(world.office, first["sale_id"])
    assert market.deliver_license(world.office, first["sale_id"]) == grant
    assert world.money("Atelier") == 120_000 - 2_400
    assert world.grant("South") == 2
    with pytest.raises(TermsViolated):  # the offer has two seats
        world.grant("South")


def test_an_order_is_carried_out_once_for_good(world: World) -> None:
    first = market.buy_license(world.office, 1, "North", order="invoice 7")
    market.deliver_license(world.office, first["sale_id"])
    assert market.buy_license(world.office, 1, "North", order="invoice 7") == first
    assert world.money("North") == 1_000_000 - 121_000


def test_a_refund_gives_price_and_bond_back_and_frees_the_buyer(world: World) -> None:
    first = market.buy_license(world.office, 1, "North")
    market.refund(world.office, first["sale_id"])
    assert world.money("North") == 1_000_000
    again = market.buy_license(world.office, 1, "North")
    assert again["sale_id"] != first["sale_id"]
    with pytest.raises(NotFoundError):
        market.deliver_license(world.office, first["sale_id"])


def test_a_buyer_with_keys_of_its_own_pays_from_its_own_account(world: World) -> None:
    office, key, account = world.office, SigningKey.generate(), Secret(b"\7" * 32)
    address = office.ledger.address_of(account)
    add_party(office, "East", ["licensee"], public_key=key.public, address=address)
    market.issue_money(office, "East", 500_000, "deposit of East")
    acceptance = licenses.accept(licenses.invite(office, 1, "East"), key, at=office.clock())
    with pytest.raises(KeystoreError) as refused:
        market.pay_license(office, acceptance)
    assert refused.value.params["data"].startswith("0x095ea7b3")  # approve(address,uint256)
    body = read_unverified(acceptance)
    vault = office.ledger.deployment["contracts"]["Revenue"]
    starts = int(datetime.fromisoformat(body["starts"]).timestamp())
    call = (1, licenses.acceptance_digest(body), starts, 120_000, 200)
    office.ledger.submit(office.ledger.prepare_call(account, "SettlementToken", "approve", (vault, 121_000)))
    paid = office.ledger.submit(office.ledger.prepare_call(account, "Market", "buyLicense", call)).event("Paid")
    other = licenses.accept(licenses.invite(office, 1, "East"), key, at=office.clock())
    with pytest.raises(SignatureInvalid):
        market.deliver_license(office, int(paid["saleId"]), acceptance=other)
    grant = market.deliver_license(office, int(paid["saleId"]), acceptance=acceptance)
    assert office.ledger.view("Grants", "ownerOf", grant.id) == address
    assert office.ledger.permitted(grant.id, int(world.clock().timestamp()))


def test_a_resale_ends_one_grant_and_names_the_next_licensee(world: World) -> None:
    office, grant = world.office, world.grant("North")
    sale = market.resell(office, grant, price=50_000, until=world.clock() + timedelta(days=3))["sale_id"]
    market.buy_grant(office, sale, "South")
    assert market.buy_grant(office, sale, "South")["sale_id"] == sale
    new = market.deliver_license(office, sale)
    with office.store.transaction() as transaction:
        old = load(transaction, "grant", grant)
    assert old["revoked_at"] is not None
    assert (new.licensee, new.identifier) != (old["licensee"], old["identifier"])
    assert new.expires == old["expires"]
    with pytest.raises(GrantRevoked):
        licenses.usable_grant(office, grant, at=world.clock())


def test_money_is_asked_for_before_anything_happens(world: World) -> None:
    add_party(world.office, "Poor", ["licensee"])
    with pytest.raises(ShortPayment):
        market.buy_license(world.office, 1, "Poor")
    market.issue_money(world.office, "Poor", 121_000, "deposit of Poor")
    assert world.grant("Poor") == 1
    with pytest.raises(InputError):
        market.issue_money(world.office, "Poor", 0, "nothing")
    with pytest.raises(InputError):
        market.issue_money(world.office, "Poor", 2**53, "too much")
    with pytest.raises(ConflictError):
        market.issue_money(world.office, "Poor", 5, "deposit of Poor")


def test_reported_revenue_is_shared_and_a_period_counts_once(world: World) -> None:
    grant, since = world.grant(), world.clock()
    world.clock.now += timedelta(days=10)
    before = world.money("Atelier")
    report: dict[str, Any] = {"since": since, "until": since + timedelta(days=9), "gross": 200_000}
    done = market.report_revenue(world.office, grant, **report)
    assert market.report_revenue(world.office, grant, **report) == done
    assert done["due"] == 10_000
    assert world.money("Atelier") - before == 10_000 - 200


def test_a_hold_stops_claims_and_sales_and_ends_by_itself(world: World) -> None:
    office, grant = world.office, world.grant()
    market.hold(office, "Watch", "account:Atelier", days=5, case="17", reason="who owns it?")
    with pytest.raises(OnHold):
        market.claim(office, "Atelier")
    with pytest.raises(OnHold):
        market.buy_license(office, 1, "South")
    held = market.standing_hold(office, "account:Atelier")
    assert held is not None
    assert document_behind(office, held["reason"])["body"]["reason"] == "who owns it?"
    erase_document(office, held["reason"])
    with pytest.raises(NotFoundError):
        document_behind(office, held["reason"])
    world.clock.now += timedelta(days=5)
    assert market.standing_hold(office, "account:Atelier") is None
    assert market.claim(office, "Atelier")["amount"] == 117_600
    assert office.ledger.permitted(grant, int(world.clock().timestamp()))


def test_a_notice_runs_for_96_hours_and_a_case_stays_it(world: World) -> None:
    office, grant = world.office, world.grant()
    licenses.revoke_grant(office, grant, "report missing")
    licenses.usable_grant(office, grant, at=world.clock() + timedelta(hours=95))
    with pytest.raises(GrantRevoked):
        licenses.usable_grant(office, grant, at=world.clock() + timedelta(hours=97))
    case = market.open_case(
        office, "North", f"grant:{grant}", "Atelier", kind="breach", evidence="the report was sent"
    )["case_id"]
    licenses.usable_grant(office, grant, at=world.clock() + timedelta(hours=97))
    market.respond(office, case, "it was not")
    market.rule(office, case, "Judge", upheld=True, text="It was.")
    world.clock.now += timedelta(days=15)
    market.execute(office, case)
    assert office.ledger.permitted(grant, int(world.clock().timestamp()))


def test_what_others_do_on_the_ledger_reaches_the_records(world: World) -> None:
    office, grant = world.office, world.grant()
    market.claim(office, "Atelier")  # a case costs a bond
    case = market.open_case(office, "Atelier", f"grant:{grant}", "North", kind="leak", evidence="a trace")["case_id"]
    market.respond(office, case, "no")
    market.rule(office, case, "Judge", upheld=True, remedies=["revoke", "slash"], text="Yes.")
    world.clock.now += timedelta(days=15)
    # Anybody may execute a ruling: here an account that this office knows nothing of.
    raw = office.ledger.prepare_call(office.account, "Disputes", "execute", (case,))
    office.ledger.submit(raw)
    assert mirror(office) >= 1
    with pytest.raises(GrantRevoked):
        licenses.usable_grant(office, grant, at=world.clock())
    with office.store.transaction() as transaction:
        before = load(transaction, "grant", grant)
    mirror(office, from_start=True)
    with office.store.transaction() as transaction:
        assert load(transaction, "grant", grant) == before


def test_a_renewal_moves_the_end_once(world: World) -> None:
    office, grant = world.office, world.grant()
    with office.store.transaction() as transaction:
        before = load(transaction, "grant", grant)["expires"]
    market.renew(office, grant, order="second month")
    market.renew(office, grant, order="second month")
    with office.store.transaction() as transaction:
        after = load(transaction, "grant", grant)["expires"]
    moved = datetime.fromisoformat(after) - datetime.fromisoformat(before)
    assert moved == timedelta(days=30)


def test_a_title_is_sold_with_everything_that_belongs_to_it(world: World) -> None:
    office = world.office
    add_party(office, "Gallery", ["owner"])
    market.issue_money(office, "Gallery", 800_000, "deposit of Gallery")
    sale = market.sell_title(office, 1, price=700_000, until=world.clock() + timedelta(days=3), deed="sold")["sale_id"]
    market.buy_title(office, sale, "Gallery")
    assert world.money("Atelier") == 700_000 - 14_000
    assert world.grant() == 1  # the offer stands, and its revenue is the new holder's
    assert world.money("Gallery") == 100_000 + 117_600


def test_a_name_is_erased_and_the_party_goes_on(world: World) -> None:
    erased = forget_party(world.office, "North")
    assert (erased.name, erased.name_salt) == (f"party {erased.id}", "")
    with pytest.raises(NotFoundError):
        market.balance(world.office, "North")
    with pytest.raises(ConflictError):
        forget_party(world.office, erased.id)
    grant = world.grant(erased.id)
    told = market.history(world.office, f"grant:{grant}")
    assert "North" not in str(told)
    world.office.index.rebuild()
    assert market.history(world.office, f"grant:{grant}") == told


def test_a_delivery_that_was_refused_takes_its_package_up_again(world: World, template: Path) -> None:
    office, folder, until = world.office, world.folder / "package", world.clock() + timedelta(days=9)
    listing = market.sell_file(office, 1, price=500, bond=0, until=until)["listing_id"]
    deliver = partial(market.deliver_file, office, listing, world.grant(), template / "model", folder)
    with pytest.raises(ShortPayment):  # the marking service answers with a bond, and has no money yet
        deliver()
    sealed = (folder / "package.json").read_bytes()
    market.issue_money(office, None, 1_000, "the office's own")
    sale = deliver()["sale_id"]
    assert (folder / "package.json").read_bytes() == sealed
    assert market.check_file(office, sale, folder).blocks >= 1
    with pytest.raises(ConflictError):  # one package, one sale
        deliver()
    assert market.balance(office, None)["tokens"] == 500
    other = register_model(office, write_model(world.folder / "other", 7), "Atelier")
    offer = licenses.offer_terms(office, other.id, Terms.from_json(TERMS | {"legal_text": None}))
    grant = licenses.grant_to_held(office, offer.id, "South")
    second = market.sell_file(office, other.id, price=500, bond=0, until=until)["listing_id"]
    with pytest.raises(ConflictError):  # the folder holds another model's package
        market.deliver_file(office, second, grant.id, world.folder / "other", folder)
