"""A bundle in strangers' hands: what convinces them, and every way in which it must not."""

import hashlib
import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from countermark.bootstrap import open_office
from countermark.core.coding import encode
from countermark.core.dsse import read_unverified, sign_document
from countermark.errors import ConflictError, HostileFile, InputError, NotFoundError, VerificationError
from countermark.evidence.bundle import TRACE, Bundle, pack, unpack
from countermark.evidence.trust import Trust
from countermark.evidence.verification import SELF_CONSISTENT, STEPS, VERIFIED, Demand, verify
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.observations import LIST, recompute
from countermark.marking.reading import pool_digest
from countermark.workflows import bundle, check, keys, license, mark, register, trace

PASSPHRASE = "a passphrase for tests"


@pytest.fixture
def demand(case_office):
    return Demand(trust=case_office.trust, suspect=case_office.suspect, case="case 7", audience="court")


def failing_step(data, demand):
    with pytest.raises((VerificationError, HostileFile)) as caught:
        verify(data, demand)
    return caught.value.params["step_name"]


def forge(case_office, member, change, **statement_changes):
    """Change a member and sign the statement again with the office's own key: the office itself as the liar."""
    members = dict(unpack(case_office.bundle).members)
    if member is not None:
        body = json.loads(members[member])
        members[member] = json.dumps(change(body) or body).encode()
    statement = read_unverified(json.loads(members["statement.json"])) | statement_changes
    statement["members"] = Bundle(members).digests()
    with open_office(case_office.workspace, PASSPHRASE) as office:
        members["statement.json"] = json.dumps(sign_document(office.platform_key, "statement", statement)).encode()
    return pack(members)


def test_a_stranger_verifies(case_office, demand):
    steps = []
    verified = verify(case_office.bundle, demand, on_step=lambda *step: steps.append(step))
    assert verified.outcome == VERIFIED
    assert tuple(steps) == verified.steps
    assert [name for _, name, _ in steps] == [name for name, _ in STEPS["trace"]]
    assert verified.statement["coverage"]["covered"] is True
    assert verified.statement["p_ours"]["value"] < 1e-6
    assert verified.statement["p_innocent"]["corrected_for"] == {"identifiers": 1002, "words": LIST}
    assert verified.statement["read"] == "exact"
    assert set(verified.caveats) == {
        "ledger-self-attested", "licensee-key-held-by-office", "output-linked-by-likeness", "reading-not-repeated",
    }  # fmt: skip


@pytest.mark.parametrize("missing", ["trust", "suspect"])
def test_without_trust_or_suspect_it_is_only_self_consistent(case_office, demand, missing):
    assert verify(case_office.bundle, replace(demand, **{missing: None})).outcome == SELF_CONSISTENT


