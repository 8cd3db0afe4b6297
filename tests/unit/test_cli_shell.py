"""The command line without an office: what it loads, its help, its layout of text, its documents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import countermark
from countermark.cli.root import NOUNS, root
from countermark.cli.session import Session
from countermark.cli.terms import read_terms
from countermark.cli.text import card, pad, plain, table, width, wrap
from countermark.cli.verify_text import caveat_sentences, meanings
from countermark.errors import ConflictError, InputError
from countermark.evidence import audits, steps, traces

ROOT = Path(__file__).parents[2]
HEAVY = "{'torch', 'web3', 'eth', 'scipy', 'sqlalchemy', 'numpy', 'PIL', 'yaml', 'cryptography', 'rich'}"


def commands(command: click.Command = root, name: str = "countermark") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            member = command.get_command(context, child)
            assert member is not None
            yield from commands(member, f"{name} {child}")


COMMANDS = dict(commands())


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def cpu_seconds(code: str) -> float:
    """CPU time of the fastest of three runs, less what a bare interpreter takes."""
    measure = "import resource, sys; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"
    runs = [float(python(f"{body}\n{measure}").stdout.splitlines()[-1]) for body in [code, ""] for _ in range(3)]
    return min(runs[:3]) - min(runs[3:])


def test_importing_the_package_is_cheap_and_loads_nothing_heavy() -> None:
    assert python(f"import sys, countermark; print({HEAVY} & set(sys.modules))").stdout.strip() == "set()"
    assert cpu_seconds("import countermark") < 0.15


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = "import sys\nfrom countermark.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    assert python(code + f"print({HEAVY} & set(sys.modules))").stdout.splitlines()[-1] == "set()"
    assert cpu_seconds(code) < 0.5


def test_every_public_name_can_be_imported_and_is_listed() -> None:
    homes = {name for names in countermark._HOMES.values() for name in names}
    assert set(countermark.__all__) == homes | {"__version__"}
    assert list(countermark.__all__) == sorted(countermark.__all__)
    assert all(getattr(countermark, name) for name in countermark.__all__)
    with pytest.raises(AttributeError):
        _ = countermark.nothing_of_this_name


def test_the_version_is_that_of_the_metadata() -> None:
    assert f'version = "{countermark.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert CliRunner().invoke(root, ["--version"]).stdout == f"countermark {countermark.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example_in_both_languages(name: str) -> None:
    words = name.split()[1:]
    english = CliRunner().invoke(root, [*words, "--help", "--lang", "en"])
    chinese = CliRunner().invoke(root, ["--lang", "zh", *words, "-h"])
    assert english.exit_code == chinese.exit_code == 0
    example = english.stdout.partition("Example:")[2].split("\n\n")[0]
    assert example.split()[: len(words) + 1][0] == "countermark"
    assert all(word in example for word in words)
    assert "用法：" in chinese.stdout
    assert "示例：" in chinese.stdout
    assert max(width(line) for line in english.stdout.splitlines() if "countermark " not in line) <= 80


def test_each_noun_has_its_module() -> None:
    folder = ROOT / "src" / "countermark" / "cli"
    assert all((folder / f"{noun}.py").is_file() for noun in NOUNS)


def test_the_reference_of_commands_is_current() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "make_cli_reference.py"), "--check"], check=False)
    assert done.returncode == 0, "run scripts/make_cli_reference.py"


def test_every_step_and_every_caveat_of_verification_has_its_sentence() -> None:
    session = Session()
    assert list(meanings(session)) == list(dict.fromkeys(name for name, _ in (*traces.STEPS, *audits.STEPS)))
    source = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (steps, traces, audits))
    named = {slug for slug in caveat_sentences(session) if f'"{slug}"' in source or slug.endswith("-not-checked")}
    assert named == set(caveat_sentences(session))
    assert {line.split('"')[1] for line in source.splitlines() if "caveats.append(" in line} <= named


def test_options_stand_before_or_after_the_command() -> None:
    for arguments in (["--json", "doctor"], ["doctor", "--json"]):
        assert json.loads(CliRunner().invoke(root, arguments).stdout)["type"] == "countermark.doctor/1"


def test_without_a_command_there_is_help_and_status_2() -> None:
    result = CliRunner().invoke(root, [])
    assert (result.exit_code, "Commands:" in result.stderr) == (2, True)
    assert json.loads(CliRunner().invoke(root, ["--json"]).stdout)["code"] == "usage"
    assert "no command dance" in CliRunner().invoke(root, ["license", "dance"], env={"LC_ALL": "C"}).stderr


def test_a_stream_that_is_not_utf8_gets_escapes_and_no_traceback() -> None:
    env = os.environ | {"PYTHONIOENCODING": "ascii", "COUNTERMARK_LANG": "zh", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "countermark.cli", "verify", "none"], env=env, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m countermark.cli --help | head -n 1; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


@given(st.text(max_size=60))
def test_plain_text_has_no_control_characters_and_is_stable(text: str) -> None:
    shown = plain(text)
    assert all(character.isprintable() or not character.isascii() for character in shown)
    assert "\x1b" not in shown
    assert plain(shown) == shown


@given(st.text(alphabet="ab ，。中文", max_size=80), st.integers(4, 40))
def test_wrapping_keeps_every_character_but_spaces(text: str, columns: int) -> None:
    lines = wrap(text, columns)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(width(line) <= max(columns + 2 * line.count("，") + 2 * line.count("。"), 80) for line in lines)


def test_tables_and_cards_align_chinese() -> None:
    assert card([("权属", "1"), ("id", "2")]) == "  权属  1\n  id    2"
    assert table(["名", "b"], [["ab", 1]]) == "  名  b\n  --  -\n  ab  1"
    assert pad("中", 4) == "中  "


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


TERMS = """
name: Pictures
scope: [infer]
price: 0
currency: EUR
expires: 2030-01-31
seats: 0
resale: false
territory: [NO]
revocable: false
"""


def test_norway_is_a_country_and_a_date_is_a_time(tmp_path: Path) -> None:
    terms = read_terms(write(tmp_path / "t.yaml", TERMS))
    assert (terms.territory, terms.expires) == (("NO",), "2030-01-31T00:00:00Z")


@pytest.mark.parametrize(
    "text",
    [
        "- a\n- b",
        "a: b: c",
        "",
        TERMS + "price: 5\n",
        TERMS + "free: yes\n",
        TERMS.replace("price: 0", "price: 1.5"),
        TERMS.replace("resale: false", "resale: no"),
        "!!python/object/apply:os.system ['true']",
    ],
)
def test_malformed_terms_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        read_terms(write(tmp_path / "t.yaml", text))


def test_terms_are_bound_to_their_legal_text(tmp_path: Path) -> None:
    terms, text = write(tmp_path / "t.yaml", TERMS), write(tmp_path / "legal.txt", "In words.")
    bound = read_terms(terms, text)
    assert bound.legal_text is not None
    other = write(tmp_path / "o.yaml", TERMS + f"legal_text: sha256:{'0' * 64}\n")
    with pytest.raises(ConflictError):
        read_terms(other, text)
