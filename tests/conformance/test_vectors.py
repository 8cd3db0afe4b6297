"""The committed vectors: well-formed, reproducible, true for this implementation and for a second one."""

import base64
import hashlib
import json
import math
import runpy
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from Crypto.Cipher import AES
from Crypto.Signature import eddsa

from countermark.core import exchange, merkle, payload
from countermark.core.canonical import canonical_json, parse_json
from countermark.core.dsse import open_document
from countermark.core.keys import PublicKey, Secret
from countermark.errors import CountermarkError
from countermark.evidence.checkpoint import Checkpoint, open_checkpoint, verifier_key
from countermark.marking.text.sampling import TextMark

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "vectors").glob("*.json") if path.name != "schema.json")
rfc = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("rfc6962.py"))))
sealed_file = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("sealed_file.py"))))
Case = dict[str, Any]


def raw(text: str | list[str]) -> Any:
    return bytes.fromhex(text) if isinstance(text, str) else [bytes.fromhex(item) for item in text]


# This implementation: each returns whether it accepts the case.


def our_root(case: Case) -> bool:
    return merkle.root_of([merkle.leaf_hash(leaf) for leaf in raw(case["leaves"])]) == raw(case["root"])


def our_inclusion(case: Case) -> bool:
    merkle.verify_inclusion(raw(case["leaf_hash"]), case["index"], case["size"], raw(case["proof"]), raw(case["root"]))
    return True


def our_consistency(case: Case) -> bool:
    roots = raw(case["old_root"]), raw(case["new_root"])
    merkle.verify_consistency(case["old_size"], case["new_size"], *roots, raw(case["proof"]))
    return True


def our_checkpoint(case: Case) -> bool:
    opened = open_checkpoint(case["text"], case["origin"], PublicKey.from_text(case["public_key"]))
    assert opened == Checkpoint(case["origin"], case["size"], raw(case["root"])), "whatever opens says what it should"
    return True


def our_verifier_key(case: Case) -> bool:
    return verifier_key(case["name"], PublicKey.from_text(case["public_key"])) == case["verifier_key"]


def our_permutation(case: Case) -> bool:
    key, identifier, word = Secret(raw(case["key"])), int(case["identifier"], 16), int(case["word"], 16)
    return payload.permute(key, identifier) == word and payload.unpermute(key, word) == identifier


def our_birth(case: Case) -> bool:
    identifier = payload.derive_identifier(*map(raw, (case["platform_nonce"], case["licensee_nonce"], case["context"])))
    committed = payload.commit_nonce(raw(case["platform_nonce"])) == raw(case["nonce_commitment"])
    return committed and payload.show_identifier(identifier) == case["identifier"]


def our_commitment(case: Case) -> bool:
    return payload.commit_identifier(int(case["identifier"], 16), raw(case["salt"])) == raw(case["commitment"])


def our_text(case: Case) -> bool:
    return canonical_json(parse_json(case["text"].encode())) == raw(case["canonical"])


def our_number(case: Case) -> bool:
    (number,) = struct.unpack(">d", raw(case["bits"]))
    return canonical_json(number).decode() == case["canonical"]


def our_document(case: Case) -> bool:
    return open_document(case["envelope"], case["kind"], PublicKey.from_text(case["public_key"])) == case["body"]


def our_sealed_block(case: Case) -> bool:
    plain = exchange.open_block(Secret(raw(case["key"])), case["index"], raw(case["cipher"]))
    promised = hashlib.sha256(raw(case["key"]) + struct.pack(">Q", case["index"]) + plain).digest()
    same = exchange.leaves([raw(case["plain_leaf"])], raw(case["cipher"])) == [raw(case["leaf_hash"])]
    return same and (plain, promised) == (raw(case["plain"]), raw(case["plain_leaf"]))


def our_sealed_root(case: Case) -> bool:
    tree, leaves = exchange.Tree(case["size"]), numbered_leaves(case["size"])
    for start in range(0, case["size"], exchange.SEGMENT_BLOCKS):
        tree.add(leaves[start : start + exchange.SEGMENT_BLOCKS])
    return tree.root() == raw(case["root"])


def our_sealed_path(case: Case) -> bool:
    found = exchange.climb(raw(case["leaf_hash"]), case["index"], case["size"], raw(case["proof"]))
    return found == raw(case["root"])


def our_text_mark(case: Case) -> bool:
    scores = TextMark(Secret(raw(case["key"]))).scores(np.array(case["tokens"]), int(case["word"], 16)).tolist()
    numbers = [None if math.isnan(score) else round(math.exp(-score) * 2**32 - 0.5) for score in scores]
    return numbers == case["numbers"]


