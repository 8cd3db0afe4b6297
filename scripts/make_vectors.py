"""Write the normative test vectors in ``vectors/``. Deterministic: running it again changes no byte.

Usage: ``python scripts/make_vectors.py [DIRECTORY]``

Expected values come from a named source where there is one (they are literals here); all others are checked by the
second implementations in ``tests/conformance``. Every test marked invalid differs from a valid one in one respect.
"""

from __future__ import annotations

import base64
import copy
import json
import math
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from countermark.core import exchange, merkle, payload
from countermark.core.dsse import sign_document
from countermark.core.keys import Secret, SigningKey
from countermark.evidence.checkpoint import sign_checkpoint, verifier_key
from countermark.marking.text.sampling import TextMark

Case = dict[str, Any]

# Leaves and roots of the reference tree in the certificate-transparency project's own tests.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# Verifier keys of signed notes that others publish: Go's checksum database and the documentation of Go's note package.
KNOWN_KEYS = [
    "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
]
# RFC 8785, appendix B: IEEE 754 bits and their only serialization; None where there is none.
RFC8785_NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
    "7fffffffffffffff": None,
    "7ff0000000000000": None,
}
# RFC 8785, sections 3.2.2 and 3.2.3.
RFC8785_TEXTS = [
    (
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        ' "string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}',
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    ),
    (
        '{"\\u20ac": "Euro Sign", "\\r": "Carriage Return", "\\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",'
        ' "\\ud83d\\ude00": "Emoji: Grinning Face", "\\u0080": "Control",'
        ' "\\u00f6": "Latin Small Letter O With Diaeresis"}',
        '{"\\r":"Carriage Return","1":"One","\x80":"Control","\u00f6":"Latin Small Letter O With Diaeresis",'
        '"\u20ac":"Euro Sign","\U0001f600":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
    ),
]
REFUSED_TEXTS = {
    "duplicate-key": '{"a": 1, "a": 2}',
    "not-finite": '{"a": NaN}',
    "truncated": '{"a": 1',
    "trailing": '{"a": 1} {}',
    "too-deep": "[" * 70 + "]" * 70,
    "integer-over-2-53": "[9007199254740993]",
}


def merkle_vectors() -> dict[str, Any]:
    """Roots, inclusion and consistency proofs of small trees, and of trees around the width of a tile."""
    reference = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES]
    numbered = [merkle.leaf_hash(str(index).encode()) for index in range(1000)]
    inclusions = [_inclusion(reference, index, size) for size in (1, 2, 3, 5, 7, 8) for index in range(size)]
    inclusions += [_inclusion(numbered, i, n) for i, n in ((0, 256), (255, 256), (0, 257), (256, 257), (613, 1000))]
    pairs = [(old, new) for new in (1, 2, 3, 5, 7, 8) for old in range(1, new + 1)]
    consistencies = [_consistency(reference, old, new) for old, new in [(0, 5), *pairs]]
    consistencies += [_consistency(numbered, m, n) for m, n in ((255, 257), (256, 257), (256, 512), (257, 1000))]
    deeper = [
        {**_inclusion(reference, 7, 8), "index": 3, "size": 4},
        {**_inclusion(reference, 3, 4), "index": 7, "size": 8},
    ]
    longer = [
        {**_consistency(reference, 4, 8), "new_size": 16},
        {**_consistency(reference, 7, 8), "old_size": 3, "new_size": 4},
    ]
    roots = [_case(f"{size} leaves", leaves=CT_LEAVES[:size], root=root) for size, root in enumerate(CT_ROOTS)]
    roots.append(_case("tree of another size", ["wrong-root"], "invalid", leaves=CT_LEAVES[:3], root=CT_ROOTS[4]))
    broken = [_break_inclusion(case) for case in inclusions[-12:] if case["proof"]]
    broken_consistencies = [_break_consistency(case) for case in consistencies[-11:] if case["proof"]]
    return _document(
        "merkle",
        "RFC 6962 and RFC 9162, section 2.1; reference tree of the certificate-transparency project;"
        " numbered trees have the decimal index as leaf",
        {
            "wrong-root": "the root of another tree",
            "wrong-index": "the proof of a neighbor",
            "wrong-size": "the tree has another size",
            "wrong-leaf": "one bit of the leaf hash is flipped",
            "truncated": "the last hash of the proof is missing",
            "extra-hash": "the proof has one hash more",
            "swapped": "the first and the last hash of the proof are exchanged",
            "wrong-old-root": "one bit of the old root is flipped",
            "wrong-new-root": "one bit of the new root is flipped",
        },
        [
            _group("root", roots),
            _group("inclusion", [*inclusions, *(case for cases in broken for case in cases), *map(_resized, deeper)]),
            _group(
                "consistency",
                [*consistencies, *(case for cases in broken_consistencies for case in cases), *map(_resized, longer)],
            ),
        ],
    )


