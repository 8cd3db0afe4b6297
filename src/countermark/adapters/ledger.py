"""The ledger's client: our contracts over web3.py, on the embedded chain or any Ethereum JSON-RPC chain.

The code is the same for both; only how a chain is opened differs. A call is tried before it is signed, so that a
refusal is found before anything is sent. The caller keeps the signed bytes of ``prepare_call`` before it submits them,
and submits the same bytes again after a crash: they are mined once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import IntFlag
from pathlib import Path
from typing import Any

from hexbytes import HexBytes
from web3 import Web3

from countermark.adapters.contracts import artefact, read_event, read_outputs
from countermark.adapters.delivery import Delivery
from countermark.adapters.deployment import (
    Deployment,
    check_contracts,
    check_joined,
    deploy_missing,
    read_chain,
    require_foundation,
)
from countermark.adapters.evm import EmbeddedEngine
from countermark.adapters.foundation import Foundation
from countermark.adapters.node import connect_node
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
from countermark.adapters.statements import sign_statement
from countermark.adapters.transactions import Dialect, account_of, addresses_of, deploy, guarded, read_address, sign
from countermark.core.keys import Secret
from countermark.core.statements import Statement
from countermark.core.times import Clock
from countermark.errors import AdapterError, ConflictError, CountermarkError, LedgerError, NotFoundError

_TIMEOUT_S = 20.0
_PATIENCE_S = 300.0
#: A new member's float for fees: on the embedded chain coin is worth nothing, elsewhere it is for this much gas.
_EMBEDDED_FLOAT_WEI = 10**18
_FLOAT_GAS = 20_000_000


class Ledger:
    """Titles, grants, anchors and members of one deployment."""

    def __init__(
        self, web3: Web3, deployment: Deployment, dialect: Dialect, delivery: Delivery, close: Callable[[], None]
    ) -> None:
        self.web3 = web3
        self._deployment = deployment
        self._dialect = dialect
        self._delivery = delivery
        self._close = close
        self._contracts = {
            name: web3.eth.contract(address=Web3.to_checksum_address(address), abi=artefact(name)["abi"])
            for name, address in deployment.contracts.items()
        }
        self._names = {address: name for name, address in deployment.contracts.items()}

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        chain_id: int,
        treasury: Secret,
        clock: Clock,
        platform_fee_bps: int = 0,
        currency: str = "CNY",
    ) -> Ledger:
        """Create the embedded chain in a file, deploy and found the contracts; finishes what an interrupted call left.

        Args:
            path: the SQLite file.
            chain_id: of this chain (EIP-155), 1 to 2**53-1.
            treasury: account that holds all coin and becomes governor, registrar, anchorer, treasurer and marker.
            clock: gives block times.
            platform_fee_bps: basis points of a price that go to the treasury, 0 to 1,000.
            currency: symbol of the settlement token, 3 to 12 capitals and digits.

        Raises:
            InputError: a fee or a currency out of range.
            LedgerError: the file holds another workspace's chain.
            StorageError: the file cannot be used.
        """
        foundation = Foundation(platform_fee_bps=platform_fee_bps, currency=currency)
        sender = account_of(treasury)
        raw = bytes.fromhex(sender.address[2:])
        engine = EmbeddedEngine.create(path, chain_id=chain_id, treasury=raw, clock=clock)
        try:
            deploy(Web3(EngineProvider(engine)), sender, Dialect(chain_id), foundation)
            return cls._over(engine)
        except BaseException:
            engine.close()
            raise

    @classmethod
    def open(cls, path: Path, *, clock: Clock) -> Ledger:
        """Open the embedded chain in a file.

        Raises:
            LedgerError: there is none, or its contracts are not (all) deployed, or not founded.
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
        require_foundation(web3, addresses)
        genesis = web3.eth.get_block(0)["hash"].to_0x_hex()
        deployment = Deployment("embedded", engine.chain_id, genesis, addresses)
        return cls(web3, deployment, Dialect(engine.chain_id), Delivery(web3), engine.close)

    @classmethod
    def deploy(
        cls,
        url: str,
        *,
        treasury: Secret,
        platform_fee_bps: int = 0,
        currency: str = "CNY",
        known: Mapping[str, Any] | None = None,
        record: Callable[[dict[str, Any]], None] = lambda _deployment: None,
        confirmations: int = 0,
        timeout_s: float = _TIMEOUT_S,
        patience_s: float = _PATIENCE_S,
    ) -> Ledger:
        """Deploy and found the contracts on the chain of a node, or finish what an interrupted call left.

        Args:
            url: of the node's JSON-RPC.
            treasury: account that pays and becomes governor, registrar, anchorer, treasurer and marker.
            platform_fee_bps: basis points of a price that go to the treasury, 0 to 1,000.
            currency: symbol of the settlement token, 3 to 12 capitals and digits.
            known: what ``record`` was given last, after an interruption.
            record: keeps the unfinished ``deployment`` durably.
            confirmations: how many blocks must stand on a transaction's own before it counts.
            timeout_s: for one answer of the node.
            patience_s: for one transaction to become final.

        Raises:
            InputError: not an HTTP address, not a deployment, or a fee or a currency out of range.
            LedgerError: another chain than the known one, no coin for the fees, or a refusal.
            NetworkError: the node is away.
        """
        foundation = Foundation(platform_fee_bps=platform_fee_bps, currency=currency)
        web3, delivery, close = _reach(url, confirmations, timeout_s, patience_s)
        try:
            chain, dialect = read_chain(web3, Deployment.from_json(known) if known else None)
            record(chain.to_json())
            chain = deploy_missing(web3, account_of(treasury), chain, dialect, delivery, foundation, record)
            return cls(web3, chain, dialect, delivery, close)
        except BaseException:
            close()
            raise

    @classmethod
    def connect(
        cls,
        url: str,
        deployment: Mapping[str, Any],
        *,
        confirmations: int = 0,
        timeout_s: float = _TIMEOUT_S,
        patience_s: float = _PATIENCE_S,
    ) -> Ledger:
        """Open a deployment over a node of its chain. Arguments as of ``deploy``.

        Raises:
            InputError: not an HTTP address, or not a deployment.
            LedgerError: the node serves another chain, or other contracts than ours stand there, or not founded.
            NetworkError: the node is away.
        """
        web3, delivery, close = _reach(url, confirmations, timeout_s, patience_s)
        try:
            chain, dialect = read_chain(web3, Deployment.from_json(deployment))
            check_contracts(web3, chain)
            return cls(web3, chain, dialect, delivery, close)
        except BaseException:
            close()
            raise

    @classmethod
    def join(cls, url: str, deployment: Mapping[str, Any], *, confirmations: int = 0) -> Ledger:
        """Open another office's deployment, having checked it; nothing is deployed. Arguments as of ``deploy``.

        Raises:
            InputError: not an HTTP address, or not a deployment.
            LedgerError: the node serves another chain, other contracts than ours stand there or are in force, or the
                deployment is not founded.
            NetworkError: the node is away.
        """
        web3, delivery, close = _reach(url, confirmations, _TIMEOUT_S, _PATIENCE_S)
        try:
            chain, dialect = read_chain(web3, Deployment.from_json(deployment))
            check_joined(web3, chain)
            return cls(web3, chain, dialect, delivery, close)
        except BaseException:
            close()
            raise

    @property
    def deployment(self) -> dict[str, Any]:
        """Return ``{"engine", "chain_id", "genesis_hash", "contracts": {name: address}}``, all JSON values.

        Engine ``embedded`` is self-attested: one sealer, no outside witness. Engine ``rpc`` is a chain behind a node.
        """
        return self._deployment.to_json()

    def fee_float(self) -> int:
        """Return how many wei a new member's account should be sent for its fees; 0 where gas is free."""
        if self._deployment.engine == "embedded":
            return _EMBEDDED_FLOAT_WEI
        with guarded():
            fees = self._dialect.fees(self.web3)
        return _FLOAT_GAS * fees.get("maxFeePerGas", fees.get("gasPrice", 0))

    def close(self) -> None:
        """Let go of the file or the connection."""
        self._close()

    def address_of(self, account: Secret) -> str:
        """Return the checksummed address of an account's secp256k1 key.

        Raises:
            InputError: not a valid private key (zero, or not below the group order).
        """
        return str(account_of(account).address)

    def sign_statement(self, expert: Secret, statement: tuple[int, bytes, bytes, int]) -> bytes:
        """Return an expert's signature of a statement about a case, which counts on this deployment alone.

        Args:
            expert: private key of the expert's account.
            statement: case, schema (32 bytes), digest (32 bytes) and end (Unix time), in the contract's order.

        Raises:
            InputError: not a private key, or a value out of its range.
        """
        place = self._deployment
        return sign_statement(
            expert, Statement(*statement), chain_id=place.chain_id, contract=place.contracts["Disputes"]
        )

    def prepare_call(
        self, sender: Secret, contract: str, function: str, args: tuple[Any, ...], value: int = 0
    ) -> bytes:
        """Try a call and return it as a signed transaction; nothing is sent.

        Its turn is the account's next one. Of two calls prepared one after another only the first sent is mined; the
        other raises ``StaleNonce`` and is prepared again, so that none ever waits for one that was given up.

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
            return sign(self.web3, account, {"to": target, "data": data, "value": value}, self._dialect)

    def encode_call(self, contract: str, function: str, args: tuple[Any, ...]) -> dict[str, Any]:
        """Return a call for a wallet to sign: ``{"chain_id", "to", "data"}``; it is neither tried nor sent.

        Raises:
            InputError: a malformed argument. Arguments as of ``prepare_call``.
        """
        with guarded():
            data = self._contracts[contract].encode_abi(function, list(map(_plain, args)))
            target = self._contracts[contract].address
        return {"chain_id": self._deployment.chain_id, "to": target, "data": data}

    def submit(self, raw: bytes) -> Receipt:
        """Send a signed transaction, once however often it is called, and return its receipt when it is mined.

        Mined means as deep as the ledger's ``confirmations`` ask.

        Raises:
            StaleNonce: its turn is past or has not come; prepare the call again.
            RightsError, ConflictError, InputError, NotFoundError: refused when mined (the state had changed).
            NetworkError: the node is away; submit the same bytes later.
            LedgerError: any other failure.
        """
        found = self._delivery.settle(raw)
        if found["status"] != 1:
            raise self._why_refused(found["transactionHash"])
        return self._show(found)

    def receipt(self, transaction_hash: str) -> Receipt:
        """Return the receipt of a mined transaction.

        Raises:
            NotFoundError: not mined.
        """
        found = self._delivery.find(transaction_hash)
        if found is None:
            raise NotFoundError("the ledger has no transaction {hash}", hash=transaction_hash)
        return self._show(found)

    def sender(self, transaction_hash: str) -> str:
        """Return the checksummed address of the account that sent a transaction.

        Raises:
            NotFoundError: there is none.
        """
        with guarded():
            return str(self.web3.eth.get_transaction(HexBytes(transaction_hash))["from"])

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

    def record(self, contract: str, function: str, *args: Any) -> dict[str, Any]:
        """Return a view function's struct, or its several outputs, by name in snake_case; structs in it are dicts.

        Bytes come as bytes, addresses as checksummed text. Arguments as of ``prepare_call``.

        Raises:
            NotFoundError, InputError, RightsError: the contract's refusal, or a malformed argument.
        """
        found: dict[str, Any] = self.view(contract, function, *args)
        return found

    def view(self, contract: str, function: str, *args: Any) -> Any:
        """Return what a view function answers: as ``record``, an array as a list, a single output as its value."""
        return read_outputs(contract, function, self._read(contract, function, *map(_plain, args)))

    def title_of(self, weights_root: bytes) -> int | None:
        """Return the title of a set of weights, or None."""
        return int(self._read("ModelTitles", "titleOf", weights_root)) or None

    def offer(self, offer: int) -> OfferRecord:
        """Return an offer.

        Raises:
            NotFoundError: there is none.
        """
        found = self.record("Grants", "offerRecord", offer)
        return OfferRecord(id=offer, title=found.pop("title_id"), **found)

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

    def _why_refused(self, transaction_hash: HexBytes) -> CountermarkError:
        """Run a refused transaction again where it failed, to learn the reason. It is final: the nonce is used up."""
        final = ConflictError("transaction {hash} was refused when it was mined", hash=transaction_hash.to_0x_hex())
        try:
            with guarded():
                sent: Any = self.web3.eth.get_transaction(transaction_hash)
                call: Any = {name: sent[name] for name in ("from", "to", "value", "gas")} | {"data": sent["input"]}
                self.web3.eth.call(call, sent["blockNumber"] - 1)
        except CountermarkError as error:
            return final if isinstance(error, AdapterError) else error
        return final

    def _events(self, logs: Any) -> Iterator[Event]:
        for entry in logs:
            contract = self._names.get(entry["address"])
            found = contract and read_event(contract, [bytes(topic) for topic in entry["topics"]], bytes(entry["data"]))
            if contract and found:
                yield Event(
                    contract=contract,
                    name=found[0],
                    args=found[1],
                    block_number=entry["blockNumber"],
                    transaction_hash=entry["transactionHash"].to_0x_hex(),
                    log_index=entry["logIndex"],
                )


def _reach(
    url: str, confirmations: int, timeout_s: float, patience_s: float
) -> tuple[Web3, Delivery, Callable[[], None]]:
    web3, close = connect_node(url, timeout_s)
    return web3, Delivery(web3, confirmations=confirmations, patience_s=patience_s, queues=True), close


def _plain(argument: Any) -> Any:
    """Return an argument as web3.py takes it: it thinks that flags such as ``Role`` are collections."""
    if isinstance(argument, IntFlag):
        return int(argument)
    return read_address(argument) if isinstance(argument, str) else argument
