"""Derived models, deeds and notices through the workflows: what is declared, who may, and what the records say then."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from countermark.bootstrap import create_office, open_office
from countermark.core.dsse import read_unverified
from countermark.core.keys import Secret, SigningKey
from countermark.core.times import read_time
from countermark.errors import (
    ConflictError,
    DerivativeRefused,
    GrantRevoked,
    InputError,
    KeystoreError,
    NotFoundError,
    OnHold,
    ProofInvalid,
    RightsError,
    SignatureInvalid,
    UndeclaredDerivative,
)
from countermark.evidence.policy import Demand
from countermark.evidence.verification import verify
from countermark.licensing import Terms
from countermark.workflows import bundle, check, keys, license, mark, register, trace
from countermark.workflows import title as titles
from countermark.workflows.market.holds import hold, release

PASSPHRASE = "a passphrase for tests"
TERMS = {
    "name": "Evaluation", "scope": ["infer", "publish"], "price": 0, "currency": "CNY", "duration_days": 30,
    "seats": 0, "resale": False, "territory": ["CN"], "revocable": True, "notice_hours": 96,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with two owners, a licensee, and a model of three tensors."""
    folder = tmp_path_factory.mktemp("title-office")
    create_office(folder / "office", PASSPHRASE, name="Office", platform_fee_bps=250, currency="EUR")
    with open_office(folder / "office", PASSPHRASE) as office:
        for name in ("Studio", "Atelier"):
            register.add_party(office, name, ["owner"])
        register.add_party(office, "North", ["licensee"])
        register.register_model(office, write_model(folder / "base", {"a": 1, "b": 2, "c": 3}), "Studio")
    return folder


@pytest.fixture
def office(made, tmp_path):
    import shutil

    shutil.copytree(made / "office", tmp_path / "office")
    with open_office(tmp_path / "office", PASSPHRASE) as opened:
        yield opened


def write_model(directory: Path, tensors: dict[str, int], size: int = 64) -> Path:
    """Write a model whose tensors' values follow from their seeds."""
    header, body = {}, b""
    for name, seed in tensors.items():
        values = np.random.default_rng(seed).normal(size=size).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": [size], "data_offsets": [len(body), len(body) + len(values)]}
        body += values
    encoded = json.dumps(header).encode()
    directory.mkdir(exist_ok=True)
    (directory / "model.safetensors").write_bytes(len(encoded).to_bytes(8, "little") + encoded + body)
    return directory


def add_model(office, folder, name, tensors, owner="Studio", **given):
    return register.register_model(office, write_model(folder / name, tensors), owner, **given)


def at(office, **offset):
    return replace(office, clock=lambda: datetime.now(UTC) + timedelta(**offset))


# Derived models.


def test_a_model_made_of_a_registered_one_is_declared_or_refused(office, tmp_path):
    tuned = {"a": 1, "b": 2, "head": 9}
    with pytest.raises(UndeclaredDerivative) as caught:
        add_model(office, tmp_path, "tuned", tuned, parents=[])
    assert (caught.value.params["title"], caught.value.params["share"]) == (1, "67%")
    assert "--derived-from 1:BPS" in caught.value.hint
    made = add_model(office, tmp_path, "tuned", tuned, parents=[(1, 500)], derivatives=300)
    assert (made.parents, made.derivatives) == ([{"title": 1, "bps": 500}], 300)
    assert read_unverified(made.registration)["parents"] == made.parents
    record = office.ledger.record("ModelTitles", "record", made.id)
    assert (record["derivative_bps"], record["derivatives_open"]) == (300, True)
    check.check_office(office)


def test_renamed_tensors_and_a_larger_model_around_them_hide_nothing(office, tmp_path):
    swallowed = {"x": 1, "y": 3, **{f"more{i}": 100 + i for i in range(20)}}
    with pytest.raises(UndeclaredDerivative):
        add_model(office, tmp_path, "large", swallowed)
    with pytest.raises(UndeclaredDerivative):
        add_model(office, tmp_path, "part", {"only": 2})


def test_half_of_the_tensors_is_not_most(office, tmp_path):
    add_model(office, tmp_path, "half", {"a": 1, "other": 7})


def test_a_declared_ancestor_need_not_be_a_parent(office, tmp_path):
    add_model(office, tmp_path, "child", {"a": 1, "b": 2, "x": 5}, parents=[(1, 0)])
    grandchild = {"a": 1, "b": 2, "x": 5, "y": 6}
    with pytest.raises(UndeclaredDerivative):
        add_model(office, tmp_path, "grandchild", grandchild, parents=[(1, 0)])
    add_model(office, tmp_path, "grandchild", grandchild, parents=[(2, 0)])


