"""The optimiser of a training: what decays, what it may not see, and its state in a checkpoint."""

import copy
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pnbx_snn.errors import CheckpointError, PnbxValueError
from pnbx_snn.files.tensors import Tensors
from pnbx_snn.training.settings import TrainConfig
from pnbx_snn.wording import counted


def adamw(model: nn.Module, settings: TrainConfig) -> torch.optim.AdamW:
    """Return the optimiser of these settings for all parameters of a network."""
    # Only weight matrices decay: for biases, batch norm, beta and threshold zero is no natural value.
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    # Fused: one pass over memory, and its square root is exact, where MKL's in the other one differs by processor.
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate, fused=True)


@torch.no_grad()
def check_finite(tensors: Iterable[tuple[str, Tensor | None]], where: str) -> None:
    """Raise a :class:`PnbxValueError` unless every number is finite; None and whole numbers are passed over.

    A network of NaN goes on without an error: its neurons are silent and its loss is that of a guess. The message names
    the first tensor that is not finite, and ends in ``where``.
    """
    found = {name: x for name, x in tensors if x is not None and x.is_floating_point() and x.numel()}
    # The largest magnitudes of all of them first: a GPU is asked once. NaN is the largest of all.
    largest = torch._foreach_norm(list(found.values()), torch.inf) if found else []
    if not largest or bool(torch.stack([magnitude.float() for magnitude in largest]).isfinite().all()):
        return
    for name, tensor in found.items():
        broken = tensor.numel() - int(tensor.isfinite().sum())
        if broken:
            raise PnbxValueError(
                f"training: the {name} must be finite, got {broken} of {counted(tensor.numel(), 'number')} that are "
                f"not, {where}; a smaller train.learning_rate or a train.clip_norm may help"
            )


def _layout(optimizer: torch.optim.Optimizer) -> list[list[list[int]]]:
    """Return the shapes of the parameters of each group: optimisers of one layout can exchange their states."""
    return [[list(parameter.shape) for parameter in group["params"]] for group in optimizer.param_groups]


def split_optimizer(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """Return the state's tensors and everything else, which must be plain JSON."""
    state = optimizer.state_dict()
    tensors: Tensors = {}
    others: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        others[str(index)] = {key: value for key, value in values.items() if not isinstance(value, Tensor)}
        tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items() if isinstance(value, Tensor)}
    return tensors, {"state": others, "param_groups": state["param_groups"], "layout": _layout(optimizer)}


def load_optimizer(path: Path, optimizer: torch.optim.Optimizer, tensors: Tensors, settings: Any) -> None:
    """Load the state that :func:`split_optimizer` left in a file into an optimiser, after checking that it is whole.

    A :class:`CheckpointError` if there is none, it does not fit the optimiser or is altered.
    """
    if settings is None:
        raise CheckpointError(f"{path}: holds no optimiser state, so a training cannot go on from it")
    try:
        layout = settings["layout"]
        state = {int(index): dict(values) for index, values in settings["state"].items()}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                state[int(index)][key] = tensor
        # JSON has no tuples, and torch expects them in settings such as betas.
        groups = [
            {key: tuple(x) if isinstance(x, list) and key != "params" else x for key, x in group.items()}
            for group in settings["param_groups"]
        ]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: is altered: its optimiser state cannot be read") from error
    if layout != _layout(optimizer):
        raise CheckpointError(
            f"{path}: does not fit the optimiser: parameter groups of shapes {layout} in the file, "
            f"{_layout(optimizer)} in the optimiser"
        )
    _try_optimizer(path, optimizer, state, groups)
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _try_optimizer(
    path: Path, optimizer: torch.optim.Optimizer, state: dict[int, dict[str, Any]], groups: list[dict[str, Any]]
) -> None:
    """Let another optimiser of the same kind take the state and make a step: only that shows whether it is whole."""
    trial = copy.copy(optimizer)
    trial.state = defaultdict(dict)
    trial.param_groups = [
        {**group, "params": [torch.zeros_like(parameter, requires_grad=True) for parameter in group["params"]]}
        for group in optimizer.param_groups
    ]
    copied = {index: {key: copy.deepcopy(value) for key, value in values.items()} for index, values in state.items()}
    try:
        json.dumps(groups, allow_nan=False)  # a rate of 1e999 is infinite
        trial.load_state_dict({"state": copied, "param_groups": copy.deepcopy(groups)})
        if copied:
            for group in trial.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.zeros_like(parameter)
            trial.step()
    except Exception as error:  # whatever an optimiser says of a state that is not one of its own
        raise CheckpointError(
            f"{path}: is altered: {type(optimizer).__name__} cannot go on from its optimiser state "
            f"({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error
