"""The ledger's client: our contracts over web3.py, on the embedded chain or any Ethereum JSON-RPC chain.

A call is tried before it is signed, so that a refusal is found before anything is sent. The caller keeps the signed
bytes of ``prepare_call`` before it submits them, and submits the same bytes again after a crash: they are mined once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any

from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception

from countermark.adapters.contracts import artefact
from countermark.adapters.engine import Engine
from countermark.adapters.evm import EmbeddedEngine
from countermark.adapters.proofs import prove_receipt
from countermark.adapters.records import (
    AnchorRecord,
    Event,
    GrantRecord,
    MemberRecord,
    OfferRecord,
    Receipt,
    Role,
    TitleRecord,
)
from countermark.adapters.rpc import EngineProvider
from countermark.adapters.rpc_shapes import show_data
from countermark.adapters.transactions import account_of, addresses_of, deploy, guarded, read_address, read_turn, sign
from countermark.core.events import decode_event, name_of
from countermark.core.keys import Secret
from countermark.core.rlp import keccak256
from countermark.core.times import Clock
from countermark.core.trie import Log, read_hex
from countermark.errors import AdapterError, ConflictError, CountermarkError, LedgerError, NotFoundError, StaleNonce

_RECEIPT_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Deployment:
    """Which chain, and where our contracts stand on it (name to checksummed address)."""

    engine: str
    chain_id: int
    genesis_hash: str
    contracts: Mapping[str, str]


class Ledger:
    """Titles, grants, anchors and members of one deployment."""

    def __init__(self, web3: Web3, deployment: Deployment, engine: Engine | None = None) -> None:
        self.web3 = web3
        self._deployment = deployment
        self._engine = engine
        self._contracts = {
            name: web3.eth.contract(address=Web3.to_checksum_address(address), abi=artefact(name)["abi"])
            for name, address in deployment.contracts.items()
        }
        self._names = {address: name for name, address in deployment.contracts.items()}

    @classmethod
    def create(cls, path: Path, *, chain_id: int, treasury: Secret, clock: Clock) -> Ledger:
        """Create the embedded chain in a file and deploy the contracts; finishes what an interrupted call left.

        Args:
            path: the SQLite file.
            chain_id: of this chain (EIP-155), 1 to 2**53-1.
            treasury: account that holds all coin and becomes governor, registrar and anchorer.
            clock: gives block times.

        Raises:
            LedgerError: the file holds another workspace's chain.
            StorageError: the file cannot be used.
        """
        sender = account_of(treasury)
        raw = bytes.fromhex(sender.address[2:])
        engine = EmbeddedEngine.create(path, chain_id=chain_id, treasury=raw, clock=clock)
        try:
            deploy(Web3(EngineProvider(engine)), sender)
            return cls._over(engine)
        except BaseException:
            engine.close()
            raise

    @classmethod
    def open(cls, path: Path, *, clock: Clock) -> Ledger:
        """Open the embedded chain in a file.

        Raises:
            LedgerError: there is none, or its contracts are not (all) deployed.
            StorageError: the file cannot be used.
        """
        if not path.exists():
            raise LedgerError("no ledger at {path}", path=path.name)
        engine = EmbeddedEngine(path, clock)
        try:
            return cls._over(engine)
        except BaseException:
            engine.close()
            raise

    @classmethod
    def _over(cls, engine: EmbeddedEngine) -> Ledger:
        web3 = Web3(EngineProvider(engine))
        addresses = addresses_of(engine.treasury)
        for name, address in addresses.items():
            if not web3.eth.get_code(Web3.to_checksum_address(address)):
                raise LedgerError("contract {name} is not deployed", hint="Repeat: countermark init", name=name)
        genesis = web3.eth.get_block(0)["hash"].to_0x_hex()
        return cls(web3, Deployment("embedded", engine.chain_id, genesis, addresses), engine)

    @property
    def deployment(self) -> dict[str, Any]:
        """Return ``{"engine", "chain_id", "genesis_hash", "contracts": {name: address}}``, all JSON values.

        Engine ``embedded`` is self-attested: one sealer, no outside witness.
        """
        known = self._deployment
        return {
            "engine": known.engine,
            "chain_id": known.chain_id,
            "genesis_hash": known.genesis_hash,
            "contracts": dict(known.contracts),
        }

    def close(self) -> None:
        """Let go of the file."""
        if self._engine is not None:
            self._engine.close()

    def address_of(self, account: Secret) -> str:
        """Return the checksummed address of an account's secp256k1 key.

        Raises:
            InputError: not a valid private key (zero, or not below the group order).
        """
        return str(account_of(account).address)

    def prepare_call(
        self, sender: Secret, contract: str, function: str, args: tuple[Any, ...], value: int = 0
    ) -> bytes:
        """Try a call and return it as a signed EIP-1559 transaction; nothing is sent.

        Args:
            sender: the account that signs and pays.
            contract: name from ``CONTRACTS``.
            function: of its ABI.
            args: in order; ``bytes32`` as 32 bytes, addresses as text of 40 hex digits, checksummed or of one case.
            value: wei to send along.

        Raises:
            RightsError, ConflictError, InputError, NotFoundError: the contract's refusal, or a malformed argument.
            LedgerError: any other failure.
        """
        account, plain = account_of(sender), list(map(_plain, args))
        with guarded():
            data = self._contracts[contract].encode_abi(function, plain)
            target = self._contracts[contract].address
            return sign(self.web3, account, {"to": target, "data": data, "value": value})

    def submit(self, raw: bytes) -> Receipt:
        """Send a signed transaction, once however often it is called, and return its receipt when it is mined.

        Raises:
            StaleNonce: its turn is past or has not come; prepare the call again.
            RightsError, ConflictError, InputError, NotFoundError: refused when mined (the state had changed).
            LedgerError: any other failure.
        """
        transaction_hash = show_data(keccak256(raw))
        found = self._find(transaction_hash)
        if found is None:
            self._send(raw)
            found = self._await(transaction_hash)
        if found["status"] != 1:
            raise self._why_refused(transaction_hash)
        return self._show(found)

    def receipt(self, transaction_hash: str) -> Receipt:
        """Return the receipt of a mined transaction.

        Raises:
            NotFoundError: not mined.
        """
        found = self._find(transaction_hash)
        if found is None:
            raise NotFoundError("the ledger has no transaction {hash}", hash=transaction_hash)
        return self._show(found)

    def prove(self, transaction_hash: str) -> dict[str, Any]:
        """Return the offline proof of a receipt: what ``core.trie.verify_receipt`` reads, all JSON values.

        Raises:
            NotFoundError: not mined.
            LedgerError: the node's answers do not fit together.
        """
        with guarded():
            proof = prove_receipt(self.web3, transaction_hash)
        return proof | {"chain_id": self._deployment.chain_id, "genesis_hash": self._deployment.genesis_hash}

    def title(self, title: int) -> TitleRecord:
        """Return a title.

        Raises:
            NotFoundError: there is none.
        """
        record, holder = self._read("ModelTitles", "record", title), self._read("ModelTitles", "ownerOf", title)
        return TitleRecord(title, holder, *record)

    def title_of(self, weights_root: bytes) -> int | None:
        """Return the title of a set of weights, or None."""
        return int(self._read("ModelTitles", "titleOf", weights_root)) or None

    def offer(self, offer: int) -> OfferRecord:
        """Return an offer.

        Raises:
            NotFoundError: there is none.
        """
        return OfferRecord(offer, *self._read("Grants", "offerRecord", offer))

    def grant(self, grant: int) -> GrantRecord:
        """Return a grant.

        Raises:
            NotFoundError: there is none.
        """
        record, holder = self._read("Grants", "grantRecord", grant), self._read("Grants", "ownerOf", grant)
        return GrantRecord.of(grant, holder, record)

    def permitted(self, grant: int, at: int) -> bool:
        """Whether a grant was in force at a Unix time; False also for one that does not exist."""
        return bool(self._read("Grants", "permitted", grant, at))

    def identifiers_issued(self) -> int:
        """Return how many mark identifiers were ever committed: grants and batches, ended ones included."""
        return int(self._read("Grants", "identifiersIssued"))

    def latest_anchor(self, log_id: bytes) -> AnchorRecord | None:
        """Return the newest anchor of a log (32-byte id), or None."""
        size, anchored_at, root, checkpoint = self._read("Anchors", "latest", log_id)
        return AnchorRecord(log_id, size, root, checkpoint, anchored_at) if size else None

    def member(self, address: str) -> MemberRecord | None:
        """Return an account's record, suspended and expired ones included, or None for a stranger."""
        organization, key, roles, *rest = self._read("Members", "memberOf", read_address(address))
        return MemberRecord(address, organization, key, Role(roles), *rest) if roles else None

    def is_member(self, address: str, role: int) -> bool:
        """Whether an account holds every one of the role's bits now: admitted, not suspended, not past its time."""
        return bool(self._read("Members", "hasRole", read_address(address), int(role)))

    def events(self, name: str | None = None, *, from_block: int = 0) -> list[Event]:
        """Return our contracts' events in order, of one name or of all, from a block on."""
        with guarded():
            wanted: Any = {"fromBlock": from_block, "address": list(self._deployment.contracts.values())}
            logs = self.web3.eth.get_logs(wanted)
        return [event for event in self._events(logs) if name in (None, event.name)]

    def _read(self, contract: str, function: str, *args: Any) -> Any:
        with guarded():
            return self._contracts[contract].functions[function](*args).call()

    def _find(self, transaction_hash: str) -> Any:
        with guarded():
            try:
                return self.web3.eth.get_transaction_receipt(_hash(transaction_hash))
            except TransactionNotFound:
                return None

    def _await(self, transaction_hash: str) -> Any:
        with guarded():
            return self.web3.eth.wait_for_transaction_receipt(
                _hash(transaction_hash), timeout=_RECEIPT_TIMEOUT_S, poll_latency=0.2
            )

    def _show(self, found: Any) -> Receipt:
        with guarded():
            block = self.web3.eth.get_block(found["blockNumber"])
        return Receipt(
            transaction_hash=found["transactionHash"].to_0x_hex(),
            block_hash=found["blockHash"].to_0x_hex(),
            block_number=found["blockNumber"],
            timestamp=block["timestamp"],
            gas_used=found["gasUsed"],
            events=tuple(self._events(found["logs"])),
        )

    def _send(self, raw: bytes) -> None:
        try:
            self.web3.eth.send_raw_transaction(raw)
        except (Web3Exception, OSError) as error:
            sender, nonce = read_turn(raw)
            with guarded():
                due = self.web3.eth.get_transaction_count(Web3.to_checksum_address(sender))
            if nonce != due:
                raise StaleNonce(
                    "prepared as transaction {nonce} of the account, whose next is {due}", nonce=nonce, due=due
                ) from error
            raise LedgerError("the ledger did not take the transaction: {reason}", reason=error) from error

    def _why_refused(self, transaction_hash: str) -> CountermarkError:
        """Run a refused transaction again where it failed, to learn the reason. It is final: the nonce is used up."""
        final = ConflictError("transaction {hash} was refused when it was mined", hash=transaction_hash)
        try:
            with guarded():
                sent: Any = self.web3.eth.get_transaction(_hash(transaction_hash))
                call: Any = {name: sent[name] for name in ("from", "to", "value", "gas")} | {"data": sent["input"]}
                self.web3.eth.call(call, sent["blockNumber"] - 1)
        except CountermarkError as error:
            return final if isinstance(error, AdapterError) else error
        return final

    def _events(self, logs: Any) -> Iterator[Event]:
        for entry in logs:
            contract = self._names.get(entry["address"])
            log = Log(bytes.fromhex(entry["address"][2:]), tuple(map(bytes, entry["topics"])), bytes(entry["data"]))
            name = name_of(log.topics[0]) if contract and log.topics else None
            if contract and name:
                yield Event(
                    contract=contract,
                    name=name,
                    args=decode_event(name, log) or {},
                    block_number=entry["blockNumber"],
                    transaction_hash=entry["transactionHash"].to_0x_hex(),
                    log_index=entry["logIndex"],
                )


def _hash(text: str) -> Any:
    return HexBytes(read_hex(text, "transaction hash"))


def _plain(argument: Any) -> Any:
    """Return an argument as web3.py takes it: it thinks that flags such as ``Role`` are collections."""
    if isinstance(argument, IntFlag):
        return int(argument)
    return read_address(argument) if isinstance(argument, str) else argument
