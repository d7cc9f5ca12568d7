"""How kernels become object code: numba reads Python and writes LLVM's code, LLVM optimises it once, as a whole.

numba itself would optimise every function of a kernel by itself, then together with each of its callers in turn, and
load for each compilation what arrays, strings and dictionaries need. Kernels take and return numbers only. So they have
a target of their own, where a function that another one calls stays as it was written until the whole is together,
and the code runs without numba.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numba
from llvmlite import ir
from numba.core import codegen, cpu, registry, typed_passes, untyped_passes
from numba.core.compiler import CompilerBase
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.target_extension import CPU, dispatcher_registry, jit_registry, target_override, target_registry
from numba.core.typing.context import Context

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.native import processor

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ExecutorError(
        "native: numba compiles nothing, since NUMBA_DISABLE_JIT is set; without it this executor runs, and the numpy "
        "executor gives the same numbers"
    )

TARGET = "neuromorphic"
_JITCodeLibrary: Any = codegen.JITCodeLibrary  # numba has no types
_JITCPUCodegen: Any = codegen.JITCPUCodegen
_CPUContext: Any = cpu.CPUContext
_CPUTarget: Any = registry.CPUTarget
_CompilerBase: Any = CompilerBase
_CPUDispatcher: Any = registry.CPUDispatcher
_TypingContext: Any = Context
_CPU: Any = CPU
_locked: Any = global_compiler_lock
_override: Any = target_override


class _Library(_JITCodeLibrary):  # type: ignore[misc]
    """The code of a function and of all that it calls, as written."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return no address: what runs is loaded from object code."""
        return 0

    def object_code(self, symbol: str) -> bytes:
        """Optimise the whole, of which only one function is called from outside, and translate it."""
        self._ensure_finalized()
        module = self._final_module
        for item in (*module.functions, *module.global_variables):
            if not item.is_declaration and item.name != symbol:
                item.linkage = "internal"
        made = self._codegen._module_pass_manager()
        manager, *builder = made if isinstance(made, tuple) else (made,)  # the latter before numba 0.62
        manager.run(module, *builder)
        return bytes(self._codegen._tm.emit_object(module))


class _Codegen(_JITCPUCodegen):  # type: ignore[misc]
    _library_class = _Library

    def _get_host_cpu_name(self) -> str:
        return processor.NAME

    def _get_host_cpu_features(self) -> str:
        return processor.FEATURES

    def set_env(self, env_name: str, env: Any) -> None:
        """Do nothing: kernels use no objects of Python."""


class _Context(_CPUContext):  # type: ignore[misc]
    """What numba knows of integers, loops and tuples, and no more."""

    def init(self) -> None:
        super().init()
        self._internal_codegen = _Codegen("neuromorphic")

    def load_additional_registries(self) -> None:
        """Load what kernels use."""
        from numba.core import optional  # noqa: F401
        from numba.cpython import builtins, numbers, rangeobj, tupleobj  # noqa: F401

    def post_lowering(self, module: Any, library: Any) -> None:
        """Add nothing: kernels allocate nothing that would need numba's runtime."""

    def create_cfunc_wrapper(self, library: Any, fndesc: Any, env: Any, call_helper: Any) -> None:
        """Write a function as C calls it; kernels raise no errors that it would have to report."""
        module = self.create_module("entry")
        kind = self.call_conv.get_function_type(fndesc.restype, fndesc.argtypes)
        called = ir.Function(module, kind, fndesc.llvm_func_name)
        arguments = [self.get_value_type(argument) for argument in fndesc.argtypes]
        entry_type = ir.FunctionType(self.get_value_type(fndesc.restype), arguments)
        entry = ir.Function(module, entry_type, fndesc.qualname)
        builder = ir.IRBuilder(entry.append_basic_block())
        _, result = self.call_conv.call_function(builder, called, fndesc.restype, fndesc.argtypes, entry.args)
        builder.ret(result)
        library.add_ir_module(module)


class _Typing(_TypingContext):  # type: ignore[misc]
    def load_additional_registries(self) -> None:
        """Load nothing more: kernels use no arrays."""


class _Target(_CPUTarget):  # type: ignore[misc]
    @cached_property
    def _toplevel_target_context(self) -> Any:
        return _Context(self.typing_context, self._target_name)

    @cached_property
    def _toplevel_typing_context(self) -> Any:
        return _Typing()


class _Processor(_CPU):  # type: ignore[misc]
    """numba's name for a target."""


_registries: Any = (target_registry, dispatcher_registry, jit_registry)
_registries[0][TARGET] = _Processor


class _Dispatcher(_CPUDispatcher):  # type: ignore[misc]
    targetdescr = _Target(TARGET)


_registries[1][_Processor] = _Dispatcher


_PASSES: Any = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.IRProcessing,
    untyped_passes.GenericRewrites,
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    typed_passes.IRLegalization,
    typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)


class _Compiler(_CompilerBase):  # type: ignore[misc]
    """numba's way from Python to LLVM without what serves closures, exceptions, arrays and messages."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes."""
        manager: Any = PassManager("kernel")  # type: ignore[no-untyped-call,unused-ignore]
        for one in _PASSES:
            manager.add_pass(one, one.__name__)
        manager.finalize()
        return [manager]


def _decorator(**options: Any) -> Callable[..., Any]:
    every = {"nopython": True, "error_model": "numpy", "boundscheck": None, "no_cpython_wrapper": True}

    def decorate(function: Callable[..., Any]) -> Any:
        return _Dispatcher(function, {}, {**every, "no_cfunc_wrapper": True, **options}, _Compiler)

    return decorate


_registries[2][_Processor] = _decorator
kernel: Callable[..., Any] = _decorator()
"""Compile a function that compiled code calls."""
inlined: Callable[..., Any] = _decorator(forceinline=True)
"""The same, always into its caller."""
_entry: Callable[..., Any] = _decorator(no_cfunc_wrapper=False)


def object_code(name: str, function: Callable[..., int], num_arguments: int) -> bytes:
    """Compile a function of integers to one; ``name`` is what it is called in the object code."""
    function.__qualname__ = name
    dispatcher: Any = _entry(function)
    arguments = (numba.int64,) * num_arguments
    with _override(TARGET), _locked:
        dispatcher.compile(arguments)
        return bytes(dispatcher.overloads[arguments].library.object_code(name))
