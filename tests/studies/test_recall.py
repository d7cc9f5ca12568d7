"""The memory tasks ask what they say, the networks are of one size, and runs are kept, chosen and reported."""

import json
from pathlib import Path

import pytest
import torch

from pnbx_snn.errors import PnbxValueError
from studies.recall import __main__ as recall
from studies.recall import report as recall_report
from studies.recall.models import MODELS, make_model
from studies.recall.tasks import TASKS, Task, copy, flip_flop, language, make_task, text
from studies.recall.tasks import recall as pairs_task
from studies.rivals import count


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_recall_asks_every_key_for_its_value():
    tokens, targets = pairs_task(8, 50, generator())
    assert tokens.shape == targets.shape == (24, 50)
    for column, asked in zip(tokens.T.tolist(), targets.T.tolist(), strict=True):
        known = dict(zip(column[:16:2], column[1:16:2], strict=True))
        assert len(known) == 8
        assert sorted(column[16:]) == sorted(known)
        assert asked[:16] == [-1] * 16
        assert [known[key] - 16 for key in column[16:]] == asked[16:]


def test_copy_says_the_symbols_in_order():
    tokens, targets = copy(30, 50, generator())
    for column, asked in zip(tokens.T.tolist(), targets.T.tolist(), strict=True):
        assert [token for token in column[:30] if token < 8] == asked[30:]
        assert column[30:] == [9] * 8
        assert set(asked[:30]) == {-1}


def test_flip_flop_reads_the_last_bit_written():
    tokens, targets = flip_flop(40, 50, generator())
    assert tokens.shape == (14 + 40, 50)
    for column, asked in zip(tokens.T.tolist(), targets.T.tolist(), strict=True):
        bit = None
        for token, target in zip(column, asked, strict=True):
            bit = token if token < 2 else bit
            assert target == (bit if token == 4 else -1)
        assert max(i for i, token in enumerate(column) if token < 2) == 53 - 40  # 40 steps before the last read


