"""Run a worker that says what it begins and what is done, and kill it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading


def run_and_kill(worker, workspace, seed, unfinished, delay):
    """Kill a worker ``delay`` seconds after it is ready; return the acts it acknowledged and the one it did not."""
    process = subprocess.Popen(
        [sys.executable, str(worker), str(workspace), str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        process.stdin.write(json.dumps(unfinished) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        killer = threading.Timer(delay, process.kill)
        killer.start()
        # A line that was cut is not an acknowledgement.
        lines = [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        killer.join()
    assert process.returncode == -9, lines
    decoder, done, begun = json.JSONDecoder(), [], unfinished
    for line in lines:
        word, _, rest = line.partition(" ")
        act, end = decoder.raw_decode(rest)
        begun = act if word == "begin" else None
        if word == "done":
            done.append((act, json.loads(rest[end:])))
    return done, begun
