"""What the gallery calls examples with."""

import os
from typing import Any


def arguments(gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
    """Return ``--fast`` where only warnings are looked for (``PNBX_FAST_DOCS``)."""
    return ["--fast"] if "PNBX_FAST_DOCS" in os.environ else []
