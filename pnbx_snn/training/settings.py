"""What can be configured: one class a section, each key with its range."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pnbx_snn.data.arrays import Values
from pnbx_snn.data.catalog import DATA_SETS, DataName
from pnbx_snn.data.encoding import Encoder
from pnbx_snn.data.events import SENSORS
from pnbx_snn.errors import ConfigError, PnbxValueError
from pnbx_snn.layers.pathways import FastWeightsRule, HippocampusScope, RNNKind, SSMKind
from pnbx_snn.networks.pnbx import Readout
from pnbx_snn.neurons.cells import Primitive, Reset
from pnbx_snn.neurons.messages import Edges, TorusMessages
from pnbx_snn.quantization import WeightScale
from pnbx_snn.surrogate import Surrogate
from studies.rivals.classifier import SEQUENCES, Kind

NETWORKS = ("model", "pnbx", "cnn", "baseline")
"""The sections of which one says which network."""

Flag = Annotated[bool, Field(description="true or false")]


def _whole(default: int, low: int, high: int, **options: Any) -> Any:
    return Field(default=default, ge=low, le=high, description=f"a whole number in [{low}, {high}]", **options)


def _share(default: float, **options: Any) -> Any:
    return Field(default=default, ge=0, le=1, description="a number in [0, 1]", **options)


class Section(BaseModel):
    """What all sections share."""

    # strict: a TOML 3.0 is no whole number and "3" is no number, whatever pydantic could make of them.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataConfig(Section):
    """What is learned.

    Attributes
    ----------
    name
        ``"digits"``: the 8x8 digits of scikit-learn. ``"mnist"``: MNIST images; ``"mnist_rows"``: their 28 rows, one a
        step. ``"fsdd"``: spoken digits, frames of a mel filter bank. Event data, read with Tonic: ``"shd"``, ``"ssc"``
        (spoken digits and commands, 700 channels), ``"nmnist"``, ``"dvs_gesture"`` (cameras, pixels by polarity).
        ``"arrays"``: your own NumPy arrays, see :func:`pnbx_snn.data.arrays.load_arrays`.
    part
        ``"train"`` keeps the validation samples out and measures on them after each epoch; ``"train_all"`` learns from
        both and measures nothing, for the last training.
    folder
        Where the files lie, see docs/data.md; ``""``: the environment variable ``PNBX_DATA``.
    held_out_speaker
        ``"fsdd"`` only: leave this speaker out of training and test on nobody else; ``""``: the official split.
    num_frames
        Steps of a recording: ``"fsdd"`` (10 ms each) and event data.
    num_bands
        ``"fsdd"`` only.
    step_ms
        Event data only: milliseconds of a step. What comes after ``num_frames * step_ms`` is left out.
    pool
        Event data only: so many neighbouring channels, or pixels each way, are one input.
    path
        ``"arrays"`` only, as all that follow: the ``.npz`` or the folder of ``.npy``; where it is relative, to
        ``folder`` if that is set and else to the current folder.
    values
        ``"real"`` numbers, or ``"spikes"`` (0 and 1), which enter a program as they are.
    window
        A step sees the values of so many steps, its own the last of them: see :func:`pnbx_snn.data.arrays.windows`.
    validation_share, test_share, split_seed
        Of the parts that the arrays do not give.
    features, steps, classes
        Values in a step, steps (1: static samples) and classes; 0 is what the arrays have. A run writes down what it
        found, and from then on they must be so.
    """

    name: DataName = "digits"
    part: Literal["train", "train_all"] = "train_all"
    folder: str = ""
    held_out_speaker: str = ""
    num_frames: int = _whole(64, 8, 1000)
    num_bands: int = _whole(40, 4, 100)
    step_ms: float = Field(default=10.0, gt=0, le=10_000, description="a number in (0, 10000]")
    pool: int = _whole(1, 1, 128)
    path: str = ""
    values: Values = "real"
    window: int = _whole(1, 1, 1000)
    validation_share: float = Field(default=0.1, gt=0, lt=0.5, description="a number in (0, 0.5)")
    test_share: float = Field(default=0.2, gt=0, lt=0.5, description="a number in (0, 0.5)")
    split_seed: int = _whole(0, 0, 2**63 - 1)
    features: int = _whole(0, 0, 65_536)
    steps: int = _whole(0, 0, 100_000)
    classes: int = _whole(0, 0, 65_536)

    @property
    def is_events(self) -> bool:
        """Whether samples are spikes: sequences of 0 and 1."""
        return self.name in SENSORS or (self.name == "arrays" and self.values == "spikes")

    @property
    def is_resolved(self) -> bool:
        """Whether the sizes are known: those of arrays are after :func:`pnbx_snn.training.tasks.resolve`."""
        return self.name != "arrays" or min(self.features, self.steps, self.classes) > 0

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
                f"data.{key} is not known before the arrays are looked at: training.tasks.resolve(config) does that"
            )
        return size


class ModelConfig(Section):
    """A feed-forward network: the arguments of :class:`~pnbx_snn.networks.classifier.SpikingClassifier`."""

    hidden: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65_536)], ...],
        Field(strict=False, min_length=1, max_length=64, description="a list of 1 to 64 whole numbers in [1, 65536]"),
    ] = (256,)
    num_steps: int = _whole(8, 1, 100_000)
    encoder: Encoder = "direct"
    beta: float = _share(0.9)
    threshold: float = Field(default=1.0, gt=0, description="a number above 0")
    reset: Reset = "zero"
    primitive: Primitive = "leaky"
    spike_grad: str = "atan"
    learn_beta: Flag = False
    learn_threshold: Flag = False
    scale: WeightScale = "absmean"

    @field_validator("spike_grad")
    @classmethod
    def _known_surrogate(cls, name: str) -> str:
        return Surrogate(name).name


class PNBXConfig(Section):
    """A PNB-X network: the arguments of :class:`pnbx_snn.networks.pnbx.PNBX`, under the same names.

    The defaults are the sizes of the source document.
    """

    d_hidden: int = _whole(2048, 1, 65_536)
    num_steps: int = _whole(4, 1, 100_000)
    num_blocks: int = _whole(1, 1, 64)
    ssm: SSMKind = "selective"
    d_ssm: int = _whole(256, 1, 65_536)
    rnn: RNNKind = "min_gru"
    d_rnn: int = _whole(128, 1, 65_536)
    fast_weights: FastWeightsRule = "hebbian"
    rank: int = _whole(32, 1, 4096)
    hippocampus: HippocampusScope = "sequence"
    slots: int = _whole(125, 1, 65_536)
    competition: Literal["softmax", "winner"] = "softmax"
    messages: Flag = Field(default=True, validate_default=True)
    edges: Edges = "equal"
    glia: Flag = True
    neurons_per_domain: int = _whole(16, 1, 65_536, validate_default=True)
    rate_target: float = Field(default=0.188, gt=0, lt=1, description="a number in (0, 1)")
    noise_sigma: float = Field(default=0.0, ge=0, le=100, description="a number in [0, 100]")
    noise_tau: float = Field(default=10.0, gt=0, description="a number above 0")
    tau_max: float = Field(default=1000.0, ge=2, description="a number of 2 or more")
    beta_encoder: float = Field(default=0.5, ge=0, lt=1, description="a number in [0, 1)")
    beta: float = Field(default=0.5, gt=0, lt=1, description="a number in (0, 1)")
    threshold: float = Field(default=1.0, gt=0, description="a number above 0")
    reset: Reset = "zero"
    spike_grad: str = "atan"
    skip: Flag = True
    norm: Literal["plain", "affine"] = "plain"
    scale: WeightScale = "absmean"
    readout: Readout = "mean"
    dropout: float = Field(default=0.0, ge=0, lt=1, description="a number in [0, 1)")
    quantize: Flag = False

    @field_validator("spike_grad")
    @classmethod
    def _known_surrogate(cls, name: str) -> str:
        return Surrogate(name).name

    @field_validator("messages")
    @classmethod
    def _torus_fits(cls, messages: bool, info: Any) -> bool:
        if messages and "d_hidden" in info.data:
            try:
                TorusMessages(info.data["d_hidden"])
            except PnbxValueError as error:
                raise ValueError(f"pnbx.d_hidden must fit a torus when messages = true ({error})") from error
        return messages

    @field_validator("neurons_per_domain")
    @classmethod
    def _domains_fit(cls, size: int, info: Any) -> int:
        d_hidden = info.data.get("d_hidden", size)
        if info.data.get("glia") and d_hidden % size:
            raise ValueError(f"must divide pnbx.d_hidden = {d_hidden} when glia = true")
        return size


class CNNConfig(Section):
    """A small convolutional network, for a teacher: the arguments of :class:`pnbx_snn.training.teacher.SmallCNN`."""

    channels: int = _whole(32, 1, 1024)
    dropout: float = Field(default=0.3, ge=0, lt=1, description="a number in [0, 1)")


class BaselineConfig(Section):
    """A rival without spikes, of a wanted size: the arguments of :class:`studies.rivals.Baseline`."""

    kind: Kind = "mlp"
    parameters: int = _whole(0, 0, 10**9)
    num_layers: int = _whole(2, 1, 64)
    num_heads: int = _whole(4, 1, 64)
    dropout: float = Field(default=0.0, ge=0, lt=1, description="a number in [0, 1)")


class AugmentConfig(Section):
    """How training samples are changed, anew in each epoch.

    Attributes
    ----------
    strength, strength_end
        ``strength`` holds for the first half of the epochs, then it falls along a line to ``strength_end``; 0 is off.
        Images: :func:`pnbx_snn.data.augment.affine_elastic`; spoken digits:
        :func:`pnbx_snn.data.augment.augment_features`.
    input_dropout
        Share of the values that are set to 0 (without rescaling), everywhere in a sample alike.
    input_noise
        Standard deviation of the Gaussian noise that is added to every value.
    """

    strength: float = _share(0.0)
    strength_end: float = _share(0.0)
    input_dropout: float = Field(default=0.0, ge=0, lt=1, description="a number in [0, 1)")
    input_noise: float = Field(default=0.0, ge=0, le=100, description="a number in [0, 100]")


class DistillConfig(Section):
    """A teacher: a trained run whose outputs are learned together with the labels.

    Attributes
    ----------
    teacher
        Folder of the run, trained on the same kind of samples; ``""``: none.
    weight
        ``(1 - weight)`` times the loss of the labels plus ``weight`` times the divergence from the teacher.
    temperature
        Both logits are divided by it.
    """

    teacher: str = ""
    weight: float = _share(0.5)
    temperature: float = Field(default=4.0, gt=0, le=100, description="a number in (0, 100]")


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
    settle
        After the last epoch, glia goes on for so many batches of unchanged training samples in evaluation mode.
    checkpoint_every
        Epochs between two checkpoints. The last epoch is always saved.
    tracker
        Where the curves go beside ``metrics.jsonl``: ``"tensorboard"``, or another tracker of ``accelerate`` whose
        package is installed: ``"wandb"``, ``"mlflow"``, ``"comet_ml"``, ``"aim"``, ``"clearml"``, ``"dvclive"``,
        ``"swanlab"``, ``"trackio"``, or one registered with ``accelerate.tracking.register_tracker_class``.
    seed
        Of everything random.
    threads
        Threads of torch, 0 for its default. Results repeat to the bit for the same machine and number of threads.
    """

    epochs: int = _whole(60, 1, 1_000_000)
    batch_size: int = _whole(64, 2, 65_536)
    accumulate: int = _whole(1, 1, 65_536)
    learning_rate: float = Field(default=5e-3, gt=0, le=10, description="a number in (0, 10]")
    weight_decay: float = Field(default=1e-2, ge=0, le=10, description="a number in [0, 10]")
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="a number in [0, 1)")
    rate_target: float = _share(0.188)
    rate_weight: float = Field(default=1.0, ge=0, description="a number of 0 or more")
    max_shift: int = _whole(1, 0, 7)
    shift_share: float = _share(0.5)
    clip_norm: float = Field(default=0.0, ge=0, description="a number of 0 or more")
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "no"
    settle: int = _whole(0, 0, 100_000)
    checkpoint_every: int = _whole(1, 1, 1_000_000)
    tracker: str = Field(default="tensorboard", min_length=1, max_length=64, description="a name of 1 to 64 letters")
    seed: int = _whole(0, 0, 2**63 - 1)
    threads: int = Field(default=0, ge=0, le=1024, description="a whole number in [0, 1024]; 0 is torch's default")


