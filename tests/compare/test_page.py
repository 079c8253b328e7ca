"""The page of a comparison: its files, and in a headless Chromium what it shows and does."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from rcan_plugin.compare import page
from tests.compare import example
from tests.compare.browser import CHROMIUM, needs_chromium

SET, IMAGE = "Set2_BI_x4", "bear"


def test_each_picture_has_a_twin_that_follows_it(tmp_path: Path):
    page.write(example.write(tmp_path))
    png = tmp_path / "pictures" / SET / "a tree & #1" / "RCAN+.png"
    twin = png.with_name("RCAN+.png.js")
    name, data = re.fullmatch(r'deliver\((".*?"), "(.*)"\);\n', twin.read_text()).groups()
    assert json.loads(name) == f"{SET}/a tree & #1/RCAN+"
    assert base64.b64decode(data) == png.read_bytes()
    content, stat = twin.read_text(), png.stat()
    inode = twin.stat().st_ino
    page.write(tmp_path)
    assert twin.stat().st_ino == inode, "an unchanged twin was written again"
    changed = png.read_bytes()[:-1] + b"?"
    png.write_bytes(changed)
    os.utime(png, ns=(stat.st_atime_ns, stat.st_mtime_ns - 1))  # an older file of the same size
    page.write(tmp_path)
    assert twin.read_text() != content and base64.b64encode(changed).decode() in twin.read_text()


def test_text_from_results_is_escaped(tmp_path: Path):
    content = example.results()
    content["title"] = content["rows"][1]["marks"][0] = "</script><b>&"
    content["methods"][1]["name"] = "<i>RCAN"
    text = page.write(example.write(tmp_path, content, pictures=False)).read_text()
    assert "<b>&" not in text and "<i>RCAN" not in text and text.count("</script>") == 2
    assert "@" not in re.sub(r"@media", "", re.sub(r"<script>.*</script>", "", text, flags=re.S))


def test_columns_without_values_are_left_out(tmp_path: Path):
    content = example.results()
    for method in content["methods"]:
        method["by_scale"] = {scale: {**known, "latency": None} for scale, known in method["by_scale"].items()}
    text = page.write(example.write(tmp_path, content, pictures=False)).read_text()
    assert re.findall(r'<th [^>]*data-key="(\w+)"', text) == ["name", "parameters", "adds"] * 2


def test_the_page_needs_no_network(tmp_path: Path):
    text = page.write(example.write(tmp_path, pictures=False)).read_text()
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)|@import|https?://(?!www\.w3\.org)""", text) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison with its page."""
    folder = example.write(tmp_path_factory.mktemp("page"))
    page.write(folder)
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def view(chromium, folder: Path) -> Iterator:
    """`view(fragment, folder=..., **context)`: the page in a browser, ready. No error may be in the console."""
    errors: list[str] = []
    contexts = []

    def show(fragment: str = "", folder: Path = folder, pictures: bool = True, **options):
        contexts.append(chromium.new_context(**{"viewport": {"width": 1200, "height": 900}, **options}))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(8000)
        tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(f"{(folder / 'index.html').as_uri()}#{fragment}")
        if pictures:
            tab.wait_for_selector("#pictures[data-ready]")
        return tab

    yield show
    for context in contexts:
        context.close()
    assert errors == []


def picture(folder: Path, name: str, image: str = IMAGE) -> np.ndarray:
    return cv2.imread(str(folder / "pictures" / SET / image / f"{name}.png"))


def names(tab) -> list[str]:
    """The methods of the visible table, from top to bottom."""
    return tab.locator(".group:visible tbody th").all_inner_texts()


def crops(tab) -> dict[str, str]:
    """What is written under each window of the magnifier."""
    return dict(
        zip(tab.locator("#crops b").all_inner_texts(), tab.locator("#crops .value").all_inner_texts(), strict=True)
    )


def lens(tab) -> list[int]:
    """Width, height, x and y of the magnifier, as a screen reader hears them."""
    return [int(number) for number in re.findall(r"\d+", tab.get_attribute("#lens", "aria-label"))]


@needs_chromium
def test_sorting_and_groups(view):
    tab = view("group=BI_x2")
    head = tab.locator('.group:visible th[data-key="Set2_BI_x2:psnr"]')
    orders = []
    for _ in range(3):
        head.get_by_role("button").click()
        orders.append((head.get_attribute("aria-sort"), names(tab)))
    assert orders == [
        ("descending", ["RCAN+", "RCAN", "bicubic"]),
        ("ascending", ["bicubic", "RCAN", "RCAN+"]),
        ("none", ["bicubic", "RCAN", "RCAN+"]),
    ]
    tab.locator('.group:visible th[data-key="parameters"] button').focus()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    assert names(tab) == ["RCAN", "RCAN+", "bicubic"]  # values that are missing stay last
    tab.get_by_role("radio", name="BI ×4").check()
    assert tab.locator(".group:visible").get_attribute("data-group") == "BI_x4"
    assert tab.locator(".group:visible td .best").all_inner_texts() == ["27.25", "0.5450", "27.25", "0.5450"]
    tab.wait_for_function("document.querySelector('#pictures').dataset.ready.startsWith('Set2_BI_x4')")


@needs_chromium
def test_footnotes_are_shown_where_they_are_pointed_at(view):
    tab = view("group=BI_x2")
    button, tip = tab.get_by_role("button", name="Notes on RCAN, Set2: a, b"), tab.get_by_role("tooltip")
    assert not tip.is_visible()
    button.hover()
    assert tip.inner_text().split("\n\n") == ["0.75 dB above the published 26.50", "with RGB instead of Y: 26.49"]
    tab.keyboard.press("Escape")
    assert not tip.is_visible()
    button.focus()
    assert tip.is_visible()
    assert "published 26.50" in tab.locator(".group:visible tbody").inner_text()


@needs_chromium
def test_the_slider_moves_by_mouse_and_keys(view):
    tab = view("x=0&y=0&size=16")
    clip = "getComputedStyle(document.getElementById('right-canvas')).clipPath"
    assert tab.evaluate(clip) == "inset(0px 0px 0px 50%)"
    tab.locator("#split").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate(clip) == "inset(0px 0px 0px 51%)"
    box = tab.locator("#stage").bounding_box()
    tab.mouse.move(box["x"] + 0.51 * box["width"], box["y"] + 0.5 * box["height"])
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.6 * box["height"])
    tab.mouse.up()
    assert tab.evaluate(clip) == "inset(0px 0px 0px 25%)"
    assert tab.locator("#split").input_value() == "25"


@needs_chromium
@pytest.mark.parametrize("image", example.NAMES)
def test_psnr_under_the_magnifier(view, folder: Path, image):
    tab = view(f"group=BI_x4&set={SET}&image={image.replace(' ', '+').replace('&', '%26').replace('#', '%23')}&size=16")
    box = tab.locator("#stage").bounding_box()
    zoom = box["width"] / 96
    tab.mouse.click(box["x"] + 78 * zoom, box["y"] + 28 * zoom)
    assert lens(tab) == [16, 16, 70, 20]
    window = (slice(20, 36), slice(70, 86))
    hr = picture(folder, "hr", image)[window]
    for name in example.METHODS:
        sr = picture(folder, name, image)[window]
        assert crops(tab)[name] == f"{example.psnr_on_y(sr, hr):.2f} dB"
        found = tab.evaluate(f"cropPsnr({name!r})")
        assert found == pytest.approx(example.psnr_on_y(sr, hr), abs=1e-9)
        pixels = tab.evaluate(
            f"""[...document.querySelector('#crops li[data-id="{name}"] canvas').getContext('2d')
            .getImageData(0, 0, 16, 16).data]"""
        )
        assert np.array_equal(np.reshape(pixels, (16, 16, 4))[..., 2::-1], sr)
    assert crops(tab)["HR"] == "original"
    style = "getComputedStyle(document.querySelector('#crops canvas')).imageRendering"
    assert tab.evaluate(style) == "pixelated"


@needs_chromium
def test_gray_images_are_compared_as_the_protocol_says(view, tmp_path: Path):
    content = example.results()
    for row in content["rows"]:
        row["protocol"]["gray"] = "gray" if row["set"] == SET else "color"
    example.write(tmp_path, content)
    for path in tmp_path.glob(f"pictures/*/{IMAGE}/*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    page.write(tmp_path)
    error = [picture(tmp_path, name)[:16, :16, 0].astype(float) for name in ("hr", "RCAN")]
    psnr = 10 * np.log10(255**2 / np.mean((error[0] - error[1]) ** 2))
    tab = view(f"set={SET}&image={IMAGE}&x=0&y=0&size=16", tmp_path)
    assert tab.evaluate("cropPsnr('RCAN')") == pytest.approx(psnr, abs=1e-9)
    tab = view(f"set=Set2_BI_x2&image={IMAGE}&x=0&y=0&size=16", tmp_path)
    assert tab.evaluate("cropPsnr('RCAN')") == pytest.approx(psnr + 20 * np.log10(255 / 219), abs=1e-5)


@needs_chromium
def test_keys_move_and_resize_the_magnifier(view):
    tab = view("x=10&y=10&size=32")
    tab.locator("#lens").focus()
    for key, expected in {
        "ArrowRight": [32, 32, 18, 10],
        "ArrowDown": [32, 32, 18, 18],
        "Shift+ArrowLeft": [32, 32, 17, 18],
        "ArrowUp": [32, 32, 17, 10],
        "-": [24, 24, 21, 14],
        "+": [32, 32, 17, 10],
    }.items():
        tab.keyboard.press(key)
        assert lens(tab) == expected, key
    for _ in range(20):
        tab.keyboard.press("ArrowRight")
    assert lens(tab) == [32, 32, 64, 10]
    for _ in range(4):
        tab.keyboard.press("+")
    assert lens(tab) == [96, 64, 0, 0]  # not larger than the picture


@needs_chromium
def test_error_maps_have_one_scale(view, folder: Path):
    tab = view(f"set={SET}&image={IMAGE}&show=error&range=16&x=0&y=0&size=48")
    weights = np.array([24.966, 128.553, 65.481]) / 255
    hr = picture(folder, "hr").astype(float)
    for name in example.METHODS:
        error = np.abs((picture(folder, name) - hr) @ weights)[:48, :48]
        index = np.minimum(255, np.floor(error / 16 * 255 + 0.5)).astype(int)
        colours = np.array(tab.evaluate("COLOURS"))
        pixels = tab.evaluate(
            f"""[...document.querySelector('#crops li[data-id="{name}"] canvas').getContext('2d')
            .getImageData(0, 0, 48, 48).data]"""
        )
        assert np.array_equal(np.reshape(pixels, (48, 48, 4))[..., :3], colours[index])
    assert tab.locator("#scale-end").inner_text() == "≥ 16"
    tab.get_by_role("radio", name="Pictures").check()
    tab.wait_for_function("document.querySelector('#scale').closest('.scale').hidden")


@needs_chromium
def test_a_view_is_in_the_address(view, folder: Path):
    fragment = f"group=BI_x2&sort=-Set2_BI_x2%3Apsnr&set={SET}&image={IMAGE}&methods=RCAN,lr&left=hr&right=lr"
    fragment += "&split=30&x=5&y=6&size=24"
    tab = view(fragment)
    assert names(tab) == ["RCAN+", "RCAN", "bicubic"]
    assert list(crops(tab)) == ["HR", "RCAN", "LR"] and lens(tab) == [24, 24, 5, 6]
    assert tab.locator("#left-canvas").get_attribute("aria-label") == f"{IMAGE}, left: HR"
    tab.locator("#next").click()
    tab.wait_for_function("location.hash.includes('image=a+tree')")
    again = view(tab.url.split("#", 1)[1])
    assert again.locator("#image").input_value() == "a tree & #1" and list(crops(again)) == ["HR", "RCAN", "LR"]
    assert again.locator("#split").input_value() == "30" and lens(again) == lens(tab)


@needs_chromium
def test_what_is_wrong_in_an_address_is_replaced(view):
    tab = view(
        "group=XX&sort=yy&set=Gone&image=gone&methods=nobody&left=a&right=b&split=-5&x=1e9&y=z&size=7&constructor=1"
    )
    assert list(crops(tab)) == ["HR", *example.METHODS]
    assert lens(tab)[:2] == [48, 48]
    assert tab.locator("#left").input_value() == "bicubic"


@needs_chromium
def test_the_windows_are_saved_as_a_figure(view):
    tab = view(f"set={SET}&image={IMAGE}&x=8&y=4&size=32&methods=bicubic,RCAN")
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Save as figure").click()
    assert download.value.suggested_filename == f"{SET}_{IMAGE}_32x32+8+4.png"
    strip = cv2.imdecode(np.frombuffer(Path(download.value.path()).read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert strip.shape == (288 + 52, 3 * 288 + 2 * 12, 3)
    assert tab.locator("#status").inner_text() == f"Saved {download.value.suggested_filename}."


@needs_chromium
def test_the_figure_has_the_pixels_enlarged(view, folder: Path):
    tab = view(f"set={SET}&image={IMAGE}&x=8&y=4&size=32&methods=RCAN")
    data = tab.evaluate("stripCanvas().toDataURL()").split(",")[1]
    strip = cv2.imdecode(np.frombuffer(io.BytesIO(base64.b64decode(data)).read(), np.uint8), cv2.IMREAD_COLOR)
    for column, name in enumerate(("hr", "RCAN")):
        window = picture(folder, name)[4:36, 8:40]
        expected = window.repeat(9, axis=0).repeat(9, axis=1)
        assert np.array_equal(strip[:288, column * 300 : column * 300 + 288], expected)
    assert strip[290:].min() < 50  # names


@needs_chromium
def test_a_phone(view):
    tab = view("x=0&y=0&size=16", viewport={"width": 390, "height": 800}, has_touch=True, color_scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    tab.locator("#stage").scroll_into_view_if_needed()
    box = tab.locator("#stage").bounding_box()
    tab.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.2)
    width, height, x, y = lens(tab)
    assert abs(x + width / 2 - 72) <= 1 and abs(y + height / 2 - 12.8) <= 1
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.get_by_role("radio", name="Light").check()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != dark


@needs_chromium
def test_every_control_has_a_name(view):
    tab = view()
    unnamed = tab.evaluate(
        """[...document.querySelectorAll('button, select, input, canvas, [role], [tabindex]')]
        .filter(part => !(part.getAttribute('aria-label') || part.textContent.trim() || part.labels?.length
                          || ['status', 'tooltip'].includes(part.getAttribute('role'))))
        .filter(part => !part.matches('select option')).map(part => part.outerHTML.slice(0, 80))"""
    )
    assert unnamed == []


@needs_chromium
def test_without_pictures_the_tables_are_shown(view, tmp_path: Path):
    page.write(example.write(tmp_path, pictures=False))
    tab = view(folder=tmp_path, pictures=False)
    assert names(tab) == ["bicubic", "RCAN", "RCAN+"]
    assert not tab.locator("#pictures").is_visible() and not tab.locator("#plots").is_visible()


@needs_chromium
def test_plots_take_the_colours_of_the_page(view, tmp_path: Path):
    svg = '<svg color="#1f2328" width="9pt" viewBox="0 0 9 9"><title>a plot</title><path id="p"/><use href="#p"/></svg>'
    svg = f'<?xml version="1.0"?>{svg}\n<!-- key -->\n'
    example.write(tmp_path, pictures=False)
    (tmp_path / "plots").mkdir()
    for name in ("parameters", "images"):
        (tmp_path / f"plots/{name}_Set2_BI_x2.svg").write_text(svg)
    page.write(tmp_path)
    tab = view(folder=tmp_path, pictures=False, color_scheme="dark")
    assert tab.get_by_role("img", name="a plot").count() == 2
    colours = tab.evaluate("[...document.querySelectorAll('figure svg')].map(svg => getComputedStyle(svg).color)")
    assert colours == [tab.evaluate("getComputedStyle(document.body).color")] * 2
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(part => part.id)")
    assert len(ids) == len(set(ids))
