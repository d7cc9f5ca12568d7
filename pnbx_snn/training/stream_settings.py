"""What a configuration must say of samples that are made of several streams."""

from pnbx_snn.data.catalog import DATA_SETS
from pnbx_snn.data.events import SENSORS
from pnbx_snn.errors import ConfigError
from pnbx_snn.training.settings import AugmentConfig, DataConfig

NEVER = ("arrays", "pairs", *SENSORS)
"""Data sets that are no source of pairs: arrays have streams of their own, spikes are no values."""
TAKEN = ("x", "y", "lengths")
"""Names of arrays that cannot be those of streams."""
PARTS = ("_train", "_validation", "_test")


def check_streams(data: DataConfig, augment: AugmentConfig) -> None:
    """Raise a :class:`~pnbx_snn.errors.ConfigError` if the keys that are about streams do not fit together."""
    names, sources = data.streams, data.sources
    if len(set(names)) < len(names):
        raise ConfigError(f"data.streams must be different names, got {list(names)}")
    if data.name != "pairs" and sources:
        raise ConfigError(f"data.sources is for data.name = 'pairs', got {list(sources)} and {data.name!r}")
    if data.name not in ("pairs", "arrays") and names:
        raise ConfigError(f"data.streams is for data.name = 'pairs' or 'arrays', got {data.name!r}")
    if data.name == "pairs":
        _check_pairs(names, sources)
    if data.name == "arrays" and names:
        wrong = [name for name in names if name in TAKEN or name.endswith(PARTS)]
        if wrong:
            raise ConfigError(f"data.streams must be names of arrays beside y and lengths, got {wrong[0]!r}")
        if data.window > 1:
            raise ConfigError(f"data.window must be 1 with data.streams, got {data.window}")
    if data.widths and len(data.widths) != len(names):
        raise ConfigError(f"data.widths must be one for each of {list(names)}, got {list(data.widths)}")
    if augment.stream_dropout and len(names) < 2:
        raise ConfigError(
            f"augment.stream_dropout needs two data.streams or more: must be 0, got {augment.stream_dropout}"
        )


def _check_pairs(names: tuple[str, ...], sources: tuple[str, ...]) -> None:
    if not names or len(names) != len(sources):
        raise ConfigError(
            "data.name = 'pairs' needs data.streams and for each of them a data set in data.sources, got "
            f"{list(names)} and {list(sources)}"
        )
    known = [name for name in DATA_SETS if name not in NEVER]
    for source in sources:
        if source not in known:
            raise ConfigError(f"data.sources must be of {', '.join(known)}, got {source!r}")
