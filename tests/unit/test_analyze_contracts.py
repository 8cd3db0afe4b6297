"""The judgement over what the static analyser finds; the analyser itself runs in CI (`make analyze`)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "analyze_contracts.py"
SPEC = importlib.util.spec_from_file_location("analyze_contracts", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
analysis = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = analysis
SPEC.loader.exec_module(analysis)

PAGE = """
| detector | where | how many | why it stands |
|---|---|---|---|
| `timestamp` | `*` | any | Deadlines are in block time by design. |
| `calls-loop` | `Revenue.pay(uint256)` | 2 | At most eight ancestors, and views only. |
| `assembly` | `ChaCha20.*` | any | The one place that needs it, held by test vectors. |
| `calls-loop` | `Market.pay(uint256)` | 1 | short |
"""


def found(check: str, where: str = "Revenue.pay(uint256)") -> analysis.Finding:
    return analysis.Finding(check, where)


KNOWN = [found("timestamp", "x"), found("assembly", "ChaCha20.f()"), found("calls-loop"), found("calls-loop")]


def test_the_rows_of_the_page_are_read_and_one_without_a_sentence_is_not():
    argued = analysis.read_argued(PAGE)
    assert dict(argued.counts) == {("calls-loop", "Revenue.pay(uint256)"): 2}
    assert argued.any == {("timestamp", "*"), ("assembly", "ChaCha20.*")}


def test_what_is_argued_passes_and_nothing_else_does():
    argued = analysis.read_argued(PAGE)
    assert analysis.judge(KNOWN, argued) == ([], [])
    for new in (found("arbitrary-send-erc20"), found("assembly", "Market.pay(uint256)")):
        assert analysis.judge([*KNOWN, new], argued) == ([new], [])


def test_one_more_in_the_same_function_is_seen():
    open_, stale = analysis.judge([*KNOWN, found("calls-loop")], analysis.read_argued(PAGE))
    assert (len(open_), stale) == (3, [])


def test_an_argument_without_its_finding_is_seen():
    open_, stale = analysis.judge([found("calls-loop"), KNOWN[1]], analysis.read_argued(PAGE))
    assert (open_, stale) == ([], ["calls-loop  Revenue.pay(uint256)", "timestamp  *"])


def test_places_are_named_without_lines():
    function = {
        "type": "function",
        "name": "pay",
        "type_specific_fields": {"parent": {"type": "contract", "name": "Revenue"}, "signature": "pay(uint256)"},
    }
    node = {"type": "node", "name": "x = 1", "type_specific_fields": {"parent": function}}
    contract = {"type": "contract", "name": "Revenue"}
    detectors = [{"check": "c", "description": "d", "elements": [element]} for element in (function, node, contract)]
    report = {"success": True, "results": {"detectors": detectors}}
    assert [finding.where for finding in analysis.read_report(report)] == ["Revenue.pay(uint256)"] * 2 + ["Revenue"]


def test_an_analysis_that_failed_is_no_clean_one():
    with pytest.raises(ValueError, match="no such file"):
        list(analysis.read_report({"success": False, "error": "no such file", "results": {}}))


def test_the_page_argues_in_rows_that_are_read():
    page = (SCRIPT.parents[1] / "contracts" / "analysis.md").read_text(encoding="utf-8")
    argued = analysis.read_argued(page)
    assert len(argued.counts) + len(argued.any) == page.count("\n| `")
