"""The licence check: what passes, what is refused, and that unknown is a refusal."""

from __future__ import annotations

import importlib.util
import sys
from email.message import Message
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[2] / "scripts" / "check_licenses.py"
_SPEC = importlib.util.spec_from_file_location("check_licenses", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
check = importlib.util.module_from_spec(_SPEC)
sys.modules["check_licenses"] = check  # dataclasses look their module up
_SPEC.loader.exec_module(check)


def metadata(**fields: str | list[str]) -> Message:
    message = Message()
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    "expression",
    [
        "MIT",
        "Apache-2.0 OR BSD-3-Clause",
        "GPL-3.0-only OR MIT",
        "(GPL-2.0-only OR MIT) AND Zlib",
        "Apache-2.0 AND Apache-2.0 WITH LLVM-exception",
        "MIT AND (GPL-3.0-only OR ISC)",
    ],
)
def test_an_expression_that_allowed_licences_satisfy_passes(expression: str) -> None:
    assert check.permits(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "GPL-3.0-only",
        "AGPL-3.0-only",
        "BUSL-1.1",
        "CC-BY-NC-4.0",
        "MIT AND GPL-2.0-or-later",
        "MIT OR",
        "MIT)",
        "MIT (ISC)",
        "",
        "unknown",
        "see LICENSE",
        "GPL-3.0-only OR AGPL-3.0-only",
    ],
)
def test_everything_else_is_refused(expression: str) -> None:
    assert not check.permits(expression)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"License_Expression": "MIT", "License": "GPL"}, "MIT"),
        ({"License": "Apache 2.0 License"}, "Apache-2.0"),
        ({"License": "A very long text\n" * 9, "Classifier": "License :: OSI Approved :: BSD License"}, "BSD-3-Clause"),
        (
            {"Classifier": ["License :: OSI Approved :: MIT License", "License :: OSI Approved :: GNU GPL v3"]},
            "MIT AND GNU GPL v3",
        ),
        ({"License": "A very long text\n" * 9}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_the_licence_is_read_from_the_best_field(fields: dict[str, str | list[str]], expected: str) -> None:
    assert check.read_license(metadata(**fields)) == expected


def test_one_of_two_classifiers_is_enough_for_a_refusal() -> None:
    text = check.read_license(
        metadata(Classifier=["License :: OSI Approved :: MIT License", "License :: OSI Approved :: GNU GPL v3"])
    )
    assert not check.permits(text)


def test_a_missing_distribution_is_refused() -> None:
    assert not check.inspect("no-such-distribution-anywhere").allowed


def test_the_closure_follows_extras_and_leaves_development_tools_out() -> None:
    shipped = check.closure("countermark", ["all"])
    assert {"cryptography", "web3", "torch", "pillow", "py-evm"} <= shipped
    assert not {"countermark", "pytest", "mypy", "codespell"} & shipped
    assert "torch" not in check.closure("countermark", ["chain"])


def test_what_ships_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([]) == 0
    assert " 0 refused" in capsys.readouterr().out


def test_an_exception_needs_a_licence_and_a_reason() -> None:
    assert all(license_name and len(why) > 20 for license_name, why in check.EXCEPTIONS.values())