def test_verification_needs_no_workspace_no_network_and_no_heavy_library(case_office, tmp_path):
    (tmp_path / "case.zip").write_bytes(case_office.bundle)
    (tmp_path / "trust.json").write_text(json.dumps(case_office.trust.to_json()))
    program = f"""
        import socket, sys
        def refuse(*args, **kwargs): raise AssertionError("network")
        socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
        from countermark.evidence.trust import read_trust
        from countermark.evidence.verification import Demand, verify
        trust = read_trust(open("trust.json", "rb").read())
        print(verify(open("case.zip", "rb").read(), Demand(trust=trust, suspect="{case_office.suspect}")).outcome)
        print([m for m in ("torch", "web3", "eth", "sqlalchemy", "sqlite3", "scipy", "PIL") if m in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [VERIFIED, "[]"]


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"suspect": "sha256:" + "0" * 64}, "audience"),
        ({"case": "case 8"}, "audience"),
        ({"audience": "another court"}, "audience"),
        ({"alpha": 1e-300}, "presence"),
    ],
)
def test_a_replayed_bundle_or_a_stricter_verifier(case_office, demand, changes, step):
    assert failing_step(case_office.bundle, replace(demand, **changes)) == step


@pytest.mark.parametrize("name", sorted(TRACE.members.keys() - {"statement.json"}))
def test_every_member_is_bound_by_the_statement(case_office, demand, name):
    members = dict(unpack(case_office.bundle).members)
    members[name] = members[name][:-2] + bytes([members[name][-2] ^ 1]) + members[name][-1:]
    assert failing_step(pack(members), demand) in {"statement", "issuer"}


def edit(**changes):
    return lambda body: body.update(changes)


def edit_observation(body):
    body["observations"]["symbols"] = [-symbol for symbol in body["observations"]["symbols"]]


def drop_role(role):
    def change(body):
        del body["roles"][role]

    return change


def swap_roles(one, two):
    def change(body):
        body["roles"][one] = body["roles"][two]

    return change


def fake_entry(body):
    body["entries"][0]["entry"] = body["entries"][1]["entry"]


def fake_history(body):
    body["checkpoints"][0]["root"] = "00" * 32


def improved(words):
    return {"value": 1e-30, "corrected_for": {"words": words}}


LIES = [
    ("office-of-another", "issuer.json", edit(office="0" * 16), {}, "issuer"),
    ("another-chain", "issuer.json", edit(genesis_hash="0x00"), {}, "issuer"),
    ("history-rewritten", "history.json", fake_history, {}, "history"),
    ("history-left-out", "history.json", edit(checkpoints=[]), {}, "history"),
    ("anchor-left-out", "receipts.json", drop_role("anchor"), {}, "anchor"),
    ("another-anchor", "receipts.json", swap_roles("anchor", "grant"), {}, "anchor"),
    ("entry-swapped", "entries.json", fake_entry, {}, "entries"),
    ("licensee-renamed", "parties.json", lambda b: b["licensee"].update(name="North"), {}, "parties"),
    ("licensee-key-swapped", "parties.json", lambda b: b["licensee"].update(b["owner"]), {}, "parties"),
    ("licensee-swapped-on-ledger", "receipts.json", swap_roles("licensee", "owner"), {}, "parties"),
    ("title-of-another", None, None, {"title": 2}, "title"),
    ("offer-left-out", "receipts.json", drop_role("offer"), {}, "offer"),
    ("legal-text-swapped", "legal.json", edit(template="open/1"), {}, "offer"),
    ("grant-of-another", None, None, {"grant": 1}, "grant"),
    ("identifier-changed", "opening.json", edit(identifier="0" * 16), {}, "identifier"),
    ("salt-changed", "opening.json", edit(salt="00" * 32), {}, "identifier"),
    ("nonce-changed", "opening.json", edit(platform_nonce="00" * 32), {}, "identifier"),
    ("permutation-key-changed", "detection.json", edit(permutation_key="00" * 32), {}, "key"),
    ("fewer-keys-tried", "detection.json", edit(keys_tried=0), {}, "presence"),
    ("p-ours-improved", None, None, {"p_ours": {"value": 1e-200}}, "presence"),
    ("p-innocent-improved", None, None, {"p_innocent": improved(LIST)}, "attribution"),
    ("fewer-words-tried", None, None, {"p_innocent": improved(1)}, "attribution"),
    ("read-in-another-way", None, None, {"read": "soft"}, "attribution"),
    ("a-pool-of-one", None, None, {"pictures": [{"suspect": "sha256:" + "0" * 64, "examined": True}]}, "presence"),
    ("word-flipped", "detection.json", edit_observation, {}, "attribution"),
    ("fewer-identifiers", "receipts.json", swap_roles("issued", "grant"), {}, "attribution"),
    ("use-painted-black", None, None, {"coverage": {
        "covered": False, "reasons": ["expired"], "use": "publish", "territory": "CN", "at": "2026-11-21"},
    }, "coverage"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("member", "change", "statement", "step"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES]
)
def test_the_office_itself_cannot_lie_about(case_office, demand, member, change, statement, step):
    assert failing_step(forge(case_office, member, change, **statement), demand) == step


def test_a_forged_workspace_is_not_the_trusted_office(case_office, demand, second_office):
    """Same names, same model, same picture, in the end even the same issuer document: but other keys."""
    forged = second_office
    assert verify(forged.bundle, Demand()).outcome == SELF_CONSISTENT
    unsuspicious = replace(demand, suspect=None)
    assert failing_step(forged.bundle, unsuspicious) == "issuer"
    masked = forge(forged, "issuer.json", lambda _: case_office.trust.to_json(), office=case_office.trust.office)
    assert failing_step(masked, unsuspicious) == "statement"


def test_a_split_view_of_the_log_is_noticed(case_office, demand, tmp_path):
    """The office keeps two histories after a copy: one for the public, one for this case."""
    public, private = (case_office.copy_workspace(tmp_path / name) for name in ("public", "private"))
    with open_office(public, PASSPHRASE) as office:
        license.reserve_identifiers(office, 3)
        seen = keys.export_trust(office)
    with open_office(private, PASSPHRASE) as office:
        license.reserve_identifiers(office, 5)
        other = bundle.make_bundle(office, case_office.trace_id, case="case 7", audience="court")
    assert failing_step(other, replace(demand, trust=seen)) == "history"
    assert verify(other, demand).outcome == VERIFIED  # whoever saw only the common past cannot tell


def test_a_rotated_key_keeps_the_past_and_loses_the_future(case_office, demand, tmp_path):
    copy = case_office.copy_workspace(tmp_path / "office")
    with open_office(copy, PASSPHRASE) as office:
        retired = office.platform_key
        for role in ("platform", "log"):
            keys.rotate_key(office, role)
        after = keys.export_trust(office)
        newer = bundle.make_bundle(office, case_office.trace_id, case="case 7", audience="court")
    rotated = replace(demand, trust=after)
    assert verify(case_office.bundle, rotated).outcome == VERIFIED
    assert verify(newer, rotated).outcome == VERIFIED
    assert failing_step(newer, demand) == "statement"
    members = dict(unpack(newer).members)
    late = read_unverified(json.loads(members["statement.json"])) | {
        "platform_key": retired.public.text, "issued_at": "2031-01-01T00:00:00Z",
    }  # fmt: skip
    members["statement.json"] = json.dumps(sign_document(retired, "statement", late)).encode()
    assert failing_step(pack(members), rotated) == "statement"


def test_a_revoked_grant_did_not_cover_later_uses(case_office, demand, tmp_path):
    copy = case_office.copy_workspace(tmp_path / "office")
    with open_office(copy, PASSPHRASE) as office:
        license.revoke_grant(office, 2, "published elsewhere")
        (traced,) = trace.trace_files(office, [case_office.leak], use=trace.Use(scope="publish"))
        evidence = bundle.make_bundle(office, traced.id, case="case 7", audience="court")
    verified = verify(evidence, demand)
    assert verified.statement["coverage"]["covered"] is False
    assert verified.statement["coverage"]["reasons"] == ["revoked"]


def test_the_trust_file_round_trips(case_office):
    assert Trust.from_json(json.loads(json.dumps(case_office.trust.to_json()))) == case_office.trust


def test_an_expert_reads_the_suspect_again_with_the_disclosed_key(case_office, demand, tmp_path):
    from countermark.core.keys import Secret
    from countermark.evidence.rereading import read_embedding_key, reread
    from countermark.marking.image.files import read_pixels

    with open_office(case_office.copy_workspace(tmp_path / "office"), PASSPHRASE) as office:
        with pytest.raises(ConflictError):
            keys.disclose_key(office, 1, 0)  # still in use
        register.rotate_epoch(office, 1)
        key = read_embedding_key(json.dumps(keys.disclose_key(office, 1, 0)).encode())
        with pytest.raises(NotFoundError):
            keys.disclose_key(office, 1, 7)
        check.check_office(office)
    verified, pixels = verify(case_office.bundle, demand), read_pixels(case_office.leak)
    seen = reread(case_office.bundle, verified, [pixels], key)
    assert seen.significant(1e-6)
    with pytest.raises(VerificationError):
        reread(case_office.bundle, verified, [pixels], Secret.random())
    for wrong in ([pixels * 0 + 128], []):
        with pytest.raises(VerificationError):
            reread(case_office.bundle, verified, wrong, key)
    unchecked = verify(case_office.bundle, replace(demand, suspect=None))
    with pytest.raises(VerificationError):
        reread(case_office.bundle, unchecked, [pixels], key)
    for data in (b"{}", b"[]", b'{"format": "countermark.embedding-key/1", "key": "00"}'):
        with pytest.raises(InputError):
            read_embedding_key(data)


@pytest.fixture
def damaged_symbols(monkeypatch):
    """Every reading's symbols are drowned in noise in which no decoder finds the word, and a million licensees do."""
    detect = LatticeMark.detect

    def read(self, image):
        seen = detect(self, image)
        generator = np.random.Generator(np.random.PCG64(3))
        # Noise turned with the code word: the code is linear, so that every office's random word fares alike.
        symbols = encode(seen.word) * (1 + 1.9 * generator.normal(size=256))
        observations = {**seen.observations, "symbols": symbols.round(4).tolist()}
        words = recompute(observations).words
        assert seen.word not in words
        return replace(seen, word=words[0], words=words, observations=observations)

    monkeypatch.setattr(LatticeMark, "detect", read)


