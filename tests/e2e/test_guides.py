"""The commands of the guides are run as they stand, in order; ``# exit N`` names a status other than 0."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data

from countermark.cli.root import root
from countermark.marking.attacks import apply

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
TERMS = re.search(r"TERMS'\n(.*?)^TERMS$", (GUIDES / "first-steps.md").read_text(encoding="utf-8"), re.S | re.M)


@dataclass
class Shell:
    """A folder, and the words that a reader replaces."""

    folder: Path
    words: dict[str, str] = field(default_factory=dict)

    def run(self, command: str) -> tuple[int, str]:
        """Run a command: ours in this process, which saves its start, and the shell's in a shell."""
        for word, value in self.words.items():
            command = re.sub(rf"\b{word}\b", value, command)
        with contextlib.chdir(self.folder):
            if not command.startswith("countermark "):
                return subprocess.run(command, shell=True, executable="/bin/bash", env={}, check=False).returncode, ""
            env = {"COUNTERMARK_PASSPHRASE": "a passphrase of your own", "LC_ALL": "C.UTF-8"}
            result = CliRunner().invoke(root, shlex.split(command, comments=True)[1:], env=env)
            return result.exit_code, result.output

    def follow(self, guide: str) -> str:
        """Run a guide's commands and return what they printed; stop at the first unexpected status."""
        printed = ""
        for command in commands(GUIDES / guide):
            if "suspect.jpg" in command and not (self.folder / "suspect.jpg").exists():
                leak(self.folder)
            if "leak.jpg" in command and not (self.folder / "leak.jpg").exists():
                generated = self.folder / "pictures" / "grant-2-0-000002.png"
                Image.open(generated).save(self.folder / "leak.jpg", quality=80)
            if "collage.jpg" in command:
                collage(self.folder)
            wanted = re.search(r"# exit (\d)", command)
            status, output = self.run(command)
            assert status == int(wanted[1] if wanted else 0), f"{command}\n{output}"
            printed += output
            self.note(output)
        return printed

    def note(self, output: str) -> None:
        """Remember what a reader would copy from the terminal."""
        patterns = {
            "TRACE": r"bundle (t-[0-9a-f]{12}) ",
            "AUDIT": r"^ *(a-[0-9a-f]{16}) ",
            "PUBLIC_KEY": r"public key +([0-9a-f]{64})\n",
            "OFFICE": r"^ *office +.* \(([0-9a-f]{16})\)$",
            "OFFICE_ACCOUNT": r"ledger account +(0x[0-9a-fA-F]{40})\n",
            "SECOND_ACCOUNT": r"ledger account +(0x[0-9a-fA-F]{40})\n",
        }
        for word, pattern in patterns.items():
            if found := re.search(pattern, output, re.M):
                self.words[word] = found[1]


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [command.strip() for block in blocks for command in re.split(r"^\$ ", block, flags=re.M) if command.strip()]


def leak(folder: Path) -> None:
    with Image.open(folder / "marked" / "photo.jpg") as picture:
        copy = apply("crop(0.85)+resize(0.75)", np.asarray(picture))
    Image.fromarray(copy).save(folder / "suspect.jpg", quality=70)


def collage(folder: Path) -> None:
    """Lay a part of the marked copy on another photograph."""
    with Image.open(folder / "marked" / "photo.jpg") as marked, Image.open(folder / "another.jpg") as other:
        other.paste(marked.crop((40, 60, 420, 360)), (200, 60))
        other.save(folder / "collage.jpg", quality=85)


def write_texts(folder: Path) -> None:
    """Let our own pages be a corpus, others of them be unseen, and outputs repeat the former or neither."""
    pages = sorted((ROOT / "docs" / "adr").glob("00*.md"))
    for name, part in (("corpus", pages[::2]), ("unseen", pages[1::2])):
        (folder / name).mkdir()
        for page in part:
            (folder / name / page.name).write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    copied = [page.read_text(encoding="utf-8")[500:900] for page in pages[:20:2]]
    lines = [json.dumps({"text": text}) for text in copied]
    (folder / "outputs.jsonl").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    assert TERMS is not None
    (tmp_path / "model").symlink_to(ROOT / "examples" / "fashion-mnist")
    (tmp_path / "terms.yaml").write_text(TERMS[1])
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.jpg", quality=92)
    Image.fromarray(data.coffee()).save(tmp_path / "another.jpg", quality=92)
    return Shell(tmp_path)


