"""The page in Debian's Chromium, started once: what is seen, what keys and mouse do, and that nothing leaves."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monai_nce.visualize import Case, Report, ReportTable, write_report
from tests.visualize.page.pages import LPS

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]
START_ZOOM = 0.94  # of the pictures, as main.js has it
SHAPE = (30, 24, 9)
# axes in another order and towards other sides: from above, towards right, towards anterior
OTHER = np.array([[0, 0.9, 0, -30], [0, 0, 1.1, 10], [-3.0, 0, 0, 400], [0, 0, 0, 1]])
RIGHT, LEFT = (slice(2, 8), slice(9, 15)), (slice(22, 28), slice(9, 15))  # of the first scan, in LPS
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def volumes(shape: tuple[int, int, int], seed: int) -> dict[str, np.ndarray]:
    """A scan, a synthetic and a real image, each voxel with a value of its own."""
    rng = np.random.default_rng(seed)
    scan = rng.integers(-50, 150, size=shape).astype(np.int16)
    return {"scan": scan, "synthetic": scan + rng.integers(0, 90, size=shape), "real": scan + 7}


FIRST, SECOND = volumes(SHAPE, 0), volumes((9, 26, 20), 1)
FIRST["scan"][RIGHT], FIRST["synthetic"][RIGHT] = 80, 140
FIRST["scan"][LEFT], FIRST["synthetic"][LEFT] = -60, -30
del SECOND["real"]
CONFIDENCE = np.linspace(0, 1, int(np.prod(SHAPE))).reshape(SHAPE)


@pytest.fixture(scope="module")
def browser_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not Path(CHROMIUM).is_file():
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    file = tmp_path_factory.mktemp("page") / "scan_synthetic_cect.html"
    cases = [Case("first", LPS, **FIRST, confidence=CONFIDENCE), Case("second", OTHER, **SECOND)]
    write_report(file, Report("scan", warnings=["a doubt"], cases=cases, tables=[ReportTable("t", ("a", "b"))]))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = browser.new_page(viewport={"width": 1366, "height": 768}, color_scheme="dark")
        page.requests, page.troubles = [], []  # type: ignore[attr-defined]
        page.on("request", lambda request: page.requests.append(request.url))  # type: ignore[attr-defined]
        page.on("pageerror", lambda error: page.troubles.append(str(error)))  # type: ignore[attr-defined]
        page.on(
            "console",
            lambda said: page.troubles.append(said.text) if said.type == "error" else None,  # type: ignore[attr-defined]
        )
        page.goto(file.as_uri())
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        yield page
        browser.close()


@pytest.fixture
def page(browser_page: Any) -> Any:
    """The page as it is at the start, with the first scan."""
    browser_page.emulate_media(color_scheme="dark", media="screen")
    browser_page.mouse.move(1, 1)
    choose(browser_page, "first")
    if browser_page.locator("[data-do=wipe]").get_attribute("aria-pressed") == "true":
        browser_page.keyboard.press("w")
    press(browser_page, "r", "a")
    yield browser_page
    assert browser_page.troubles == []


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
    page.evaluate(DRAWN)


def choose(page: Any, name: str) -> None:
    page.select_option("#case", name)
    page.wait_for_function(f"() => document.querySelector('.viewer').dataset.case === '{name}'")
    page.locator("#case").blur()
    page.evaluate(DRAWN)


def box(page: Any, role: str) -> dict[str, float]:
    return page.locator(f"figure[data-role={role}] canvas").bounding_box()


def place(
    page: Any, role: str, voxel: tuple[int, ...], affine: np.ndarray, shape: tuple[int, ...]
) -> tuple[float, float]:
    """Where an axial slice has a voxel on the screen, seen from the feet: right on the left, anterior on top."""
    area = box(page, role)
    middle = affine @ [*((np.array(shape) - 1) / 2), 1]
    extent = np.abs(affine[:3, :3]) @ shape
    scale = min(area["width"] / extent[0], area["height"] / extent[1]) * START_ZOOM
    right, anterior, _, _ = affine @ [*voxel, 1] - middle
    x, y = area["width"] / 2 - right * scale, area["height"] / 2 - anterior * scale
    return area["x"] + x, area["y"] + y


def values(page: Any) -> dict[str, float]:
    found = page.eval_on_selector_all(
        "figure.panel:not([hidden])",
        "figures => figures.map((one) => [one.dataset.role, Number(one.querySelector('.value').dataset.value)])",
    )
    return dict(found)


def pixels(page: Any, role: str) -> np.ndarray:
    shot = page.locator(f"figure[data-role={role}] canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def grey(page: Any, role: str, voxel: tuple[int, ...]) -> float:
    """The grey of a voxel of the first scan."""
    area, (x, y) = box(page, role), place(page, role, voxel, LPS, SHAPE)
    column, row = round(x - area["x"]), round(y - area["y"])
    return float(pixels(page, role)[row - 1 : row + 2, column - 1 : column + 2].mean())


@pytest.mark.parametrize(
    ("name", "held", "affine", "voxels"),
    [
        ("first", FIRST, LPS, [(3, 20, 1), (26, 4, 7), (0, 0, 0), (29, 23, 8), (11, 12, 4)]),
        ("second", SECOND, OTHER, [(2, 20, 3), (7, 4, 16), (0, 0, 0), (8, 25, 19)]),
    ],
)
def test_the_value_under_the_pointer_is_the_file_s(
    page: Any, name: str, held: dict[str, np.ndarray], affine: np.ndarray, voxels: list[tuple[int, int, int]]
) -> None:
    choose(page, name)
    shape = held["scan"].shape
    heights = (affine @ np.array([[*index, 1] for index in np.ndindex(shape)]).T)[2]
    for voxel in voxels:
        slice_number = round(((affine @ [*voxel, 1])[2] - heights.min()) / np.abs(affine[2, :3]).max()) + 1
        page.locator("#slice").fill(str(slice_number))
        page.locator("#slice").blur()
        page.mouse.move(*place(page, "synthetic", voxel, affine, shape))
        page.evaluate(DRAWN)
        expected = {role: float(volume[voxel]) for role, volume in held.items()}
        expected["difference"] = expected["synthetic"] - expected["real" if "real" in held else "scan"]
        if name == "first":
            expected["confidence"] = pytest.approx(CONFIDENCE[voxel], abs=1e-4)
        assert values(page) == expected
        assert page.inner_text("#place-text").endswith("voxel " + ", ".join(map(str, voxel)))
    page.mouse.wheel(0, 100 if slice_number > 2 else -100)  # the pointer stays
    page.evaluate(DRAWN)
    there = tuple(int(index) for index in page.inner_text("#place-text").rpartition("voxel ")[2].split(", "))
    assert there != voxel and values(page)["scan"] == held["scan"][there]


def test_scrolling_changes_the_slice(page: Any) -> None:
    seen = [pixels(page, "scan")]
    for keys, number in ((["ArrowUp"], 6), (["ArrowDown"] * 3, 3), (["PageUp"], 9), (["PageDown"], 1), (["Home"], 9)):
        press(page, *keys)
        assert page.inner_text("#slice-text") == f"Slice {number} of 9"
        seen.append(pixels(page, "scan"))
    assert all((one != other).any() for one, other in zip(seen, seen[1:], strict=False))
    area = box(page, "synthetic")
    page.mouse.move(area["x"] + 100, area["y"] + 100)
    page.mouse.wheel(0, 100)
    page.evaluate(DRAWN)
    assert page.inner_text("#slice-text") == "Slice 8 of 9"
    press(page, "c")
    assert page.inner_text("#slice-text") == "Slice 13 of 24"
    press(page, "s", "ArrowUp")
    assert page.inner_text("#slice-text") == "Slice 17 of 30"


def test_the_window_changes_grey_values(page: Any) -> None:
    press(page, "x")  # the crosshair is off the picture
    right, left = (4, 12, 4), (25, 12, 4)
    # 80 HU of -100 to 200; of 5 to 155; of -160 to 240
    for key, level, width in (("1", 50, 300), ("2", 80, 150), ("3", 40, 400)):
        press(page, key)
        assert page.inner_text("#window-text") == f"Level {level}, width {width} HU"
        for role, value in (("scan", 80), ("synthetic", 140)):
            expected = 255 * np.clip((value - level) / width + 0.5, 0, 1)
            assert grey(page, role, right) == pytest.approx(expected, abs=3)
    press(page, "1")
    before = grey(page, "scan", left)
    area = box(page, "scan")
    page.mouse.move(area["x"] + 200, area["y"] + 100)
    page.mouse.down(button="right")
    page.mouse.move(area["x"] + 100, area["y"] + 60, steps=4)
    page.mouse.up(button="right")
    page.evaluate(DRAWN)
    # 100 pixels to the left narrow it to 1.005^-100 of 300, 40 up lower the level by 40
    assert page.inner_text("#window-text") == "Level 10, width 182 HU"
    assert grey(page, "scan", left) == pytest.approx(255 * ((-60 - 10) / 182 + 0.5), abs=3) != before
    press(page, "x")


def test_the_patient_s_right_is_on_the_left(page: Any) -> None:
    assert grey(page, "scan", (4, 12, 4)) > 140 > 60 > grey(page, "scan", (25, 12, 4))
    for role in ("scan", "synthetic"):
        area = box(page, role)
        bright, dark = (place(page, role, voxel, LPS, SHAPE)[0] for voxel in ((4, 12, 4), (25, 12, 4)))
        assert bright < area["x"] + area["width"] / 2 < dark


def test_a_click_moves_the_crosshair_of_all(page: Any) -> None:
    voxel = (20, 5, 4)
    page.mouse.click(*place(page, "difference", voxel, LPS, SHAPE))
    page.mouse.move(1, 1)
    page.evaluate(DRAWN)
    assert values(page)["scan"] == FIRST["scan"][voxel] and values(page)["real"] == FIRST["real"][voxel]
    gold = [np.argwhere(np.ptp(pixels(page, role), axis=2) > 60) for role in ("scan", "real")]
    np.testing.assert_allclose(np.median(gold[0], axis=0), np.median(gold[1], axis=0), atol=2)


def test_the_wipe_shows_the_scan_on_the_left_and_the_synthetic_image_on_the_right(page: Any) -> None:
    press(page, "x", "w")
    assert box(page, "scan") == box(page, "synthetic")
    right, left = (4, 12, 4), (25, 12, 4)

    def seen(voxel: tuple[int, int, int]) -> float:
        return grey(page, "synthetic", voxel)  # what is on the screen there

    assert [seen(right), seen(left)] == pytest.approx([255 * 180 / 300, 255 * 70 / 300], abs=3)
    press(page, *["ArrowLeft"] * 25)
    assert [seen(right), seen(left)] == pytest.approx([255 * 240 / 300, 255 * 70 / 300], abs=3)
    handle = page.locator(".handle").bounding_box()
    page.mouse.move(handle["x"] + 7, handle["y"] + 20)
    page.mouse.down()
    page.mouse.move(handle["x"] + 1000, handle["y"] + 20)
    page.mouse.up()
    page.evaluate(DRAWN)
    assert [seen(right), seen(left)] == pytest.approx([255 * 180 / 300, 255 * 40 / 300], abs=3)
    press(page, "w", "x")
    assert box(page, "scan")["x"] < box(page, "synthetic")["x"]


def test_other_keys(page: Any) -> None:
    press(page, "d")
    assert page.inner_text("figure[data-role=difference] .title") == "synthetic − NECT"
    press(page, "d")
    assert page.inner_text("figure[data-role=difference] .title") == "synthetic − real"
    press(page, "?")
    assert page.locator("#help").is_visible()
    press(page, "Escape")
    assert not page.locator("#help").is_visible()
    before = pixels(page, "scan")
    press(page, "+", "+")
    assert (pixels(page, "scan") != before).any()
    press(page, "n")
    page.wait_for_function("() => document.querySelector('.viewer').dataset.case === 'second'")
    assert not page.locator("figure[data-role=real]").is_visible()


def test_synthetic_is_said_in_the_picture_and_on_top(page: Any) -> None:
    assert page.locator(".research").is_visible()
    for role in ("scan", "synthetic", "real", "difference"):
        mark = page.locator(f"figure[data-role={role}] .mark")
        made = role in ("synthetic", "difference")
        assert mark.count() == made and (not made or mark.is_visible())
        picture = page.locator(f"figure[data-role={role}] .view").screenshot()
        corner = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)[-20:, -190:]
        golden = (corner[..., 0] > 200) & (corner[..., 2] < 120) & (corner[..., 1] > 150)
        assert (golden.sum() > 100) == made


def test_dark_and_light(page: Any) -> None:
    def brightness() -> float:
        return float(np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))[-40:, :10].mean())

    assert brightness() < 60
    press(page, "t")
    assert brightness() > 200
    press(page, "t")
    assert brightness() < 60
    page.evaluate("() => delete document.documentElement.dataset.theme")
    page.emulate_media(color_scheme="light")
    assert brightness() > 200


def test_print_has_the_pictures_and_says_synthetic(page: Any) -> None:
    printed = page.pdf()
    assert printed.count(b"/Subtype /Image") >= 5
    page.emulate_media(media="print")
    picture = page.locator("figure[data-role=scan] img.print")
    assert picture.is_visible() and picture.evaluate("(image) => image.naturalWidth") > 100
    assert page.locator("figure[data-role=synthetic] .mark").is_visible() and page.locator(".research").is_visible()
    assert not page.locator(".tools").is_visible()


def test_nothing_is_asked_for_and_nothing_could_be(page: Any) -> None:
    (only,) = page.requests
    assert only.startswith("file://") and only.endswith("/scan_synthetic_cect.html")
    asked = """async () => {
        const tried = [fetch('https://example.org/').then(() => 'left', () => 'kept')]
        const image = new Image()
        tried.push(new Promise((done) => { image.onload = () => done('left'); image.onerror = () => done('kept') }))
        image.src = 'https://example.org/a.png'
        return Promise.all(tried)
    }"""
    assert page.evaluate(asked) == ["kept", "kept"]
    page.troubles.clear()  # the browser says that it refused
    page.requests[1:] = []
