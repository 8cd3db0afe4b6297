"""anvil, an Ethereum node, over HTTP: the version in package-lock.json beside this file, started by tests."""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

HERE = Path(__file__).parent
CHAIN_ID = 20_261_122


@dataclass
class Anvil:
    """A running node; no account has coin."""

    url: str
    process: subprocess.Popen[bytes]

    def ask(self, method: str, *params: Any) -> Any:
        """Call a method, anvil's own ones included."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        with urlopen(Request(self.url, body, {"Content-Type": "application/json"}), timeout=20) as response:
            answer = json.load(response)
        assert "error" not in answer, answer
        return answer["result"]

    def fund(self, address: str) -> None:
        """Give an account coin."""
        self.ask("anvil_setBalance", address, hex(10**24))

    def stop(self) -> None:
        """Kill the node."""
        self.process.kill()
        self.process.wait()


def program() -> Path:
    """Return anvil's program; fetched with npm in the pinned version on the first call and after the pin changed."""
    # Not `npm ci`: it wants every platform's program in the lock file, which holds that of Linux on x86-64 alone.
    with (HERE / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed, wanted = HERE / "node_modules" / ".package-lock.json", HERE / "package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
            npm = shutil.which("npm")
            assert npm is not None
            command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=300)
    found = [*(HERE / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*")]
    assert found, "npm brought no program for this machine, or another one than the lock file's"
    return found[0]


@contextmanager
def anvil(*flags: str, chain_id: int = CHAIN_ID) -> Iterator[Anvil]:
    """Run a node on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program(), "--host", "127.0.0.1", "--port", str(port), "--chain-id", str(chain_id), "--accounts", "0"]
    process = subprocess.Popen([*map(str, command), "--quiet", *flags], stdout=subprocess.DEVNULL)
    node = Anvil(f"http://127.0.0.1:{port}", process)
    try:
        _await_start(process, port)
        yield node
    finally:
        node.stop()


def _await_start(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("anvil did not start")
