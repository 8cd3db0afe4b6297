"""The market through its commands: one story between parties who do not trust each other, in JSON and in words."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from countermark.cli.root import root
from countermark.cli.text import width
from countermark.core.times import show_time

PASSPHRASE = "correct horse battery"
TERMS = """
name: Catalogue pictures
scope: [infer, commercial, publish]
price: 250000
currency: CNY
duration_days: 365
seats: 0
resale: true
territory: worldwide
revocable: true
bond: 50000
notice_hours: 96
renewable: true
on_market: true
revenue_share_bps: 500
resale_royalty_bps: 1000
"""
PARTIES = {
    "Lin Studio": "owner",
    "母模型实验室": "owner",
    "Nord": "licensee",
    "Süd 机构": "licensee",
    "Regulator": "regulator",
    "Arbiter": "arbiter",
    "Second Arbiter": "arbiter",
    "Prof. Chen": "expert",
}
LIN, LAB, NORTH, SOUTH = list(PARTIES)[:4]
NOUNS = ("market", "money", "case", "hold", "history", "document")


@dataclass
class Desk:
    """A folder with a workspace, the commands run in it, and a clock that can be moved on."""

    folder: Path
    asked: set[str] = field(default_factory=set)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def run(self, *arguments: str, lang: str = "en", typed: str | None = None) -> Result:
        env = {
            "COUNTERMARK_WORKSPACE": str(self.folder / "office"),
            "COUNTERMARK_PASSPHRASE": PASSPHRASE,
            "COUNTERMARK_LANG": lang,
        }
        self.asked |= {name for name in NAMES if list(arguments[: len(name.split())]) == name.split()}
        with contextlib.chdir(self.folder):
            return CliRunner().invoke(root, arguments, env=env, input=typed)

    def ask(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """Run with --json and return the answer."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == status, result.output
        (line,) = result.stdout.splitlines()
        answer: dict[str, Any] = json.loads(line)
        assert answer["type"].startswith("countermark.")
        return answer

    def say(self, *arguments: str, lang: str = "en", status: int = 0) -> str:
        """Run for people and return what they read."""
        result = self.run(*arguments, lang=lang)
        assert result.exit_code == status, result.output
        return result.stdout + result.stderr

    def read(self, *arguments: str, lang: str = "en") -> str:
        """Run for people, and return what they read on one line."""
        return " ".join(self.say(*arguments, lang=lang).split())


def commands(command: click.Command, name: str) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield name
        return
    context = click.Context(command)
    for child in command.list_commands(context):
        member = command.get_command(context, child)
        assert member is not None
        yield from commands(member, f"{name} {child}".strip())


NAMES = [name for name in commands(root, "") if name.split()[0] in NOUNS]


