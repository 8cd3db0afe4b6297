"""The audit page in a real browser: choose a model, make an image, read its p-value, change the language."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "memorization"
IMAGES = EXAMPLES / "images.npz"
WAIT = 240


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, folder: Path, **environment: str) -> Iterator[str]:
    """Run a server until its page answers, and stop it afterwards."""
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        try:
            yield answering(f"http://127.0.0.1:{port}/", process, log)
        finally:
            process.terminate()
            process.wait(30)


def answering(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + WAIT
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return url
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"no page at {url}: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "countermark.cli", "audit", "serve", "--lang", "en", "--port", str(port)]
    command += ["--case", "copyist", str(EXAMPLES / "copyist"), f"{IMAGES}:train[:300]"]
    command += ["--case", "honest", str(EXAMPLES / "honest"), f"{IMAGES}:train"]
    command += ["--held-out", f"{IMAGES}:test"]
    with running(command, port, tmp_path_factory.mktemp("serve")) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1100,1400",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.get("about:blank")
        driver.get_log("performance")
        yield driver
    finally:
        driver.quit()


class Visitor:
    """Clicks and reads as a person does."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser = browser
        browser.get(url)
        self.until("#one", "Make an image")

    def words(self, where: str) -> str:
        found = self.browser.find_elements("css selector", where)
        return str(found[0].text) if found else ""

    def until(self, where: str, words: str) -> str:
        until = time.monotonic() + WAIT
        while words not in self.words(where):
            if time.monotonic() > until:
                pytest.fail(f"{where} does not say {words!r} but {self.words(where)!r}")
            time.sleep(0.2)
        return self.words(where)

    def click(self, where: str, words: str = "") -> None:
        for element in self.browser.find_elements("css selector", where):
            if words in element.text:
                element.click()
                return
        pytest.fail(f"there is no {where} that says {words!r}")

    def pictures(self, where: str) -> int:
        """How many pictures are shown there, decoded by the browser and enlarged without smoothing."""
        script = (
            "return [...document.querySelectorAll(arguments[0] + ' img')].filter(i => i.complete && i.naturalWidth"
            " && getComputedStyle(i).imageRendering == 'pixelated').length"
        )
        return int(self.browser.execute_script(script, where))


@pytest.mark.tool("chromium", "chromedriver")
def test_a_visitor_chooses_makes_reads_and_changes_the_language(page: str, browser: Any) -> None:
    visitor = Visitor(browser, page)
    visitor.until("#about", "Trained on 300 images")
    assert "Nothing was made yet" in visitor.words("#finding")

    visitor.click("#one")
    found = visitor.until("#finding", "(p = ")
    assert "of 4,000 real images that the model never saw" in found
    assert "RMSE" in found
    assert "where 0 is equal" in found
    assert visitor.pictures("#finding .three") == 3
    assert browser.find_elements("css selector", "#finding svg path.null")
    assert browser.find_elements("css selector", "#finding svg line.mark")
    seed = browser.find_element("css selector", "#seed input")
    assert seed.get_attribute("value") == "1"

    visitor.click("#many")
    found = visitor.until("#finding", "Of these 100 images of seed 1")
    assert int(found.split("seed 1, ")[1].split(" ")[0]) >= 60
    listed = visitor.until("#copies", "of 101 images of this model are named as copies")
    assert "seed 1, image " in listed
    assert visitor.pictures("#copies .gallery") >= 60

    visitor.click("#language label", "中文")
    visitor.until("#one", "生成一张图像")
    assert "张真实图像中" in visitor.until("#finding", "种子 1 的这 100 张图像中")
    assert "迄今发现的副本" in visitor.words("#copies")
    assert seed.get_attribute("value") == "2"

    visitor.click("#language label", "English")
    visitor.until("#one", "Make an image")
    visitor.click("#model label", "honest")
    visitor.until("#about", "Trained on 6,000 images")
    visitor.until("#finding", "Nothing was made yet")
    visitor.click("#many")
    found = visitor.until("#finding", "Of these 100 images of seed 2")
    assert int(found.split("seed 2, ")[1].split(" ")[0]) <= 3

    visitor.click("#model label", "copyist")
    visitor.until("#copies", "of 101 images of this model")

    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in asked if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith((page, "data:", "blob:", "chrome", "about:"))] == []


@pytest.mark.tool("chromium", "chromedriver")
def test_a_seed_out_of_range_is_answered_with_words(page: str, browser: Any) -> None:
    visitor = Visitor(browser, page)
    seed = browser.find_element("css selector", "#seed input")
    seed.send_keys("\ue009a\ue000", "-5")  # Ctrl-A
    visitor.click("#one")
    visitor.until("body", "the seed is 0 to 2147483647")


def test_the_page_forbids_whatever_is_not_its_own(page: str) -> None:
    with urllib.request.urlopen(page, timeout=30) as answer:
        policy = answer.headers["content-security-policy"]
        text = answer.read().decode()
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "fonts.googleapis" not in text
    with urllib.request.urlopen(page + "config", timeout=30) as answer:
        config = json.load(answer)
    assert config["analytics_enabled"] is False
    assert {dependency["api_visibility"] for dependency in config["dependencies"]} == {"private"}


def test_a_copy_of_the_space_runs_on_its_own(tmp_path: Path) -> None:
    for name in ("app.py", "README.md", "requirements.txt"):
        shutil.copy(ROOT / "examples" / "space" / name, tmp_path / name)
    shutil.copy(IMAGES, tmp_path / IMAGES.name)
    for model in ("copyist", "honest"):
        shutil.copytree(EXAMPLES / model, tmp_path / model)
    port = free_port()
    with (
        running([sys.executable, "app.py"], port, tmp_path, GRADIO_SERVER_PORT=str(port)) as url,
        urllib.request.urlopen(url + "config", timeout=30) as answer,
    ):
        config = answer.read().decode()
    assert "copyist: 300 training images" in config
    assert "6,000" in config


def test_the_space_is_described_as_the_hub_reads_it() -> None:
    import yaml

    text = (ROOT / "examples" / "space" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert front["sdk"] == "gradio"
    assert f"gradio=={front['sdk_version']}\n" in pinned
    assert (ROOT / "examples" / "space" / front["app_file"]).is_file()
    assert front["license"] == "apache-2.0"
    assert len(front["short_description"]) <= 60
