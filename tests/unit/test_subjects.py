"""What events concern: the table against the contracts' ABI, and how its lines are read."""

from __future__ import annotations

import pytest

pytest.importorskip("web3")

from countermark.adapters.contracts import CONTRACTS, artefact
from countermark.adapters.subjects import SUBJECTS, arguments_of, subjects_of

OWNER, OTHER, NOBODY = ("0x" + digit * 40 for digit in "1a0")
OTHER = OTHER.replace("a", "A")


def events_of(contract):
    return {entry["name"]: entry for entry in artefact(contract)["abi"] if entry["type"] == "event"}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_event_of_the_abi_is_listed_with_arguments_that_it_has(contract):
    found = events_of(contract)
    assert set(SUBJECTS[contract]) == set(found)
    for name, entry in found.items():
        assert arguments_of(SUBJECTS[contract][name]) <= {item["name"] for item in entry["inputs"]}, name


def test_no_other_contract_is_listed():
    assert set(SUBJECTS) == set(CONTRACTS)


def test_what_something_begins_under_names_it_as_its_child():
    args = {"grantId": 3, "offerId": 2, "titleId": "1", "licensee": OTHER}
    begun = {"offer:2": "grant:3", "title:1": "grant:3", f"account:{OTHER.lower()}": "grant:3"}
    assert subjects_of("Grants", "Granted", args) == {"grant:3": None} | begun
    assert subjects_of("Grants", "Renewed", {"grantId": 3}) == {"grant:3": None}


@pytest.mark.parametrize(
    ("kind", "traded", "sold"),
    [
        (1, "title:9", "title:9"),
        (2, "offer:9", "grant:9"),
        (3, "grant:9", "grant:9"),
        (0, None, None),
        (9, None, None),
    ],
)
def test_a_sale_is_about_what_its_kind_says(kind, traded, sold):
    args = {"saleId": 4, "kind": kind, "subjectId": 9, "buyer": OWNER}
    assert [*subjects_of("Market", "Paid", args)] == ["sale:4", *([traded] if traded else []), f"account:{OWNER}"]
    assert subjects_of("Market", "Settled", args) == {"sale:4": None} | ({sold: "sale:4"} if sold else {})


@pytest.mark.parametrize(
    ("first", "rest", "word"),
    [
        (1, int(OTHER, 16), f"account:{OTHER.lower()}"),
        (2, 7, "title:7"),
        (3, 2**63, f"grant:{2**63}"),
        (4, 7, "sale:7"),
        (5, 7, "file-sale:7"),
        (6, 7, None),
    ],
)
def test_a_subject_on_the_ledger_is_read_by_its_first_byte(first, rest, word):
    subject = f"0x{first:02x}{rest:062x}"
    found = subjects_of("Members", "Held", {"subject": subject, "regulator": OWNER})
    assert list(found) == [*([word] if word else []), f"account:{OWNER}"]


def test_what_is_none_is_left_out_and_lists_count_each():
    assert subjects_of("ModelTitles", "Transfer", {"tokenId": 1, "from": NOBODY, "to": OWNER}) == {
        "title:1": None,
        f"account:{OWNER}": None,
    }
    splits = {"titleId": 1, "holder": OWNER, "accounts": [OWNER, OTHER]}
    assert list(subjects_of("Revenue", "SplitsSet", splits)) == [
        "title:1",
        f"account:{OWNER}",
        f"account:{OTHER.lower()}",
    ]
    assert subjects_of("Directory", "Activated", {"proposalId": 0}) == {}
    assert subjects_of("ModelTitles", "BatchMetadataUpdate", {}) == {}
    assert subjects_of("Nobody", "Nothing", {}) == {}