@pytest.mark.usefixtures("damaged_symbols")
def test_a_soft_read_is_stated_and_proves(case_office, demand, tmp_path):
    with open_office(case_office.copy_workspace(tmp_path / "office"), PASSPHRASE) as office:
        (traced,) = trace.trace_files(office, [case_office.leak])
        assert (traced.verdict, traced.read, traced.grant) == ("attributed", "soft", 2)
        assert traced.p_innocent["corrected_for"] == {"identifiers": 1002, "words": LIST, "readings": 1}
        evidence = bundle.make_bundle(office, traced.id, case="case 7", audience="court")
    verified = verify(evidence, demand)
    assert verified.outcome == VERIFIED
    assert verified.statement["read"] == "soft"
    assert verified.statement["p_innocent"]["value"] == pytest.approx(traced.p_innocent["value"])
    assert 1e-15 < traced.p_innocent["value"] < 1e-6
    soft = replace(case_office, bundle=evidence)
    assert failing_step(forge(soft, "detection.json", edit_observation), demand) == "attribution"
    counts = {"identifiers": 1002, "words": LIST, "readings": 0}
    lie = {"value": traced.p_innocent["value"], "corrected_for": counts}
    for change in ({"read": "exact"}, {"p_innocent": lie}):
        assert failing_step(forge(soft, None, None, **change), demand) == "attribution"


