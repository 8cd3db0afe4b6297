"""FISCO BCOS 3.16 (Air): a PBFT chain with Ethereum's JSON-RPC, its rules of Cancun, and no SM mode.

Sources: the project's ``NodeConfig.cpp`` (which parses both files), ``Features.h``, its node tests and
``build_chain.sh``, and its documentation of the Web3 RPC and of the system parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from countermark.adapters.consortium.certificates import ChainAuthority
from countermark.adapters.consortium.files import NewFile
from countermark.adapters.consortium.guide import fisco_readme
from countermark.adapters.consortium.plan import LOOPBACK, Plan, Validator
from countermark.core.events import checksum_address
from countermark.errors import InputError

P2P_PORT = 30300
RPC_PORT = 20200
WEB3_PORT = 8545
#: Version of the data's format. The program has to be as new at least.
VERSION = "3.16.4"
#: Our contracts need the first three: transient storage, times in seconds, addresses as Ethereum computes them.
FEATURES = (
    "feature_evm_cancun",
    "feature_evm_timestamp",
    "feature_evm_address",
    "feature_balance",
    "feature_balance_precompiled",
)
_GAS_LIMIT = 3_000_000_000

_START = """\
#!/bin/sh
# Starts this node in the foreground. FISCO_BCOS names the program where it is not in the PATH.
cd "$(dirname "$0")" && exec "${FISCO_BCOS:-fisco-bcos}" -c config.ini -g config.genesis
"""


def fisco_files(plan: Plan) -> dict[str, NewFile]:
    """Return every file by its path: a folder for each validator, the chain's TLS authority, its client, a README.

    Raises:
        InputError: no account: the first one becomes the committee that governs the chain's own settings.
    """
    if not plan.accounts:
        raise InputError(
            "FISCO BCOS needs an account that governs the chain's settings", hint="Name it with --account."
        )
    authority = ChainAuthority.create(plan.moment)
    shared = {
        "config.genesis": NewFile.text(_ini(_genesis(plan))),
        "nodes.json": NewFile.text(json.dumps({"nodes": [_endpoint(node) for node in plan.validators]}) + "\n"),
        "start.sh": NewFile.text(_START, 0o755),
    }
    files = {"README.txt": NewFile.text(fisco_readme(plan))}
    files |= _under("ca", {"ca.crt": NewFile(authority.certificate), "ca.key": NewFile(authority.key, 0o600)})
    files |= _under("sdk", _certified(authority, "sdk", "sdk"))
    for node in plan.validators:
        files |= _under(node.name, {**shared, "config.ini": NewFile.text(_ini(_settings(node)))})
        files |= _under(f"{node.name}/conf", _certified(authority, node.name, "ssl") | _identity(node))
    return files


def _genesis(plan: Plan) -> dict[str, dict[str, Any]]:
    return {
        "chain": {"sm_crypto": False, "group_id": "group0", "chain_id": "chain0"},
        "web3": {"chain_id": plan.chain_id},
        "consensus": {
            "consensus_type": "pbft",
            "block_tx_count_limit": 1000,
            "leader_period": 1,
            **{f"node.{place}": f"{node.key.public.hex()}:1" for place, node in enumerate(plan.validators)},
        },
        "version": {"compatibility_version": VERSION},
        "tx": {"gas_limit": _GAS_LIMIT},
        "executor": {
            "is_auth_check": True,
            "auth_admin_account": checksum_address(plan.accounts[0]).lower(),
            "is_serial_execute": True,
        },
        "features": dict.fromkeys(FEATURES, 1),
    }


def _settings(node: Validator) -> dict[str, dict[str, Any]]:
    return {
        "p2p": {
            "listen_ip": "0.0.0.0",
            "listen_port": P2P_PORT + node.place,
            "sm_ssl": False,
            "nodes_path": "./",
            "nodes_file": "nodes.json",
        },
        "rpc": {"listen_ip": LOOPBACK, "listen_port": RPC_PORT + node.place, "sm_ssl": False, "enable_ssl": True},
        "web3_rpc": {"enable": True, "listen_ip": LOOPBACK, "listen_port": WEB3_PORT + node.place, "thread_count": 8},
        "cert": {"ca_path": "./conf", "ca_cert": "ca.crt", "node_key": "ssl.key", "node_cert": "ssl.crt"},
        "security": {"private_key_path": "conf/node.pem"},
        "consensus": {"min_seal_time": 500},
        "storage": {"data_path": "data", "type": "RocksDB", "enable_cache": True},
        "txpool": {"limit": 15000},
        "log": {"enable": True, "log_path": "./log", "level": "info"},
    }


def _certified(authority: ChainAuthority, name: str, stem: str) -> dict[str, NewFile]:
    certificate, key = authority.issue(name)
    return {
        "ca.crt": NewFile(authority.certificate),
        f"{stem}.crt": NewFile(certificate),
        f"{stem}.key": NewFile(key, 0o600),
    }


def _identity(node: Validator) -> dict[str, NewFile]:
    files = {"node.nodeid": NewFile.text(node.key.public.hex())}
    return files if node.key.secret is None else files | {"node.pem": NewFile(node.key.pem(), 0o600)}


def _endpoint(node: Validator) -> str:
    return f"{node.host}:{P2P_PORT + node.place}"


def _under(folder: str, files: Mapping[str, NewFile]) -> dict[str, NewFile]:
    return {f"{folder}/{name}": file for name, file in files.items()}


def _ini(sections: Mapping[str, Mapping[str, Any]]) -> str:
    return "\n".join(
        f"[{section}]\n" + "".join(f"    {name}={_show(value)}\n" for name, value in values.items())
        for section, values in sections.items()
    )


def _show(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
