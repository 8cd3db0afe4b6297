"""An Ethereum node over HTTP: a web3.py provider whose every failure is a ``NetworkError`` that names the host alone.

The rest of a node's address is not repeated in messages or logs: hosted nodes carry their access key there.
"""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from eth_typing import URI
from requests import Session
from web3 import HTTPProvider, Web3

from countermark.core.canonical import parse_json
from countermark.errors import InputError, NetworkError

#: The largest answer that is read: a block's receipts, or all our events.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
_CHUNK = 64 * 1024


def connect_node(url: str, timeout_s: float) -> tuple[Web3, Callable[[], None]]:
    """Return web3.py over a node, and what lets go of the connection; nothing is asked of the node yet.

    Args:
        url: of its JSON-RPC, ``http://`` or ``https://``.
        timeout_s: to connect, and between two pieces of an answer.

    Raises:
        InputError: not such an address.
    """
    check_url(url)
    provider = NodeProvider(url, timeout_s)
    web3 = Web3(provider)
    # It asks for the chain id before every call, and refuses the long extraData of consortium chains.
    web3.middleware_onion.remove("validation")
    return web3, provider.close


def check_url(url: str) -> None:
    """Check the address of a node.

    Raises:
        InputError: not an HTTP address with a host.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise InputError("not the address of an Ethereum node: {url}", url=url[:200])


class NodeProvider(HTTPProvider):
    """web3.py's HTTP provider without retries, with a limit on answers, in one session that can be closed."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._session = Session()
        self._url = url
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        super().__init__(
            url,
            request_kwargs={"timeout": timeout_s, "stream": True},
            session=self._session,
            exception_retry_configuration=None,
        )

    def make_request(self, method: Any, params: Any) -> Any:
        """Ask the node.

        Raises:
            NetworkError: no connection, no answer in time, not JSON-RPC, or over ``MAX_ANSWER_BYTES``.
        """
        try:
            answer: Any = super().make_request(method, params)
        except (OSError, HTTPException, InputError) as error:
            raise self._failure(type(error).__name__) from error
        if not isinstance(answer, dict) or not answer.keys() & {"result", "error"}:
            raise self._failure("no JSON-RPC")
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        self._session.close()

    @staticmethod
    def decode_rpc_response(raw_response: bytes) -> Any:
        """Read an answer, held to its depth: a nested one crashes the interpreter under py-evm's recursion limit."""
        return parse_json(raw_response, limit=MAX_ANSWER_BYTES)

    def _make_request(self, method: Any, request_data: bytes) -> bytes:
        ask = self._request_session_manager.get_response_from_post_request
        with ask(URI(self._url), data=request_data, **self.get_request_kwargs()) as response:
            response.raise_for_status()
            answer = bytearray()
            for chunk in response.iter_content(_CHUNK):
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise self._failure("the answer is too long")
        return bytes(answer)

    def _failure(self, reason: str) -> NetworkError:
        return NetworkError(
            "the ledger's node at {host} did not answer: {reason}",
            hint="Nothing is lost: repeat the command when the node is back.",
            host=self._host,
            reason=reason,
        )
