"""The fuzz of fuzz_readers.py for a few seconds; ``make fuzz`` runs it for ten minutes."""

from fuzz_readers import fuzz


def test_damaged_files_are_refused_or_read(tmp_path):
    counts = fuzz(10, seed=0, folder=tmp_path)
    assert min(counts[f"{name} refused"] for name in ("program", "graph", "recording", "inputs", "checkpoint")) > 2
    assert min(counts["NIR refused"], counts["netx refused"]) > 1  # each is read by a process of its own
    assert counts["MiB more than before"] < 200
