"""Operators of torch from functions, without torch's compiler.

``torch.library.custom_op`` makes the same, and imports torch's compiler at the first call: a second that only
``torch.compile`` has any use for.
"""

from collections.abc import Callable
from typing import Any

import torch


def operator(name: str, schema: str | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Make a function the operator ``"namespace::name"`` on every device; it changes none of its arguments.

    What it gives under ``torch.compile`` and its gradients are registered by that name, with
    ``torch.library.register_fake`` and ``torch.library.register_autograd``.

    Parameters
    ----------
    name : str
        Namespace and name.
    schema : str, optional
        Arguments and results in torch's notation; by default from the annotations.
    """

    def make(function: Callable[..., Any]) -> Any:
        written = schema or torch.library.infer_schema(function, mutates_args=())
        torch.library.define(name, written, tags=(torch.Tag.pt2_compliant_tag,))
        torch.library.impl(name, "default", function)
        namespace, own = name.split("::")
        return getattr(getattr(torch.ops, namespace), own).default

    return make
