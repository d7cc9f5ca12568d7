import csv
import json
import multiprocessing
import threading

import pytest
from typer.testing import CliRunner

import pnbx_extras
from pnbx_snn import cli
from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.errors import CheckpointError, ConfigError, PnbxError, PnbxTypeError, PnbxValueError
from pnbx_snn.metrics.memory import packings
from pnbx_snn.search import processes, trials
from pnbx_snn.search.objectives import OBJECTIVES, measure, parse_objectives, weight_bytes
from pnbx_snn.search.records import Limits, Record
from pnbx_snn.search.result import front, verdict
from pnbx_snn.search.sources import load_space
from pnbx_snn.search.study import Study
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import load_config, make_config
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.run_files import CHECKPOINT_NAME

TOML = """
[model]
hidden = [4]
num_steps = 1
[train]
epochs = 2
batch_size = 400
[search]
model.hidden = {low = 3, high = 6, length = [1, 2]}
train.learning_rate = {low = 0.001, high = 0.1, log = true}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TOML)
    return path


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """TensorBoard's pictures take most of the time of so short a training."""
    monkeypatch.setattr("pnbx_snn.training.monitor.Monitor.look", lambda *_, **__: None)


def opened(file, out, objectives=("accuracy", "bytes"), limits=Limits(), seed=0, **changes):  # noqa: B008
    base = processes.searched_config(load_config(file, [f"{key}={value}" for key, value in changes.items()]))
    return Study(out, load_space(base, file), objectives, limits, seed=seed)


def content(run):
    return (run / CHECKPOINT_NAME).read_bytes()


def states(study):
    return [record.state for record in study.records()]


class Kill(BaseException):
    """As a kill: nothing on the way may catch it."""


def test_a_killed_trial_goes_on_to_the_same_weights(file, tmp_path):
    straight, killed = (opened(file, tmp_path / name) for name in ("straight", "killed"))
    trials.work(straight, 1, pruning="none")

    def kill(event):
        if event["what"] == "epoch" and event["epoch"] == 1:
            raise Kill

    with pytest.raises(Kill):
        trials.work(killed, 1, pruning="none", told=kill)
    again = opened(file, tmp_path / "killed")
    assert states(again) == ["running"]
    given = pnbx(file, "--out", tmp_path / "killed", "--objectives", "accuracy,bytes", "--trials", 0)
    assert "0 trials finished, 1 unfinished. There is no front yet." in given.stdout
    assert states(again) == ["running"]
    trials.work(again, 1, pruning="none")
    assert states(again) == ["complete"]
    assert content(again.folder(0)) == content(straight.folder(0))
    assert again.records()[0].measured == straight.records()[0].measured


def test_measured_is_what_the_run_has(file, tmp_path):
    study = opened(file, tmp_path, OBJECTIVES)
    trials.work(study, 1)
    [record] = study.records()
    model, config = load_run(study.folder(0))
    validation = load_digits_split(part="validation")
    assert record.measured["accuracy"] == evaluate(model, validation)["accuracy"]
    assert record.measured["bytes"] == next(p.ternary_bytes for p in packings(model) if p.bits == 2)
    assert record.measured["file_bytes"] == (study.folder(0) / "packed.safetensors").stat().st_size
    assert record.measured["state_bytes"] > 0
    met = []  # of one step: nonzero weights met by nonzero inputs
    for layer in [*(one.linear for one in model.layers), model.readout]:
        present = (layer.rounded()[0] != 0).sum(dim=0).double()
        layer.register_forward_pre_hook(lambda _, x, present=present: met.append((x[0] != 0).double() @ present))
    model.classify(validation.images[:])
    found = sum(float(one.sum()) for one in met) / len(validation.labels)
    assert record.measured["operations"] == pytest.approx(found, abs=0.06)  # rounded to a tenth
    assert (config.data.part, config.train.checkpoint_every, config.train.threads) == ("train", 1, 1)
    assert measure(study.folder(0), 0.5, ("accuracy",), validation)["accuracy"] == 0.5


