"""What the office refuses: expired, revoked, early and foreign grants; wrong requests; unmarkable files."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

from countermark.bootstrap import create_office, load_party_key, open_office, save_party_key
from countermark.core.dsse import read_unverified, sign_document
from countermark.core.keys import SigningKey
from countermark.errors import (
    AlreadyRegistered,
    ConflictError,
    GrantExpired,
    GrantNotStarted,
    GrantRevoked,
    InputError,
    KeystoreError,
    NotFoundError,
    RightsError,
    SignatureInvalid,
    UnsupportedImage,
    WorkspaceBusy,
)
from countermark.licensing import Terms
from countermark.workflows import bundle, check, license, mark, register, trace

PASSPHRASE = "a passphrase for tests"


@pytest.fixture
def office(case_office, tmp_path):
    with open_office(case_office.copy_workspace(tmp_path / "copy"), PASSPHRASE) as opened:
        yield opened


@pytest.fixture
def picture(tmp_path):
    from skimage import data

    path = tmp_path / "cat.png"
    Image.fromarray(data.chelsea()).save(path)
    return path


def at(office, **offset):
    """Return the office with its clock moved."""
    from dataclasses import replace

    return replace(office, clock=lambda: datetime.now(UTC) + timedelta(**offset))


def test_expired_revoked_and_early_grants_cannot_be_used(office, picture, tmp_path):
    with pytest.raises(GrantExpired):
        mark.mark_images(at(office, days=31), 2, [picture], tmp_path / "out")
    with pytest.raises(GrantNotStarted):
        mark.mark_images(at(office, days=-1), 2, [picture], tmp_path / "out")
    license.revoke_grant(office, 2, "breach")
    with pytest.raises(GrantRevoked):
        mark.mark_images(office, 2, [picture], tmp_path / "out")
    with pytest.raises(GrantRevoked):
        license.revoke_grant(office, 2, "again")
    with pytest.raises(NotFoundError):
        mark.mark_images(office, 99, [picture], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_irrevocable_terms_and_full_seats(office):
    terms = Terms.from_json(read_terms(office) | {"revocable": False, "seats": 1})
    offer = license.offer_terms(office, 1, terms)
    grant = license.grant_to_held(office, offer.id, "North")
    with pytest.raises(RightsError):
        license.revoke_grant(office, grant.id, "why not")
    with pytest.raises(RightsError):
        license.grant_to_held(office, offer.id, "South")
    with office.store.transaction() as transaction:
        assert list(transaction.all("acceptance-held")) == []  # a later grant starts with a new window
    check.check_office(office)


def read_terms(office):
    with office.store.transaction() as transaction:
        return transaction.get("offer", "1")["terms"]


def test_the_same_weights_are_refused_with_the_earlier_title(office, case_office, tmp_path):
    with pytest.raises(AlreadyRegistered) as caught:
        register.register_model(office, case_office.workspace.parent / "model", "Atelier")
    assert caught.value.params["title"] == 1
    assert "1" in caught.value.hint


def test_parties_and_roles_are_checked(office, case_office):
    with pytest.raises(ConflictError):
        register.add_party(office, "North", ["licensee"])
    with pytest.raises(InputError):
        register.add_party(office, "West", ["king"])
    with pytest.raises(InputError):
        license.grant_to_held(office, 1, "Atelier")
    with pytest.raises(NotFoundError):
        license.grant_to_held(office, 1, "Nobody")


def test_a_request_counts_only_for_its_files_its_grant_and_its_signer(office, picture, tmp_path):
    with office.store.transaction() as transaction:
        from countermark.workflows.office import party

        north, south = party(transaction, "North"), party(transaction, "South")
    good = mark.request_marks(2, office.id, [picture], office.party_key(south), clock=office.clock)
    other = tmp_path / "other.png"
    Image.new("RGB", (300, 300), "gray").save(other)
    wrong = [
        mark.request_marks(2, office.id, [picture], office.party_key(north), clock=office.clock),
        mark.request_marks(1, office.id, [picture], office.party_key(south), clock=office.clock),
        mark.request_marks(2, "0" * 16, [picture], office.party_key(south), clock=office.clock),
        mark.request_marks(2, office.id, [other], office.party_key(south), clock=office.clock),
        mark.request_marks(2, office.id, [picture], office.party_key(south), clock=at(office, days=-2).clock),
    ]
    for request in wrong:
        with pytest.raises(SignatureInvalid):
            mark.mark_images(office, 2, [picture], tmp_path / "out", request=request)
    (marked,) = mark.mark_images(office, 2, [picture], tmp_path / "out", request=good)
    (again,) = mark.mark_images(office, 2, [picture], tmp_path / "out", request=good)
    assert marked.output == again.output  # the same file under the same grant has one entry
    assert marked.output.psnr_db > 38


def test_an_external_licensee_keeps_its_key(office, picture, tmp_path):
    key = SigningKey.generate()
    save_party_key(tmp_path / "key.pem", key)
    assert load_party_key(tmp_path / "key.pem").public == key.public
    with pytest.raises(ConflictError):
        save_party_key(tmp_path / "key.pem", key)
    address = "0x" + "12" * 20
    register.add_party(office, "Faraway", ["licensee"], public_key=key.public, address=address)
    with office.store.transaction() as transaction:  # the first seat of the offer
        assert transaction.get("grant", "1")
    license.revoke_grant(office, 1, "makes room")
    invitation = license.invite(office, 1, "Faraway")
    assert "nonce" not in invitation
    with pytest.raises(KeystoreError):
        license.grant_to_held(office, 1, "Faraway")
    with pytest.raises(InputError):
        license.accept(invitation, SigningKey.generate(), at=office.clock())
    acceptance = license.accept(invitation, key, at=office.clock())
    tampered = sign_document(key, "acceptance", read_unverified(acceptance) | {"expires": "2099-01-01T00:00:00Z"})
    with pytest.raises(SignatureInvalid):
        license.grant_license(office, tampered)
    grant = license.grant_license(office, acceptance)
    assert license.grant_license(office, acceptance) == grant
    with pytest.raises(KeystoreError):
        mark.mark_images(office, grant.id, [picture], tmp_path / "out")
    request = mark.request_marks(grant.id, office.id, [picture], key, clock=office.clock)
    (marked,) = mark.mark_images(office, grant.id, [picture], tmp_path / "out", request=request)
    (traced,) = trace.trace_files(office, [marked.path])
    assert (traced.licensee_name, traced.output["is_identical"]) == ("Faraway", True)
    check.check_office(office)


def test_files_that_cannot_be_marked_are_named_and_nothing_is_left(office, tmp_path):
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (300, 300)).save(clear)
    broken = tmp_path / "broken.png"
    broken.write_bytes(clear.read_bytes()[:100])
    small = tmp_path / "small.png"
    Image.new("RGB", (191, 300)).save(small)
    for path, error in ((clear, UnsupportedImage), (broken, InputError), (small, UnsupportedImage)):
        with pytest.raises(error, match=path.stem):
            mark.mark_images(office, 2, [path], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(InputError):
        mark.mark_images(office, 2, [], tmp_path / "out")
    with pytest.raises(InputError):
        mark.mark_images(office, 2, [clear], tmp_path)  # would overwrite the original


def test_a_batch_is_recorded_in_order_and_ends_at_what_cannot_be_marked(office, picture, tmp_path):
    """Files are marked in threads; those before a bad one stay, and of those after it nothing is left."""
    images = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(images):
        with Image.open(picture) as image:
            image.rotate(15 * number).save(path)
    whole = mark.mark_images(office, 2, images, tmp_path / "whole")
    entries = [each.output.log_index for each in whole]
    assert entries == sorted(entries)
    assert [each.path.name for each in whole] == [path.name for path in images]
    images[3].write_bytes(images[3].read_bytes()[:200])
    with pytest.raises(InputError, match=r"3\.png"):
        mark.mark_images(office, 2, images, tmp_path / "part")
    assert {path.name for path in (tmp_path / "part").iterdir()} == {"0.png", "1.png", "2.png"}
    assert [(tmp_path / "part" / f"{n}.png").read_bytes() == whole[n].path.read_bytes() for n in range(3)] == [True] * 3


def test_large_pictures_take_turns(office, picture, tmp_path, monkeypatch):
    monkeypatch.setattr(mark, "_LARGE", 0)
    with Image.open(picture) as image:
        image.rotate(90).save(tmp_path / "turned.png")
    marked = mark.mark_images(office, 2, [picture, tmp_path / "turned.png"], tmp_path / "out")
    assert [each.output.psnr_db > 38 for each in marked] == [True, True]


def test_the_other_answers_of_a_trace(office, case_office, picture, tmp_path):
    noise = tmp_path / "noise.png"
    noise.write_bytes(b"not a picture")
    tiny = tmp_path / "tiny.png"
    Image.new("RGB", (20, 20)).save(tiny)
    answers = trace.trace_files(office, [picture, noise, tiny])
    assert [answer.verdict for answer in answers] == ["nothing-found", "not-examined", "not-examined"]
    assert all(answer.grant is None for answer in answers)
    with pytest.raises(RightsError):
        bundle.make_bundle(office, answers[0].id, case="c", audience="a")
    for alpha in (0, 1):
        with pytest.raises(InputError):
            trace.trace_files(office, [picture], alpha=alpha)
    with pytest.raises(InputError):
        trace.trace_files(office, [case_office.leak], use=trace.Use(scope="fly"))


def test_a_mark_that_nobody_was_issued_is_found_but_not_attributed(office, picture, tmp_path):
    """A copy of a decoy's identifier, and one of no identifier at all."""
    import numpy as np

    from countermark.core.payload import permute
    from countermark.marking.image.lattice import LatticeMark
    from countermark.registry import Title

    with office.store.transaction() as transaction:
        title = Title.from_json(transaction.get("title", "1"))
    key = office.detection_key(title.weights_root, LatticeMark.METHOD, 0)
    pixels = np.asarray(Image.open(picture))
    Image.fromarray(LatticeMark(key.embedding).embed(pixels, permute(key.permutation, 5))).save(tmp_path / "x.png")
    (answer,) = trace.trace_files(office, [tmp_path / "x.png"])
    assert (answer.verdict, answer.reason) == ("not-attributable", "identifier-never-issued")


