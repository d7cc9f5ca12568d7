"""Every cell of the table of peers that can be checked here holds, and the README shows this table."""

from pathlib import Path

import pytest

from studies.peers.check import PEERS, installed, says
from studies.peers.table import ROWS, check, markdown

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries
HERE = [peer for peer in PEERS if installed(PEERS[peer])]


@pytest.mark.parametrize("peer", PEERS)
def test_what_the_table_says_of_a_library_holds(peer):
    found = {row.title: check(row, peer) for row in ROWS}
    assert "wrong" not in found.values(), found
    if peer in HERE:
        assert list(found.values()).count("checked") >= 12
    else:
        assert set(found.values()) <= {"not installed", "stated"}


def test_a_wrong_claim_is_found():
    title, _, checks = ROWS[2]
    assert title == "spiking neuron models"
    swapped = ROWS[2]._replace(checks=(checks[0], checks[2], checks[1], *checks[3:]))  # snnTorch has not Norse's number
    assert check(swapped, "snnTorch 1.0") == "wrong"


def test_sources_are_searched():
    assert says("snnTorch 1.0", r"class Leaky\(") == 1
    assert says("snnTorch 1.0", "no such words") == 0


def test_readme_shows_this_table():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    if "PEERS_TABLE" in readme:
        pytest.skip("the table's place in README is still empty")
    assert markdown() in readme
