"""Programs as C99 for microcontrollers; :mod:`neuromorphic.executors.c` writes the text and runs it here."""

from neuromorphic.executors.entry import Option
from neuromorphic.formats.c.writing import write_c
from neuromorphic.formats.entry import Format

__all__ = ["write_c"]

FORMATS = (
    Format(
        name="c",
        purpose="C compilers, for microcontrollers",
        suffix="",
        module="neuromorphic.formats.c.writing",
        options=(Option("num_steps", "--steps", int, "steps it is proven for; else the program's", minimum=1),),
    ),
)