def checkpoint_vectors() -> dict[str, Any]:
    """Signed checkpoints and verifier keys."""
    key, other, origin = _key("log"), _key("other"), "log.example.com/evidence"
    root = sha256(b"root").digest()
    good = sign_checkpoint(origin, 70000, root, key)
    body, _, signature = good.partition("\n\n")
    witness = sign_checkpoint(origin, 70000, root, other).partition("\n\n")[2].replace(origin, "witness.example.org")
    elsewhere = body.replace(origin, "log.example.com/other")
    facts = {"origin": origin, "public_key": key.public.text, "size": 70000, "root": root.hex()}
    empty = sign_checkpoint(origin, 0, merkle.EMPTY_ROOT, key)
    broken = {
        "wrong-size": good.replace("\n70000\n", "\n70001\n"),
        "leading-zero": good.replace("\n70000\n", "\n070000\n"),
        "wrong-root": good.replace(body.split("\n")[2], base64.b64encode(sha256(b"other").digest()).decode()),
        "wrong-origin": sign_checkpoint("log.example.com/other", 70000, root, key),
        "wrong-key": sign_checkpoint(origin, 70000, root, other),
        "no-signature": body + "\n\n",
        "hyphen": good.replace("\u2014", "-"),
        "control-character": good.replace("\n70000\n", "\n70000\r\n"),
        "base64-not-canonical": good.replace(signature, _respelled(signature)),
        "base64-cut": good.replace(signature, signature[:-2] + "\n"),
        "origin-not-key-name": _note(key, origin, elsewhere),
        "renamed-signature": good.replace(f"\u2014 {origin}", "\u2014 witness.example.org"),
        "short-signature": f"{body}\n\n\u2014 witness.example.org AAAAAA==\n{signature}",
        "control-character-in-extension": _note(key, origin, f"{body}\na\tb"),
        "too-long": body + "\n" + "x" * 4096 + "\n\n" + signature,
    }
    cases = [
        _case("as signed", text=good, **facts),
        _case("a witness signed first", text=f"{body}\n\n{witness}{signature}", **facts),
        _case("an extension line", text=_note(key, origin, f"{body}\nmore"), **facts),
        _case("empty log", text=empty, **{**facts, "size": 0, "root": merkle.EMPTY_ROOT.hex()}),
        *(_case(flag, [flag], "invalid", text=text, **facts) for flag, text in broken.items()),
    ]
    ours = _case("ours", name=origin, public_key=key.public.text, verifier_key=verifier_key(origin, key.public))
    return _document(
        "checkpoint",
        "C2SP tlog-checkpoint and signed-note; verifier keys of Go's checksum database and note package",
        {flag: f"the checkpoint has this defect: {flag.replace('-', ' ')}" for flag in broken},
        [_group("checkpoint", cases), _group("verifier-key", [*map(_known_key, KNOWN_KEYS), ours])],
    )


