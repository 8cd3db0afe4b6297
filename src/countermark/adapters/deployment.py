"""Which chain our contracts stand on, and putting them onto one that is reached over JSON-RPC.

Deployment is taken up where it stopped: each address is recorded before its contract is sent, and a contract counts as
deployed when the chain runs exactly the code that we ship there. It ends with the foundation, which the Directory takes
once.

A finished deployment is public: other offices join it with its document, and find there what they checked themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from web3 import Web3

from countermark.adapters.contracts import CONTRACTS, NAMED, artefact
from countermark.adapters.delivery import Delivery
from countermark.adapters.foundation import Foundation, founding, is_founded, named_in
from countermark.adapters.rpc_shapes import contract_address
from countermark.adapters.transactions import Dialect, creation, guarded, read_turn, sign
from countermark.errors import InputError, LedgerError

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Deployment:
    """Which chain, and where our contracts stand on it (name to checksummed address)."""

    engine: str
    chain_id: int
    genesis_hash: str
    contracts: Mapping[str, str]

    def to_json(self) -> Json:
        """Return ``{"engine", "chain_id", "genesis_hash", "contracts": {name: address}}``."""
        return {**asdict(self), "contracts": dict(self.contracts)}

    @classmethod
    def from_json(cls, value: Any) -> Deployment:
        """Read what ``to_json`` returned; other keys may stand beside.

        Raises:
            InputError: a field is missing or of another kind.
        """
        try:
            contracts = {str(name): Web3.to_checksum_address(address) for name, address in value["contracts"].items()}
            return cls(str(value["engine"]), int(value["chain_id"]), str(value["genesis_hash"]), contracts)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError("the record of the ledger's deployment is malformed: {reason}", reason=error) from error


def read_chain(web3: Web3, known: Deployment | None) -> tuple[Deployment, Dialect]:
    """Return the chain that a node serves, with the contracts of ``known``, and how it wants its transactions.

    Raises:
        LedgerError: it is another chain than the known one.
        NetworkError: the node is away.
    """
    with guarded():
        chain_id, genesis = web3.eth.chain_id, web3.eth.get_block(0)["hash"].to_0x_hex()
        legacy = "baseFeePerGas" not in web3.eth.get_block("latest")
    found = Deployment("rpc", chain_id, genesis, known.contracts if known else {})
    if known is not None and found != known:
        raise LedgerError(
            "the node serves chain {found} ({found_genesis}), not chain {wanted} ({wanted_genesis})",
            hint="Give the address of a node of the workspace's own chain.",
            found=chain_id,
            found_genesis=genesis[:18],
            wanted=known.chain_id,
            wanted_genesis=known.genesis_hash[:18],
        )
    return found, Dialect(chain_id, legacy=legacy, exact=True)


def deploy_missing(
    web3: Web3,
    sender: Any,
    chain: Deployment,
    dialect: Dialect,
    delivery: Delivery,
    foundation: Foundation,
    record: Callable[[Json], None],
) -> Deployment:
    """Deploy every contract that is not there yet, and found them if nobody has.

    ``record`` keeps each new address before its contract is sent.

    Raises:
        LedgerError: the account has no coin for the fees, or a contract is refused.
        NetworkError: the node is away.
    """
    account = bytes.fromhex(sender.address[2:])
    for name in CONTRACTS:
        if not runs(web3, chain.contracts, name):
            _require_coin(web3, sender.address, dialect)
            with guarded():
                raw = sign(web3, sender, creation(web3, name, chain.contracts), dialect)
            place = contract_address(account, read_turn(raw)[1])
            chain = replace(chain, contracts={**chain.contracts, name: place})
            record(chain.to_json())
            delivery.settle(raw)
    with guarded():
        raw = b""
        if not is_founded(web3, chain.contracts):
            raw = sign(web3, sender, founding(web3, chain.contracts, foundation, sender.address), dialect)
    if raw:
        delivery.settle(raw)
    check_contracts(web3, chain)
    return chain


def check_contracts(web3: Web3, chain: Deployment) -> None:
    """Check that the chain runs our contracts where the deployment says, and that they are founded.

    Raises:
        LedgerError: one is missing, or is not the shipped code, or the foundation is missing.
    """
    for name in CONTRACTS:
        if not runs(web3, chain.contracts, name):
            raise LedgerError(
                "contract {name} is not deployed, or is not the one that we ship",
                hint="Repeat: countermark init",
                name=name,
            )
    require_foundation(web3, chain.contracts)


def check_joined(web3: Web3, chain: Deployment) -> None:
    """Check another office's deployment as ``check_contracts`` does, and that its Directory names these contracts.

    Raises:
        InputError: it names more or other contracts than ours; their addresses would count as known in the code.
        LedgerError: one is missing, is not the shipped code, or is not in force; or the foundation is missing.
    """
    if chain.contracts.keys() != CONTRACTS.keys():
        raise InputError("the deployment names other contracts than this version has")
    for name in CONTRACTS:
        if not runs(web3, chain.contracts, name):
            raise LedgerError(
                "the deployment has no contract {name} of this version",
                hint="Ask for its newest file, and use the version of countermark that it was deployed with.",
                name=name,
            )
    with guarded():
        founded = is_founded(web3, chain.contracts)
        strange = [name for name in NAMED if founded and named_in(web3, chain.contracts, name) != chain.contracts[name]]
    if not founded:
        raise LedgerError("that deployment is not founded yet", hint="Its office repeats: countermark init")
    if strange:
        raise LedgerError(
            "the directory names another {name} than the deployment's file",
            hint="Ask for its newest file, and use the version of countermark that it was deployed with.",
            name=strange[0],
        )


def require_foundation(web3: Web3, contracts: Mapping[str, str]) -> None:
    """Check that the founder has named the contracts and set the parameters.

    Raises:
        LedgerError: not yet.
    """
    with guarded():
        if is_founded(web3, contracts):
            return
    raise LedgerError("the contracts are deployed, but not founded", hint="Repeat: countermark init")


def runs(web3: Web3, contracts: Mapping[str, str], name: str) -> bool:
    """Whether the code at a contract's address is ours: as shipped, with our contracts' addresses where it has gaps."""
    if name not in contracts:
        return False
    with guarded():
        code = web3.eth.get_code(Web3.to_checksum_address(contracts[name])).hex()
    for address in contracts.values():
        code = code.replace(address[2:].lower().rjust(64, "0"), "0" * 64)
    return bool(code == artefact(name)["deployedBytecode"].removeprefix("0x"))


def _require_coin(web3: Web3, address: str, dialect: Dialect) -> None:
    with guarded():
        free = not any(value for name, value in dialect.fees(web3).items() if name != "type")
        if free or web3.eth.get_balance(Web3.to_checksum_address(address)):
            return
    raise LedgerError(
        "account {address} has no coin on chain {chain} to pay fees with",
        hint="Send coin to {address}, then repeat: countermark init",
        address=address,
        chain=dialect.chain_id,
    )
