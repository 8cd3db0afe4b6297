"""``countermark demo audit``: the copyist is found, the honest model is not, and the evidence verifies."""

import json

from click.testing import CliRunner

from countermark.cli.root import root


def test_the_demo_gives_the_right_answers(tmp_path):
    result = CliRunner().invoke(root, ["demo", "audit", "--out", str(tmp_path / "demo"), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["right"]
    assert found["forgery_refused"]
    assert found["bundle_verified"]
    assert found["copyist"]["flagged"] > 300
    assert found["copyist"]["by_source_cutoff"] == found["honest"]["flagged"] == 0
    for name in ("copyist", "honest"):
        assert (tmp_path / "demo" / name / "report.zh.html").is_file()
        assert (tmp_path / "demo" / name / "samples.npz").is_file()
