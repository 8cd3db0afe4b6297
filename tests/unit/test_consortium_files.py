"""The files that start a consortium chain: their structure, and their keys and encodings read by other implementations.

Besu and FISCO BCOS themselves are not run. What is checked against them: Besu's published vectors of ``extraData``, the
list of its configuration keys, and the keys and features that FISCO BCOS's own parser knows.
"""

from __future__ import annotations

import configparser
import json
import stat
import subprocess
import tomllib
from datetime import UTC, datetime

import jsonschema
import pytest
import rlp
from coincurve import PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from eth_keys import keys

from countermark.adapters.consortium import (
    NewFile,
    Plan,
    besu_files,
    extra_data,
    fisco_files,
    read_plan,
    write_tree,
)
from countermark.errors import ConflictError, InputError, StorageError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OFFICE = bytes(range(20))
#: besu-docs, private-networks/how-to/configure/consensus/qbft: the example's four validators and its extraData.
PUBLISHED = (
    "f87aa00000000000000000000000000000000000000000000000000000000000000000f8549464a702e6263b7297a96638cac6ae65e6541f416994"
    "3923390ad55e90c237593b3b0e401f3b08a0318594aefdb9a738c9f433e5b6b212a6d62f6370c2f69294c7eeb9a4e00ce683cf93039b212648e0"
    "1c6c6b78c080c0"
)
#: besu, QbftExtraDataCodecTest: every field filled; shows the order of the five fields.
FILLED = (
    "f8f0a00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20ea94000000000000000000000000000000000000000194"
    "0000000000000000000000000000000000000002d794000000000000000000000000000000000000000181ff83fedcbaf886b841000000000000"
    "0000000000000000000000000000000000000000000000000001000000000000000000000000000000000000000000000000000000000000000a00"
    "b841000000000000000000000000000000000000000000000000000000000000000a00000000000000000000000000000000000000000000000000"
    "0000000000000100"
)
#: besu, qbft-emptyextradata.json of its acceptance tests: no validators.
EMPTY = "e5a00000000000000000000000000000000000000000000000000000000000000000c0c080c0"
#: besu, everything_config.toml, as far as we use it.
BESU_KEYS = {
    "data-path", "genesis-file", "node-private-key-file", "static-nodes-file", "discovery-enabled", "nat-method",
    "p2p-host", "p2p-port", "max-peers", "remote-connections-limit-enabled", "sync-mode", "data-storage-format",
    "tx-pool", "min-gas-price", "rpc-http-enabled", "rpc-http-host", "rpc-http-port", "rpc-http-api",
    "host-allowlist", "rpc-max-logs-range", "permissions-nodes-config-file-enabled", "permissions-nodes-config-file",
    "permissions-accounts-config-file-enabled", "permissions-accounts-config-file",
}  # fmt: skip
#: FISCO-BCOS, NodeConfig.cpp: what it reads of config.ini and config.genesis, as far as we use it.
FISCO_KEYS = {
    "p2p": {"listen_ip", "listen_port", "sm_ssl", "nodes_path", "nodes_file"},
    "rpc": {"listen_ip", "listen_port", "sm_ssl", "enable_ssl"},
    "web3_rpc": {"enable", "listen_ip", "listen_port", "thread_count"},
    "cert": {"ca_path", "ca_cert", "node_key", "node_cert"},
    "security": {"private_key_path"},
    "consensus": {"min_seal_time"},
    "storage": {"data_path", "type", "enable_cache"},
    "txpool": {"limit"},
    "log": {"enable", "log_path", "level"},
}
FISCO_GENESIS_KEYS = {
    "chain": {"sm_crypto", "group_id", "chain_id"},
    "web3": {"chain_id"},
    "version": {"compatibility_version"},
    "tx": {"gas_limit"},
    "executor": {"is_auth_check", "auth_admin_account", "is_serial_execute"},
    "features": {
        "feature_evm_cancun", "feature_evm_timestamp", "feature_evm_address", "feature_balance",
        "feature_balance_precompiled",
    },
}  # fmt: skip

