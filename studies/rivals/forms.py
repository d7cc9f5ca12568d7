"""The sizes that are compared, and their weights as fp32, bf16, fp16 or int8."""

import warnings
from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch import nn

from pnbx_snn.errors import PnbxValueError
from studies.rivals.recurrent import GRU, DiagonalStateSpaces
from studies.rivals.transformer import Transformer

Form = Literal["fp32", "bf16", "fp16", "int8"]
FORMS: tuple[Form, ...] = ("fp32", "bf16", "fp16", "int8")
Module = TypeVar("Module", bound=nn.Module)

DOCUMENT_PARAMETERS = 19_293_184
EQUAL_PARAMETERS = 5_157_888


def document_transformer() -> Transformer:
    """Return the document's Transformer: d 512, 8 heads, 6 layers, 784 positions, 10 tied tokens: 19,293,184.

    The document shares a table of 10 rows between pixels and classes, which a model of pixels cannot use; it stands
    here so that the count is the document's. See :func:`equal_transformer` for one that could be trained.
    """
    return Transformer(num_tokens=10, d_model=512, num_heads=8, num_layers=6, d_ff=2048, num_positions=784)


def equal_transformer() -> Transformer:
    """Return a Transformer with PNB-X's number of parameters, 5,159,424 (+0.03 %): 256 grey levels, 10 classes."""
    return Transformer(
        num_tokens=256, num_classes=10, d_model=256, num_heads=4, num_layers=6, d_ff=1078, num_positions=784
    )


def equal_gru() -> GRU:
    """Return a GRU with PNB-X's number of parameters, 5,160,005 (+0.04 %)."""
    return GRU(num_tokens=256, num_classes=10, d_model=256, d_hidden=1179)


def equal_ssm() -> DiagonalStateSpaces:
    """Return a stack of diagonal state spaces with PNB-X's number of parameters, 5,155,816 (-0.04 %)."""
    return DiagonalStateSpaces(num_tokens=256, num_classes=10, d_model=384, d_state=192, num_layers=6, d_ff=805)


SEQUENCE_MODELS: dict[str, Callable[[], nn.Module]] = {
    "Transformer, document": document_transformer,
    "Transformer, equal": equal_transformer,
    "GRU": equal_gru,
    "SSM": equal_ssm,
}


def in_form(model: Module, form: Form) -> Module:
    """Return the model for inference with its weights in this form.

    Parameters
    ----------
    model
        In fp32; ``"bf16"`` and ``"fp16"`` change it in place, ``"int8"`` makes a new one.
    form
        ``"int8"`` is PyTorch's own dynamic quantisation (``torch.ao.quantization.quantize_dynamic``): the weights of
        ``nn.Linear`` and ``nn.GRU`` are int8, one scale a row; activations are quantised at each call, sums are int32.
        Embeddings and norms stay fp32.

    Raises
    ------
    PnbxValueError
        Another form.

    Examples
    --------
    >>> in_form(nn.Linear(2, 2), "bf16").weight.dtype
    torch.bfloat16
    """
    model.eval()
    if form == "fp32":
        return model
    if form in ("bf16", "fp16"):
        return model.to(torch.bfloat16 if form == "bf16" else torch.float16)
    if form != "int8":
        raise PnbxValueError(f"in_form: form must be one of {', '.join(FORMS)}, got {form!r}")
    with warnings.catch_warnings():
        # torch.ao's deprecation: torchao, its successor, is another package; torch has no other int8 product for a CPU.
        warnings.simplefilter("ignore")
        per_row = torch.ao.quantization.per_channel_dynamic_qconfig
        quantised: Module = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            model, {nn.Linear: per_row, nn.GRU: torch.ao.quantization.default_dynamic_qconfig}, dtype=torch.qint8
        )
    return quantised
