"""The ``pnbx-snn`` command with the rivals' section ``[baseline]``: ``python -m studies.rivals train CONFIG``."""

from pnbx_snn.cli import app
from studies.rivals import classifier

if __name__ == "__main__":
    app(prog_name=classifier.COMMAND)
