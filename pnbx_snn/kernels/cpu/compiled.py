"""What the compiled loops of this package share: numba, its cache, torch's number of threads."""

import contextlib
import functools
import gc
import inspect
import logging
import os
import sys
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import torch
from numba.core import caching, codegen, ir, typed_passes, untyped_passes
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.ir_utils import build_definitions
from numba.core.registry import CPUDispatcher
from torch import Tensor

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ImportError("numba compiles nothing, since NUMBA_DISABLE_JIT is set")  # torch's loops run then

logger = logging.getLogger(__name__)
SAID = "compiling native code for this processor, once"


class Shared:
    """A kernel whose threads each do their share: ``function(thread, threads, *arguments)``.

    Division follows IEEE, as in torch: by zero it gives infinity or NaN and raises nothing. Nothing is contracted to
    a fused multiply-add. Free variables must be numbers, which are constants of the kernel, and ``tag`` tells apart
    kernels made from the same function with other ones.

    The threads are Python's, without its lock: nothing is compiled for them, where numba's own would have a large
    kernel optimised three times (18 s instead of 5); a fork survives them; and they sleep while they wait, where
    OpenMP's keep a core busy that somebody else may need.
    """

    def __init__(self, function: Callable[..., None], tag: str = "") -> None:
        function = inspect.unwrap(function)  # tests wrap every function of the package in type checks
        self._share = _compile(function, f"{function.__name__}{tag}")

    def __call__(self, threads: int, *arguments: Any) -> None:
        """Run with this number of threads."""
        others = [_pool(threads).submit(self._share, thread, threads, *arguments) for thread in range(1, threads)]
        try:
            self._share(0, threads, *arguments)
        finally:
            for other in others:
                other.result()


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="pnbx_snn")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


def _compile(function: Callable[..., None], name: str) -> Callable[..., None]:
    # A copy of its own: numba names the files of its cache by the qualified name.
    named = types.FunctionType(function.__code__, function.__globals__, name, None, function.__closure__)
    named.__qualname__ = name
    kernel: Any = _Dispatcher(named, {}, {"nopython": True, "nogil": True, **_OPTIONS}, _Compiler)
    with contextlib.suppress(RuntimeError):  # nowhere to keep the cache: a read-only installation without a home
        kernel._cache = _Cache(named)
    return kernel  # type: ignore[no-any-return]


_OPTIONS: dict[str, Any] = {"boundscheck": None, "error_model": "numpy", "no_cfunc_wrapper": True}
_CPUDispatcher: Any = CPUDispatcher


class _Dispatcher(_CPUDispatcher):  # type: ignore[misc]  # numba has no types
    """numba's, without Python's search for garbage while it compiles."""

    def compile(self, sig: Any) -> Any:
        """Compile for a signature, or load it."""
        collects = gc.isenabled()
        gc.disable()
        try:
            return super().compile(sig)
        finally:
            if collects:
                gc.enable()


_JITCodeLibrary: Any = codegen.JITCodeLibrary
_CompilerBase: Any = CompilerBase


class _Whole(_JITCodeLibrary):  # type: ignore[misc]
    """The code of a kernel: optimised as a whole only; numba's quick pass before has to stay, or loops lose vectors."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout


class _Part(_Whole):
    """The code of a function that kernels call, as written."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return no address: nothing but a kernel runs it."""
        return 0

    @property
    def codegen(self) -> Any:
        """Return what is told of the function's objects of Python: it has none."""
        return self

    def set_env(self, name: str, env: Any) -> None:
        """Do nothing."""


_FixupArgs: Any = untyped_passes.FixupArgs
_constant: Any = ir.Const
_definitions: Any = build_definitions
_registered: Any = register_pass(mutates_CFG=False, analysis_only=False)  # type: ignore[no-untyped-call,unused-ignore]


@_registered
class _Constants(_FixupArgs):  # type: ignore[misc]
    """Arguments that are known numbers become constants of a function, whose branches then go before they are typed."""

    _name = "constants"

    def run_pass(self, state: Any) -> bool:
        """Replace them where the function reads its arguments."""
        for statement in state.func_ir.blocks[min(state.func_ir.blocks)].body:
            if isinstance(statement, ir.Assign) and isinstance(statement.value, ir.Arg):
                kind = state.args[statement.value.index]
                if isinstance(kind, numba.types.Literal):
                    statement.value = _constant(kind.literal_value, statement.loc)
        state.func_ir._definitions = _definitions(state.func_ir.blocks)
        return True


_PASSES: Any = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.IRProcessing,
    _Constants,
    untyped_passes.RewriteSemanticConstants,
    untyped_passes.DeadBranchPrune,
    untyped_passes.GenericRewrites,
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    typed_passes.IRLegalization,
    typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)


class _Compiler(_CompilerBase):  # type: ignore[misc]
    """numba's way from Python to LLVM without the passes that kernels have no use for."""

    library: Any = _Whole

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        self.state.library = self.library(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        manager: Any = PassManager("kernel")  # type: ignore[no-untyped-call,unused-ignore]
        for one in _PASSES:
            manager.add_pass(one, one.__name__)
        manager.finalize()
        return [manager]


class _PartCompiler(_Compiler):
    """The same for a function that kernels call."""

    library = _Part


_FunctionCache: Any = caching.FunctionCache


class _Cache(_FunctionCache):  # type: ignore[misc]  # numba has no types
    """numba's cache on disk; one that cannot be read (cut, altered) or written is compiled anew, not an error."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is kept for a signature, ``None`` if nothing is."""
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # what a damaged pickle raises has no common class
            self._forget()
            found = None
        if found is None:
            say_compiling()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, where there is a place for it."""
        try:
            super().save_overload(sig, data)
        except (OSError, EOFError, ValueError):  # a full disk, a folder that is gone, an index cut meanwhile
            self._forget()

    def _forget(self) -> None:
        try:
            self.flush()
        except OSError:
            self.disable()


@functools.cache
def say_compiling() -> None:
    """Say once that it takes a while: to the log, which the commands show, or, where nobody does, on a terminal."""
    shown = logger.isEnabledFor(logging.INFO) and logger.hasHandlers()
    logger.info(SAID)
    if not shown and sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"pnbx_snn: {SAID}\n")


def num_threads() -> int:
    """Return the number of threads a kernel will take: torch's, unless numba has been given fewer."""
    return min(torch.get_num_threads(), int(numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function into the kernels that call it."""
    # Without an entry from Python, which nobody takes.
    options = {"nopython": True, "forceinline": True, "no_cpython_wrapper": True, **_OPTIONS}
    return CPUDispatcher(inspect.unwrap(function), {}, options, _PartCompiler)


def array(tensor: Tensor) -> Any:
    """Return a CPU tensor as a NumPy array on the same memory."""
    return tensor.detach().numpy()
