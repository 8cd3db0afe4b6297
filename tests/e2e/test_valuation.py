"""Valuation records of a model and of one derived from it, on a market where everything was sold once."""

from __future__ import annotations

import base64
import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from countermark.bootstrap import create_office, open_office, save_party_key
from countermark.cli.root import root
from countermark.core.dsse import sign_document
from countermark.core.keys import SigningKey
from countermark.errors import InputError, NotFoundError, ProofInvalid, SignatureInvalid
from countermark.evidence.trust import Trust
from countermark.licensing import Terms
from countermark.valuation.costs import read_costs
from countermark.valuation.lines import summary
from countermark.workflows import license, register
from countermark.workflows.check import check_office
from countermark.workflows.keys import export_trust
from countermark.workflows.market import money, sales
from countermark.workflows.office import Office
from countermark.workflows.valuation import declare_costs, make_valuation, open_valuation

PASSPHRASE = "a passphrase for tests"
START = datetime(2027, 1, 10, 12, tzinfo=UTC)
TERMS = {
    "name": "Everything", "scope": ["infer", "commercial"], "price": 10_001, "currency": "CNY", "duration_days": 60,
    "seats": 0, "resale": True, "territory": "worldwide", "revocable": True, "bond": 500, "renewable": True,
    "on_market": True, "revenue_share_bps": 1000, "resale_royalty_bps": 500,
}  # fmt: skip
COSTS = {
    "items": [
        {"kind": kind, "from": "2026-01-01", "to": "2026-07-01", "amount": amount, "currency": "CNY",
         "evidence": "sha256:" + "ab" * 32}
        for kind, amount in (("data", 5_000_000), ("compute", 12_345_678), ("labor", 1))
    ]
}  # fmt: skip


