"""``python -m neuromorphic.cli``."""

from neuromorphic.cli import main

main()
