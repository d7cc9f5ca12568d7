"""Pages of the documentation that are written from the code say what the code says."""

import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))
import numerics_from_ops  # noqa: E402

from neuromorphic.ops import OP_TYPES  # noqa: E402


def test_numerics_is_written_from_the_operations():
    """Otherwise: ``python docs/numerics_from_ops.py``."""
    text = numerics_from_ops.PAGE.read_text()
    assert numerics_from_ops.page(text) == text
    for name in OP_TYPES:
        assert f"### {name}\n" in text