def test_a_pool_is_one_suspect_of_many_pictures(case_office, demand, tmp_path):
    from PIL import Image
    from skimage import data

    from countermark.core.keys import Secret
    from countermark.evidence.rereading import read_embedding_key, reread
    from countermark.marking.image.files import read_pixels

    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")
    Image.fromarray(data.coffee()).save(tmp_path / "coffee.png")
    with open_office(case_office.copy_workspace(tmp_path / "office"), PASSPHRASE) as office:
        (marked,) = mark.mark_images(office, 2, [tmp_path / "coffee.png"], tmp_path / "out")
        pool = [case_office.leak, marked.path, tmp_path / "broken.png"]
        traced = trace.trace_pool(office, pool)
        assert (traced.verdict, traced.grant, traced.output["is_identical"]) == ("attributed", 2, True)
        assert [each["examined"] for each in traced.pictures] == [True, True, False]
        assert traced.p_ours["corrected_for"]["pictures"] == 2
        for wrong in ([case_office.leak], [case_office.leak] * 2, [case_office.leak] * 101):
            with pytest.raises(InputError):
                trace.trace_pool(office, wrong)
        evidence = bundle.make_bundle(office, traced.id, case="case 7", audience="court")
        register.rotate_epoch(office, 1)
        key = read_embedding_key(json.dumps(keys.disclose_key(office, 1, 0)).encode())
        check.check_office(office)
    digests = [f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in pool]
    whole = replace(demand, suspect=pool_digest(digests[::-1]))
    verified = verify(evidence, whole)
    assert verified.outcome == VERIFIED
    assert "output-linked-by-likeness" not in verified.caveats
    for wrong in (case_office.suspect, pool_digest(digests[:2])):
        assert failing_step(evidence, replace(demand, suspect=wrong)) == "audience"
    pooled = replace(case_office, bundle=evidence)
    fewer = [{"suspect": digest, "examined": True} for digest in digests[:2]]
    for lie in (fewer, fewer[:1], []):
        assert failing_step(forge(pooled, None, None, pictures=lie), whole) == "presence"
    pictures = [read_pixels(path) for path in pool[:2]]
    assert reread(evidence, verified, pictures, key).significant(1e-6)
    with pytest.raises(VerificationError):
        reread(evidence, verified, pictures, Secret.random())


def test_marks_of_two_epochs_are_told_apart_and_both_prove(case_office, demand, tmp_path):
    copy, original = case_office.copy_workspace(tmp_path / "office"), case_office.workspace.parent / "astronaut.png"
    with open_office(copy, PASSPHRASE) as office:
        title = register.rotate_epoch(office, 1)
        (marked,) = mark.mark_images(office, 1, [original], tmp_path / "out")
        newer, older = trace.trace_files(office, [marked.path, case_office.leak])
        assert title.epoch == 1
        assert marked.output.key_id == title.key_id
        assert [(t.epoch, t.licensee_name, t.p_ours["corrected_for"]["keys"]) for t in (newer, older)] == [
            (1, "North", 2),
            (0, "South", 2),
        ]
        evidence = bundle.make_bundle(office, newer.id, case="case 7", audience="court")
        check.check_office(office)
    verified = verify(evidence, replace(demand, suspect=newer.suspect))
    assert verified.outcome == VERIFIED
    assert "output-linked-by-likeness" not in verified.caveats
