"""The benchmarks' shared report: a table for people, a document with its provenance, the same as the last line."""

import json

from benchmarks.report import arguments, table, write_report


def test_the_report_is_written_and_is_the_last_line(tmp_path, capsys):
    path = tmp_path / "results" / "example.json"
    write_report("example", [{"n": 1, "rate": 0.25}, {"n": 2, "note": "late column"}], {"best": 2}, str(path))
    printed = capsys.readouterr().out.splitlines()
    saved = json.loads(path.read_text())
    assert json.loads(printed[-1]) == saved
    assert set(saved) == {"name", "when", "machine", "versions", "rows", "summary"}
    assert saved["rows"][1] == {"n": 2, "note": "late column"}
    assert saved["versions"]["python"]
    assert printed[0].split() == ["n", "rate", "note"]


def test_an_empty_table_says_so():
    assert table([]) == "(no rows)"


def test_the_shared_arguments():
    given = arguments("example").parse_args(["--json", "out.json", "--limit", "3"])
    assert (given.json, given.limit) == ("out.json", 3)