QUANTITY = {"type": "string", "pattern": "^0x(0|[1-9a-f][0-9a-f]*)$"}
WORD = {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}
GENESIS_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["config", "extraData", "gasLimit", "difficulty", "mixHash", "alloc", "timestamp"],
    "properties": {
        "config": {
            "type": "object",
            "required": ["chainId", "berlinBlock", "londonBlock", "shanghaiTime", "cancunTime", "zeroBaseFee", "qbft"],
            "properties": {
                "chainId": {"type": "integer", "minimum": 1, "maximum": 2**53 - 1},
                "zeroBaseFee": {"const": True},
                "qbft": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["blockperiodseconds", "epochlength", "requesttimeoutseconds"],
                    "properties": {
                        "blockperiodseconds": {"type": "integer", "minimum": 1},
                        "epochlength": {"type": "integer", "minimum": 1},
                        "requesttimeoutseconds": {"type": "integer", "minimum": 2},
                    },
                },
            },
            "patternProperties": {"^[a-z0-9]+(Block|Time)$": {"const": 0}},
            "additionalProperties": False,
        },
        "extraData": {"type": "string", "pattern": "^0x([0-9a-f]{2})+$"},
        "difficulty": {"const": "0x1"},
        "mixHash": {"const": "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"},
        "coinbase": {"const": "0x" + "00" * 20},
        "parentBeaconBlockRoot": WORD,
        **dict.fromkeys(("nonce", "timestamp", "gasLimit", "baseFeePerGas", "blobGasUsed", "excessBlobGas"), QUANTITY),
        "alloc": {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {
                "^[0-9a-f]{40}$": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["balance"],
                    "properties": {"balance": QUANTITY},
                }
            },
        },
    },
}


def plan(validators: int = 4, **changes) -> Plan:
    return read_plan(**{"validators": validators, "moment": NOW, "accounts": [OFFICE], **changes})


def text(files: dict[str, NewFile], name: str) -> str:
    return files[name].data.decode()


def decoded(data: bytes) -> list:
    """Read extraData with pyrlp, which shares no code with ours."""
    return rlp.decode(data)


def test_extra_data_is_besus_own():
    validators = decoded(bytes.fromhex(PUBLISHED))[1]
    ours = decoded(extra_data(validators))
    assert ours == [bytes(32), sorted(validators), [], b"", []]
    assert [*map(type, ours)] == [*map(type, decoded(bytes.fromhex(FILLED)))], "vanity, validators, vote, round, seals"
    assert len(extra_data(validators)) == len(PUBLISHED) // 2
    assert extra_data(sorted(validators, reverse=True)) == extra_data(validators)
    assert extra_data([]).hex() == EMPTY


def test_extra_data_is_byte_for_byte_the_published_one_for_its_order():
    first, second, *_ = validators = decoded(bytes.fromhex(PUBLISHED))[1]
    ours = extra_data(validators).hex()
    swapped = ours.replace(second.hex(), "?").replace(first.hex(), second.hex()).replace("?", first.hex())
    assert swapped == PUBLISHED


@pytest.mark.parametrize("count", [1, 4, 7, 100])
def test_a_besu_genesis(count):
    made = plan(count)
    files = besu_files(made)
    genesis = json.loads(text(files, "node1/genesis.json"))
    jsonschema.validate(genesis, GENESIS_SCHEMA)
    vanity, validators, vote, block_round, seals = decoded(bytes.fromhex(genesis["extraData"][2:]))
    assert (vanity, vote, block_round, seals) == (bytes(32), [], b"", [])
    assert validators == sorted(node.key.address for node in made.validators)
    assert [*genesis["alloc"]] == [OFFICE.hex()]
    assert int(genesis["timestamp"], 16) == int(NOW.timestamp())
    assert {text(files, f"node{n}/genesis.json") for n in range(1, count + 1)} == {text(files, "node1/genesis.json")}


def test_an_enode_is_the_public_key_of_the_node_that_has_the_key():
    """Two implementations besides the one that made the keys: libsecp256k1 and eth_keys."""
    files = besu_files(plan())
    allowed = tomllib.loads(text(files, "node1/permissions_config.toml"))["nodes-allowlist"]
    for number, enode in enumerate(allowed, 1):
        secret = bytes.fromhex(text(files, f"node{number}/key").removeprefix("0x"))
        public = PrivateKey(secret).public_key.format(compressed=False)[1:]
        assert public == keys.PrivateKey(secret).public_key.to_bytes()
        assert enode == f"enode://{public.hex()}@127.0.0.1:{30302 + number}"
        assert text(files, f"node{number}/key.pub") == f"0x{public.hex()}\n"
        genesis = json.loads(text(files, "node1/genesis.json"))
        assert (
            keys.PrivateKey(secret).public_key.to_canonical_address()
            in decoded(bytes.fromhex(genesis["extraData"][2:]))[1]
        )