def payload_vectors() -> dict[str, Any]:
    """The permutation of identifiers, their birth, and their commitments."""
    key = Secret(sha256(b"permutation").digest())
    words = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 0x0123456789ABCDEF]
    permuted = [
        _case("permute", key=key.reveal().hex(), identifier=f"{word:016x}", word=f"{payload.permute(key, word):016x}")
        for word in words
    ]
    wrong = {**permuted[0], "word": permuted[1]["word"], "result": "invalid", "flags": ["wrong-word"]}
    nonces = [
        [sha256(f"{who} {turn}".encode()).digest() for who in ("platform", "licensee", "context")] for turn in "12"
    ]
    births = [
        _case(
            "commit, reveal, derive",
            platform_nonce=platform.hex(),
            licensee_nonce=licensee.hex(),
            context=context.hex(),
            nonce_commitment=payload.commit_nonce(platform).hex(),
            identifier=f"{payload.derive_identifier(platform, licensee, context):016x}",
        )
        for platform, licensee, context in nonces
    ]
    swapped = {
        **births[0],
        "platform_nonce": births[0]["licensee_nonce"],
        "licensee_nonce": births[0]["platform_nonce"],
    }
    births.append({**swapped, "result": "invalid", "flags": ["swapped-nonces"]})
    salt = sha256(b"salt").digest()
    commitments = [
        _case("commit", identifier=f"{w:016x}", salt=salt.hex(), commitment=payload.commit_identifier(w, salt).hex())
        for w in words[:3]
    ]
    commitments.append({**commitments[0], "salt": "00" * 32, "result": "invalid", "flags": ["wrong-salt"]})
    return _document(
        "payload",
        "countermark.core.payload: 10-round Feistel network over AES-256; digests are SHA-256 over 'countermark/'"
        " domain NUL data",
        {
            "wrong-word": "the word of another identifier",
            "swapped-nonces": "the parties are exchanged",
            "wrong-salt": "the commitment was made with another salt",
        },
        [_group("permutation", [*permuted, wrong]), _group("birth", births), _group("commitment", commitments)],
    )


def canonical_vectors() -> dict[str, Any]:
    """JSON texts and numbers with their one canonical form."""
    texts = [_case("example of the RFC", text=text, canonical=form.encode().hex()) for text, form in RFC8785_TEXTS]
    texts += [_case(flag, [flag], "invalid", text=text) for flag, text in REFUSED_TEXTS.items()]
    numbers = [
        _case("number", bits=bits, canonical=form) if form else _case("number", ["not-finite"], "invalid", bits=bits)
        for bits, form in RFC8785_NUMBERS.items()
    ]
    return _document(
        "canonical",
        "RFC 8785, sections 3.2.2 and 3.2.3 and appendix B; refusals are countermark's own limits",
        {flag: f"refused: {flag.replace('-', ' ')}" for flag in REFUSED_TEXTS},
        [_group("text", texts), _group("number", numbers)],
    )


def dsse_vectors() -> dict[str, Any]:
    """Signed documents."""
    key, body = _key("document"), {"grant": 17, "name": "\u6c34\u5370", "nested": {"b": [1, 2], "a": None}}
    envelope = sign_document(key, "request", body)
    facts = {"kind": "request", "public_key": key.public.text, "body": body}
    broken = {
        "wrong-kind": sign_document(key, "grant", body),
        "wrong-key": sign_document(_key("other"), "request", body),
        "relabeled": {**sign_document(key, "grant", body), "payloadType": envelope["payloadType"]},
        "changed-payload": {**envelope, "payload": base64.b64encode(b'{"grant":18}').decode()},
        "two-signatures": {**envelope, "signatures": envelope["signatures"] * 2},
        "no-signature": {**envelope, "signatures": []},
        "not-an-object": {**envelope, "payload": 7},
    }
    return _document(
        "dsse",
        "DSSE 1.0.2 with Ed25519 (RFC 8032) over canonical JSON (RFC 8785)",
        {flag: f"the envelope has this defect: {flag.replace('-', ' ')}" for flag in broken},
        [
            _group(
                "document",
                [
                    _case("as signed", envelope=envelope, **facts),
                    *(_case(flag, [flag], "invalid", envelope=bad, **facts) for flag, bad in broken.items()),
                ],
            )
        ],
    )


