"""What enters a sequence model: tokens, or a vector of numbers a step."""

from torch import Tensor, nn

from pnbx_snn.checks import check_sizes
from pnbx_snn.errors import PnbxValueError, ShapeError

InputLayer = nn.Embedding | nn.Linear


def input_layer(where: str, num_tokens: int | None, in_features: int | None, d_model: int) -> InputLayer:
    """Return an embedding of ``num_tokens``, or a product with ``in_features`` numbers a step.

    Raises
    ------
    PnbxValueError
        Neither or both of the sizes, or one below 1.

    Examples
    --------
    >>> input_layer("GRU", None, 3, 4)
    Linear(in_features=3, out_features=4, bias=True)
    """
    if (num_tokens is None) == (in_features is None):
        raise PnbxValueError(
            f"{where}: one of num_tokens and in_features must be given, got {num_tokens} and {in_features}"
        )
    if num_tokens is not None:
        check_sizes(where, num_tokens=num_tokens)
        return nn.Embedding(num_tokens, d_model)
    assert in_features is not None
    check_sizes(where, in_features=in_features)
    return nn.Linear(in_features, d_model)


def check_inputs(where: str, layer: InputLayer, x: Tensor) -> None:
    """Raise unless ``x`` is what the layer takes: tokens ``[T, B]`` or steps ``[T, B, N]``, not empty.

    Raises
    ------
    ShapeError
        Another shape.
    """
    if isinstance(layer, nn.Linear):
        if x.ndim != 3 or x.shape[2] != layer.in_features or x.numel() == 0:
            raise ShapeError(
                f"{where}: steps must be [T, B, N] with N = {layer.in_features} and not empty, "
                f"got shape {list(x.shape)}"
            )
    elif x.ndim != 2 or x.numel() == 0:
        raise ShapeError(f"{where}: tokens must be [T, B] and not empty, got shape {list(x.shape)}")
