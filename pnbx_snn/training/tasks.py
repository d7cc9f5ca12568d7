"""What a configuration's data section names; the data sets themselves are :mod:`pnbx_snn.data.catalog`'s."""

from pnbx_snn.data.arrays import array_sizes
from pnbx_snn.data.augment import add_noise, drop_inputs
from pnbx_snn.data.catalog import arrays_path, augment, load_split
from pnbx_snn.errors import ConfigError
from pnbx_snn.training.config import Config, make_config

__all__ = ["add_noise", "augment", "drop_inputs", "load_split", "resolve"]


def resolve(config: Config) -> Config:
    """Return a configuration whose sizes are known: of a user's arrays, what they have; any other as it is.

    Keys of ``[pnbx]`` that the configuration does not name get what suits arrays of any size. ``norm = "affine"``: few
    inputs under ternary weights make neurons that differ in nothing unless each has a bias. ``tau_max`` is the number
    of steps that a sample has or is shown (at least 2): slower memories would hardly charge. ``quantize = true``: what
    is trained is what is compiled.

    Raises
    ------
    DataError
        If the arrays cannot be used.
    ConfigError
        If they have other sizes than the configuration says, or need another network than it names.

    Examples
    --------
    >>> resolve(Config()) == Config()
    True
    """
    data = config.data
    if data.name != "arrays":
        return config
    found = array_sizes(arrays_path(data), values=data.values)
    for key, size in found._asdict().items():
        wanted = getattr(data, key)
        if wanted not in (0, size):
            raise ConfigError(f"data.{key} is {wanted} and {arrays_path(data)} has {size}; 0 takes what is there")
    values = config.model_dump()
    values["data"].update(found._asdict())
    suited = config.kind.suited(found.steps, config.network)
    values[config.section].update(
        {key: value for key, value in suited.items() if key not in config.network.model_fields_set}
    )
    return make_config(values)