class Clock:
    """A clock that tests turn on."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(frozen=True)
class Traded:
    """The office after its trade, and what an outsider holds of it."""

    folder: Path
    clock: Clock
    trust: Trust
    key: SigningKey

    @contextlib.contextmanager
    def office(self) -> Iterator[Office]:
        with open_office(self.folder / "office", PASSPHRASE, clock=self.clock) as office:
            yield office

    def record(self, title: int, **options: Any) -> dict[str, Any]:
        with self.office() as office:
            return open_valuation(make_valuation(office, title, **options), self.trust)[0]


def write_model(folder: Path, seed: int) -> Path:
    values = np.random.default_rng(seed).normal(size=64).astype("<f4").tobytes()
    header = json.dumps({"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + values)
    return folder


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Traded:
    folder, clock, key = tmp_path_factory.mktemp("valuation"), Clock(), SigningKey.generate()
    create_office(folder / "office", PASSPHRASE, name="Test office", platform_fee_bps=250, clock=clock)
    with open_office(folder / "office", PASSPHRASE, clock=clock) as office:
        for name in ("Lin", "Kai"):
            register.add_party(office, name, ["owner"])
        register.add_party(office, "Mei", ["owner"])
        for name in ("Nord", "Sud"):
            register.add_party(office, name, ["licensee"])
        for name in ("Nord", "Sud", "Kai"):
            money.issue_money(office, name, 10_000_000, f"bank {name}")
        register.register_model(office, write_model(folder / "parent", 1), "Lin", derivatives=1000)
        register.register_model(office, write_model(folder / "child", 2), "Mei", parents=[(1, 1000)])
        trade(office, clock)
        trust = export_trust(office)
    return Traded(folder, clock, trust, key)


def trade(office: Office, clock: Clock) -> None:
    """Sell a licence of title 2, report on it, renew it, sell it on, grant one by hand, and sell the title."""
    offer = license.offer_terms(office, 2, Terms.from_json(TERMS))
    bought = sales.buy_license(office, offer.id, "Nord")
    grant = sales.deliver_license(office, bought["sale_id"])
    clock.turn(days=30)
    money.report_revenue(office, grant.id, since=clock() - timedelta(days=10), until=clock(), gross=777_777)
    sales.renew(office, grant.id)
    clock.turn(days=30)
    resale = sales.resell(office, grant.id, price=8_003, until=clock() + timedelta(days=1))
    sales.buy_grant(office, resale["sale_id"], "Sud")
    sales.deliver_license(office, resale["sale_id"])
    license.grant_to_held(office, offer.id, "Nord")
    clock.turn(days=1)
    sold = sales.sell_title(office, 2, price=1_000_003, until=clock() + timedelta(days=1), deed="I sell it.")
    sales.buy_title(office, sold["sale_id"], "Kai")
    clock.turn(hours=1)


def credited(office: Office, title: int) -> int:
    """What Revenue credited for a title, whoever got it, by the ledger's own words; without the platform's fee."""
    events = [event for event in office.index.named("Credited") if int(event.args["titleId"]) == title]
    return sum(int(event.args["amount"]) for event in events if int(event.args["reason"]) != 1)


def test_the_lines_are_what_was_credited(traded: Traded) -> None:
    child, parent = traded.record(2), traded.record(1)
    assert [line["kind"] for line in child["lines"]] == [
        "license-sale", "revenue-report", "renewal", "resale", "title-sale",
    ]  # fmt: skip
    assert {line["kind"] for line in parent["lines"]} == {"derivative-royalty"}
    assert [line["about"] for line in parent["lines"]] == [line["about"] for line in child["lines"]]
    with traded.office() as office:
        assert child["totals"]["all"]["own"] == credited(office, 2)
        assert parent["totals"]["all"]["own"] == credited(office, 1)
        check_office(office)
    assert child["ancestors"] == [{"title": 1, "royalties": parent["totals"]["all"]["own"]}]
    assert child["totals"]["all"]["royalties"] == parent["totals"]["all"]["own"]
    assert child["grants"] == {"ever": 3, "in_force": 2, "without_market": 1}
    assert child["withheld"] == {"withheld": 0, "released": 0, "forfeited": 0, "now": 0}


def test_amounts_follow_the_rates(traded: Traded) -> None:
    lines = {line["kind"]: line for line in traded.record(2)["lines"]}
    for kind, amount in (("license-sale", 10_001), ("renewal", 10_001), ("title-sale", 1_000_003)):
        line = lines[kind]
        assert (line["price"], line["amount"], line["fee"]) == (amount, amount, amount * 250 // 10_000)
        assert line["royalties"] == amount * 1000 // 10_000
    assert (lines["revenue-report"]["price"], lines["revenue-report"]["amount"]) == (777_777, 77_777)
    assert (lines["resale"]["price"], lines["resale"]["amount"], lines["resale"]["fee"]) == (8_003, 400, 0)
    assert lines["resale"]["seller_fee"] == 8_003 * 250 // 10_000


def test_periods_add_up(traded: Traded) -> None:
    middle = START + timedelta(days=45)
    whole, first, second = traded.record(2), traded.record(2, until=middle), traded.record(2, since=middle)
    assert first["lines"] + second["lines"] == whole["lines"]
    assert Counter(first["totals"]["all"]) + Counter(second["totals"]["all"]) == Counter(whole["totals"]["all"])
    paid = sum(row["royalties"] for part in (first, second) for row in part["ancestors"])
    assert paid == whole["totals"]["all"]["royalties"]
    assert list(whole["totals"]["by_month"]) == ["2027-01", "2027-02", "2027-03"]
    with traded.office() as office, pytest.raises(InputError, match="empty"):
        make_valuation(office, 2, since=middle, until=middle)
    with traded.office() as office, pytest.raises(NotFoundError):
        make_valuation(office, 3)


def test_costs_are_the_holders(traded: Traded) -> None:
    items = read_costs(COSTS)
    record = traded.record(2, costs=items)
    assert record["costs"]["totals"] == {
        "CNY": {"data": 5_000_000, "compute": 12_345_678, "labor": 1, "all": 17_345_679},
    }  # fmt: skip
    weights = record["title"]["weights"]
    with traded.office() as office:
        with office.store.transaction() as transaction:
            (kai,) = transaction.find("party", "Kai")
        key = SigningKey(office.keys.secret(f"party/{kai['id']}/signing"))
        make_valuation(office, 2, costs=declare_costs(items, weights, key, at=START))
        with pytest.raises(SignatureInvalid):
            make_valuation(office, 2, costs=declare_costs(items, weights, traded.key, at=START))
        with pytest.raises(InputError, match="another model"):
            make_valuation(office, 2, costs=declare_costs(items, "sha256:" + "00" * 32, key, at=START))


def test_a_changed_record_is_refused(traded: Traded) -> None:
    with traded.office() as office:
        made = make_valuation(office, 2, costs=read_costs(COSTS))
        record, lines = open_valuation(made, traded.trust)
        with pytest.raises(SignatureInvalid):
            open_valuation(sign_document(traded.key, "valuation", record), traded.trust)
        with pytest.raises(SignatureInvalid):
            open_valuation(sign_document(office.platform_key, "bundle", record), traded.trust)
        with pytest.raises(SignatureInvalid):
            open_valuation(made, replace(traded.trust, office="0" * 16))
        better = {**record, "lines": record["lines"] * 2}
        with pytest.raises(ProofInvalid):
            open_valuation(sign_document(office.platform_key, "valuation", better), traded.trust)
        cheaper = {**record, "costs": {**record["costs"], "totals": {}}}
        with pytest.raises(ProofInvalid):
            open_valuation(sign_document(office.platform_key, "valuation", cheaper), traded.trust)
    assert record["totals"] == summary(lines)


def test_the_commands_write_and_check_a_record(traded: Traded, tmp_path: Path) -> None:
    (tmp_path / "costs.yaml").write_text(yaml.safe_dump(COSTS))
    (tmp_path / "trust.json").write_text(json.dumps(traded.trust.to_json()))
    save_party_key(tmp_path / "key.pem", traded.key)
    weights = traded.record(2)["title"]["weights"]

    def run(*arguments: str, lang: str = "en", status: int = 0) -> str:
        env = {"COUNTERMARK_WORKSPACE": str(traded.folder / "office"), "COUNTERMARK_PASSPHRASE": PASSPHRASE}
        with contextlib.chdir(tmp_path):
            result = CliRunner().invoke(root, ["title", *arguments], env={**env, "COUNTERMARK_LANG": lang})
        assert result.exit_code == status, result.output
        return result.output

    period = ("--from", "2027-01-01", "--to", "2028-01-01")
    said = run("valuation", "2", "--cost", "costs.yaml", *period, "--out", "record.json")
    assert "costs declared   yes" in said
    english, chinese = ((tmp_path / f"record.{lang}.md").read_text(encoding="utf-8") for lang in ("en", "zh"))
    assert "| licence sold | 1 | 100.01 | 2.50 | 10.00 | 87.51 | 0.00 |" in english
    assert "| computing | CNY | 123,456.78 |" in english
    assert "本记录不是价值意见" in chinese
    assert "| 许可出售 | 1 | 100.01 | 2.50 | 10.00 | 87.51 | 0.00 |" in chinese
    assert run("check-valuation", "record.json", "--trust", "trust.json").strip() == english.strip()
    assert run("check-valuation", "record.json", "--trust", "trust.json", lang="zh").strip() == chinese.strip()
    run("sign-costs", "costs.yaml", "--weights", weights, "--key", "key.pem", "--out", "signed.json")
    refused = run("valuation", "2", "--cost", "signed.json", *period, "--out", "other.json", status=1)
    assert "signature-invalid" in refused
    assert not (tmp_path / "other.json").exists()
    record = json.loads((tmp_path / "record.json").read_text())
    payload = base64.b64decode(record["payload"]).replace(b'"currency":"CNY","', b'"currency":"EUR","')
    record["payload"] = base64.b64encode(payload).decode()
    (tmp_path / "record.json").write_text(json.dumps(record))
    run("check-valuation", "record.json", "--trust", "trust.json", status=1)
