"""What every test shares: outside tools, hypothesis profiles, a node, a workload."""

from __future__ import annotations

import importlib.util
import os
import random
import secrets
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
REPEATABLE = os.environ.get("CI") == "true"
settings.load_profile("ci" if REPEATABLE else "local")

_REASON = "outside tool is missing: "


# Under CI=true keys, salts and nonces repeat from run to run, as the examples of hypothesis do: a test that fails there
# fails here. Elsewhere they are fresh. Each fixture and each test draws from a stream of its own, by its name.
_streams = [random.Random("collection")]
if REPEATABLE:
    secrets.token_bytes = lambda nbytes=None: _streams[-1].randbytes(32 if nbytes is None else nbytes)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Let a fixture draw its own keys, whichever test asks for it first."""
    parameter = getattr(request, "param_index", "")
    _streams.append(random.Random(f"{request.node.nodeid} {fixturedef.argname} {parameter}"))
    try:
        return (yield)
    finally:
        _streams.pop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let a test draw its own keys, whatever ran before it."""
    _streams.append(random.Random(item.nodeid))
    try:
        return (yield)
    finally:
        _streams.pop()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose outside tool is missing; under CI=true a missing tool is a failure."""
    for marker in item.iter_markers("tool"):
        for name in marker.args:
            if shutil.which(name) is None:
                (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(_REASON + name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were skipped for want of each outside tool."""
    reasons = (str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    missing = Counter(text.rsplit(_REASON, 1)[1].rstrip("')") for text in reasons if _REASON in text)
    listed = ", ".join(f"{name} ({count})" for name, count in sorted(missing.items()))
    detail = f": {listed}" if listed else ""
    terminalreporter.write_line(f"tests skipped for missing outside tools: {missing.total()}{detail}")


@pytest.fixture(scope="session")
def anvil() -> Callable[..., AbstractContextManager[Any]]:
    """Run a node: ``with anvil(*flags) as node``, see ``tests/node/anvil.py``; mark the test ``tool("npm")``."""
    run: Callable[..., AbstractContextManager[Any]] = _module("node/anvil.py").anvil
    return run


@pytest.fixture(scope="session")
def workload() -> ModuleType:
    """Return ``tests/chain/workload.py``: one of everything that the ledger does."""
    return _module("chain/workload.py")


@pytest.fixture(scope="session")
def day(workload: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a ledger's file after that day, not to be written to; ``made`` says which numbers came to be."""
    return workload.one_day(tmp_path_factory.mktemp("day") / "ledger.db")


def _module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"shared_{Path(path).stem}", Path(__file__).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
