"""The sections of a configuration that are no network: data, their changes, the teacher, how it learns."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.fields import FieldInfo

from pnbx_snn.data.array_parts import Values
from pnbx_snn.data.catalog import DATA_SETS, DataName, pair_streams
from pnbx_snn.data.events import SENSORS
from pnbx_snn.errors import ConfigError


class Section(BaseModel):
    """What all sections share."""

    # strict: a TOML 3.0 is no whole number and "3" is no number, whatever pydantic could make of them.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def allowed_values(field: FieldInfo) -> str | None:
    """Say in words what a key may be, from its type and range; ``None`` where pydantic's own words do.

    For example ``'a whole number in [1, 1000000]'``.
    """
    if field.description is not None:
        return field.description
    kind = field.annotation
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        return f"a {_NOUNS[kind]}{_range(field.metadata)}"
    if get_origin(kind) is tuple:
        (number, *ranges), length = get_args(get_args(kind)[0]), _bounds(field.metadata)
        numbers = f"{_NOUNS[number]}s{_range(ranges)}"
        return f"a list of {length['min_length']} to {length['max_length']} {numbers}"
    return None


_NOUNS: dict[Any, str] = {int: "whole number", float: "number"}


def _bounds(metadata: Iterable[Any]) -> dict[str, Any]:
    names = ("gt", "ge", "lt", "le", "min_length", "max_length")
    found = ((name, getattr(part, name, None)) for part in metadata for name in names)
    return {name: value for name, value in found if value is not None}


def _range(metadata: Iterable[Any]) -> str:
    bounds = _bounds(metadata)
    low, high = (
        next((bounds[name] for name in names if name in bounds), None) for names in (("ge", "gt"), ("le", "lt"))
    )
    if high is not None:
        return f" in {'[' if 'ge' in bounds else '('}{low}, {high}{']' if 'le' in bounds else ')'}"
    return "" if low is None else f" of {low} or more" if "ge" in bounds else f" above {low}"


StreamName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
_NAMES = "a list of up to 8 names of small letters, digits and underscores"


class DataConfig(Section):
    """What is learned.

    Attributes
    ----------
    name
        ``"digits"``: the 8x8 digits of scikit-learn. ``"mnist"``: MNIST images; ``"mnist_rows"``: their 28 rows, one a
        step; ``"mnist_pixels"``: their 784 pixels, one a step. ``"fsdd"``: spoken digits, frames of a mel filter bank.
        Event data, read with Tonic: ``"shd"``, ``"ssc"`` (spoken digits and commands, 700 channels), ``"nmnist"``,
        ``"dvs_gesture"`` (cameras, pixels by polarity). Time series of the UCR and UEA archives, see
        :func:`pnbx_snn.data.time_series.load_series`: ``"japanese_vowels"``, ``"basic_motions"``, ``"arrow_head"``,
        ``"gun_point"``, ``"italy_power_demand"``, ``"osu_leaf"``, ``"pickup_gesture"``. ``"arrays"``: your own NumPy
        arrays, see :func:`pnbx_snn.data.arrays.load_arrays`. ``"pairs"``: samples of several data sets with equal
        labels, see :class:`pnbx_snn.data.streams.Pairs`.
    part
        ``"train"`` leaves the validation samples out and measures on them after each epoch; ``"train_all"`` learns from
        both and measures nothing, for the last training.
    folder
        Where the files lie, see docs/data.md; ``""``: the environment variable ``PNBX_DATA``.
    side
        Those of MNIST only: pixels each way, to which the images of 28 x 28 are shrunk, in training
        after they were augmented: see :func:`pnbx_snn.data.shrunk.shrink`.
    held_out_speaker
        ``"fsdd"`` only: leave this speaker out of training and test on nobody else; ``""``: the official split.
    validation_speaker
        ``"fsdd"`` only: validate on nobody but this speaker; ``""``: on the last takes of those who are heard.
    num_frames, num_bands
        Steps of a recording: ``"fsdd"`` (10 ms each) and event data; mel bands of ``"fsdd"``.
    step_ms, pool
        Event data only: milliseconds of a step (what comes after ``num_frames * step_ms`` is left out), and how many
        neighbouring channels, or pixels each way, are one input.
    streams
        Names of the streams that stand side by side in every step, such as ``["sound", "image"]``. Of ``"arrays"`` they
        are names of arrays in the file, see :func:`pnbx_snn.data.array_streams.load_array_streams`.
    sources, pairs
        ``"pairs"`` only: the data set of each stream, and how many pairs are drawn in an epoch, 0 for as many as the
        largest data set has samples. Validation and test have as many as that, always the same (``split_seed``).
    path
        ``"arrays"`` only, as all that follow: the ``.npz`` or the folder of ``.npy``; where it is relative, to
        ``folder`` if that is set and else to the current folder.
    values
        ``"real"`` numbers, or ``"spikes"`` (0 and 1), which enter a program as they are.
    window
        A step sees the values of so many steps, its own the last of them: see :func:`pnbx_snn.data.arrays.windows`.
        Time series have it too.
    validation_share, test_share, split_seed
        Of the parts that the arrays do not give.
    features, steps, classes
        Values in a step, steps (1: static samples) and classes; 0 is what the arrays have. A run writes down what it
        found, and from then on they must be so.
    widths
        Values in a step of each of the ``streams`` of arrays, as ``features``.
    """

    name: DataName = "digits"
    part: Literal["train", "train_all"] = "train_all"
    folder: str = ""
    side: int = Field(default=28, ge=4, le=28)
    held_out_speaker: str = ""
    validation_speaker: str = ""
    num_frames: int = Field(default=64, ge=8, le=1000)
    num_bands: int = Field(default=40, ge=4, le=100)
    step_ms: float = Field(default=10.0, gt=0, le=10_000)
    pool: int = Field(default=1, ge=1, le=128)
    streams: tuple[StreamName, ...] = Field(default=(), max_length=8, strict=False, description=_NAMES)
    sources: tuple[str, ...] = Field(default=(), max_length=8, strict=False, description="a list of data sets")
    pairs: int = Field(default=0, ge=0, le=10_000_000)
    path: str = ""
    values: Values = "real"
    window: int = Field(default=1, ge=1, le=1000)
    validation_share: float = Field(default=0.1, gt=0, lt=0.5)
    test_share: float = Field(default=0.2, gt=0, lt=0.5)
    split_seed: int = Field(default=0, ge=0, le=2**63 - 1)
    features: int = Field(default=0, ge=0, le=65_536)
    steps: int = Field(default=0, ge=0, le=100_000)
    classes: int = Field(default=0, ge=0, le=65_536)
    widths: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        default=(), max_length=8, strict=False, description="a list of whole numbers in [1, 65536]"
    )

    @property
    def is_events(self) -> bool:
        """Whether samples are spikes: sequences of 0 and 1."""
        return self.name in SENSORS or (self.name == "arrays" and self.values == "spikes")

    @property
    def is_resolved(self) -> bool:
        """Whether the sizes are known: those of arrays are after :func:`pnbx_snn.training.config.resolve`."""
        return self.name != "arrays" or min(self.features, self.steps, self.classes) > 0

    @property
    def stream_widths(self) -> dict[str, int]:
        """Values in a step of each stream by its name; none where samples are not made of streams."""
        if self.name == "pairs":
            return {stream.name: stream.width for stream in pair_streams(self)}
        return dict(zip(self.streams, self.widths, strict=True)) if self.widths else {}

    @property
    def in_features(self) -> int:
        """Values in a sample, or in a step of a sequence."""
        return self._known("features")

    @property
    def num_steps(self) -> int:
        """Steps of a sample; 1 of a static one."""
        return self._known("steps")

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._known("classes")

    def _known(self, key: str) -> int:
        size: int = getattr(DATA_SETS[self.name].sizes(self), key)
        if size == 0:
            raise ConfigError(
                f"data.{key} is not known before the arrays are looked at: training.config.resolve(config) does that"
            )
        return size


class AugmentConfig(Section):
    """How training samples are changed, anew in each epoch.

    Attributes
    ----------
    strength, strength_end
        ``strength`` holds for the first half of the epochs, then it falls along a line to ``strength_end``; 0 is off.
        Images: :func:`pnbx_snn.data.augment.affine_elastic`; spoken digits:
        :func:`pnbx_snn.data.augment.augment_features`.
    voices
        How much the speaker of a spoken digit is changed, in all epochs alike; 0 is off:
        :func:`pnbx_snn.data.voices.change_voices`.
    input_dropout
        Share of the values that are set to 0 (without rescaling), equally likely everywhere in a sample.
    input_noise
        Standard deviation of the Gaussian noise that is added to every value.
    stream_dropout
        Share of the samples that lose one of their streams, see :func:`pnbx_snn.data.streams.drop_streams`.
    """

    strength: float = Field(default=0.0, ge=0, le=1)
    strength_end: float = Field(default=0.0, ge=0, le=1)
    voices: float = Field(default=0.0, ge=0, le=1)
    input_dropout: float = Field(default=0.0, ge=0, lt=1)
    input_noise: float = Field(default=0.0, ge=0, le=100)
    stream_dropout: float = Field(default=0.0, ge=0, le=1)


class DistillConfig(Section):
    """A teacher: a trained run whose outputs are learned together with the labels.

    Attributes
    ----------
    teacher
        Folder of the run, trained on the same kind of samples; ``""``: none. Of images of MNIST it sees as many pixels
        as in its own training, whatever ``data.side`` says.
    weight
        ``(1 - weight)`` times the loss of the labels plus ``weight`` times the divergence from the teacher.
    temperature
        Both logits are divided by it.
    per_step, from_share
        ``true``: the student learns the teacher's logits of each step, as far as either heard or saw the sample then,
        from this share of a sample's steps on, in [0, 1); ``false``: those of the whole sample. See
        :func:`pnbx_snn.training.losses.step_distillation`.
    """

    teacher: str = ""
    weight: float = Field(default=0.5, ge=0, le=1)
    temperature: float = Field(default=4.0, gt=0, le=100)
    per_step: bool = False
    from_share: float = Field(default=0.5, ge=0, lt=1)


class TrainConfig(Section):
    """How it learns.

    Attributes
    ----------
    epochs, batch_size, learning_rate, weight_decay
        AdamW; the rate falls from ``learning_rate`` to 0 along a cosine over all epochs. Batches have at least
        ``batch_size`` samples and differ by at most one; they are those of all processes together. Only weight
        matrices decay.
    accumulate
        A batch is learned in so many pieces, one after the other, whose gradients add up: for batches that memory does
        not hold. Batch norm sees one piece at a time.
    label_smoothing
        Share of the target that is spread over all classes.
    rate_target, rate_weight
        ``rate_weight`` times :func:`pnbx_snn.training.losses.rate_penalty` is added to the loss.
    max_shift, shift_share
        This share of the images is shifted by up to so many pixels; over the second half of the epochs fewer and fewer
        are, in the last one none. 0 is off.
    clip_norm
        Gradients are scaled down to this norm where they are longer; 0 is off.
    mixed_precision
        ``"bf16"`` or ``"fp16"``: matrix products in half precision; states, scans, norms stay in float32. ``"auto"``:
        bf16 where the processor has instructions for it, which is several times slower where it has none.
    average
        Decay per step, in [0, 1), of a moving average of the weights, which is then what is measured and saved, see
        :class:`pnbx_snn.training.average.Average`; 0 is off.
    float_share
        For this first share of the steps, in [0, 1], products take the latent weights as they are, and ternary ones
        afterwards, see :func:`pnbx_snn.quantization.use_weights`; 0 is off. What is measured after an epoch has the
        weights of its last step, and the metrics say which: ``weights`` is ``"float"`` or ``"ternary"``. What is loaded
        from a run is ternary, so 1 is for comparisons only.
    freeze_flips
        Flips per step, in [0, 1): in the second half of the steps, ternary weights that flip to and fro more often are
        frozen, see :class:`pnbx_snn.training.flips.FlipFreezer`; the metrics have their share as ``frozen_weights``. 0
        is off; 0.01 to 0.02 are usual.
    reestimate
        After the last epoch, the statistics of batch norm are measured anew on so many batches of unchanged training
        samples, see :func:`pnbx_snn.training.reestimate.reestimate`; 0 is off. Of an average they always are.
    settle
        After the last epoch, glia goes on for so many batches of unchanged training samples in evaluation mode.
    checkpoint_every
        Epochs between two checkpoints. The last epoch is always saved.
    tracker
        Where the curves go beside ``metrics.jsonl``: ``"tensorboard"``, or another tracker of ``accelerate`` whose
        package is installed (``"wandb"``, ``"mlflow"``, ...) or that was registered with
        ``accelerate.tracking.register_tracker_class``.
    seed, threads
        Of everything random; threads of torch, 0 for its default. Results repeat bit for bit for the same machine and
        number of threads.
    """

    epochs: int = Field(default=60, ge=1, le=1_000_000)
    batch_size: int = Field(default=64, ge=2, le=65_536)
    accumulate: int = Field(default=1, ge=1, le=65_536)
    learning_rate: float = Field(default=5e-3, gt=0, le=10)
    weight_decay: float = Field(default=1e-2, ge=0, le=10)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    rate_target: float = Field(default=0.188, ge=0, le=1)
    rate_weight: float = Field(default=1.0, ge=0)
    max_shift: int = Field(default=1, ge=0, le=7)
    shift_share: float = Field(default=0.5, ge=0, le=1)
    clip_norm: float = Field(default=0.0, ge=0)
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "no"
    average: float = Field(default=0.0, ge=0, lt=1)
    float_share: float = Field(default=0.0, ge=0, le=1)
    freeze_flips: float = Field(default=0.0, ge=0, lt=1)
    reestimate: int = Field(default=0, ge=0, le=100_000)
    settle: int = Field(default=0, ge=0, le=100_000)
    checkpoint_every: int = Field(default=1, ge=1, le=1_000_000)
    tracker: str = Field(default="tensorboard", min_length=1, max_length=64, description="a name of 1 to 64 letters")
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    threads: int = Field(default=0, ge=0, le=1024, description="a whole number in [0, 1024]; 0 is torch's default")
