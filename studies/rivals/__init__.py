"""What PNB-X is compared with, of PyTorch's parts: Transformers, a GRU, state spaces, a perceptron, LeNet-5."""

from studies.rivals.cache import KVCache
from studies.rivals.classifier import Baseline
from studies.rivals.forms import (
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
from studies.rivals.recurrent import GRU, DiagonalStateSpaces
from studies.rivals.sizes import count, nearest
from studies.rivals.static import LeNet5, mlp
from studies.rivals.transformer import Transformer

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
