"""Write the operations of docs/numerics.md from the docstrings of ``neuromorphic.ops``.

python docs/numerics_from_ops.py
"""

import inspect
import re
from pathlib import Path

from neuromorphic.ops import OP_TYPES

PAGE = Path(__file__).with_name("numerics.md")
START, END = "<!-- operations: written by numerics_from_ops.py -->", "<!-- end of operations -->"
ORDER = ("Input", "Dense", "LIF", "HomeostaticLIF", "Readout", "Scale", "Delay", "Gate", "Multiply", "LI", "GatedState")


def section(cls: type) -> str:
    """Return what a docstring says before its parameters, as Markdown, and the file that defines the operation."""
    text = (inspect.getdoc(cls) or "").split("\nParameters\n---")[0].strip()
    text = re.sub(r":(?:class|func|data|meth):`~?([^`]+)`", lambda m: f"`{m[1]}`", text)
    module = cls.__module__.rpartition(".")[2]
    return f"### {cls.__name__}\n\n{text.replace('``', '`')}\n\nCode: `neuromorphic/ops/{module}.py`.\n"


def page(text: str) -> str:
    """Return the page with its operations written anew."""
    names = [*ORDER, *sorted(set(OP_TYPES) - set(ORDER))]
    head, tail = text.split(START)[0], text.split(END)[1]
    return head + START + "\n\n" + "\n".join(section(OP_TYPES[name]) for name in names) + "\n" + END + tail


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