def numbered_leaves(size: int) -> list[bytes]:
    return [hashlib.sha256(str(index).encode()).digest() for index in range(size)]


OURS: dict[str, Callable[[Case], bool]] = {
    "root": our_root,
    "inclusion": our_inclusion,
    "consistency": our_consistency,
    "checkpoint": our_checkpoint,
    "verifier-key": our_verifier_key,
    "permutation": our_permutation,
    "birth": our_birth,
    "commitment": our_commitment,
    "text": our_text,
    "number": our_number,
    "document": our_document,
    "sealed-block": our_sealed_block,
    "sealed-root": our_sealed_root,
    "sealed-path": our_sealed_path,
    "text-mark": our_text_mark,
}

# Second implementations, from the formats' descriptions, sharing no code with the package.


def their_root(case: Case) -> bool:
    return rfc.mth(raw(case["leaves"])) == raw(case["root"])


def their_inclusion(case: Case) -> bool:
    if not 0 <= case["index"] < case["size"]:
        return False
    proof = raw(case["proof"])
    return rfc.root_from_path(raw(case["leaf_hash"]), case["index"], case["size"], proof) == raw(case["root"])


def their_consistency(case: Case) -> bool:
    roots = raw(case["old_root"]), raw(case["new_root"])
    if case["old_size"] == 0:
        return case["proof"] == [] and roots[0] == hashlib.sha256(b"").digest()
    return rfc.roots_from_proof(case["old_size"], case["new_size"], raw(case["proof"]), roots[0]) == roots


def their_checkpoint(case: Case) -> bool:
    text, key = case["text"], raw(case["public_key"])
    if len(text.encode()) > 4096 or "\r" in text:
        return False
    body, _, rest = text.rpartition("\n\n")
    expected = f"{case['origin']}\n{case['size']}\n{base64.b64encode(raw(case['root'])).decode()}"
    key_hash = hashlib.sha256(case["origin"].encode() + b"\n\x01" + key).digest()[:4]
    lines = [line.split(" ") for line in rest.split("\n")[:-1]]
    if not all(well_formed(*line) for line in lines) or any(ord(char) < 32 for char in body.replace("\n", "")):
        return False
    blobs = [base64.b64decode(signature) for _, name, signature in lines if name == case["origin"]]
    mine = [blob[4:] for blob in blobs if blob[:4] == key_hash]
    return f"{body}\n".startswith(f"{expected}\n") and any(ed25519(key, f"{body}\n".encode(), sig) for sig in mine)


def well_formed(dash: str, name: str, signature: str) -> bool:
    try:
        blob = base64.b64decode(signature)
    except ValueError:
        return False
    return dash == "\u2014" and name != "" and len(blob) > 4 and base64.b64encode(blob).decode() == signature


def their_verifier_key(case: Case) -> bool:
    blob = b"\x01" + raw(case["public_key"])
    short = hashlib.sha256(f"{case['name']}\n".encode() + blob).hexdigest()[:8]
    return f"{case['name']}+{short}+{base64.b64encode(blob).decode()}" == case["verifier_key"]


def their_permutation(case: Case) -> bool:
    """Rounds 0 to 9 of (L, R) -> (R, L xor F); F is the first word of AES-256 of ``cm/perm2``, the round and R."""
    cipher = AES.new(raw(case["key"]), AES.MODE_ECB)
    left, right = struct.unpack(">II", raw(case["identifier"]))
    for number in range(10):
        block = cipher.encrypt(struct.pack(">8sII", b"cm/perm2", number, right))
        left, right = right, left ^ struct.unpack_from(">I", block)[0]
    return struct.pack(">II", left, right) == raw(case["word"])


def their_birth(case: Case) -> bool:
    platform, licensee, context = (raw(case[name]) for name in ("platform_nonce", "licensee_nonce", "context"))
    committed = hashlib.sha256(b"countermark/identifier-nonce/1\0" + platform).hexdigest()
    derived = hashlib.sha256(b"countermark/identifier/1\0" + platform + licensee + context).hexdigest()[:16]
    return (committed, derived) == (case["nonce_commitment"], case["identifier"])


def their_commitment(case: Case) -> bool:
    data = b"countermark/mark-commitment/1\0" + raw(case["identifier"]) + raw(case["salt"])
    return hashlib.sha256(data).hexdigest() == case["commitment"]


