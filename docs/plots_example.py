"""Two runs of a small network of integers, for the page of pictures; and the interactive page that it links to.

A Sphinx extension: after the pages are built, it writes ``_static/raster_example.html``.
"""

from pathlib import Path

import numpy as np

from pnbx_plot import html_raster

STEPS = 200
THRESHOLD = 1024


def lif(currents, decay):
    """Return spikes and membranes ``[T, N]`` of integer LIF neurons that are reset to zero."""
    v = np.zeros(currents.shape[1], dtype=np.int64)
    spikes, membranes = [], []
    for current in currents:
        v = v * decay // 4096 + current
        fired = v > THRESHOLD
        v = np.where(fired, 0, v)
        spikes.append(fired.astype(np.uint8))
        membranes.append(v.astype(np.int32))
    return np.array(spikes), np.array(membranes)


def two_runs():
    """Return a run, the same network with a decay one larger, and the image it sees ``[T, 64]``."""
    generator = np.random.default_rng(3)
    rows, columns = np.mgrid[:8, :8] - 3.5
    image = np.exp(-((np.hypot(rows, columns) - 2.6) ** 2)).ravel()
    image = np.tile(image, (STEPS, 1))
    weights = [generator.choice([-1, 0, 1], shape, p=[0.25, 0.4, 0.35]) for shape in ((120, 64), (40, 120))]
    noise = generator.integers(-60, 61, (STEPS, 120))
    runs = []
    for decay in (3800, 3801):
        first, v_first = lif(np.round(40 * image @ weights[0].T).astype(np.int64) + noise, decay)
        second, v_second = lif(45 * first.astype(np.int64) @ weights[1].T, decay)
        spikes, v = {"layer 1": first, "layer 2": second}, {"layer 1": v_first, "layer 2": v_second}
        runs.append({"spikes": spikes, "v": v, "weights": weights[1], "threshold": THRESHOLD})
    return (*runs, image)


def write_page(app, error):
    """Write the interactive page beside the static files of the documentation."""
    if error is None and app.builder.format == "html":
        run, rounded, image = two_runs()
        options = {"input": image, "membranes": run["v"], "dt": 1e-3, "title": "Exact, and with another decay"}
        page = html_raster(run["spikes"], rounded["spikes"], **options)
        (Path(app.outdir) / "_static" / "raster_example.html").write_text(page, encoding="utf-8")


def setup(app):
    """Register with Sphinx."""
    app.connect("build-finished", write_page)
    return {"parallel_read_safe": True}
