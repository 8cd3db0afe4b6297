"""The client: creation, idempotence, stale turns, events, proofs."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from countermark.adapters.contracts import CONTRACTS
from countermark.adapters.evm import EmbeddedEngine
from countermark.adapters.ledger import Ledger
from countermark.adapters.records import Role
from countermark.core.keys import Secret
from countermark.core.trie import read_header, verify_receipt
from countermark.errors import (
    ConflictError,
    InputError,
    LedgerError,
    NotFoundError,
    ProofInvalid,
    StaleNonce,
    StorageError,
)

OFFICE = Secret(b"office".ljust(32, b"."))
CONDITIONS = (5000, 700, 86_400, 0, 3, 3600, 5, 0, 250, True, True, False, True, bytes([9]) * 32)


def word(text):
    return text.encode().rjust(32, b"\x01")


def batch(world, text):
    return world.ledger.prepare_call(OFFICE, "Grants", "commitBatch", (word(text), 1))


def test_creation_is_repeatable(tmp_path, world):
    path = tmp_path / "ledger.sqlite"
    first = Ledger.create(path, chain_id=7, treasury=OFFICE, clock=world.clock)
    deployment = first.deployment
    first.close()
    again = Ledger.create(path, chain_id=7, treasury=OFFICE, clock=world.clock)
    assert again.deployment == deployment == json.loads(json.dumps(deployment))
    assert again.web3.eth.block_number == len(CONTRACTS) + 1, "and the foundation"
    again.close()
    for chain_id, treasury in ((8, OFFICE), (7, Secret(b"thief".ljust(32, b".")))):
        with pytest.raises(LedgerError, match="another workspace"):
            Ledger.create(path, chain_id=chain_id, treasury=treasury, clock=world.clock)


@pytest.mark.parametrize("deployed", [0, 1, 3, len(CONTRACTS)])
def test_an_interrupted_creation_is_taken_up(tmp_path, world, monkeypatch, deployed):
    path = tmp_path / "ledger.sqlite"
    from countermark.adapters import transactions

    sent = []

    def sign_until_killed(*arguments):
        if len(sent) == deployed:
            raise KeyboardInterrupt
        sent.append(arguments)
        return sign(*arguments)

    sign = transactions.sign
    with monkeypatch.context() as patch:
        patch.setattr(transactions, "sign", sign_until_killed)
        with pytest.raises(KeyboardInterrupt):
            Ledger.create(path, chain_id=7, treasury=OFFICE, clock=world.clock)
    with pytest.raises(LedgerError, match="not founded" if deployed == len(CONTRACTS) else "not deployed"):
        Ledger.open(path, clock=world.clock)
    ledger = Ledger.create(path, chain_id=7, treasury=OFFICE, clock=world.clock)
    assert ledger.identifiers_issued() == 0
    assert ledger.web3.eth.block_number == len(CONTRACTS) + 1
    ledger.close()


def test_what_is_not_a_ledger_is_refused(tmp_path, world):
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger.open(tmp_path / "missing.sqlite", clock=world.clock)
    (tmp_path / "text.sqlite").write_text("not a database, but long enough to look at" * 50)
    with pytest.raises(StorageError):
        Ledger.open(tmp_path / "text.sqlite", clock=world.clock)
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger.open(tmp_path / "empty.sqlite", clock=world.clock)


def test_submitting_twice_mines_once(world):
    raw = batch(world, "a")
    first, height = world.ledger.submit(raw), world.ledger.web3.eth.block_number
    assert world.ledger.submit(raw) == first == world.ledger.receipt(first.transaction_hash)
    assert world.ledger.web3.eth.block_number == height
    assert world.ledger.identifiers_issued() == 1


def test_a_turn_that_was_taken_is_told_apart(world, capfd):
    first, second = batch(world, "a"), batch(world, "b")
    world.ledger.submit(first)
    with pytest.raises(StaleNonce):
        world.ledger.submit(second)
    world.ledger.submit(batch(world, "b"))
    assert capfd.readouterr() == ("", ""), "the engine keeps its complaints to itself"


def test_a_refusal_that_shows_only_when_mined_is_final_and_named(world, fresh_world):
    """Two accounts prepare while both calls would pass; only the first is mined well."""
    title = world.title()
    offer = world.offer(title, seats=1)
    raws = [
        world.ledger.prepare_call(world.secret("owner"), "Grants", "grant", tuple(world.grant_args(offer, "a"))),
        world.ledger.prepare_call(OFFICE, "Grants", "commitBatch", (word("a"), 1)),
    ]
    world.ledger.submit(raws[0])
    for _ in range(2):
        with pytest.raises(ConflictError) as caught:
            world.ledger.submit(raws[1])
        assert caught.value.params["error"] == "CommitmentUsed"


def test_two_processes_may_share_the_file(tmp_path, populated, world):
    path = tmp_path / "shared.sqlite"
    shutil.copy(populated, path)
    one, two = (Ledger.open(path, clock=world.clock) for _ in range(2))
    for number, ledger in enumerate((one, two, one, two)):
        ledger.submit(ledger.prepare_call(OFFICE, "Grants", "commitBatch", (word(str(number)), 1)))
    assert one.identifiers_issued() == two.identifiers_issued() == 4
    one.close(), two.close()


def test_writers_take_turns(tmp_path, populated, world):
    path = tmp_path / "shared.sqlite"
    shutil.copy(populated, path)

    def write(name):
        ledger = Ledger.open(path, clock=world.clock)
        for number in range(6):
            args = (world.address("office"), number % 2 == 0)
            ledger.submit(ledger.prepare_call(world.secret(name), "Grants", "setApprovalForAll", args))
        ledger.close()
        return name

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(write, ("owner", "licensee", "other"))) == ["licensee", "other", "owner"]
    ledger = Ledger.open(path, clock=world.clock)
    assert len(ledger.events("ApprovalForAll")) == 18
    ledger.close()


def test_the_same_transactions_at_the_same_times_give_the_same_blocks(tmp_path, world):
    """Replayed into a new file by another engine; every header is equal, so state, receipts and gas are too."""
    title = world.title()
    world.clock.turn(5)
    world.grant(world.offer(title), "a")
    original = world.ledger.web3.provider._engine
    blocks = [original.block(number) for number in range(original.height() + 1)]
    moments = iter([read_header(block.header).timestamp for block in blocks])
    replay = EmbeddedEngine.create(
        tmp_path / "replay.sqlite",
        chain_id=original.chain_id,
        treasury=original.treasury,
        clock=lambda: datetime.fromtimestamp(next(moments), UTC),
    )
    for block in blocks[1:]:
        replay.send_raw(*block.transactions)
    assert [replay.block(number) for number in range(replay.height() + 1)] == blocks
    replay.close()


def test_blocks_never_go_back_in_time(world):
    world.do("office", "Grants.commitBatch", word("a"), 1)
    before = world.clock.seconds
    world.clock.turn(-1000)
    receipt = world.do("office", "Grants.commitBatch", word("b"), 1)
    assert receipt.timestamp == before


@pytest.mark.parametrize("raw", [b"", b"\x02", b"\x02abc", b"\x01\xc0", bytes(100), b"\x02" + b"\xcc" + b"\x80" * 12])
def test_bytes_that_are_no_transaction_are_refused(world, raw):
    with pytest.raises((InputError, LedgerError)):
        world.ledger.submit(raw)


def test_a_tampered_transaction_is_refused(world):
    raw = bytearray(batch(world, "a"))
    raw[-40] ^= 1
    with pytest.raises((InputError, LedgerError)):
        world.ledger.submit(bytes(raw))
    assert world.ledger.identifiers_issued() == 0


def test_unknown_contracts_functions_and_transactions(world):
    with pytest.raises(LedgerError):
        world.ledger.prepare_call(OFFICE, "Grants", "burn", (1,))
    for arguments in ((b"short", 1), (word("a"), -1), (word("a"), 2**32), (word("a"),), (5, 1)):
        with pytest.raises(LedgerError):
            world.ledger.prepare_call(OFFICE, "Grants", "commitBatch", arguments)
    for ask in (world.ledger.receipt, world.ledger.prove):
        with pytest.raises(NotFoundError):
            ask("0x" + "11" * 32)


@pytest.mark.parametrize("text", ["", "0x12", "zz" * 20, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", "11" * 32])
def test_malformed_addresses_and_hashes_are_input_errors(world, text):
    for ask in (world.ledger.member, lambda address: world.ledger.is_member(address, Role.LICENSEE)):
        with pytest.raises(InputError, match="not an Ethereum address"):
            ask(text)
    with pytest.raises(InputError, match="not an Ethereum address"):
        world.ledger.prepare_call(OFFICE, "Members", "suspend", (text,))
    with pytest.raises((InputError, LedgerError, NotFoundError)):
        world.ledger.receipt(text)


def test_addresses_of_one_case_are_taken(world):
    address = world.address("licensee")
    assert world.ledger.member(address.lower()).roles == Role.LICENSEE
    world.do("office", "Members.suspend", address.lower())


def test_an_account_without_coin_cannot_send(world):
    poor = Secret(b"stranger".ljust(32, b"."))
    with pytest.raises(LedgerError, match="afford"):
        world.ledger.submit(
            world.ledger.prepare_call(poor, "Grants", "setApprovalForAll", (world.address("owner"), True))
        )


def test_events_come_in_order_and_by_name(world):
    title = world.title()
    height = world.ledger.web3.eth.block_number
    world.grant(world.offer(title), "a")
    names = [event.name for event in world.ledger.events(from_block=height)]
    registered = ["Transfer", "TitleRegistered", "KeyCommitted", "DerivativeTermsSet"]
    assert names == [*registered, "Offered", "Transfer", "Granted"]
    assert [event.contract for event in world.ledger.events("Transfer")] == ["ModelTitles", "Grants"]
    everything = world.ledger.events()
    assert [event.block_number for event in everything] == sorted(event.block_number for event in everything)
    with pytest.raises(NotFoundError):
        world.ledger.receipt(everything[-1].transaction_hash).event("Anchored")


def test_a_receipt_is_proven_offline(world):
    world.title()
    receipt = world.do("owner", "Grants.offer", 1, word("terms"), CONDITIONS)
    proof = json.loads(json.dumps(world.ledger.prove(receipt.transaction_hash)))
    verified = verify_receipt(proof)
    assert (verified.block_hash.hex(), verified.block_number) == (receipt.block_hash[2:], receipt.block_number)
    assert (verified.timestamp, verified.status) == (receipt.timestamp, 1)
    contracts = world.ledger.deployment["contracts"]
    assert verified.event("Offered", bytes.fromhex(contracts["Grants"][2:])) == receipt.event("Offered")
    for name, contract in (("Offered", "Anchors"), ("Revoked", "Grants")):
        with pytest.raises(ProofInvalid):
            verified.event(name, bytes.fromhex(contracts[contract][2:]))
    assert {proof[name] for name in ("chain_id", "genesis_hash")} == {
        world.ledger.deployment[name] for name in ("chain_id", "genesis_hash")
    }


@pytest.mark.parametrize("part", ["header", "receipt"])
def test_a_proof_with_any_byte_changed_fails_or_names_another_block(world, part):
    receipt = world.do("office", "Grants.commitBatch", word("a"), 1)
    proof = world.ledger.prove(receipt.transaction_hash)
    data = bytes.fromhex(proof[part][2:])
    for at in range(0, len(data), 7):
        changed = data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]
        try:
            verified = verify_receipt(proof | {part: f"0x{changed.hex()}"})
        except (InputError, ProofInvalid):
            continue
        assert part == "header"
        assert verified.block_hash.hex() != receipt.block_hash[2:]
