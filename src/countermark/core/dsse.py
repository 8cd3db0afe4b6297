"""Signed documents: canonical JSON in a DSSE envelope (Dead Simple Signing Envelope, v1.0.2), signed with Ed25519.

The payload type is part of what is signed, so a signature over a request can never pass as one over a grant.

Laws:
    ``open_document(sign_document(k, kind, body), kind, k.public) == body``;
    another kind, key, body or signature raises ``SignatureInvalid``.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from countermark.core.canonical import canonical_json, parse_json
from countermark.core.keys import PublicKey, SigningKey
from countermark.errors import InputError, SignatureInvalid

Envelope = dict[str, Any]


def payload_type(kind: str) -> str:
    """Return the media type of a document kind such as ``"request"``."""
    return f"application/vnd.countermark.{kind}+json"


def sign_document(key: SigningKey, kind: str, body: dict[str, Any]) -> Envelope:
    """Sign ``body`` as a document of ``kind`` and return the envelope (a JSON value)."""
    media, payload = payload_type(kind), canonical_json(body)
    signature = key.sign(_pre_authentication(media, payload))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": media,
        "signatures": [{"keyid": key.public.key_id, "sig": base64.b64encode(signature).decode()}],
    }


def open_document(envelope: Any, kind: str, key: PublicKey) -> dict[str, Any]:
    """Return the body if ``key`` signed it as a document of ``kind``.

    Raises:
        InputError: not an envelope of one signature over a JSON object.
        SignatureInvalid: another kind or another signer.
    """
    media, payload, signature = _take_apart(envelope)
    if media != payload_type(kind):
        raise SignatureInvalid("expected a signed {kind}, got {media}", kind=kind, media=media)
    key.verify(_pre_authentication(media, payload), signature)
    return _as_body(payload)


def read_unverified(envelope: Any) -> dict[str, Any]:
    """Return the body without checking the signature: only to learn whose key to check it with.

    Raises:
        InputError: not an envelope of one signature over a JSON object.
    """
    return _as_body(_take_apart(envelope)[1])


def _pre_authentication(media: str, payload: bytes) -> bytes:
    """DSSE section "Signature definition": PAE(type, body)."""
    return b"DSSEv1 %d %s %d %s" % (len(media.encode()), media.encode(), len(payload), payload)


def _take_apart(envelope: Any) -> tuple[str, bytes, bytes]:
    try:
        (signature,) = envelope["signatures"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        return str(envelope["payloadType"]), payload, base64.b64decode(signature["sig"], validate=True)
    except (TypeError, KeyError, ValueError, binascii.Error) as error:
        raise InputError("not a DSSE envelope with one signature") from error


def _as_body(payload: bytes) -> dict[str, Any]:
    body = parse_json(payload)
    if not isinstance(body, dict):
        raise InputError("a signed document is a JSON object")
    return body