def test_first_steps_and_verify(shell: Shell) -> None:
    printed = shell.follow("first-steps.md")
    assert "suspect.jpg: attributed" in printed
    assert "outside its territory" in printed
    assert "Log and ledger agree." in printed
    assert "VERIFIED" in shell.follow("verify.md")
    seen = shell.follow("pictures.md")
    assert all(f"{name}: attributed" in seen for name in ("suspect.jpg", "collage.jpg"))
    for drawing in (
        "marked/photo.jpg.preview.png",
        "drawings/suspect.jpg.lattice.png",
        "drawings/collage.jpg.lattice.png",
    ):
        assert (shell.folder / drawing).is_file()


def test_texts(shell: Shell) -> None:
    (shell.folder / "prose").symlink_to(ROOT / "examples" / "prose")
    printed = shell.follow("texts.md")
    assert "suspect.txt: attributed" in printed
    assert "unmarked" in printed
    assert "VERIFIED" in printed
    assert (shell.folder / "drawings" / "suspect.txt.marks.html").is_file()


def test_audit(shell: Shell) -> None:
    (shell.folder / "memorization").symlink_to(ROOT / "examples" / "memorization")
    write_texts(shell.folder)
    printed = shell.follow("audit.md")
    assert printed.count("copies of training items were found") == 5
    assert "no copies were found" in printed
    assert "VERIFIED" in printed
    assert (shell.folder / "report" / "report.zh.html").is_file()


def test_an_external_licensee(shell: Shell) -> None:
    for command in ("init", 'party add "Example Studio" --role owner', 'register model --owner "Example Studio"'):
        status, output = shell.run(f"countermark {command}")
        assert status == 0, output
    shell.words["OFFICE"] = json.loads((shell.folder / "countermark-workspace" / "workspace.json").read_text())["id"]
    shell.follow("external-licensee.md")
    assert "Agency North" in shell.run("countermark license show all")[1]


def open_with_a_title(shell: Shell) -> None:
    for command in ("init", 'party add "Example Studio" --role owner', 'register model --owner "Example Studio"'):
        status, output = shell.run(f"countermark {command}")
        assert status == 0, output


def test_standard_terms(shell: Shell) -> None:
    open_with_a_title(shell)
    printed = shell.follow("standard-terms.md")
    assert "The Grant ends 96 hours after the notice is recorded" in printed
    assert "授权于通知记入账本后满 96 小时终止" in printed
    assert printed.count("named by the terms    yes") == 2


def test_a_valuation(shell: Shell) -> None:
    open_with_a_title(shell)
    printed = shell.follow("valuation.md")
    assert "| computing | CNY | 123,456.78 |" in printed
    assert "This record is no opinion on value." in printed


def test_generating(shell: Shell) -> None:
    model = shell.folder / "model"
    model.unlink()
    model.symlink_to(ROOT / "examples" / "photos-64")
    printed = shell.follow("generate.md")
    assert "leak.jpg: attributed" in printed
    assert "number 2" in printed
    assert "VERIFIED" in printed


@pytest.mark.tool("npm")
@pytest.mark.tool("openssl")
def test_a_consortium(shell: Shell, anvil: Callable[..., AbstractContextManager[Any]]) -> None:
    with anvil("--gas-price", "0", "--base-fee", "0", "--no-priority-fee") as node:
        shell.words["NODE"] = node.url
        printed = shell.follow("consortium.md")
    assert (shell.folder / "besu-chain" / "node4" / "key").is_file()
    account = re.search(r"ledger account +(0x[0-9a-fA-F]{40})", printed)
    assert account is not None
    assert account[1].lower() in (shell.folder / "besu-chain" / "README.txt").read_text()
    assert "certificate" in printed
    assert "2.5%" in printed
    assert "roles           governor, marker, operator" in printed
    assert "Log and ledger agree." in printed


@pytest.mark.parametrize(
    "guide",
    [
        "first-steps.md",
        "verify.md",
        "generate.md",
        "pictures.md",
        "external-licensee.md",
        "standard-terms.md",
        "valuation.md",
        "consortium.md",
    ],
)
def test_a_guide_has_commands(guide: str) -> None:
    assert len(commands(GUIDES / guide)) >= 3