def test_the_settings_of_a_besu_node():
    files = besu_files(plan(3))
    for number in (1, 2, 3):
        settings = tomllib.loads(text(files, f"node{number}/config.toml"))
        assert set(settings) == BESU_KEYS
        assert (settings["p2p-port"], settings["rpc-http-port"]) == (30302 + number, 8544 + number)
        assert settings["min-gas-price"] == 0
        assert settings["rpc-http-host"] == "127.0.0.1"
        for key in ("genesis-file", "node-private-key-file", "static-nodes-file", "permissions-nodes-config-file"):
            assert f"node{number}/{settings[key]}" in files
        others = json.loads(text(files, f"node{number}/static-nodes.json"))
        allowed = tomllib.loads(text(files, f"node{number}/permissions_config.toml"))
        assert len(others) == 2
        assert set(others) < set(allowed["nodes-allowlist"])
        assert allowed["accounts-allowlist"] == ["0x" + OFFICE.hex()]


def test_without_an_account_everybody_may_send():
    files = besu_files(plan(4, accounts=[]))
    settings = tomllib.loads(text(files, "node1/config.toml"))
    assert settings["permissions-nodes-config-file-enabled"] is True
    assert settings["permissions-accounts-config-file-enabled"] is False
    assert json.loads(text(files, "node1/genesis.json"))["alloc"] == {}
    assert "every account may send" in text(files, "README.txt")


def test_hosts_and_ports():
    one_each = plan(2, hosts=["10.0.0.1", "10.0.0.2"])
    assert [(node.host, node.place) for node in one_each.validators] == [("10.0.0.1", 0), ("10.0.0.2", 0)]
    shared = plan(3, hosts=["10.0.0.1", "10.0.0.2", "10.0.0.1"])
    assert [node.place for node in shared.validators] == [0, 0, 1]
    assert [node.place for node in plan(3, hosts=["10.0.0.1"]).validators] == [0, 1, 2]


def test_an_organization_may_keep_its_key():
    theirs = keys.PrivateKey(b"\x01" * 32).public_key
    for make in (besu_files, fisco_files):
        files = make(plan(4, node_keys=[theirs.to_bytes().hex()]))
        made = {name for name in files if name.endswith(("/key", "/node.pem"))}
        assert len(made) == 3
        assert not any(name.startswith("node1/") for name in made)
    genesis = json.loads(text(besu_files(plan(1, node_keys=[theirs.to_bytes().hex()])), "node1/genesis.json"))
    assert decoded(bytes.fromhex(genesis["extraData"][2:]))[1] == [theirs.to_canonical_address()]


@pytest.mark.parametrize(
    "wrong",
    [
        {"validators": 0},
        {"validators": 101},
        {"chain_id": 0},
        {"chain_id": 2**53},
        {"block_seconds": 0},
        {"block_seconds": 61},
        {"hosts": ["10.0.0.1", "10.0.0.2"]},
        {"hosts": ["node.example"]},
        {"hosts": ["10.0.0.1:30303"]},
        {"hosts": ["::1"]},
        {"node_keys": ["12"]},
        {"node_keys": ["00" * 64]},
        {"node_keys": [keys.PrivateKey(b"\x01" * 32).public_key.to_bytes().hex()] * 2},
        {"node_keys": [keys.PrivateKey(bytes([n]) * 32).public_key.to_bytes().hex() for n in range(1, 6)]},
        {"accounts": [OFFICE, OFFICE]},
    ],
    ids=str,
)
def test_what_is_no_plan(wrong):
    with pytest.raises(InputError):
        plan(**wrong)


@pytest.mark.parametrize(("count", "tolerated"), [(1, 0), (3, 0), (4, 1), (7, 2), (100, 33)])
def test_how_many_may_fail(count, tolerated):
    assert plan(count).tolerates == tolerated


def ini(files: dict[str, NewFile], name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text(files, name))
    return parser


def test_a_fisco_genesis():
    made = plan(4, chain_id=4242)
    files = fisco_files(made)
    genesis = ini(files, "node1/config.genesis")
    known = {section: set(genesis[section]) for section in genesis.sections() if section != "consensus"}
    assert known == FISCO_GENESIS_KEYS
    assert genesis["web3"]["chain_id"] == "4242"
    assert genesis["chain"]["sm_crypto"] == "false"
    assert genesis["executor"]["auth_admin_account"] == "0x" + OFFICE.hex()
    assert set(genesis["features"].values()) == {"1"}
    listed = [genesis["consensus"][f"node.{number}"] for number in range(4)]
    assert listed == [f"{text(files, f'node{n}/conf/node.nodeid')}:1" for n in range(1, 5)]
    assert {text(files, f"node{n}/config.genesis") for n in range(1, 5)} == {text(files, "node1/config.genesis")}