def exchange_vectors() -> dict[str, Any]:
    """Sealed blocks at the ends of segments, roots of files of different sizes, and paths in them."""
    places = (0, 1, 2047, 2048, 390_624_999, exchange.MAX_BLOCKS - 1)
    blocks = [_sealed_block("sale", index) for index in places]
    broken_blocks = [
        _changed(blocks[1], "wrong-index", {"index": 2}),
        _changed(blocks[1], "wrong-key", {"key": _key("other").seed.reveal().hex()}),
        _changed(blocks[1], "wrong-block", {"cipher": _flip(blocks[1]["cipher"])}),
        _changed(blocks[1], "wrong-promise", {"plain_leaf": _flip(blocks[1]["plain_leaf"])}),
        _changed(blocks[3], "wrong-segment", {"index": 0}),
    ]
    sizes = (1, 2, 7, 8, 9, 16, 17, 64, 65, 2047, 2048, 2049, 4097)
    roots = [_case(f"{size} blocks", size=size, root=_tree(size).root().hex()) for size in sizes]
    roots.append(_changed(roots[4], "wrong-size", {"size": 10}))
    paths = [_sealed_path(index, size) for index, size in ((0, 1), (3, 8), (8, 9), (5, 17), (16, 17), (40, 64))]
    paths += [_sealed_path(index, size) for index, size in ((2047, 2049), (2048, 2049), (4096, 4097), (1000, 4097))]
    broken = [_changed(paths[0], "wrong-size", {"size": 9})]
    for case in paths[3:8]:
        broken += [
            _changed(case, "wrong-index", {"index": case["index"] ^ 1 if case["index"] ^ 1 < case["size"] else 0}),
            _changed(case, "wrong-leaf", {"leaf_hash": _flip(case["leaf_hash"])}),
            _changed(case, "wrong-root", {"root": _flip(case["root"])}),
            _changed(case, "beyond-the-end", {"index": case["size"]}),
            *(_changed(case, flag, change) for flag, change in _break_proof(case["proof"]).items()),
        ]
    return _document(
        "exchange",
        "ChaCha20 of RFC 8439 and SHA-256, put together as the docstring of countermark.core.exchange says;"
        " leaf i of a tree is the SHA-256 of the decimal index",
        {
            "wrong-index": "the index of another block",
            "wrong-segment": "the same place in another segment",
            "wrong-key": "the key of another sale",
            "wrong-block": "one bit of the ciphertext is flipped",
            "wrong-promise": "one bit of the plain leaf is flipped",
            "wrong-size": "a file of another number of blocks",
            "wrong-leaf": "one bit of the leaf is flipped",
            "wrong-root": "one bit of the root is flipped",
            "beyond-the-end": "the index is the number of blocks",
            "truncated": "the last hash of the path is missing",
            "extra-hash": "the path has one hash more",
            "swapped": "the first and the last hash of the path are exchanged",
        },
        [
            _group("sealed-block", [*blocks, *broken_blocks]),
            _group("sealed-root", roots),
            _group("sealed-path", [*paths, *broken]),
        ],
    )