def their_document(case: Case) -> bool:
    envelope = case["envelope"]
    if len(envelope["signatures"]) != 1 or not isinstance(envelope["payload"], str):
        return False
    media, data = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
    signed = b" ".join([b"DSSEv1", str(len(media)).encode(), media, str(len(data)).encode(), data])
    wanted = f"application/vnd.countermark.{case['kind']}+json".encode()
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    return media == wanted and ed25519(raw(case["public_key"]), signed, signature) and json.loads(data) == case["body"]


def their_sealed_block(case: Case) -> bool:
    found = sealed_file.seal(raw(case["key"]), case["index"], raw(case["plain"]))
    return found == tuple(raw(case[name]) for name in ("cipher", "plain_leaf", "leaf_hash"))


def their_sealed_root(case: Case) -> bool:
    return sealed_file.root(numbered_leaves(case["size"])) == raw(case["root"])


def their_sealed_path(case: Case) -> bool:
    found = sealed_file.root_from_path(raw(case["leaf_hash"]), case["index"], case["size"], raw(case["proof"]))
    return found == raw(case["root"])


def ed25519(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        eddsa.new(eddsa.import_public_key(key), "rfc8032").verify(message, signature)
    except ValueError:
        return False
    return True


def their_text_mark(case: Case) -> bool:
    """Each context the first time it is met; slots 0 to 15 belong to the chunks, two each, 16 to 18 to none."""
    tokens, symbols, seen = case["tokens"], raw(case["word"]), set()
    contexts, values = (
        AES.new(their_text_key(raw(case["key"]), label), AES.MODE_ECB) for label in ("contexts", "numbers")
    )
    numbers: list[int | None] = [None] * len(tokens)
    for place in range(2, len(tokens)):
        context = struct.pack("<QQ", *tokens[place - 2 : place])
        if context not in seen:
            seen.add(context)
            seed, slot = struct.unpack("<QQ", contexts.encrypt(context))
            symbol = symbols[slot % 19 // 2] if slot % 19 < 16 else 256
            group, lane = divmod(tokens[place], 4)
            numbers[place] = struct.unpack("<4I", values.encrypt(struct.pack("<QQ", seed, symbol << 48 | group)))[lane]
    return numbers == case["numbers"]


def their_text_key(key: bytes, label: str) -> bytes:
    message = b"".join(struct.pack(">I", len(part)) + part for part in (b"text", label.encode()))
    return hashlib.blake2b(message, key=key, digest_size=32, person=b"countermark/kdf1").digest()


THEIRS: dict[str, Callable[[Case], bool]] = {
    "root": their_root,
    "inclusion": their_inclusion,
    "consistency": their_consistency,
    "checkpoint": their_checkpoint,
    "verifier-key": their_verifier_key,
    "permutation": their_permutation,
    "birth": their_birth,
    "commitment": their_commitment,
    "document": their_document,
    "sealed-block": their_sealed_block,
    "sealed-root": their_sealed_root,
    "sealed-path": their_sealed_path,
    "text-mark": their_text_mark,
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_follow_the_schema_and_their_own_rules(path: Path) -> None:
    document = json.loads(path.read_text())
    jsonschema.validate(document, json.loads((ROOT / "vectors/schema.json").read_text()))
    cases = [case for group in document["groups"] for case in group["tests"]]
    assert [case["id"] for case in cases] == list(range(1, len(cases) + 1))
    assert {flag for case in cases for flag in case["flags"]} == set(document["notes"])
    assert all((case["result"] == "invalid") == bool(case["flags"]) for case in cases)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_this_implementation(path: Path) -> None:
    for kind, case in _cases(path):
        assert _accepts(OURS[kind], case) == (case["result"] == "valid"), (kind, case["id"], case["comment"])


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "canonical"], ids=lambda path: path.stem)
def test_a_second_implementation(path: Path) -> None:
    for kind, case in _cases(path):
        assert THEIRS[kind](case) == (case["result"] == "valid"), (kind, case["id"], case["comment"])


def test_making_the_vectors_again_changes_no_byte() -> None:
    maker = runpy.run_path(str(ROOT / "scripts/make_vectors.py"))
    made = dict(maker["documents"]())
    assert {path.name: path.read_text() for path in FILES} == made


def _cases(path: Path) -> list[tuple[str, Case]]:
    document = json.loads(path.read_text())
    return [(group["type"], case) for group in document["groups"] for case in group["tests"]]


def _accepts(check: Callable[[Case], bool], case: Case) -> bool:
    try:
        return check(case)
    except CountermarkError:
        return False
