"""``countermark title valuation``: the record for booking a title as an asset, and what belongs to it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import current, read_file, write_file, write_json
from countermark.cli.shell import Command
from countermark.cli.text import card

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countermark.core.dsse import Envelope
    from countermark.valuation.costs import CostItem

_PATH = click.Path(path_type=Path)
_RECORD_LIMIT, _TRUST_LIMIT = 16 * 2**20, 2**20


@click.command("valuation", cls=Command)
@click.argument("number", metavar="TITLE", type=int)
@click.option("--cost", type=_PATH, metavar="FILE", help="What the title cost: YAML, or the declaration signed.")
@click.option("--from", "since", metavar="DATE", help="First day or moment; the registration by default.")
@click.option("--to", "until", metavar="DATE", help="First day or moment after the period; now by default.")
@click.option("--out", required=True, type=_PATH, metavar="FILE.json", help="Where to write the signed record.")
def valuation(number: int, cost: Path | None, since: str | None, until: str | None, out: Path) -> None:
    """Make the record for booking a title as an asset: prices, revenue, royalties, costs; signed by the office.

    Every line names its transaction on the ledger, and the totals are the sums of the lines. The record is the input
    for an opinion on value and is none. Beside FILE.json, FILE.en.md and FILE.zh.md are written for reading.

    Costs are a list of items with kind (data, compute, labor, licenses), from, to, amount in the smallest unit,
    currency, and the digest of what shows them. The holder signs them, here where its key is held.

    Example:
      countermark title valuation 1 --cost costs.yaml --from 2027-01-01 --to 2028-01-01 --out record.json
    """
    from countermark.cli.valuation_text import render
    from countermark.i18n import LANGUAGES
    from countermark.workflows.keys import describe_trust
    from countermark.workflows.valuation import make_valuation, open_valuation

    session, costs = current(), None if cost is None else _read_costs(cost)
    with session.office() as office:
        made = make_valuation(office, number, since=_time(since), until=_time(until), costs=costs)
        record, lines = open_valuation(made, describe_trust(office))
    write_json(out, made)
    for lang in LANGUAGES:
        write_file(out.with_suffix(f".{lang}.md"), render(record, lines, lang).encode())
    _answer(record, made, out)


@click.command("check-valuation", cls=Command)
@click.argument("path", metavar="FILE.json", type=_PATH)
@click.option("--trust", required=True, type=_PATH, metavar="FILE", help="The office's trust file.")
def check_valuation(path: Path, trust: Path) -> None:
    """Check a valuation record: the office's signature, the owner's on the costs, and every sum. Needs no workspace.

    That its lines are all that the ledger holds is the office's word, until they are compared with the ledger: each
    names its transaction.

    Example:
      countermark title check-valuation record.json --trust trust.json
    """
    from countermark.cli.license import read_document
    from countermark.cli.valuation_text import render
    from countermark.evidence.trust import read_trust
    from countermark.workflows.valuation import open_valuation

    session, believed = current(), read_trust(read_file(trust, limit=_TRUST_LIMIT))
    made = read_document(path, limit=_RECORD_LIMIT)
    record, lines = open_valuation(made, believed)
    session.answer("valuation", {"record": record}, render(record, lines, session.lang).rstrip())


@click.command("sign-costs", cls=Command)
@click.argument("costs", type=_PATH)
@click.option("--weights", required=True, metavar="sha256:…", help="The model's weights root (title show).")
@click.option("--key", required=True, type=_PATH, metavar="KEY.pem", help="Your signing key (party keygen).")
@click.option("--out", required=True, type=_PATH, metavar="FILE", help="Where to write the signed declaration.")
def sign_costs(costs: Path, weights: str, key: Path, out: Path) -> None:
    """Sign what a model cost, as the holder of its title with a key of its own. Needs no workspace.

    Example:
      countermark title sign-costs costs.yaml --weights sha256:6f1d… --key studio.pem --out costs.json
    """
    from countermark.bootstrap import load_party_key, utc_now
    from countermark.cli.terms import read_yaml
    from countermark.core.canonical import read_digest
    from countermark.valuation.costs import read_costs
    from countermark.workflows.valuation import declare_costs

    read_digest(weights)
    session = current()
    signed = declare_costs(read_costs(read_yaml(costs)), weights, load_party_key(key), at=utc_now())
    write_json(out, signed)
    text = session.tr("Signed declaration of costs: {path}", path=out)
    session.answer("costs", {"path": str(out), "declaration": signed}, text)


def _read_costs(path: Path) -> Envelope | Sequence[CostItem]:
    from countermark.cli.terms import read_yaml
    from countermark.valuation.costs import read_costs

    given = read_yaml(path)
    return given if isinstance(given, dict) and "payload" in given else read_costs(given)


def _answer(record: dict[str, Any], made: Envelope, out: Path) -> None:
    from countermark.standard_terms.parameters import say_amount

    session, sums, currency = current(), record["totals"]["all"], record["currency"]
    rows = [
        (session.tr("title"), f"{record['title']['id']}  ({record['title']['name']})"),
        (session.tr("period"), f"{record['period']['from']} - {record['period']['to']}"),
        (session.tr("payments"), str(sums["lines"])),
        (session.tr("shared out"), f"{say_amount(sums['amount'])} {currency}"),
        (session.tr("platform fee"), f"{say_amount(sums['fee'])} {currency}"),
        (session.tr("royalties"), f"{say_amount(sums['royalties'])} {currency}"),
        (session.tr("the title's own"), f"{say_amount(sums['own'])} {currency}"),
        (session.tr("grants in force"), str(record["grants"]["in_force"])),
        (session.tr("costs declared"), session.tr("no") if record["costs"] is None else session.tr("yes")),
        (session.tr("written to"), str(out)),
    ]
    session.answer("valuation", {"path": str(out), "record": record, "envelope": made}, card(rows))


def _time(text: str | None) -> datetime | None:
    from countermark.core.times import read_time

    return None if text is None else read_time(text)
