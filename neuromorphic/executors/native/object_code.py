"""Object code: loaded from the cache on disk, or compiled and stored there; numba is imported only to compile.

A file is the code of one entry of :mod:`neuromorphic.executors.native.entries` for one processor, after a hash of it
and of all sources: one that is cut, altered or older than the sources is compiled anew.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import Any

from neuromorphic.errors import ExecutorError, StorageError
from neuromorphic.executors.native import processor
from neuromorphic.executors.native.processor import llvm
from neuromorphic.files.atomic_write import write_atomically

try:
    _NUMBA = version("numba")
except PackageNotFoundError as problem:
    raise ModuleNotFoundError("numba is not installed", name="numba") from problem

logger = logging.getLogger(__name__)
SAID = "compiling native code for this processor, once"
LARGEST = 1 << 24  # bytes of a file; the largest there is has some 40,000
_HASH_BYTES = 32
_lock = Lock()
_loaded: dict[str, int] = {}


def address_of(name: str) -> int:
    """Return where the code of an entry stands."""
    return addresses_of([name])[name]


def addresses_of(names: Iterable[str]) -> dict[str, int]:
    """Return where the code of entries stands: loaded, or compiled first, which takes a second or some."""
    wanted = list(dict.fromkeys(names))
    with _lock:
        found = {name: _stored(name) for name in wanted if name not in _loaded}
        codes = {name: code for name, code in found.items() if code is not None}
        codes |= _compile([name for name in found if name not in codes])
        if codes:
            _load(codes)
        return {name: _loaded[name] for name in wanted}


def _compile(names: list[str]) -> dict[str, bytes]:
    """Compile entries, and store them."""
    if not names:
        return {}
    _say()
    try:
        from neuromorphic.executors.native.compiled import object_code
        from neuromorphic.executors.native.entries import ENTRIES
    except ModuleNotFoundError as error:
        raise ExecutorError(f"executor 'native' needs {error.name}: pip install {error.name}") from error

    codes, collects = {}, gc.isenabled()
    gc.disable()  # numba makes millions of small objects: a sixth of the time went into looking through them
    try:
        for name in names:
            codes[name] = object_code(name, *ENTRIES[name])
            _store(name, codes[name])
    finally:
        if collects:
            gc.enable()
    return codes


def function_at(address: int, num_arguments: int) -> Callable[..., int]:
    """Return compiled code as a function of integers; it runs without Python's lock."""
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * num_arguments)(address)


def _say() -> None:
    """Say that it takes a while: to the log, which the commands show, or, where nobody does, on a terminal."""
    shown = logger.isEnabledFor(logging.INFO) and logger.hasHandlers()
    logger.info(SAID)
    if not shown and sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"neuromorphic: {SAID}\n")


@cache
def _engine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def _load(codes: dict[str, bytes]) -> None:
    """Load object code: what is loaded together lies side by side in memory, and in the processor's cache."""
    engine = _engine()
    for code in codes.values():
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    for name in codes:
        _loaded[name] = int(engine.get_function_address(name))


@cache
def _stamp() -> bytes:
    """Return a hash of all sources that code may come from."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[2]
    for folder in ("executors/native", "integers", "ops"):
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.digest()


@cache
def _machine() -> str:
    """Return a name of the processor and of what compiles for it."""
    versions = (_NUMBA, llvm.llvm_version_info, sys.byteorder)
    return hashlib.sha256(repr((processor.NAME, processor.FEATURES, versions)).encode()).hexdigest()[:12]


def _folders() -> Iterator[Path]:
    """Return where the cache may lie: where numba's does."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        yield Path(chosen) / "neuromorphic"
        return
    yield Path(__file__).parent / "__pycache__"
    with contextlib.suppress(RuntimeError):  # no home
        own = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
        yield (Path(own) if own else Path.home() / ".cache") / "neuromorphic"


def _file_name(name: str) -> str:
    return f"native-{name}-{_machine()}.o"


def _hashed(name: str, code: bytes) -> bytes:
    return hashlib.sha256(_stamp() + name.encode() + code).digest()


def _stored(name: str) -> bytes | None:
    """Return the code that is stored, if it is whole, of these sources, and of nobody else."""
    for folder in _folders():
        try:
            with (folder / _file_name(name)).open("rb") as file:
                if not _trusted(os.fstat(file.fileno())):
                    continue
                content = file.read(LARGEST)
        except OSError:
            continue
        if content[:_HASH_BYTES] == _hashed(name, content[_HASH_BYTES:]):
            return content[_HASH_BYTES:]
    return None


def _trusted(found: os.stat_result) -> bool:
    """Whether nobody but this user, root and who installed the package can have written a file."""
    if not stat.S_ISREG(found.st_mode):
        return False
    if not hasattr(os, "getuid"):  # Windows: the folder's rights are the user's
        return True
    return found.st_uid in (0, os.getuid(), Path(__file__).stat().st_uid) and not found.st_mode & stat.S_IWOTH


def _store(name: str, code: bytes) -> None:
    """Write a file, whole or not at all; where there is no place for it, every process compiles for itself."""
    for folder in _folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(folder / _file_name(name), _hashed(name, code) + code)
        except (OSError, StorageError):
            continue
        return
