"""Hyperledger Besu: a QBFT chain with free gas and file permissioning.

Sources: besu-docs (how-to/configure/consensus/qbft, how-to/configure/free-gas, how-to/use-local-permissioning,
public-networks/reference/genesis-items), Besu's ``QbftExtraDataCodec`` and its list of all configuration keys
(``everything_config.toml``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from countermark.adapters.consortium.files import NewFile
from countermark.adapters.consortium.guide import besu_readme
from countermark.adapters.consortium.plan import LOOPBACK, Plan, Validator
from countermark.core.events import checksum_address
from countermark.core.rlp import Item, encode

P2P_PORT = 30303
RPC_PORT = 8545
#: A block of the free-gas chain carries about three hundred grants, and any one of our deployments.
GAS_LIMIT = 60_000_000
#: Coin means nothing where gas is free; the offices get some for contracts that take value.
_COIN_WEI = 10**24
_EPOCH_BLOCKS = 30_000
#: What marks a block as made by QBFT or IBFT: "ctical byzantine fault tolerance", from the white paper's title.
_MIX_HASH = "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"
_MIN_PEERS = 25
#: Milestones that count blocks, then those that count seconds; all of them hold from the first block on.
_BLOCK_FORKS = ("homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul")
_LATER_FORKS = ("berlinBlock", "londonBlock", "shanghaiTime", "cancunTime")

_START = """\
#!/bin/sh
# Starts this node in the foreground. BESU names the program where it is not in the PATH; it needs Java 21.
cd "$(dirname "$0")" && exec "${BESU:-besu}" --config-file=config.toml
"""


def besu_files(plan: Plan) -> dict[str, NewFile]:
    """Return every file by its path: a folder for each validator, and a README."""
    shared = {
        "genesis.json": NewFile.text(json.dumps(_genesis(plan), indent=2) + "\n"),
        "permissions_config.toml": NewFile.text(_permissions(plan)),
        "start.sh": NewFile.text(_START, 0o755),
    }
    files = {"README.txt": NewFile.text(besu_readme(plan))}
    for node in plan.validators:
        files |= {f"{node.name}/{name}": file for name, file in (shared | _own_files(plan, node)).items()}
    return files


def extra_data(validators: Sequence[bytes]) -> bytes:
    """Return the first block's ``extraData``: vanity, validators, no vote, round 0, no seals, as one RLP list."""
    listed: list[Item] = [bytes(address) for address in sorted(validators)]
    return encode([bytes(32), listed, [], b"", []])


def _genesis(plan: Plan) -> dict[str, Any]:
    forks = {**{f"{name}Block": 0 for name in _BLOCK_FORKS}, **dict.fromkeys(_LATER_FORKS, 0)}
    return {
        "config": {
            "chainId": plan.chain_id,
            **forks,
            "zeroBaseFee": True,
            "qbft": {
                "blockperiodseconds": plan.block_seconds,
                "epochlength": _EPOCH_BLOCKS,
                "requesttimeoutseconds": 2 * plan.block_seconds,
            },
        },
        "nonce": "0x0",
        "timestamp": hex(int(plan.moment.timestamp())),
        "extraData": "0x" + extra_data([node.key.address for node in plan.validators]).hex(),
        "gasLimit": hex(GAS_LIMIT),
        "baseFeePerGas": "0x0",
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": "0x" + "00" * 32,
        "difficulty": "0x1",
        "mixHash": _MIX_HASH,
        "coinbase": "0x" + "00" * 20,
        "alloc": {account.hex(): {"balance": hex(_COIN_WEI)} for account in plan.accounts},
    }


def _own_files(plan: Plan, node: Validator) -> dict[str, NewFile]:
    others = [_enode(other) for other in plan.validators if other is not node]
    files = {
        "config.toml": NewFile.text(_toml(_settings(plan, node))),
        "static-nodes.json": NewFile.text(json.dumps(others, indent=2) + "\n"),
        "key.pub": NewFile.text(f"0x{node.key.public.hex()}\n"),
    }
    if node.key.secret is not None:
        files["key"] = NewFile.text(f"0x{node.key.secret.reveal().hex()}", 0o600)
    return files


def _settings(plan: Plan, node: Validator) -> dict[str, Any]:
    return {
        "data-path": "data",
        "genesis-file": "genesis.json",
        "node-private-key-file": "key",
        "static-nodes-file": "static-nodes.json",
        "discovery-enabled": False,
        "nat-method": "NONE",
        "p2p-host": node.host,
        "p2p-port": P2P_PORT + node.place,
        "max-peers": max(_MIN_PEERS, len(plan.validators)),
        "remote-connections-limit-enabled": False,
        "sync-mode": "FULL",
        "data-storage-format": "FOREST",
        "tx-pool": "sequenced",
        "min-gas-price": 0,
        "rpc-http-enabled": True,
        "rpc-http-host": LOOPBACK,
        "rpc-http-port": RPC_PORT + node.place,
        "rpc-http-api": ["ETH", "NET", "WEB3", "QBFT", "PERM"],
        "host-allowlist": ["localhost", LOOPBACK],
        "rpc-max-logs-range": 0,
        "permissions-nodes-config-file-enabled": True,
        "permissions-nodes-config-file": "permissions_config.toml",
        "permissions-accounts-config-file-enabled": bool(plan.accounts),
        "permissions-accounts-config-file": "permissions_config.toml",
    }


def _permissions(plan: Plan) -> str:
    accounts = [checksum_address(account).lower() for account in plan.accounts]
    return _toml({"accounts-allowlist": accounts, "nodes-allowlist": [_enode(node) for node in plan.validators]})


def _enode(node: Validator) -> str:
    return f"enode://{node.key.public.hex()}@{node.host}:{P2P_PORT + node.place}"


def _toml(settings: dict[str, Any]) -> str:
    """Write TOML; JSON writes strings, numbers, booleans and flat lists the same way."""
    return "".join(f"{name}={json.dumps(value)}\n" for name, value in settings.items())