def text_vectors() -> dict[str, Any]:
    """The keyed numbers of texts: repeated contexts, large tokens, words of equal and of extreme bytes."""
    repeated = [7, 8, 9, 7, 8, 11, 7, 8, 9, 7]
    drawn = [int.from_bytes(sha256(b"token %d" % place).digest()[:2], "big") % 4096 for place in range(48)]
    large = [2**31 - 1, 151_935, 0, 3, 2**31 - 1, 151_935, 4]
    texts = [("repeated contexts", repeated, 0), ("large tokens", large, 2**64 - 1)]
    texts += [("forty-eight tokens", drawn, word) for word in (0, 2**64 - 1, 0x0123456789ABCDEF)]
    cases = [_text_case(*text) for text in texts]
    last = cases[-1]
    first = next(place for place, number in enumerate(last["numbers"]) if number is not None)
    numbers = [*last["numbers"][:first], last["numbers"][first] ^ 1, *last["numbers"][first + 1 :]]
    broken = [
        _changed(last, "wrong-key", {"key": _flip(last["key"])}),
        _changed(last, "wrong-word", {"word": "fedcba9876543210"}),
        _changed(last, "wrong-token", {"tokens": [*drawn[:20], drawn[20] ^ 4, *drawn[21:]]}),
        _changed(last, "wrong-number", {"numbers": numbers}),
        _changed(cases[0], "counted-twice", {"numbers": [*cases[0]["numbers"][:5], 1, *cases[0]["numbers"][6:]]}),
    ]
    return _document(
        "text",
        "countermark.marking.text.prf: AES-256 (FIPS 197) on blocks of a context of two tokens, then of seed, symbol"
        " and group of four tokens; all integers little endian",
        {
            "wrong-key": "another key",
            "wrong-word": "another word",
            "wrong-token": "one token is another",
            "wrong-number": "one bit of one number is changed",
            "counted-twice": "a context counts the second time",
        },
        [_group("text-mark", [*cases, *broken])],
    )


def _text_case(comment: str, tokens: list[int], word: int) -> Case:
    key = sha256(b"text").digest()
    scores = TextMark(Secret(key)).scores(np.array(tokens), word)
    # A score is -ln((bits + 0.5) / 2**32).
    numbers = [None if math.isnan(score) else round(math.exp(-score) * 2**32 - 0.5) for score in scores.tolist()]
    return _case(comment, key=key.hex(), word=f"{word:016x}", tokens=tokens, numbers=numbers)


