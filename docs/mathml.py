r"""Formulas as MathML, which browsers draw by themselves: no script, nothing from the network.

A Sphinx extension: ``latex2mathml`` converts each formula once, and a part of the font STIX Two Math is put beside the
pages, because many machines have no font for mathematics. What cannot be converted is a warning, and so ends the build.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import ziamath
from docutils import nodes
from fontTools import subset
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

FONT = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"
RANGES = ((0x20, 0x17F), (0x2C6, 0x2DD), (0x300, 0x3FF), (0x2010, 0x2057), (0x20D0, 0x20F0), (0x2100, 0x22FF))
RANGES += ((0x2308, 0x230B), (0x23B4, 0x23B7), (0x23DC, 0x23E1), (0x25A0, 0x25FF), (0x2605, 0x2606), (0x27E6, 0x27EB))
RANGES += ((0x2A00, 0x2A0F), (0x2A7D, 0x2A7E), (0x1D400, 0x1D7FF))
"""Characters of the font that are put beside the pages: letters, Greek, arrows, operators, brackets."""
logger = logging.getLogger(__name__)


@cache
def mathml(latex: str, display: str) -> str:
    """Return a formula as MathML; lines of a displayed one are aligned at their ``&``."""
    if r"\\" in latex and not latex.startswith(r"\begin{"):
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    text = convert(re.sub(r"\\(begin|end)\{(aligned|split|align)\}", r"\\\1{align*}", latex), display=display)
    text = text.replace(r"\_", "_")
    if unknown := re.search(r"\\\w+|<m\w+>&</m\w+>", text):
        raise ValueError(f"latex2mathml does not know {unknown[0]}")
    text = re.sub(
        r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", text
    )  # the name of a function, without an operator's spaces
    return re.sub(r"<mo([^>]*)>(\||&#x0007C;)</mo>", r'<mo\1 lspace="0" rspace="0">|</mo>', text)  # |x|


def visit(self: Any, node: nodes.math | nodes.math_block) -> None:
    """Write a formula; a displayed one scrolls in a box of its own where it is wider than the page."""
    tag, display = ("div", "block") if isinstance(node, nodes.math_block) else ("span", "inline")
    try:
        formula = mathml(node.astext().strip(), display)
    except Exception as error:  # latex2mathml raises a dozen kinds that have nothing else in common
        logger.warning("formula %r: %r", node.astext(), error, location=node)
        formula = self.encode(node.astext())
    self.body.append(self.starttag(node, tag, "", CLASS="math") + formula + f"</{tag}>")
    raise nodes.SkipNode


def write_font(app: Sphinx, error: Exception | None) -> None:
    """Write the part of the font that formulas need, once."""
    path = Path(app.outdir) / "_static" / "math.woff"
    if error is None and app.builder.format == "html" and not path.exists():
        characters = [f"{first:x}-{last:x}" for first, last in RANGES]
        subset.main([str(FONT), f"--unicodes={','.join(characters)}", "--flavor=woff", f"--output-file={path}"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer and what its pages need."""
    app.add_html_math_renderer("mathml", inline_renderers=(visit, None), block_renderers=(visit, None))
    app.connect("build-finished", write_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