class Config(Section):
    """A whole configuration; :func:`pnbx_snn.training.config.load_config` makes one and says what is wrong with it.

    At most one of ``[model]``, ``[pnbx]``, ``[cnn]`` and ``[baseline]`` says which network; with none, it is the
    default ``[model]``.
    """

    data: DataConfig = DataConfig()
    model: ModelConfig | None = None
    pnbx: PNBXConfig | None = None
    cnn: CNNConfig | None = None
    baseline: BaselineConfig | None = None
    augment: AugmentConfig = AugmentConfig()
    distill: DistillConfig = DistillConfig()
    train: TrainConfig = TrainConfig()

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return ``{section: {key: value}}`` of the sections that are there."""
        return super().model_dump(**{"exclude_none": True, **options})

    @model_validator(mode="before")
    @classmethod
    def _one_network(cls, values: Any) -> Any:
        if isinstance(values, dict):
            named = [name for name in NETWORKS if values.get(name) is not None]
            if len(named) > 1:
                raise ValueError(
                    "only one of [model], [pnbx], [cnn] and [baseline] may be there, "
                    f"got {' and '.join(f'[{name}]' for name in named)}"
                )
            if not named:
                values = {**values, "model": {}}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.data.name == "arrays":
            self._arrays_fit()
        elif self.data.path:
            raise ValueError(f"data.path is for data.name = 'arrays', got {self.data.path!r} and {self.data.name!r}")
        if self.model is not None and self.data.name in ("mnist_rows", "fsdd"):
            raise ValueError(
                f"data.name = {self.data.name!r} is a sequence and needs [pnbx], [cnn] or [baseline], got [model]"
            )
        if self.baseline is not None:
            self._baseline_fits(self.baseline)
        if self.data.is_events:
            if self.pnbx is None and self.data.name != "arrays":
                kind = next(name for name in NETWORKS if getattr(self, name) is not None)
                raise ValueError(
                    f"data.name = {self.data.name!r} is sequences of spikes and needs [pnbx], got [{kind}]"
                )
            for key in ("strength", "strength_end", "input_noise"):
                if getattr(self.augment, key):
                    raise ValueError(
                        f"augment.{key} changes values and data.name = {self.data.name!r} is spikes: must be 0, got "
                        f"{getattr(self.augment, key)} (augment.input_dropout silences inputs)"
                    )
        return self

    def _arrays_fit(self) -> None:
        if not self.data.path:
            raise ValueError("data.name = 'arrays' needs data.path: a .npz, or a folder of .npy")
        if self.cnn is not None:
            raise ValueError(
                "[cnn] needs images of a known size: data.name = 'arrays' needs [pnbx], [model] or [baseline]"
            )
        for key in ("strength", "strength_end"):
            if getattr(self.augment, key):
                raise ValueError(
                    f"augment.{key} distorts images and spoken digits: must be 0 with data.name = 'arrays', got "
                    f"{getattr(self.augment, key)} (augment.input_noise and input_dropout fit any values)"
                )
        if self.data.window > 1 and self.data.steps == 1:
            raise ValueError(f"data.window is for sequences: must be 1 for static samples, got {self.data.window}")
        if self.data.steps > 1 and self.model is not None:
            raise ValueError(
                f"data.path = {self.data.path!r} holds sequences and needs [pnbx] or [baseline], got [model]"
            )

    def _baseline_fits(self, baseline: BaselineConfig) -> None:
        kind, data = baseline.kind, self.data.name
        if kind in SEQUENCES and self.data.is_resolved and self.data.num_steps == 1:
            raise ValueError(
                f"baseline.kind = {kind!r} reads sequences: data.name must be 'mnist_rows' or 'fsdd', or 'arrays' with "
                f"sequences, got {data!r}"
            )
        if kind != "lenet5":
            return
        if data not in ("mnist", "mnist_rows"):
            raise ValueError(
                f"baseline.kind = 'lenet5' reads images of 28 x 28: data.name must be 'mnist' or 'mnist_rows', "
                f"got {data!r}"
            )
        for key in ("parameters", "dropout"):
            if getattr(baseline, key):
                raise ValueError(f"baseline.{key} must be 0 with kind = 'lenet5', got {getattr(baseline, key)}")