def _sealed_block(name: str, index: int) -> Case:
    key = _key(name).seed
    plain = b"".join(sha256(b"block %d.%d" % (index, part)).digest() for part in range(exchange.BLOCK_BYTES // 32))
    cipher = exchange.open_block(key, index, plain)  # its own inverse
    promised = sha256(key.reveal() + index.to_bytes(8, "big") + plain).digest()
    (leaf,) = exchange.leaves([promised], cipher)
    fields = {"key": key.reveal(), "plain": plain, "cipher": cipher, "plain_leaf": promised, "leaf_hash": leaf}
    return _case(f"block {index}", index=index, **{field: value.hex() for field, value in fields.items()})


def _tree(size: int, watch: int | None = None) -> exchange.Tree:
    tree, leaves = exchange.Tree(size, watch), [sha256(b"%d" % index).digest() for index in range(size)]
    for start in range(0, size, exchange.SEGMENT_BLOCKS):
        tree.add(leaves[start : start + exchange.SEGMENT_BLOCKS])
    return tree


def _sealed_path(index: int, size: int) -> Case:
    tree, leaf = _tree(size, index), sha256(b"%d" % index).digest()
    root, proof = tree.root(), [node.hex() for node in tree.path]
    return _case(f"block {index} of {size}", leaf_hash=leaf.hex(), index=index, size=size, proof=proof, root=root.hex())


def _note(key: SigningKey, name: str, body: str) -> str:
    """Sign any body as a note."""
    key_hash = bytes.fromhex(verifier_key(name, key.public).split("+")[1])
    signature = base64.b64encode(key_hash + key.sign(f"{body}\n".encode())).decode()
    return f"{body}\n\n\u2014 {name} {signature}\n"


def _respelled(line: str) -> str:
    """Return the signature line with a bit set that base64 throws away."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert line.endswith("=\n")
    assert line[-3] != "="
    return line[:-3] + alphabet[alphabet.index(line[-3]) | 1] + line[-2:]


def _inclusion(leaves: list[bytes], index: int, size: int) -> Case:
    proof = [node.hex() for node in merkle.inclusion_path(leaves[:size], index)]
    root = merkle.root_of(leaves[:size]).hex()
    return _case(
        f"leaf {index} of {size}", leaf_hash=leaves[index].hex(), index=index, size=size, proof=proof, root=root
    )


def _consistency(leaves: list[bytes], old: int, new: int) -> Case:
    proof = [node.hex() for node in merkle.consistency_path(leaves[:new], old)]
    roots = {"old_root": merkle.root_of(leaves[:old]).hex(), "new_root": merkle.root_of(leaves[:new]).hex()}
    return _case(f"{old} to {new}", old_size=old, new_size=new, **roots, proof=proof)


def _break_inclusion(case: Case) -> list[Case]:
    changes = {
        "wrong-index": {"index": case["index"] ^ 1 if case["index"] ^ 1 < case["size"] else case["index"] - 1},
        "wrong-leaf": {"leaf_hash": _flip(case["leaf_hash"])},
        "wrong-root": {"root": _flip(case["root"])},
        "wrong-size": {"size": case["index"]},
    }
    return [_changed(case, flag, change) for flag, change in {**changes, **_break_proof(case["proof"])}.items()]


def _break_consistency(case: Case) -> list[Case]:
    changes = {
        "wrong-old-root": {"old_root": _flip(case["old_root"])},
        "wrong-new-root": {"new_root": _flip(case["new_root"])},
        "wrong-size": {"new_size": case["old_size"]},
    }
    return [_changed(case, flag, change) for flag, change in {**changes, **_break_proof(case["proof"])}.items()]


def _break_proof(proof: list[str]) -> dict[str, Case]:
    changes: dict[str, Case] = {"truncated": {"proof": proof[:-1]}, "extra-hash": {"proof": [*proof, proof[-1]]}}
    if len(proof) > 1:
        changes["swapped"] = {"proof": [proof[-1], *proof[1:-1], proof[0]]}
    return changes


def _changed(case: Case, flag: str, change: Case) -> Case:
    return {**copy.deepcopy(case), **change, "flags": [flag], "result": "invalid"}


def _resized(case: Case) -> Case:
    return {**case, "comment": "the proof of a tree of another height", "flags": ["wrong-size"], "result": "invalid"}


def _flip(text: str) -> str:
    raw = bytes.fromhex(text)
    return (bytes([raw[0] ^ 1]) + raw[1:]).hex()


def _known_key(text: str) -> Case:
    name, _, encoded = text.split("+", 2)
    return _case("published", name=name, public_key=base64.b64decode(encoded)[1:].hex(), verifier_key=text)


def _key(name: str) -> SigningKey:
    return SigningKey(Secret(sha256(b"vector key " + name.encode()).digest()))


def _case(comment: str, flags: list[str] | None = None, result: str = "valid", **fields: Any) -> Case:
    return {"comment": comment, "flags": flags or [], "result": result, **fields}


def _group(kind: str, tests: list[Case]) -> dict[str, Any]:
    return {"type": kind, "tests": tests}


def _document(name: str, source: str, notes: dict[str, str], groups: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = iter(range(1, 100_000))
    numbered = [{**group, "tests": [{"id": next(numbers), **case} for case in group["tests"]]} for group in groups]
    return {"name": name, "version": 1, "source": source, "notes": notes, "groups": numbered}


def documents() -> Iterator[tuple[str, str]]:
    """Return file names and contents."""
    made = (
        merkle_vectors,
        checkpoint_vectors,
        payload_vectors,
        canonical_vectors,
        dsse_vectors,
        exchange_vectors,
        text_vectors,
    )
    for document in (make() for make in made):
        yield f"{document['name']}.json", json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def main(directory: Path) -> None:
    """Write every file."""
    for name, text in documents():
        (directory / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "vectors")
