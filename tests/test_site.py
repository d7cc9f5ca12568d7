"""The built site, as a reader's browser gets it: links lead somewhere, nothing comes from the network, all of it fits.

``make docs`` builds it. Without it or without chromium these tests skip; with ``PNBX_REQUIRE_BROWSER=1``, as in CI,
they fail. The screenshots in ``docs/_build/screenshots`` are there to be looked at.
"""

import html
import os
import re
import shutil
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(__file__).parents[1] / "docs" / "_build" / "html"
SCREENSHOTS = SITE.with_name("screenshots")
WIDTHS = {"desktop": 1280, "phone": 390}
LOOKED_AT = ("index", "course", "training", "results", "performance", "parts/membrane", "gallery/index")
LOOKED_AT += ("course/1_a_neuron", "api/pnbx_snn", "api/pnbx_snn.neurons.lif.LIF")
LARGEST = 300_000  # bytes of a page
FETCHING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "link": "href",
}
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
ARGUMENTS += ("--disable-background-networking", "--disable-component-update")


def missing(why):
    if os.environ.get("PNBX_REQUIRE_BROWSER") == "1":
        pytest.fail(f"PNBX_REQUIRE_BROWSER is set, but {why}")
    pytest.skip(why)


@cache
def pages():
    """Return the text of every page without its scripts and style sheets, by its path below the site."""
    if not (SITE / "index.html").exists():
        missing("the site is not built: make docs")
    found = sorted(path.relative_to(SITE) for path in SITE.rglob("*.html"))
    return {str(path): (SITE / path).read_text() for path in found if path.parts[0] != "_static"}


@cache
def tags():
    """Return for every page its tags and their attributes."""
    found = {}
    for name, text in pages().items():
        text = re.sub(r"(<(script|style)\b[^>]*>).*?</\2>", r"\1", text, flags=re.DOTALL)
        found[name] = [
            (tag, {key: html.unescape(value) for key, value in re.findall(r'([\w-]+)="([^"]*)"', rest)})
            for tag, rest in re.findall(r"<([a-z][\w-]*)([^>]*)", text)
        ]
    return found


def test_no_page_is_large():
    large = {name: len(text.encode()) for name, text in pages().items() if len(text.encode()) > LARGEST}
    assert large == {}


def test_nothing_comes_from_the_network():
    fetched = [
        (name, given[FETCHING[tag]])
        for name, found in tags().items()
        for tag, given in found
        if given.get(FETCHING.get(tag), "").startswith(("http:", "https:", "//"))
    ]
    assert fetched == []
    for sheet in SITE.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_links_lead_somewhere():
    anchors = {name: {given.get("id") for _, given in found} for name, found in tags().items()}
    broken = []
    for name, found in tags().items():
        for link in {given["href"] for tag, given in found if tag == "a" and "href" in given}:
            parts = urlsplit(link)
            if parts.scheme:
                good = parts.scheme in ("http", "https", "mailto") and not re.search(r"[\s<>]", link)
                good = good and (parts.scheme == "mailto" or re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", parts.netloc))
            else:
                target = os.path.normpath(Path(name).parent / unquote(parts.path)) if parts.path else name
                good = (SITE / target).is_file()
                good = good and (
                    not parts.fragment or target not in anchors or unquote(parts.fragment) in anchors[target]
                )
            if not good:
                broken.append((name, link))
    assert broken == []


def test_every_formula_is_drawn():
    formulas = 0
    for name, text in pages().items():
        classed, drawn = len(re.findall(r'<(?:span|div) class="math"', text)), text.count("<math ")
        assert classed == drawn, name
        formulas += drawn
        prose = re.sub(r"<(pre|code|script|style|math|title)\b.*?</\1>", "", text, flags=re.DOTALL)
        prose = re.sub(r"<[^>]+>", " ", prose)
        assert not re.search(r"\$[^$\n]+\$|\\\(|\\\[|\\(frac|beta|text)\b", prose), name
    assert formulas > 300


def test_notebooks_show_their_figures():
    drawn = {name: len(re.findall(r'src="[./]*_images/', text)) for name, text in pages().items()}
    assert drawn["plots.html"] >= 6
    assert min(count for name, count in drawn.items() if name.startswith("course/")) >= 2


@pytest.fixture(scope="module")
def browser():
    pages()
    playwright = pytest.importorskip("playwright.sync_api")
    if not (chromium := shutil.which("chromium")):
        missing("there is no chromium here: apt install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.mark.parametrize("device", WIDTHS)
def test_pages_fit_the_screen(browser, device):
    """Nothing is wider than the screen, no script complains, no file is missing, every formula has a size."""
    width = WIDTHS[device]
    page = browser.new_page(viewport={"width": width, "height": 900})
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"not loaded: {request.url}"))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else wrong.append(r.url))
    SCREENSHOTS.mkdir(exist_ok=True)
    written = [name.removesuffix(".html") for name in pages() if not name.startswith(("api/", "_"))]
    found = {}
    for name in [*LOOKED_AT, *(set(written) - set(LOOKED_AT))]:
        wrong.clear()
        page.goto((SITE / f"{name}.html").as_uri())
        page.evaluate(FONTS)
        inside = page.evaluate(WIDE)
        unseen = page.evaluate(
            "[...document.querySelectorAll('math')].filter(m => !m.getBoundingClientRect().width).length"
        )
        if inside or unseen or wrong:
            found[name] = (inside, unseen, [*wrong])
        if name in LOOKED_AT:
            page.screenshot(path=SCREENSHOTS / f"{name.replace('/', '-')}-{device}.png")
    page.close()
    assert found == {}


FONTS = "() => { document.body.offsetHeight; return document.fonts.ready.then(() => true); }"
"""Lay the page out, which begins to load its fonts, and wait for them: else the next page ends their loading."""
WIDE = """() => {
    const boxes = [...document.querySelectorAll('html, body, .content, article')];
    const found = boxes.filter(e => e.scrollWidth > e.clientWidth + 10);  // the theme itself exceeds by 8
    if (!found.length) return [];
    const right = document.documentElement.clientWidth + 1;
    const wide = [...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > right);
    return [...found, ...wide].slice(0, 5).map(e => e.tagName + ' ' + e.className + ' ' + e.scrollWidth);
}"""
"""The boxes that hold text and are wider than their place, and what makes them so; tables, code and formulas scroll."""


def test_copied_commands_have_no_prompts(browser):
    """What the button of a block copies can be pasted: neither prompts nor outputs."""
    page = browser.new_page()
    page.goto((SITE / "training.html").as_uri())
    page.evaluate("document.addEventListener('copy', () => { window.copied = document.activeElement.value; })")
    block = page.locator("div.highlight-console", has_text="pnbx-snn").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = page.evaluate("window.copied")
    shown = block.locator("pre").inner_text()
    page.close()
    assert shown.startswith("$ ")
    assert copied.startswith(shown[2:20])
    assert "$ " not in copied