def test_text_is_split_and_predicted():
    data, symbols, about = text()
    assert data.min() == 0
    assert data.max() == symbols - 1
    assert "pydoc_data.topics" in about
    tokens, targets = language(20, 30, generator(), "test")
    assert torch.equal(tokens[1:], targets[:-1])
    windows = data[len(data) * 95 // 100 :].unfold(0, 20, 1)
    assert bool((windows == tokens[:, 0]).all(dim=1).any())
    train, _ = language(20, 1, generator(), "train")
    assert bool((data[: len(data) * 90 // 100].unfold(0, 20, 1) == train[:, 0]).all(dim=1).any())


@pytest.mark.parametrize("name", ["flip_flop", "language"])  # few and many tokens
def test_all_networks_are_of_one_size(name):
    task = make_task(name)
    sizes = {model: count(make_model(model, task, seed=0)) for model in MODELS}
    wanted = sizes["PNB-X"]
    assert all(abs(size / wanted - 1) < 0.01 for size in sizes.values()), sizes


@pytest.mark.parametrize("model", ["PNB-X", "PNB-X, spiking RNN", "GRU", "SSM"])
def test_a_run_in_pieces_equals_a_run_at_once(model, monkeypatch):
    task = make_task("flip_flop")
    net = make_model(model, task, seed=0).eval()
    tokens, _ = task.draw(60, 3, generator())
    with torch.no_grad():
        whole = net(tokens)[0]
    monkeypatch.setattr(recall, "CHUNK", 17)
    torch.testing.assert_close(recall.run(net, tokens), whole, atol=1e-5, rtol=1e-5)


def test_training_learns_and_is_kept(tmp_path, monkeypatch, capsys):
    easy = Task("flip_flop", 5, 2, flip_flop, (1, 2), (2, 20), "steps of delay", 20, 40)
    monkeypatch.setattr(recall, "make_task", lambda name: easy)
    path = tmp_path / "runs.jsonl"
    assert recall.main(["--task", "flip_flop", "--model", "GRU", "--out", str(path)]) == 0
    lines = recall.read(path)
    assert [(line["seed"], line["steps"]) for line in lines] == [(0, 10), (0, 10), (0, 40), (1, 40), (2, 40)]
    assert {line["rate"] for line in lines[:2]} == set(recall.RATES)
    best = max(lines[:2], key=lambda line: line["validation"])["rate"]
    assert {line["rate"] for line in lines[2:]} == {best}
    assert "test" not in lines[0]
    assert all(line["test"]["2"] > 0.9 for line in lines[2:])
    before = path.read_text()
    assert recall.main(["--task", "flip_flop", "--model", "GRU", "--out", str(path)]) == 0
    assert path.read_text() == before
    path.write_text(before + before.splitlines()[0][:30])  # cut off while it was written
    assert len(recall.read(path)) == 5
    again = recall.one(easy, "GRU", 1, best, steps=40)
    assert {key: again[key] for key in ("validation", "test")} == {key: lines[3][key] for key in ("validation", "test")}
    capsys.readouterr()


def test_what_is_lost_is_not_tested_longer(monkeypatch):
    task = make_task("flip_flop")
    scores = iter([1.0, 0.9, 0.55])
    monkeypatch.setattr(recall, "_score", lambda *arguments: next(scores))
    found = recall.score(make_model("GRU", task, seed=0), task, part="test")
    assert list(found.values()) == [1.0, 0.9, 0.55, None, None]
    scores = iter([1.0, 1.0, 1.0, 1.0])
    monkeypatch.setattr(recall, "_score", lambda *arguments: next(scores))
    found = recall.score(make_model("Transformer", task, seed=0), task, part="test")
    assert list(found.values()) == [1.0, 1.0, 1.0, 1.0, None]


def line(model, seed, scores, **more):
    task = make_task("recall")
    test = dict(zip(map(str, task.tested), scores, strict=True))
    kept = {"task": "recall", "model": model, "seed": seed, "rate": 0.01, "steps": task.batches, "test": test}
    return {**kept, "parameters": 1234, "train_s": 10.0, "validation": 0.5, **more}


def test_the_report_says_mean_and_spread(tmp_path):
    lines = [line("GRU", seed, (0.9, 0.5 + seed / 10, 0.3, None)) for seed in (0, 2)]
    lines.append(line("GRU", 0, (0.0, 0.0, 0.0, 0.0), steps=1))  # a short one, which only chose the rate
    recall_report.write(lines, tmp_path)
    assert (
        "| GRU | 90.0 (90.0 to 90.0) | 60.0 (50.0 to 70.0) | 30.0 (30.0 to 30.0) | - | 1,234 | 0.01 | 0, 2 |"
        in (tmp_path / "recall.md").read_text()
    )
    assert len(json.loads((tmp_path / "recall.json").read_text())["runs"]) == 3
    assert (tmp_path / "recall.png").stat().st_size > 20_000
    with pytest.raises(PnbxValueError, match="no full training to report"):
        recall_report.write(lines[2:], tmp_path)


def test_what_does_not_fit_is_refused(tmp_path, capsys):
    with pytest.raises(PnbxValueError, match="pairs must be between 1 and 16, got 17"):
        pairs_task(17, 1, generator())
    with pytest.raises(PnbxValueError, match="places must be at least 8, got 7"):
        copy(7, 1, generator())
    with pytest.raises(PnbxValueError, match="delay must be at least 1, got 0"):
        flip_flop(0, 1, generator())
    with pytest.raises(PnbxValueError, match="part must be one of train, validation, test, got 'tset'"):
        language(3, 1, generator(), "tset")
    with pytest.raises(PnbxValueError, match="task must be one of recall, copy, flip_flop, language, got 'sort'"):
        make_task("sort")
    with pytest.raises(PnbxValueError, match="model must be one of PNB-X; .*got 'LSTM'"):
        make_model("LSTM", make_task("copy"), seed=0)
    assert recall.main(["--out", str(tmp_path / "x"), "--steps", "0"]) == 1
    assert "steps must be at least 1, got 0" in capsys.readouterr().err


def test_the_page_shows_what_was_trained():
    folder = Path(__file__).parents[2] / "docs" / "analysis"
    lines = json.loads((folder / "recall.json").read_text())["runs"]
    assert (folder / "recall.md").read_text() == recall_report.markdown(lines)
    assert all(len(runs) == 3 for name in TASKS for runs in recall_report.full(lines, make_task(name)).values())
