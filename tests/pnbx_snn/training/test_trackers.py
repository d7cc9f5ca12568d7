"""Curves go to TensorBoard, or to any tracker that accelerate knows; what is missing is one clear error."""

from typing import ClassVar

import pytest
from accelerate import tracking
from accelerate.tracking import GeneralTracker

from pnbx_snn.errors import ConfigError
from pnbx_snn.training.config import make_config
from pnbx_snn.training.run import train
from pnbx_snn.training.run_log import read_metrics


def tiny(tracker, **train_):
    return make_config(
        {
            "model": {"hidden": [6], "num_steps": 2},
            "train": {"epochs": 2, "batch_size": 700, "threads": 1, "tracker": tracker, **train_},
        }
    )


class Notebook(GeneralTracker):
    """A tracker as somebody else would write it."""

    name = "notebook"
    requires_logging_directory = True
    told: ClassVar[list] = []

    def __init__(self, run_name, logging_dir):
        super().__init__()
        self.told.append(("made", run_name, logging_dir))

    @property
    def tracker(self):
        return self

    def start(self):
        self.told.append(("started",))

    def store_init_configuration(self, values):
        self.told.append(("settings", values))

    def log(self, values, step=None):
        self.told.append(("log", step, values))

    def finish(self):
        self.told.append(("finished",))


def test_any_tracker_of_accelerate_gets_the_curves(tmp_path, monkeypatch):
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    monkeypatch.setattr(Notebook, "told", [])
    train(tiny("notebook"), tmp_path / "run")
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    made, started, settings, *logged, finished = Notebook.told
    assert (made, started, finished) == (("made", "run", str(tmp_path / "run")), ("started",), ("finished",))
    assert settings[1]["train.batch_size"] == 700
    assert settings[1]["model.hidden"] == "(6,)"  # trackers take numbers and texts only
    assert [step for _, step, _ in logged] == [1, 2]
    for (_, _, values), row in zip(logged, rows, strict=True):
        assert values == {key: row[key] for key in ("loss", "accuracy_train", "firing_rate", "learning_rate")}
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_run_may_go_on_under_another_tracker(tmp_path, monkeypatch):
    train(tiny("tensorboard"), tmp_path / "run")
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    assert train(tiny("notebook"), tmp_path / "run", resume=True).epoch == 2


def test_a_tracker_nobody_knows(tmp_path):
    with pytest.raises(ConfigError, match=r"train.tracker must be one of aim, .* or wandb, got 'wandbb'"):
        train(tiny("wandbb"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_is_not_installed_names_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "_available_trackers", [])
    with pytest.raises(ConfigError, match="'wandb' needs its package, which is not installed: pip install wandb"):
        train(tiny("wandb"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