def test_two_processes_take_different_trials_and_none_too_many(file, tmp_path):
    one, two = (opened(file, tmp_path) for _ in range(2))
    first, second = one.take(3), two.take(3)
    third = one.take(3)
    assert [first.number, second.number, third.number] == [0, 1, 2]
    assert two.take(3) is None
    one.tell(first, "failed", {}, "because")
    assert one.take(3) is None  # a failed trial counts
    assert one.take(4).number == 3
    assert [record.why for record in two.records()] == ["because", "", "", ""]


def test_the_same_seed_draws_the_same_trials(file, tmp_path):
    drawn = [opened(file, tmp_path / name, seed=seed).take(1).drawn for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert drawn[0] == drawn[1] != drawn[2]


def test_too_large_ones_are_rejected_before_they_are_trained(file, tmp_path, monkeypatch):
    study = opened(file, tmp_path, limits=Limits(most_bytes=70))
    taken = [study.take(4) for _ in range(4)]
    assert all(weight_bytes(one.config) <= 70 for one in taken)
    rejected = [record for record in study.records() if record.state == "rejected"]
    assert rejected
    assert all("bytes are more than --most-bytes 70" in record.why for record in rejected)
    monkeypatch.setattr("pnbx_snn.search.study.MOST_REJECTED", 5)
    with pytest.raises(ConfigError, match="none of 5 draws may be trained; the last one: .* --most-bytes 9"):
        opened(file, tmp_path / "b", limits=Limits(most_bytes=9)).take(1)


def test_a_space_that_is_used_up_ends_the_search(tmp_path, file, monkeypatch):
    monkeypatch.setattr("pnbx_snn.search.study.MOST_REJECTED", 12)
    file.write_text(file.read_text().split("[search]")[0] + "[search]\nmodel.hidden = [[3], [4]]\n")
    study = opened(file, tmp_path / "a", **{"train.epochs": 1})
    trials.work(study, 5)
    assert study.exhausted
    assert sorted(r.drawn["model.hidden"] for r in study.records() if r.state == "complete") == [[3], [4]]
    assert all("it is trial" in record.why for record in study.records() if record.state == "rejected")


def test_another_search_is_refused(file, tmp_path):
    opened(file, tmp_path / "a")
    opened(file, tmp_path / "a", **{"data.folder": "elsewhere"})
    journal = tmp_path / "a" / "study.jsonl"
    journal.write_text(journal.read_text().replace('"checkpoint_every":1,', ""))  # of a version without this key
    opened(file, tmp_path / "a")
    for changed in ({"train.epochs": 3}, {"objectives": ("accuracy", "operations")}):
        with pytest.raises(ConfigError, match="holds another search; .* begun with"):
            opened(file, tmp_path / "a", **changed)


def test_a_cut_last_line_is_dropped_and_another_file_refused(file, tmp_path):
    study = opened(file, tmp_path)
    study.take(1).claim.release()
    journal = tmp_path / "study.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"wor')
    assert opened(file, tmp_path).take(1).number == 0
    assert journal.read_bytes() == whole
    journal.write_bytes(whole.replace(b'"config":{', b'"other":{'))
    with pytest.raises(CheckpointError, match="study.jsonl: is altered: it does not say what is searched"):
        opened(file, tmp_path)
    journal.write_bytes(b"no journal\n" * 2)
    with pytest.raises(CheckpointError, match=r"study.jsonl: is altered, or no journal of a search"):
        opened(file, tmp_path)


def test_trials_that_fail_are_written_down_and_three_end_the_search(file, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise PnbxValueError("training: the loss must be finite, got nan")

    monkeypatch.setattr(trials, "train", fails)
    study = opened(file, tmp_path)
    with pytest.raises(PnbxError, match="3 trials failed one after the other; the last one: .*got nan"):
        trials.work(study, 9)
    assert states(study) == ["failed"] * 3
    assert "loss must be finite" in study.records()[0].why


def test_a_trial_that_others_beat_is_stopped(file, tmp_path):
    study = opened(file, tmp_path)
    for number, taken in enumerate([study.take(3), study.take(3)]):
        assert study.reached(taken.number, 1, [-1.0, 1.0 + number]) == [[-1.0, 1.0]] * number
    trials.work(study, 3)
    record = study.records()[2]
    assert (record.state, record.why) == ("stopped", "after epoch 1 of 2: others have a better Pareto rank")
    assert record.measured["bytes"] == weight_bytes(load_run(study.folder(2))[1])
    assert record.rungs == {1: [-record.measured["accuracy"], record.measured["bytes"]]}


def trial(number, accuracy, size, state="complete", operations=1.0):
    found = {"accuracy": accuracy, "bytes": size, "bytes_with_fp32_rest": size + 500, "operations": operations}
    return Record(number, state, {"model.hidden": [number]}, found, {}, "")


def test_the_front_and_its_limits():
    records = [
        trial(0, 0.9, 10),
        trial(1, 0.95, 20),
        trial(2, 0.94, 30),
        trial(3, 0.99, 5, "stopped"),
        trial(4, 0.8, 9),
    ]
    best = front(records, ("accuracy", "bytes"), Limits()).best
    assert [record.number for record in best] == [4, 0, 1]
    best = front(records, ("accuracy", "bytes"), Limits(15, 0.85)).best
    assert [record.number for record in best] == [0]


def test_the_verdict_counts_everything():
    assert "says nothing about it" in verdict([trial(0, 0.97, 100)], 15_000)
    assert "trial 1 reads 98.00 %" in (said := verdict([trial(1, 0.98, 14_000), trial(2, 0.99, 20_000)], 15_000))
    assert said.endswith("14,000 bytes of ternary weights (14,500 with all else in fp32), which contradicts it.")
    assert verdict([trial(1, 0.99, 14_600)], 15_000).endswith("and no smaller one does.")


def test_objectives_are_named():
    for text in ("accuracy,size", "accuracy,,bytes", ""):
        with pytest.raises(ConfigError, match="--objectives must be some of accuracy,bytes,operations"):
            parse_objectives(text)
    with pytest.raises(ConfigError, match="each stands there once"):
        parse_objectives("bytes,bytes")
    with pytest.raises(PnbxTypeError, match=r"a \[cnn\] has no ternary weights"):
        weight_bytes(make_config({"data": {"name": "mnist"}, "cnn": {}}))


def test_the_first_process_hears_the_others_and_their_errors():
    ours, theirs = zip(*(multiprocessing.Pipe(duplex=False) for _ in range(2)), strict=True)

    def speak():
        theirs[0].send({"what": "end", "record": 1})
        theirs[1].send({"what": "error", "text": "no data"})
        for pipe in theirs:
            pipe.close()

    heard = []
    speaker = threading.Thread(target=speak)
    speaker.start()
    assert processes._listen(ours, heard.append) == ["no data"]
    speaker.join()
    assert heard == [{"what": "end", "record": 1}]


def pnbx(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "160", "TERM": "dumb"}).invoke(cli.app, ["search", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def test_the_command_searches_goes_on_and_leaves_its_files(file, tmp_path):
    out = tmp_path / "found"
    given = (file, "--out", out, "--objectives", "accuracy,bytes", "--set", "train.epochs=1", "--bound", 15_000)
    shown = pnbx(*given, "--trials", 1)
    assert shown.stderr.splitlines()[-1].startswith("trial 0: ")
    assert "Pareto front: 1 trial finished" in shown.stdout
    assert "says nothing about it" in shown.stdout
    result = json.loads(pnbx(*given, "--trials", 2, "--json").stdout)
    assert result["trials"]["complete"] == 2
    assert json.loads((out / "front.json").read_text()) == result
    rows = list(csv.DictReader((out / "trials.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["complete"] * 2
    assert {row["trial"] for row in rows if row["on_front"] == "1"} == {str(one["trial"]) for one in result["front"]}
    assert (out / "front.png").stat().st_size > 5000
    assert (out / "trials" / "0001" / "checkpoint.safetensors").exists()


def test_a_dry_run_writes_nothing(file, tmp_path):
    shown = pnbx(file, "--dry-run", "--out", tmp_path / "found", "--most-bytes", 90)
    assert "1 or 2 numbers of 3 to 6" in shown.stdout
    assert "The first draw, " in shown.stdout
    assert not (tmp_path / "found").exists()


def test_what_is_not_installed_is_named(file, monkeypatch):
    monkeypatch.setattr(pnbx_extras, "find_spec", lambda name: None if name == "optuna" else name)
    wrong = pnbx(file, code=1)
    assert wrong.stderr.startswith("error: pnbx-snn search needs optuna, which is not installed: pip install")