def test_siblings_need_not_name_each_other_for_what_both_have_from_their_parent(office, tmp_path):
    add_model(office, tmp_path, "first", {"a": 1, "b": 2, "c": 3, "x": 5}, parents=[(1, 0)])
    add_model(office, tmp_path, "second", {"a": 1, "b": 2, "c": 3, "y": 6}, parents=[(1, 0)])


def test_naming_small_parents_explains_nothing_away(office, tmp_path):
    """A model's tensors, laundered through registered models that each hold too few of them."""
    add_model(office, tmp_path, "one", {"a": 1, "p": 11, "q": 12})
    add_model(office, tmp_path, "two", {"b": 2, "r": 13, "s": 14})
    with pytest.raises(UndeclaredDerivative):
        add_model(office, tmp_path, "copy", {"a": 1, "b": 2}, parents=[(2, 0), (3, 0)])


def test_the_parents_holder_decides_who_else_derives(office, tmp_path):
    tuned, other = {"a": 1, "b": 2, "head": 9}, "Atelier"
    with pytest.raises(DerivativeRefused):
        add_model(office, tmp_path, "tuned", tuned, other, parents=[(1, 500)])
    titles.set_derivatives(office, 1, 400)
    with pytest.raises(DerivativeRefused):
        add_model(office, tmp_path, "tuned", tuned, other, parents=[(1, 399)])
    titles.set_derivatives(office, 1, None)
    weights = "sha256:" + register.digest_model(register.survey(tmp_path / "tuned")).content_root.hex()
    titles.approve_derivative(office, 1, weights, 250)
    made = add_model(office, tmp_path, "tuned", tuned, other, parents=[(1, 250)])
    assert office.ledger.view("ModelTitles", "royaltyStack", made.id) == [{"title_id": 1, "bps": 250}]
    check.check_office(office)


def test_what_cannot_be_declared(office, tmp_path):
    for parents, error in (([(1, 1), (1, 2)], InputError), ([(9, 1)], NotFoundError), ([(1, 5001)], InputError)):
        with pytest.raises(error):
            add_model(office, tmp_path, "new", {"new": 77}, parents=parents)


# Deeds.


def give(office, to="Atelier", text="sold to the atelier"):
    from countermark.workflows.office import party

    deed = titles.draft_deed(office, 1, to, text)
    with office.store.transaction() as transaction:
        key = office.party_key(party(transaction, deed["from"]))
    return titles.transfer_title(office, titles.sign_deed(deed, key))


def test_a_title_passes_by_deed_and_the_records_follow(office):
    from countermark.workflows.office import party

    moved = give(office)
    with office.store.transaction() as transaction:
        atelier = party(transaction, "Atelier")
        assert transaction.get("title", "1")["holder"] == atelier.id == moved["holder"]
    assert office.ledger.title(1).holder == atelier.address
    assert give(office, to="Studio")["previous"] == atelier.id
    check.check_office(office)


def test_the_deed_stays_in_the_workspace(office):
    from countermark.evidence import log
    from countermark.workflows.market.documents import document_behind

    give(office, text="for the famous Dr Li")
    digest = office.ledger.events("TitleAssigned")[0].args["deedDigest"]
    kept = document_behind(office, digest.hex())
    assert read_unverified(kept["body"]["deed"])["text"] == "for the famous Dr Li"
    with office.store.transaction() as transaction:
        assert b"Dr Li" not in b"".join(log.entries(transaction.tiles, 0, transaction.tiles.head().size))


def test_a_deed_that_is_not_the_holders_or_not_about_the_title_moves_nothing(office):
    from countermark.workflows.office import party

    deed = titles.draft_deed(office, 1, "Atelier", "sold")
    with office.store.transaction() as transaction:
        holder, other = (office.party_key(party(transaction, name)) for name in ("Studio", "Atelier"))
    with pytest.raises(InputError):
        titles.sign_deed(deed, other)
    for wrong, key in (
        (deed | {"from_key": other.public.text}, other),
        (deed | {"office": "0" * 16}, holder),
        (deed | {"weights": "sha256:" + "00" * 32}, holder),
        (deed | {"to_address": "0x" + "11" * 20}, holder),
    ):
        from countermark.workflows.office import sign

        with pytest.raises(SignatureInvalid):
            titles.transfer_title(office, sign(key, "deed", wrong))
    for to in ("North", "Studio"):
        with pytest.raises(InputError):
            titles.draft_deed(office, 1, to, "sold")
    signed = titles.sign_deed(deed, holder)
    titles.transfer_title(office, signed)
    with pytest.raises(SignatureInvalid):
        titles.transfer_title(office, signed)
    check.check_office(office)


