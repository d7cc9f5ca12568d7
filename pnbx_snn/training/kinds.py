"""The kinds of network that a configuration can describe: one section each, its keys those of the class's signature."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field, create_model, field_validator

from pnbx_snn.checks import Written
from pnbx_snn.data.time_series import SERIES
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.networks.cnn import SmallCNN
from pnbx_snn.networks.conv import SpikingConvNet
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.neurons.messages import TorusMessages
from pnbx_snn.training.settings import DataConfig, Section

Reads = Literal["sequences", "events", "arrays"]
"""Samples beside static values of a known data set: sequences of values, sequences of spikes, a user's arrays."""


@dataclass(frozen=True)
class Kind:
    """One kind of network; :func:`register` makes its section known.

    Parameters
    ----------
    network
        The class, whose ``section`` is the section's name. Its parameters become the keys, with their defaults and
        ranges.
    arguments
        Parameters that are no keys, because the data decide them: each is made from ``data`` and the section.
    reads
        What samples it takes.
    check
        Raises a ``ValueError`` if section and data do not fit together.
    array_defaults
        Returns what suits a user's arrays of so many steps better than the defaults.
    base
        Of the section: what checks keys together.
    command
        What trains it on the command line.
    """

    network: type[Network]
    arguments: Mapping[str, Callable[[DataConfig, Any], Any]]
    reads: tuple[Reads, ...] = ()
    check: Callable[[DataConfig, Any], None] = lambda data, options: None
    array_defaults: Callable[[int, Any], dict[str, Any]] = lambda num_steps, options: {}
    base: type[Section] = Section
    command: str = "pnbx-snn"

    @cached_property
    def section(self) -> type[Section]:
        """The class of the section."""
        hints = get_type_hints(self.network.__init__, include_extras=True)
        fields: dict[str, Any] = {
            name: (_as_written(hints[name]), parameter.default)
            for name, parameter in inspect.signature(self.network).parameters.items()
            if name not in self.arguments
        }
        return create_model(f"{self.network.__name__}Section", __base__=self.base, **fields)

    def build(self, data: DataConfig, options: Section) -> Network:
        """Build the network of a section for these data, with fresh weights from torch's global generator."""
        shaped = {name: make(data, options) for name, make in self.arguments.items()}
        return self.network(**shaped, **options.model_dump())


def _as_written(hint: Any) -> Any:
    """Return the type of a section's key for that of a parameter."""
    written = next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Written)), None)
    if written is None:
        return hint
    if written.read is not None:
        return Annotated[written.type, AfterValidator(written.read)]
    return Annotated[written.type, Field(strict=False)]  # TOML and JSON have lists only, which may become tuples


KINDS: dict[str, Kind] = {}
"""By the name of their sections, in the order in which messages name them."""

ELSEWHERE = {"baseline": "python -m studies.rivals"}
"""Sections that a repository's own package registers, and the command that does."""


def register(kind: Kind) -> Kind:
    """Make a kind known to configurations, and with it to training, checkpoints and the command line.

    Raises
    ------
    PnbxValueError
        If another kind has a section of that name.
    """
    name = kind.network.section
    if KINDS.get(name, kind) is not kind:
        raise PnbxValueError(f"register: [{name}] is the section of {KINDS[name].network.__name__} already")
    KINDS[name] = kind
    return kind


def section_names(*reads: Reads, last: str = "or") -> str:
    """Name the sections of the kinds that read all of these, as a message does: ``'[model], [pnbx] or [cnn]'``."""
    names = [f"[{name}]" for name, kind in KINDS.items() if set(reads) <= set(kind.reads)]
    return f" {last} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


class _PNBXSection(Section):
    model_config = ConfigDict(validate_default=True)

    @field_validator("messages", check_fields=False)
    @classmethod
    def _torus_fits(cls, messages: bool, info: Any) -> bool:
        if messages and "d_hidden" in info.data:
            try:
                TorusMessages(info.data["d_hidden"])
            except PnbxValueError as error:
                raise ValueError(f"pnbx.d_hidden must fit a torus when messages = true ({error})") from error
        return messages

    @field_validator("neurons_per_domain", check_fields=False)
    @classmethod
    def _domains_fit(cls, size: int, info: Any) -> int:
        d_hidden = info.data.get("d_hidden", size)
        if info.data.get("glia") and d_hidden % size:
            raise ValueError(f"must divide pnbx.d_hidden = {d_hidden} when glia = true")
        return size


def _array_defaults(num_steps: int, options: Any) -> dict[str, Any]:
    """Return the keys of ``[pnbx]`` that suit arrays, see :func:`pnbx_snn.training.config.resolve`."""
    shown = num_steps if num_steps > 1 else options.num_steps
    return {"norm": "affine", "tau_max": float(max(2, shown)), "quantize": True}


def _picture(data: DataConfig) -> tuple[int, int]:
    return {"fsdd": (data.num_frames, data.num_bands), "digits": (8, 8)}.get(data.name, (data.side, data.side))


def _is_picture(data: DataConfig, _: Any) -> None:
    """Raise unless the steps of a sequence are the rows of a picture."""
    if data.name in SERIES:
        raise ValueError(f"[cnn] sees pictures: data.name = {data.name!r} is a time series and needs [pnbx]")


SIZES: dict[str, Callable[[DataConfig, Any], Any]] = {
    "in_features": lambda data, _: data.in_features,
    "num_classes": lambda data, _: data.num_classes,
}
"""Parameters of most networks that data decide."""

PICTURE: dict[str, Callable[[DataConfig, Any], Any]] = {
    "height": lambda data, _: _picture(data)[0],
    "width": lambda data, _: _picture(data)[1],
    "num_classes": SIZES["num_classes"],
}
"""Those of networks that see a sample as a picture."""
ENCODED: dict[str, Callable[[DataConfig, Any], Any]] = {
    "input_range": lambda _, options: "int8" if options.encoder == "direct" else "spikes"
}
"""Values enter as 8-bit integers, spikes as they are."""


register(Kind(SpikingClassifier, SIZES | ENCODED, reads=("arrays",)))
register(
    Kind(
        PNBX,
        SIZES
        | {
            "input_range": lambda data, _: "spikes" if data.is_events else "int8",
            "streams": lambda data, _: data.stream_widths,
        },
        reads=("sequences", "events", "arrays"),
        array_defaults=_array_defaults,
        base=_PNBXSection,
    )
)
register(Kind(SmallCNN, PICTURE, reads=("sequences",), check=_is_picture))
register(Kind(SpikingConvNet, PICTURE | ENCODED))
