"""A valuation record for people: Markdown in either language, every amount with two decimals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from countermark.cli.text import plain
from countermark.i18n import tr
from countermark.standard_terms.parameters import say_amount
from countermark.valuation.lines import Line

Table = list[Sequence[object]]


def render(record: dict[str, Any], lines: Sequence[Line], lang: str) -> str:
    """Return a record as Markdown."""
    parts = [
        f"# {tr('Valuation record of title {title}', lang, title=record['title']['id'])}",
        _about(record, lang),
        f"## {tr('What it earned, by kind', lang)}",
        _sums(record["totals"], "by_kind", lang),
        f"## {tr('What it earned, by month', lang)}",
        _sums(record["totals"], "by_month", lang),
        f"## {tr('Prices', lang)}",
        _prices(lines, lang),
        f"## {tr('Every payment', lang)}",
        _lines(lines, lang),
        f"## {tr('Royalties paid to parent models', lang)}",
        _ancestors(record, lang),
        f"## {tr('Costs that the owner declares', lang)}",
        _costs(record, lang),
        f"## {tr('What this record is', lang)}",
        record["method"][lang].replace("\n", "\n\n"),
    ]
    return "\n\n".join(parts) + "\n"


def kind_name(kind: str, lang: str) -> str:
    """Return the name of a kind of income or of cost."""
    known = {
        "title-sale": tr("sale of the title", lang),
        "license-sale": tr("licence sold", lang),
        "renewal": tr("licence renewed", lang),
        "resale": tr("royalty on a resale", lang),
        "revenue-report": tr("share of a licensee's revenue", lang),
        "file-sale": tr("copy of the file sold", lang),
        "derivative-royalty": tr("royalty of a derived model", lang),
        "data": tr("data", lang),
        "compute": tr("computing", lang),
        "labor": tr("labour", lang),
        "licenses": tr("licences taken", lang),
        "all": tr("total", lang),
    }
    return known[kind]


def _about(record: dict[str, Any], lang: str) -> str:
    title, withheld, grants = record["title"], record["withheld"], record["grants"]
    rows: Table = [
        (tr("model", lang), title["name"]),
        (tr("weights", lang), title["weights"]),
        (tr("registered", lang), title["registered_at"]),
        (tr("period", lang), f"{record['period']['from']} - {record['period']['to']}"),
        (tr("made at", lang), record["issued_at"]),
        (tr("currency", lang), record["currency"]),
        (tr("ledger", lang), f"{record['ledger']['chain_id']}, {record['ledger']['genesis_hash']}"),
        (tr("grants in force", lang), grants["in_force"]),
        (tr("grants ever", lang), grants["ever"]),
        (tr("of them given without the market", lang), grants["without_market"]),
        (tr("withheld under a ruling, in all", lang), say_amount(withheld["withheld"])),
        (tr("of it released", lang), say_amount(withheld["released"])),
        (tr("of it forfeited", lang), say_amount(withheld["forfeited"])),
        (tr("of it withheld now", lang), say_amount(withheld["now"])),
    ]
    return _table(("", ""), rows)


def _sums(totals: dict[str, Any], by: str, lang: str) -> str:
    names = {**totals[by], "all": totals["all"]}
    rows: Table = [
        (
            key if by == "by_month" and key != "all" else kind_name(key, lang),
            row["lines"],
            *(say_amount(row[name]) for name in ("amount", "fee", "royalties", "own", "withheld")),
        )
        for key, row in names.items()
    ]
    return _table((tr("what", lang), tr("payments", lang), *_columns(lang)), rows)


def _columns(lang: str) -> tuple[str, ...]:
    return (
        tr("shared out", lang),
        tr("platform fee", lang),
        tr("royalties", lang),
        tr("the title's own", lang),
        tr("withheld of it", lang),
    )


def _prices(lines: Sequence[Line], lang: str) -> str:
    rows: Table = [
        (line.time, kind_name(line.kind, lang), line.about, say_amount(line.price), say_amount(line.seller_fee))
        for line in lines
        if line.kind not in ("revenue-report", "derivative-royalty")
    ]
    head = (
        tr("time", lang),
        tr("what", lang),
        tr("about", lang),
        tr("price", lang),
        tr("platform fee that a reseller bore", lang),
    )
    return _table(head, rows) if rows else tr("none", lang)


def _lines(lines: Sequence[Line], lang: str) -> str:
    rows: Table = [
        (
            line.time,
            kind_name(line.kind, lang),
            line.about,
            *(say_amount(getattr(line, name)) for name in ("amount", "fee", "royalties", "own", "withheld")),
            line.transaction,
        )
        for line in lines
    ]
    head = (tr("time", lang), tr("what", lang), tr("about", lang), *_columns(lang), tr("transaction", lang))
    return _table(head, rows) if rows else tr("none", lang)


def _ancestors(record: dict[str, Any], lang: str) -> str:
    rows: Table = [(each["title"], say_amount(each["royalties"])) for each in record["ancestors"]]
    return _table((tr("title", lang), tr("royalties", lang)), rows) if rows else tr("none", lang)


def _costs(record: dict[str, Any], lang: str) -> str:
    if record["costs"] is None:
        return tr("none declared", lang)
    rows: Table = [
        (kind_name(kind, lang), currency, say_amount(amount))
        for currency, sums in record["costs"]["totals"].items()
        for kind, amount in sums.items()
    ]
    return _table((tr("what", lang), tr("currency", lang), tr("amount", lang)), rows)


def _table(head: Sequence[str], rows: Table) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(plain(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
