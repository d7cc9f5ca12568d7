"""The interactive page in a real browser: zoom, pointer, layers, differences; without a network, and small."""

import json
import os
import re
import shutil

import numpy as np
import pytest

from neuromorphic import Recording
from pnbx_plot import PlotError, html_raster, write_raster

MEGABYTE = 1_000_000
ARGUMENTS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"


def random_spikes(steps, neurons, rate=0.1, seed=0):
    return (np.random.default_rng(seed).random((steps, 1, neurons)) < rate).astype(np.uint8)


@pytest.fixture(scope="module")
def runs():
    """Return two recordings, 2,000 and 40 neurons in 1,000 steps, that differ in three places of the first layer."""
    spikes = {"lif1": random_spikes(1000, 2000), "lif2": random_spikes(1000, 40, seed=1)}
    v = np.arange(40_000, dtype=np.int32).reshape(1000, 1, 40)
    ours = {**{f"{name}.spikes": values for name, values in spikes.items()}, "lif2.v": v}
    theirs = {name: values.copy() for name, values in ours.items()}
    for step, neuron in ((100, 500), (400, 1500), (900, 100)):
        theirs["lif1.spikes"][step, 0, neuron] ^= 1
    return Recording(ours, "numpy"), Recording(theirs, "lava")


def test_a_page_is_at_most_a_megabyte_and_asks_for_nothing(runs, tmp_path):
    small = html_raster(np.eye(3))
    assert 100_000 < len(small) < MEGABYTE
    links = re.findall(r"""(?:src|href)=["']?(?!data:)[^"'>]+""", small)
    assert links == []
    page = write_raster(tmp_path / "page.html", *runs)
    spikes = sum(int(values.sum()) for values in runs[0].spikes().values())
    assert page.stat().st_size < MEGABYTE + 3 * spikes + 40_000  # base64 of two bytes a spike; and the membranes


def test_a_title_or_a_name_cannot_end_its_element():
    bad = "</script><script>alert(1)</script>"
    page = html_raster({bad: np.eye(3)}, title=bad)
    assert page.count("<script") == 3
    assert "<h1>&lt;/script&gt;" in page
    item = re.search(r'<script type="application/json" id="item">(.*)</script>\n<script>', page, re.DOTALL).group(1)
    assert bad in json.dumps(json.loads(item))


def test_membranes_must_fit_their_spikes():
    with pytest.raises(PlotError, match=r"spikes: membranes must be \[3, 3\], got \[2, 3\]"):
        html_raster(np.eye(3), membranes={"spikes": np.ones((2, 3))})


@pytest.fixture(scope="module")
def chromium():
    """Return a browser; where none is found, skip, or fail with ``PNBX_REQUIRE_BROWSER=1``."""
    wanted = os.environ.get("PNBX_REQUIRE_BROWSER") == "1"
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        program = None
    if program is None:
        why = "no chromium on PATH, or no playwright: the interactive page was not opened in a browser"
        pytest.fail(why) if wanted else pytest.skip(why)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS.split())
        yield browser
        browser.close()


INK_SHARE = """(name) => {
  const view = Bokeh.index.find_one_by_id(Bokeh.documents[0].get_model_by_name(name).id)
  const canvas = view.canvas.primary.canvas
  const inside = view.frame.bbox, ratio = canvas.width / view.canvas.bbox.width
  const box = [inside.left, inside.top, inside.width, inside.height].map((v) => Math.round(v * ratio))
  const pixels = canvas.getContext("2d").getImageData(...box).data
  let dark = 0, red = 0, black = 0
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i] < 235) dark++
    if (pixels[i] < 100) black++
    if (pixels[i] > 150 && pixels[i + 1] < 120) red++
  }
  return [dark / pixels.length * 4, red, black]
}"""


COLOR_AT = """([name, x, y]) => {
  const view = Bokeh.index.find_one_by_id(Bokeh.documents[0].get_model_by_name(name).id)
  const canvas = view.canvas.primary.canvas, ratio = canvas.width / view.canvas.bbox.width
  const place = [view.frame.x_scale.compute(x), view.frame.y_scale.compute(y)].map((v) => Math.round(v * ratio))
  return [...canvas.getContext("2d").getImageData(...place, 1, 1).data].slice(0, 3)
}"""


def test_zoom_point_and_toggle_in_a_browser(runs, tmp_path, chromium):
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    wrong, asked = [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(write_raster(tmp_path / "page.html", *runs, title="two runs").as_uri())
    page.wait_for_function("document.getElementById('state').textContent === ''")

    def model(name, expression):
        return page.evaluate(
            f"(name) => {{ const m = Bokeh.documents[0].get_model_by_name(name); return {expression} }}", name
        )

    def settle():
        page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 120))")

    settle()
    dark, red, _ = page.evaluate(INK_SHARE, "lif1")
    assert dark > 0.3  # a tenth of the values, several in a pixel
    assert red > 50  # rings
    assert "3 of 2,000,000 differ" in model("lif1", "m.title.text")
    assert "3 spikes differ" in page.inner_text("p")

    # the wheel zooms in time, in both layers
    box = page.locator("canvas").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    for _ in range(12):
        page.mouse.wheel(0, -200)
    settle()
    low, high = model("lif1", "[m.x_range.start, m.x_range.end]")
    assert 0 < low < high < 999
    assert high - low < 600
    assert model("lif2", "[m.x_range.start, m.x_range.end]") == [low, high]

    # a button goes to the first difference
    page.get_by_text("next difference").click()
    settle()
    low, high = model("lif1", "[m.x_range.start, m.x_range.end]")
    assert (low + high) / 2 == pytest.approx(100)
    assert model("lif1", "(m.y_range.start + m.y_range.end) / 2") == pytest.approx(500)
    before = page.evaluate(INK_SHARE, "lif1")
    page.get_by_text("only differences").click()
    settle()
    after = page.evaluate(INK_SHARE, "lif1")
    assert before[2] > 10 * after[2]  # the spikes became pale
    assert after[1] >= before[1] > 0
    assert page.evaluate(COLOR_AT, ["lif1", 100, 500]) == [200, 69, 45]  # in its ring, the difference itself

    # what is under the pointer
    view = "Bokeh.index.find_one_by_id(m.id)"
    x, y = model("lif2", f"[{view}.frame.x_scale.compute(102), {view}.frame.y_scale.compute(17)]")
    corner = model("lif2", f"(({{x, y}}) => [x, y])({view}.el.getBoundingClientRect())")
    page.mouse.move(corner[0] + x - 3, corner[1] + y)
    page.mouse.move(corner[0] + x, corner[1] + y)
    spiked = "spike" if runs[0].variables["lif2.spikes"][102, 0, 17] else "no spike"
    page.get_by_text(f"step 102, neuron 17: {spiked}, v = {102 * 40 + 17}").wait_for(timeout=5000)

    # a layer is switched off
    boxes = "Bokeh.index.find_one_by_id(m.id)?.el.getClientRects().length ?? 0"
    assert model("lif1", boxes) == 1
    page.get_by_text("lif1", exact=True).first.click()
    settle()
    assert model("lif1", boxes) == 0
    assert model("lif2", boxes) == 1
    assert wrong == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    page.close()
