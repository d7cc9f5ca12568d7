"""``python -m pnbx_snn.cli``."""

from pnbx_snn.cli import main

main()