def test_a_fisco_node():
    files = fisco_files(plan(2, hosts=["10.0.0.1", "10.0.0.2"]))
    settings = ini(files, "node2/config.ini")
    assert {section: set(settings[section]) for section in settings.sections()} == FISCO_KEYS
    assert settings["web3_rpc"]["enable"] == "true"
    assert settings["web3_rpc"]["listen_port"] == "8545"
    assert json.loads(text(files, "node2/nodes.json")) == {"nodes": ["10.0.0.1:30300", "10.0.0.2:30300"]}
    cert = settings["cert"]
    for name in (*(f"{cert['ca_path']}/{cert[key]}" for key in ("ca_cert", "node_key", "node_cert")),
                 settings["security"]["private_key_path"]):  # fmt: skip
        assert f"node2/{name.removeprefix('./')}" in files


def test_a_fisco_node_id_is_the_public_key_of_its_pem():
    files = fisco_files(plan(1))
    key = load_pem_private_key(files["node1/conf/node.pem"].data, None)
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    assert text(files, "node1/conf/node.nodeid") == keys.PrivateKey(secret).public_key.to_bytes().hex()


@pytest.mark.tool("openssl")
def test_openssl_accepts_the_tls_certificates(tmp_path):
    files = fisco_files(plan(2))
    write_tree(tmp_path / "chain", files)
    for name in ("node1/conf/ssl.crt", "node2/conf/ssl.crt", "sdk/sdk.crt"):
        for purpose in ("sslserver", "sslclient"):
            command = ["openssl", "verify", "-purpose", purpose, "-CAfile", "ca/ca.crt", "-attime",
                       str(int(NOW.timestamp())), name]  # fmt: skip
            subprocess.run(command, cwd=tmp_path / "chain", check=True, capture_output=True)
    shown = subprocess.run(
        ["openssl", "ec", "-in", "node1/conf/node.pem", "-text", "-noout"],
        cwd=tmp_path / "chain", check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "secp256k1" in shown
    assert load_pem_x509_certificate(files["ca/ca.crt"].data).extensions


def test_fisco_needs_an_account():
    with pytest.raises(InputError, match="needs an account"):
        fisco_files(plan(4, accounts=[]))


@pytest.mark.parametrize("make", [besu_files, fisco_files])
def test_secrets_are_readable_by_their_user_alone(tmp_path, make):
    write_tree(tmp_path / "chain", make(plan(2)))
    assert stat.S_IMODE((tmp_path / "chain").stat().st_mode) == 0o700
    secret = [
        path for path in (tmp_path / "chain").rglob("*") if path.name in ("key", "node.pem") or path.suffix == ".key"
    ]
    assert len(secret) >= 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    starts = [*(tmp_path / "chain").rglob("start.sh")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in starts} == {0o755}
    assert all(path.read_text().isascii() for path in starts)


@pytest.mark.tool("sh")
@pytest.mark.parametrize(
    ("make", "variable", "words"),
    [
        (besu_files, "BESU", "--config-file=config.toml"),
        (fisco_files, "FISCO_BCOS", "-c config.ini -g config.genesis"),
    ],
)
def test_a_node_is_started_in_its_own_folder(tmp_path, make, variable, words):
    write_tree(tmp_path / "chain", make(plan(1)))
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$PWD" "$@"\n')
    program.chmod(0o755)
    node = tmp_path / "chain" / "node1"
    done = subprocess.run(
        [node / "start.sh"], cwd="/", env={variable: str(program), "PATH": "/usr/bin:/bin"}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == f"{node} {words}\n"


def test_nothing_is_overwritten_and_nothing_is_left_half(tmp_path):
    folder = tmp_path / "deep" / "chain"
    write_tree(folder, {"a/b": NewFile.text("x")})
    with pytest.raises(ConflictError, match="exists"):
        write_tree(folder, {"a": NewFile.text("y")})
    assert (folder / "a" / "b").read_text() == "x"
    (tmp_path / "empty").mkdir()
    write_tree(tmp_path / "empty", {"a": NewFile.text("y")})
    (tmp_path / "file").write_text("")
    with pytest.raises(ConflictError):
        write_tree(tmp_path / "file", {"a": NewFile.text("y")})
    with pytest.raises(StorageError):
        write_tree(tmp_path / "half", {"a": NewFile.text("y"), "a/b": NewFile.text("z")})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "empty", "file"]


@pytest.mark.parametrize("make", [besu_files, fisco_files])
def test_the_readme_says_what_each_file_is_in_two_languages(make):
    files = make(plan(1))
    readme = text(files, "README.txt")
    english, chinese = readme.split("-" * 120)
    for name in files:
        word = name.split("/")[-1]
        if word != "README.txt" and not name.startswith(("ca/", "sdk/")):
            assert word in english, word
            assert word in chinese, word
    assert "Nobody has started" in english
    assert "尚无人" in chinese
