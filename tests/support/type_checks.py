"""Checks the annotations of a package while tests run, the axes of its tensors included.

``jaxtyping`` decorates every function as its module is imported and checks every call. A training calls the same
function thousands of times with tensors of the same shapes, which says nothing new and took half of its time. Here a
function is decorated when it is called first, and a call is checked unless, in the same test, one with the same shapes
and types was right already.
"""

import functools
from types import FunctionType

import jaxtyping
from torch import Tensor, nn

_whole = jaxtyping.jaxtyped
_right: set[int] = set()
"""Of each function that was called in the present test: a hash of its code and of the kinds of its arguments."""


def check(package):
    """Check what is imported of a package from now on."""
    jaxtyping.jaxtyped = _jaxtyped  # the name that the import hook writes above every function and class
    jaxtyping.install_import_hook(package, "beartype.beartype")


def begin_test():
    """Check all calls anew: what happened in an earlier test decides nothing."""
    _right.clear()


def _jaxtyped(fn=None, *, typechecker):
    """Return a function with its checks, or a class as it is."""
    if fn is None:
        return functools.partial(_jaxtyped, typechecker=typechecker)
    if not isinstance(fn, FunctionType):
        return _whole(fn, typechecker=typechecker)
    code, checked = id(fn.__code__), None

    @functools.wraps(fn)
    def call(*args, **kwargs):
        nonlocal checked
        if jaxtyping.config.jaxtyping_disable:
            return fn(*args, **kwargs)
        try:
            kind = hash((code, *map(_kind, args), *kwargs, *map(_kind, kwargs.values())))
        except TypeError:  # sizes that torch traces as symbols have no hash
            kind = None
        if kind in _right:
            return fn(*args, **kwargs)
        checked = checked or _whole(fn, typechecker=typechecker)
        result = checked(*args, **kwargs)
        if kind is not None:
            _right.add(kind)
        return result

    return call


def _kind(value):
    """Return what a check depends on: modules have sizes of their own, and texts are compared with literals."""
    kind = type(value)  # isinstance would ask a membrane that is in a state of several kinds for its __class__
    if issubclass(kind, Tensor):
        return value.dtype, value.shape
    if issubclass(kind, nn.Module):
        return id(value)
    if issubclass(kind, (tuple, list)):
        return kind, *map(_kind, value)
    return value if kind is str else kind