def test_an_owner_with_a_key_of_its_own_signs_its_deed_elsewhere(office, tmp_path):
    key = SigningKey.generate()
    register.add_party(office, "Faraway", ["owner"], public_key=key.public)
    give(office, to="Faraway")
    deed = titles.draft_deed(office, 1, "Studio", "back again")
    moved = titles.transfer_title(office, titles.sign_deed(deed, key))
    assert moved["log_index"] > 0
    account = office.ledger.address_of(Secret(bytes([9]) * 32))
    register.add_party(office, "Farther", ["owner"], public_key=key.public, address=account)
    give(office, to="Farther")
    with pytest.raises(KeystoreError):
        titles.transfer_title(office, titles.sign_deed(titles.draft_deed(office, 1, "Studio", "no"), key))


def test_a_hold_stops_a_deed_until_it_is_released(office):
    register.add_party(office, "Authority", ["regulator"])
    hold(office, "Authority", "title:1", days=3, case="case 7", reason="ownership is contested")
    with pytest.raises(OnHold):
        give(office)
    release(office, "Authority", "title:1", reason="settled")
    give(office)


# Notices.


def test_a_notice_takes_effect_after_its_hours(office):
    offer = license.offer_terms(office, 1, Terms.from_json(TERMS))
    grant = license.grant_to_held(office, offer.id, "North")
    noticed = license.revoke_grant(office, grant.id, "unpaid")
    ends = read_time(noticed.revoked_at)
    assert timedelta(hours=95) < ends - datetime.now(UTC) <= timedelta(hours=96, seconds=1)
    license.usable_grant(office, grant.id, at=ends - timedelta(seconds=1))
    with pytest.raises(GrantRevoked):
        license.usable_grant(office, grant.id, at=ends)
    with pytest.raises(GrantRevoked):
        license.revoke_grant(office, grant.id, "again")
    assert license.withdraw_notice(office, grant.id).revoked_at is None
    license.usable_grant(office, grant.id, at=ends)
    with pytest.raises(ConflictError):
        license.withdraw_notice(office, grant.id)
    assert license.revoke_grant(office, grant.id, "still unpaid").revoked_at is not None
    assert check.check_office(office)["acts"] > 0


def test_terms_reach_the_ledger_as_conditions(office):
    terms = Terms.from_json(TERMS | {"resale": True, "resale_royalty_bps": 700, "bond": 55, "price": 12})
    offer = license.offer_terms(office, 1, terms)
    record = office.ledger.record("Grants", "offerRecord", offer.id)
    assert tuple(record["conditions"].values()) == terms.conditions()
    assert record["fee_bps"] == 250


# Evidence after a transfer.


@pytest.fixture
def leak(office, tmp_path):
    """Let the title pass on; license, mark and leak under the new holder; return the picture and its trace."""
    from PIL import Image

    give(office)
    picture = tmp_path / "astronaut.png"
    Image.fromarray(data.astronaut()).save(picture)
    offer = license.offer_terms(office, 1, Terms.from_json(TERMS))
    grant = license.grant_to_held(office, offer.id, "North")
    (marked,) = mark.mark_images(office, grant.id, [picture], tmp_path / "out")
    (traced,) = trace.trace_files(office, [marked.path], use=trace.Use(scope="publish", territory="CN"))
    return grant, traced


def test_a_bundle_proves_that_the_title_had_passed_to_the_licensor(office, leak):
    grant, traced = leak
    license.revoke_grant(office, grant.id, "breach")
    evidence = bundle.make_bundle(office, traced.id, case="c", audience="court")
    demand = Demand(trust=keys.export_trust(office), case="c", audience="court")
    assert verify(evidence, demand).statement["grant"] == grant.id


def test_a_bundle_without_the_assignment_is_refused(office, leak, monkeypatch):
    _, traced = leak
    monkeypatch.setattr(bundle._CaseFile, "_assignment", lambda case: case.title.transaction)
    evidence = bundle.make_bundle(office, traced.id, case="c", audience="court")
    with pytest.raises(ProofInvalid):
        verify(evidence, Demand(trust=keys.export_trust(office), case="c", audience="court"))


def test_a_transfer_needs_an_owner_in_force(office):
    from countermark.workflows.office import party

    with office.store.transaction() as transaction:
        address = party(transaction, "Atelier").address
    office.ledger.submit(office.ledger.prepare_call(office.account, "Members", "suspend", (address,)))
    with pytest.raises(RightsError):
        give(office)
