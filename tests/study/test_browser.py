"""Two readers at once in Debian's Chromium: they grade by keys, reload, and the server is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monai_nce.study.database import Study
from tests.study.studies import make_study
from tests.visualize.page.test_browser import CHROMIUM, DRAWN, SWITCHES

pytestmark = pytest.mark.slow
START = "import sys; from monai_nce.cli.app import main; sys.exit(main())"


class Server:
    """``nce study serve`` in a process of its own, which can be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", START, "study", "serve", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.address = self.process.stdout.readline().split(": ")[0]
        self.port = int(self.address.strip("/").rpartition(":")[2])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder, tokens = make_study(tmp_path, ask_real=True)
    started = Server(folder)
    started.tokens = tokens  # type: ignore[attr-defined]
    yield started
    started.kill()


@pytest.fixture
def pages(server: Any) -> Iterator[list[Any]]:
    """A page of each reader, signed in by their address."""
    if not Path(CHROMIUM).is_file():
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        opened = []
        for token in server.tokens:
            page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
            page.requests, page.troubles = [], []  # type: ignore[attr-defined]
            page.on("request", lambda request, page=page: page.requests.append(request.url))
            page.on("pageerror", lambda error, page=page: page.troubles.append(str(error)))
            page.goto(f"{server.address}#{token}")
            shown(page)
            opened.append(page)
        yield opened
        for page in opened:
            assert not page.troubles  # type: ignore[attr-defined]
            # data: are the letters of the viewer
            outside = {url for url in page.requests if not url.startswith((server.address, "data:", "blob:"))}  # type: ignore[attr-defined]
            assert not outside
        browser.close()


def shown(page: Any, after: str = "") -> str:
    """Wait for an image, another one than ``after``, and return its id."""
    page.wait_for_selector(f'main[data-image]:not([hidden]):not([data-image="{after}"])', timeout=30_000)
    page.evaluate(DRAWN)
    return str(page.get_attribute("main", "data-image"))


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_two_readers_grade_while_the_server_is_killed_beneath_them(server: Any, pages: list[Any]) -> None:
    study = Study(server.folder)
    first, second = pages
    for page, token in zip(pages, server.tokens, strict=True):
        assert token not in page.url and page.evaluate("document.cookie") == ""  # neither in sight of a script

    # first reader: a mark, a comment, and a reloaded page in the middle of it
    image = shown(first)
    press(first, "2", "k")
    box = first.locator("[data-role=image] canvas").bounding_box()
    first.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    first.locator("#comment").fill("rim at the liver")
    first.reload()
    assert shown(first) == image
    assert first.locator('[data-question=quality] [aria-pressed="true"]').inner_text() == "2"
    assert first.locator("#marks li").count() == 1 and first.locator(".ring").count() == 1
    press(first, "4", "1", "Enter")
    following = shown(first, image)
    (kept,) = study.grades()
    assert (kept["reader"], kept["quality"], kept["artefact"], kept["looks_real"]) == (1, 2, 4, True)
    assert kept["comment"] == "rim at the liver"
    (mark,) = kept["marks"]
    assert all(abs(at - middle) <= 1 for at, middle in zip(mark["voxel"], (22, 25, 2), strict=True))

    # second reader, with the server killed while they look, and again before they save: the page asks once more
    image = shown(second)
    server.kill()
    press(second, "5", "5", "2", "Enter")
    server.start()
    shown(second, image)
    assert [(one["reader"], one["quality"], one["looks_real"]) for one in study.grades()] == [
        (1, 2, True),
        (2, 5, False),
    ]

    # back to the last image, to correct it
    press(first, "b")
    corrected = shown(first, following)
    assert first.locator("#comment").input_value() == "rim at the liver" and first.locator("#marks li").count() == 1
    press(first, "Backspace", "Backspace", "Backspace", "1", "1", "2", "Enter")
    assert shown(first, corrected) == following
    assert [one["quality"] for one in study.grades()] == [1, 5]

    # a forged id, from within a page that is signed in
    ask = "async (id) => (await fetch(`api/images/${id}/image.nii.gz`)).status"
    assert [second.evaluate(ask, one) for one in (following, "0" * 32, "../study.db")] == [404, 404, 404]

    # the rest, in turns; a pause shows nothing
    press(first, "p")
    assert first.locator("main").is_hidden() and "Paused" in first.locator("#message").inner_text()
    first.click("[data-do=go-on]")
    for number in range(7):
        for page in pages:
            image = shown(page)
            press(page, str(1 + number % 5), "3", "1", "Enter")
            page.wait_for_selector(f'main[hidden], main:not([data-image="{image}"])', state="attached")
    for page in pages:
        page.wait_for_selector("#message:not([hidden])")
        assert "All images are graded" in page.locator("#message").inner_text()
        assert page.locator("#progress-text").inner_text() == "8 of 8 graded"
    assert len(study.grades()) == 16


def test_a_wrong_token_opens_nothing(server: Any, pages: list[Any]) -> None:
    page = pages[0].context.browser.new_page()
    page.goto(f"{server.address}#wrong")
    page.wait_for_selector("#trouble:not([hidden])")
    assert page.locator("#trouble").inner_text() == "this token is not known"
    assert page.locator("main").is_hidden()
    page.fill("#token", server.tokens[0])
    press(page, "Enter")
    shown(page)
    page.close()