def write_model(folder: Path, first: int, count: int = 256) -> None:
    """Write a model of one tensor whose values count up."""
    folder.mkdir()
    header = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    values = np.arange(first, first + count, dtype="<f4").tobytes()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + values)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The story: every act is done once here; the tests look at it."""
    desk = Desk(tmp_path_factory.mktemp("market"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("countermark.bootstrap.utc_now", desk.now)
        patch.setattr("countermark.adapters.keystore._stretch", _stretch_once())
        _open(desk)
        _trade(desk)
        _sell_files(desk)
        _cheat(desk)
        _hold(desk)
        _dispute(desk)
        yield desk


def _stretch_once() -> Callable[[str, dict[str, Any]], bytes]:
    """A passphrase takes most of the time of a command; two hundred commands need it once."""
    from countermark.adapters import keystore

    stretch, known = keystore._stretch, dict[str, bytes]()

    def once(passphrase: str, header: dict[str, Any]) -> bytes:
        key = f"{passphrase} {header['salt']}"
        if key not in known:
            known[key] = stretch(passphrase, header)
        return known[key]

    return once


def _open(desk: Desk) -> None:
    for name, first in (("parent", 0), ("model", 1000)):
        write_model(desk.folder / name, first)
    (desk.folder / "terms.yaml").write_text(TERMS)
    desk.ask("init", "--name", "Test Office", "--platform-fee", "250")
    for name, role in PARTIES.items():
        desk.ask("party", "add", name, "--role", role)
    desk.ask("register", "parent", "--owner", LAB, "--derivatives", "1000")
    desk.ask("register", "model", "--owner", LIN, "--derived-from", "1:1000")
    desk.ask("license", "offer", "2", "--terms", "terms.yaml")
    for number, name in enumerate((LIN, LAB, NORTH, SOUTH, "Test Office")):
        desk.ask("money", "issue", name, "2000000", "--reference", f"deposit {number}")


def _trade(desk: Desk) -> None:
    keep = desk.answers
    keep["list"] = desk.ask("market", "list")
    keep["paid"] = desk.ask("market", "buy", "license", "1", "--as", NORTH, "--order", "PO 1", "--yes")
    keep["paid again"] = desk.ask("market", "buy", "license", "1", "--as", NORTH, "--order", "PO 1", "--yes")
    keep["grant"] = desk.ask("market", "deliver", "1")
    desk.ask("market", "sell", "grant", "1", "--price", "200000", "--days", "14")
    desk.ask("market", "buy", "grant", "2", "--as", SOUTH, "--yes")
    keep["resold"] = desk.ask("market", "deliver", "2")
    keep["renewed"] = desk.ask("market", "renew", "2", "--yes")
    desk.ask("market", "buy", "license", "1", "--as", NORTH, "--yes")
    keep["refunded"] = desk.ask("market", "refund", "3")
    desk.ask("money", "splits", "2", f"{NORTH}:2500", f"{LAB}:1000")
    started = desk.now()
    desk.ahead += timedelta(days=1)
    period = ("--from", show_time(started), "--to", show_time(desk.now()))
    keep["report"] = desk.ask("money", "report", "2", *period, "--gross", "1000000", "--note", "first day")
    desk.ahead += timedelta(days=1)
    period = ("--from", period[3], "--to", show_time(desk.now()))
    keep["nothing earned"] = desk.ask("money", "report", "2", *period, "--gross", "0")


def _sell_files(desk: Desk) -> None:
    """An honest sale, and one that the service gives up."""
    keep = desk.answers
    desk.ask("market", "sell", "file", "2", "--price", "500000", "--bond", "100000", "--days", "30")
    keep["list with a file"] = desk.ask("market", "list")
    desk.ask("market", "file", "deliver", "1", "--grant", "2", "--model", "model", "--out", "package")
    keep["package"] = desk.ask("market", "file", "check", "1", "package")
    keep["sealed"] = desk.ask("market", "file", "show", "1")
    desk.ask("market", "file", "pay", "1", "--package", "package", "--yes")
    keep["too early"] = desk.ask("market", "file", "open", "1", "package", "--out", "never", status=2)
    desk.ask("market", "file", "reveal", "1")
    keep["opened"] = desk.ask("market", "file", "open", "1", "package", "--out", "bought")
    keep["no complaint"] = desk.ask("market", "file", "complain", "1", "package", "--block", "0", status=1)
    desk.ahead += timedelta(days=3)
    keep["settled file"] = desk.ask("market", "file", "settle", "1")
    desk.ask("market", "file", "deliver", "1", "--grant", "2", "--model", "model", "--out", "unwanted")
    keep["another package"] = desk.ask("market", "file", "check", "2", "package", status=1)
    desk.ask("market", "file", "abort", "2")


def _cheat(desk: Desk) -> None:
    """A marking service with a program of its own commits to other blocks than it seals."""
    from countermark.artifact.exchange import combine, seal
    from countermark.bootstrap import open_office
    from countermark.core.keys import Secret
    from countermark.workflows.market.files import commit_package

    keep, key = desk.answers, Secret(bytes(range(32)))
    write_model(desk.folder / "other", 5)
    silent = lambda _done, _total, _unit: None  # noqa: E731
    honest, other = (
        seal(desk.folder / name, desk.folder / f"sealed-{name}", key, progress=silent) for name in ("model", "other")
    )
    wrong = combine(honest, other, desk.folder / "wrong")
    with open_office(desk.folder / "office", PASSPHRASE) as office:
        commit_package(office, 1, 2, wrong, key)
    keep["before the cheat"] = desk.ask("money", "balance")
    desk.ask("market", "file", "pay", "3", "--package", "wrong", "--yes")
    desk.ask("market", "file", "reveal", "3")
    keep["wrong"] = desk.ask("market", "file", "open", "3", "wrong", "--out", "nothing", status=1)
    keep["wrong in words"] = {"said": desk.say("market", "file", "open", "3", "wrong", "--out", "nothing", status=1)}
    desk.ask("market", "file", "complain", "3", "wrong", "--block", str(keep["wrong"]["wrong_block"]))
    keep["after the cheat"] = desk.ask("money", "balance")
    keep["withdrawn"] = desk.ask("market", "file", "withdraw", "1")
    keep["still answers"] = desk.ask("market", "file", "withdraw", "1", status=1)


def _hold(desk: Desk) -> None:
    keep = desk.answers
    desk.ask("market", "sell", "title", "2", "--price", "900000", "--days", "30", "--deed", "Assignment")
    desk.ask("hold", "place", "title:2", "--as", "Regulator", "--days", "14", "--case", "R-1", "--reason", "in doubt")
    keep["held"] = desk.ask("hold", "show", "title:2")
    keep["refused"] = desk.ask("market", "buy", "title", "4", "--as", LAB, "--yes", status=1)
    desk.ask("hold", "lift", "title:2", "--as", "Regulator", "--reason", "shown")
    keep["free"] = desk.ask("hold", "show", "title:2")
    keep["title"] = desk.ask("market", "buy", "title", "4", "--as", LAB, "--yes")
    desk.ask("market", "sell", "title", "2", "--price", "1", "--days", "1", "--deed", "Never")
    desk.ask("market", "withdraw", "5")


def _dispute(desk: Desk) -> None:
    keep = desk.answers
    (desk.folder / "leak.txt").write_text("where it was found")
    about = ("--as", LAB, "--against", SOUTH, "--kind", "leak")
    keep["case"] = desk.ask("case", "open", "grant:2", *about, "--evidence", "leak.txt")
    desk.ask("case", "respond", "1", "--text", "It was published under another grant.")
    stated = desk.ask(
        "case", "statement", "1", "--expert", "Prof. Chen", "--schema", "image-trace/1", "--text", "The same word."
    )
    desk.ask("case", "retract", stated["statement_id"], "--expert", "Prof. Chen")
    remedies = ("--for", "claimant", "--remedy", "revoke", "--remedy", "slash")
    desk.ask("case", "rule", "1", "--as", "Arbiter", *remedies, "--text", "The mark is proven.")
    keep["early"] = desk.ask("case", "execute", "1", status=1)
    desk.ask("case", "appeal", "1", "--as", SOUTH, "--text", "Nobody read the licence.")
    desk.ask("case", "rule-appeal", "1", "--as", "Second Arbiter", *remedies, "--text", "Confirmed.")
    keep["executed"] = desk.ask("case", "execute", "1")
    keep["shown case"] = desk.ask("case", "show", "1")
    _dispute_the_title(desk)
    _dispute_a_notice(desk)


def _dispute_the_title(desk: Desk) -> None:
    """A tag won, its money withheld, and the tag lifted after a settlement."""
    about = ("--as", NORTH, "--against", LAB, "--kind", "ownership", "--evidence", "an older model of mine")
    desk.ask("case", "open", "title:2", *about)
    desk.ask("case", "respond", "2", "--text", "No.")
    desk.ask("case", "rule", "2", "--as", "Arbiter", "--for", "claimant", "--remedy", "tag", "--text", "Older.")
    desk.ahead += timedelta(days=15)
    desk.ask("case", "execute", "2")
    desk.answers["tagged"] = desk.ask("market", "sell", "title", "2", "--price", "5", "--days", "1",
                                      "--deed", "x", status=1)  # fmt: skip
    desk.ask("case", "untag", "2", "--as", NORTH, "--reason", "settled")


def _dispute_a_notice(desk: Desk) -> None:
    """A notice that a case stops, a case given up, one that nobody rules on, and a bond that returns."""
    desk.ask("market", "buy", "license", "1", "--as", NORTH, "--yes")
    grant = desk.ask("market", "deliver", "6")["id"]
    about = ("--as", NORTH, "--against", LAB, "--kind", "other", "--evidence", "no reason was given")
    desk.ask("case", "open", f"grant:{grant}", *about)
    desk.ask("license", "revoke", str(grant), "--reason", "unpaid")
    desk.ask("case", "stay", "3")
    desk.ask("case", "withdraw", "3")
    desk.ask("case", "open", f"grant:{grant}", *about)
    desk.ahead += timedelta(days=61)
    desk.ask("case", "lapse", "4")
    desk.ahead += timedelta(days=400)
    desk.answers["bond"] = desk.ask("market", "bond", str(grant))
    desk.answers["listing"] = desk.ask("market", "file", "withdraw", "1")


def test_what_is_on_sale_says_what_it_costs_and_who_gets_it(desk: Desk) -> None:
    (license_,) = desk.answers["list"]["on_sale"]
    assert (license_["kind"], license_["number"], license_["price"], license_["bond"]) == ("license", 1, 250000, 50000)
    assert (license_["fee"], license_["fee_bps"], license_["proceeds"]) == (6250, 250, 218750)
    assert [(royalty["title"], royalty["amount"]) for royalty in license_["royalties"]] == [(1, 25000)]
    said = desk.say("market", "list", lang="zh")
    assert "2,500.00 CNY (250000)" in said
    assert "Lin Studio" not in said, "the title has changed hands"
    assert LAB in said


def test_an_order_is_carried_out_once(desk: Desk) -> None:
    assert desk.answers["paid"] == desk.answers["paid again"]
    assert desk.answers["grant"]["licensee_name"] == NORTH


def test_what_a_quote_says_is_what_is_paid_out(desk: Desk) -> None:
    events = desk.ask("history", "sale:1")["events"]
    (settled,) = [event["facts"] for event in events if event["event"] == "Settled"]
    shown = desk.ask("market", "show", "1")
    assert (settled["fee"], settled["proceeds"]) == (shown["fee"], shown["proceeds"])
    assert settled["royalty"] == sum(royalty["amount"] for royalty in shown["royalties"])
    assert (shown["state"], shown["result"]) == ("settled", 1)


def test_a_resale_pays_the_title_first(desk: Desk) -> None:
    shown = desk.ask("market", "show", "2")
    assert [(royalty["title"], royalty["bps"], royalty["amount"]) for royalty in shown["royalties"]] == [
        (2, 1000, 20000)
    ]
    assert shown["proceeds"] == 200000 - 5000 - 20000
    assert (desk.answers["resold"]["id"], desk.answers["resold"]["licensee_name"]) == (2, SOUTH)
    said = desk.say("market", "show", "2")
    assert "grant 1, a licence of title 2, second-hand" in said


def test_refund_and_report_move_what_they_say(desk: Desk) -> None:
    assert desk.answers["refunded"]["amount"] == 300000
    assert (desk.answers["report"]["gross"], desk.answers["report"]["due"]) == (1000000, 50000)
    assert desk.answers["nothing earned"]["due"] == 0


def test_a_file_is_sold_unmarked_on_its_face_and_arrives_whole(desk: Desk) -> None:
    assert [each["kind"] for each in desk.answers["list with a file"]["on_sale"]] == ["license", "file"]
    sealed = desk.answers["sealed"]
    assert (sealed["mark"], sealed["state"], sealed["price"]) == ("unmarked", "delivered", 500000)
    assert sealed["plain_root"] == desk.answers["package"]["plain_root"]
    assert desk.answers["too early"]["code"] == "not-found"
    assert desk.answers["opened"]["wrong_block"] is None
    bought, master = (desk.folder / name / "model.safetensors" for name in ("bought", "model"))
    assert bought.read_bytes() == master.read_bytes()
    assert desk.answers["no complaint"]["code"] == "complaint-refused"
    assert desk.answers["settled file"]["proceeds"] == 500000 - 12500 - 50000
    assert desk.answers["another package"]["code"] == "manifest-mismatch"
    assert "unmarked: the weights carry no mark of this buyer" in desk.say("market", "file", "show", "1")
    assert "未加标记" in desk.say("market", "file", "show", "2", lang="zh")


def test_one_wrong_block_gives_the_buyer_price_and_bond(desk: Desk) -> None:
    block = desk.answers["wrong"]["wrong_block"]
    assert f"complain 3 wrong --block {block}" in desk.answers["wrong in words"]["said"]
    assert not (desk.folder / "nothing").exists()
    credit = [
        {each["name"]: each["tokens"] + each["credit"] for each in desk.answers[when]["balances"]}
        for when in ("before the cheat", "after the cheat")
    ]
    assert credit[1][SOUTH] - credit[0][SOUTH] == 500000
    assert credit[1]["Test Office"] == credit[0]["Test Office"]
    assert desk.ask("market", "file", "show", "3")["state"] == "refunded"
    assert f"Block {block} of file sale 3 was proven wrong." in desk.read("history", "file-sale:3")


def test_the_seller_answers_for_the_master_for_a_time(desk: Desk) -> None:
    assert desk.answers["withdrawn"]["bond"] == 0
    assert desk.answers["still answers"]["params"]["error"] == "BondNotFree"
    assert desk.answers["listing"]["bond"] == 100000


def test_a_hold_stops_a_sale_and_says_why(desk: Desk) -> None:
    assert desk.answers["held"]["held"] is True
    assert desk.answers["refused"]["code"] == "on-hold"
    assert desk.answers["free"] == {"type": "countermark.hold/1", "subject": "title:2", "held": False}
    told = desk.read("history", "title:2")
    assert "Regulator put a hold on title 2" in told
    assert "“in doubt”" in told


def test_a_ruling_moves_the_bond(desk: Desk) -> None:
    assert desk.answers["early"]["code"] == "out-of-time"
    assert desk.answers["executed"]["amount"] == 50000
    shown = desk.answers["shown case"]
    assert (shown["state"], shown["kind"], shown["remedies"]) == ("executed", "leak", ["revoke", "slash"])
    assert desk.ask("license", "show", "2")["state"] == "revoked"
    said = desk.say("case", "show", "1")
    assert "leak.txt sha256:" in said
    assert "“Confirmed.”" in said
    assert "the bond goes to the claimant" in said


def test_a_tag_stops_sales_until_it_is_lifted(desk: Desk) -> None:
    assert desk.answers["tagged"]["code"] == "title-in-dispute"
    states = [each["state"] for each in desk.ask("case", "list")["cases"]]
    assert states == ["executed", "executed", "withdrawn", "lapsed"]


def test_the_bond_comes_back_after_the_days_of_grace(desk: Desk) -> None:
    assert desk.answers["bond"]["amount"] == 50000


def test_money_is_claimed_redeemed_and_adds_up(desk: Desk) -> None:
    before = {each["name"]: each for each in desk.ask("money", "balance")["balances"]}
    for name, each in before.items():
        if each["credit"]:
            assert desk.ask("money", "claim", name)["amount"] == each["credit"]
    after = desk.ask("money", "balance")
    held = sum(each["tokens"] for each in after["balances"])
    assert after["currency"] == "CNY"
    assert held <= 5 * 2000000
    desk.ask("money", "redeem", "Test Office", "1000", "--reference", "payout 1")
    assert desk.ask("money", "redeem", "Test Office", "1000", "--reference", "payout 1")["amount"] == 1000
    assert desk.ask("money", "redeem", "Test Office", "999", "--reference", "payout 1", status=1)["code"] == "conflict"
    left = desk.ask("money", "balance", "Test Office")["balances"][0]["tokens"]
    assert left == next(each["tokens"] for each in after["balances"] if each["name"] == "Test Office") - 1000


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    "subject", ["title:1", "title:2", "offer:1", "grant:1", "grant:2", "sale:2", "sale:4", "case:1",
                "listing:1", "file-sale:1", "file-sale:3",
                f"account:{NORTH}", f"account:{SOUTH}", "account:Test Office"],
)  # fmt: skip
def test_every_history_reads_as_sentences(desk: Desk, subject: str, lang: str) -> None:
    told = desk.say("history", subject, lang=lang)
    assert all(width(line) <= 116 for line in told.splitlines())
    events = desk.ask("history", subject, "--all")["events"]
    assert all(event["sentence"].endswith((".", "。")) for event in events)
    assert len(events) >= told.count(", 0x") + told.count("，0x")


def test_a_document_is_shown_and_erased_for_good(desk: Desk) -> None:
    events = desk.ask("history", "title:2")["events"]
    (reason,) = [event["facts"]["reason_digest"] for event in events if event["event"] == "Released"]
    assert desk.ask("document", "show", reason)["body"]["reason"] == "shown"
    assert desk.ask("document", "erase", reason, status=2)["code"] == "input", "nobody could be asked"
    desk.ask("document", "erase", reason, "--yes")
    assert desk.ask("document", "show", reason, status=2)["code"] == "not-found"
    assert f"sha256:{reason.removeprefix('0x')}" in desk.read("history", "title:2")


def test_a_purchase_is_shown_and_agreed_to_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = desk.run("market", "buy", "license", "1", "--as", SOUTH)
    assert (nobody.exit_code, "--yes" in nobody.stderr) == (2, True)
    monkeypatch.setattr("countermark.cli.session._can_ask", lambda: True)
    declined = desk.run("market", "buy", "license", "1", "--as", SOUTH, typed="n\n")
    assert declined.exit_code == 3
    for words in ("2,500.00 CNY (250000)", "platform fee", "2.5 %", "royalty", "bond, comes back", "96 hours"):
        assert words in declined.stderr
    agreed = desk.run("market", "buy", "license", "1", "--as", SOUTH, lang="zh", typed="y\n")
    assert agreed.exit_code == 0
    assert "现须支付" in agreed.stderr
    assert "托管" in agreed.stdout


def test_tables_align_wide_characters(desk: Desk) -> None:
    for arguments in (("money", "balance"), ("case", "list"), ("market", "list")):
        head, rule, *rows = desk.say(*arguments, lang="zh").splitlines()
        starts = [at for at, sign in enumerate(rule) if sign == "-" and rule[at - 1] == " "]
        for line in (head, *rows):
            columns = "".join(sign * (2 if width(sign) == 2 else 1) for sign in line)
            assert all(columns[at - 1] == " " for at in starts if at < len(columns)), line


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["market", "buy", "license", "77", "--as", NORTH, "--yes"], 2, "not-found"),
        (["market", "buy", "license", "1", "--as", "Nobody", "--yes"], 2, "not-found"),
        (["market", "buy", "title", "1", "--as", LAB, "--yes"], 2, "input"),
        (["market", "deliver", "99"], 2, "not-found"),
        (["market", "refund", "1"], 1, "conflict"),
        (["market", "show", "99"], 2, "not-found"),
        (["market", "sell", "title", "2", "--price", "0", "--days", "1", "--deed", "x"], 2, "usage"),
        (["market", "sell", "grant", "99", "--price", "5", "--days", "1"], 2, "not-found"),
        (["market", "bond", "2"], 2, "not-found"),
        (["money", "issue", NORTH, "12.50", "--reference", "x"], 2, "usage"),
        (["money", "issue", NORTH, str(2**53), "--reference", "x"], 2, "input"),
        (["money", "issue", NORTH, "1", "--reference", "deposit 0"], 1, "conflict"),
        (["money", "splits", "2", "Nord"], 2, "input"),
        (["money", "splits", "2", "Nord:10001"], 2, "input"),
        (["money", "claim", "Arbiter"], 2, "not-found"),
        (["case", "open", "cow:1", "--as", LAB, "--against", NORTH, "--kind", "leak", "--evidence", "a b"], 2, "input"),
        (["case", "open", "grant:1", "--as", LAB, "--against", NORTH, "--kind", "leak", "--evidence", "x.zip"],
         2, "input"),
        (["case", "open", "grant:1", "--as", LAB, "--against", NORTH, "--kind", "theft", "--evidence", "a b"],
         2, "usage"),
        (["case", "show", "99"], 2, "not-found"),
        (["case", "rule", "1", "--as", NORTH, "--for", "claimant", "--text", "x"], 1, "conflict"),
        (["hold", "place", "title:2", "--as", NORTH, "--days", "1", "--case", "x", "--reason", "y"], 1, "rights"),
        (["hold", "place", "title:2", "--as", "Regulator", "--days", "91", "--case", "x", "--reason", "y"], 2, "input"),
        (["hold", "lift", "title:1", "--as", "Regulator", "--reason", "y"], 1, "conflict"),
        (["history", "title:99"], 2, "not-found"),
        (["history", "dance"], 2, "input"),
        (["document", "show", "00"], 2, "not-found"),
    ],
)  # fmt: skip
def test_errors_have_a_code_and_a_status(desk: Desk, arguments: list[str], status: int, code: str) -> None:
    answer = desk.ask(*arguments, status=status)
    assert (answer["type"], answer["code"]) == ("countermark.error/1", code)


def test_an_error_names_the_party(desk: Desk) -> None:
    assert desk.say("money", "claim", "Arbiter", status=2) == "error[not-found]: Arbiter has no credit to claim\n"
    assert desk.say("money", "claim", "Arbiter", lang="zh", status=2).startswith("错误[not-found]：Arbiter")


def test_every_command_was_asked(desk: Desk) -> None:
    assert set(NAMES) - desk.asked == set()
