"""Print README's table of peers, and for every cell whether it was checked here; exit code 1 if a cell is wrong.

SpikingJelly (``pip install spikingjelly``) and lava-dl 0.6 (Python 3.10) are checked where they are installed.
"""

import argparse
import sys

from studies.peers.check import PEERS
from studies.peers.table import ROWS, check, markdown


def main() -> int:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m studies.peers", description=__doc__)
    parser.add_argument("--table", action="store_true", help="the table alone")
    table_alone = parser.parse_args().table
    sys.stdout.write(markdown())
    if table_alone:
        return 0
    states = {(row.title, peer): check(row, peer) for row in ROWS for peer in PEERS}
    for (title, peer), state in states.items():
        sys.stdout.write(f"{state:14} {peer:17} {title}\n")
    return int("wrong" in states.values())


if __name__ == "__main__":
    sys.exit(main())
