"""What PNB-X is compared with, of PyTorch's parts: Transformers, a GRU, state spaces, a perceptron, LeNet-5."""

from pnbx_snn.baselines.cache import KVCache
from pnbx_snn.baselines.classifier import Baseline
from pnbx_snn.baselines.forms import (
    DOCUMENT_PARAMETERS,
    EQUAL_PARAMETERS,
    FORMS,
    SEQUENCE_MODELS,
    Form,
    document_transformer,
    equal_gru,
    equal_ssm,
    equal_transformer,
    in_form,
)
from pnbx_snn.baselines.recurrent import GRU, DiagonalStateSpaces
from pnbx_snn.baselines.sizes import count, nearest
from pnbx_snn.baselines.static import LeNet5, mlp
from pnbx_snn.baselines.transformer import Transformer

__all__ = [
    "DOCUMENT_PARAMETERS",
    "EQUAL_PARAMETERS",
    "FORMS",
    "GRU",
    "SEQUENCE_MODELS",
    "Baseline",
    "DiagonalStateSpaces",
    "Form",
    "KVCache",
    "LeNet5",
    "Transformer",
    "count",
    "document_transformer",
    "equal_gru",
    "equal_ssm",
    "equal_transformer",
    "in_form",
    "mlp",
    "nearest",
]