def test_one_process_at_a_time_and_only_with_the_passphrase(office, case_office, tmp_path, monkeypatch):
    import countermark.bootstrap as bootstrap

    monkeypatch.setattr(bootstrap, "_LOCK_SECONDS", 0.1)
    with pytest.raises(WorkspaceBusy), open_office(tmp_path / "copy", PASSPHRASE):
        pass
    with pytest.raises(KeystoreError), open_office(case_office.workspace, "another passphrase"):
        pass
    with pytest.raises(NotFoundError), open_office(tmp_path / "nowhere", PASSPHRASE):
        pass
    with pytest.raises(ConflictError):
        create_office(case_office.workspace, PASSPHRASE, name="again")


def test_a_store_restored_from_an_old_copy_signs_nothing(case_office, tmp_path):
    """The log and its signer's memory go back together; the ledger still knows better."""
    import shutil

    from countermark.errors import CheckpointInconsistent
    from countermark.workflows.anchor import anchor_log

    copy = case_office.copy_workspace(tmp_path / "office")
    with open_office(copy, PASSPHRASE) as office:
        license.reserve_identifiers(office, 2)
        anchor_log(office)
    shutil.copy(case_office.workspace / "store.db", copy / "store.db")
    for leftover in copy.glob("store.db-*"):
        leftover.unlink()
    with open_office(copy, PASSPHRASE) as office, pytest.raises(CheckpointInconsistent):
        anchor_log(office)


def test_an_interrupted_init_is_taken_up_again(tmp_path):
    from countermark.adapters.keystore import Keystore

    (tmp_path / "ws").mkdir()
    Keystore.create(tmp_path / "ws" / "keystore.json", PASSPHRASE)
    with pytest.raises(NotFoundError), open_office(tmp_path / "ws", PASSPHRASE):
        pass
    create_office(tmp_path / "ws", PASSPHRASE, name="Again")
    with open_office(tmp_path / "ws", PASSPHRASE) as office:
        assert check.check_office(office)["acts"] == 0


def test_no_name_of_a_person_reaches_log_or_ledger(office, case_office):
    """Personal data stays in the workspace; the log and the chain hold salted digests."""
    from countermark.evidence import log

    with office.store.transaction() as transaction:
        entries = b"".join(log.entries(transaction.tiles, 0, transaction.tiles.head().size))
    for name in (b"Atelier", b"North", b"South"):
        assert name not in entries
        assert name not in (case_office.workspace / "ledger.db").read_bytes()
    assert json.loads(entries[: entries.index(b"}") + 1])["type"] == "countermark.key/1"
