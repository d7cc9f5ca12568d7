"""What this processor can do at most: bytes that move and vector instructions that issue, each second.

Each is a loop of machine code made here with LLVM, so that nothing is optimised away, and is measured in the run that
uses it: on one thread, or on several at once, each in memory of its own. Memory is read, or copied (bytes read and
written are both counted), with ordinary or with streaming stores, whichever is faster.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import binding

from studies.bench.timing import Limit

SIZES = {"L1": 16 << 10, "L2": 256 << 10, "L3": 4 << 20, "memory": 256 << 20}
"""Bytes that a thread reads, or reads and writes, to measure a level."""
VECTOR = 64
"""Bytes of a load: LLVM cuts it where registers are narrower."""

# Registers 0 and up are added to, the last two are what is added. $$ is a dollar sign to LLVM.
INSTRUCTIONS = {
    "vpaddd": ("vpaddd %{v}{a}, %{v}{i}, %{v}{i}", "avx2"),
    "vpternlogq": ("vpternlogq $$0x96, %{v}{a}, %{v}{b}, %{v}{i}", "avx512f"),
    "vpermi2b": ("vpermi2b %{v}{a}, %{v}{b}, %{v}{i}", "avx512vbmi"),
    "vpdpbusd": ("vpdpbusd %{v}{a}, %{v}{b}, %{v}{i}", "avx512vnni"),
    "vpmaddubsw": ("vpmaddubsw %{v}{a}, %{v}{i}, %{v}{i}", "avx2"),
    "vpmaddwd": ("vpmaddwd %{v}{a}, %{v}{i}, %{v}{i}", "avx2"),
    "vpopcntq": ("vpopcntq %{v}{i}, %{v}{i}", "avx512vpopcntdq"),
    "vdpbf16ps": ("vdpbf16ps %{v}{a}, %{v}{b}, %{v}{i}", "avx512bf16"),
    "vaddps": ("vaddps %{v}{a}, %{v}{i}, %{v}{i}", "avx2"),
    "vfmadd231ps": ("vfmadd231ps %{v}{a}, %{v}{b}, %{v}{i}", "fma"),
}
"""How an instruction is written, and the feature of a processor that has it."""
NEW_LINE = "\\0A"
_IN_A_TURN = 96
_SECONDS = 0.15


@functools.cache
def features() -> frozenset[str]:
    """Return the features of this processor as LLVM names them."""
    return frozenset(name for name, there in binding.get_host_cpu_features().items() if there)


@functools.cache
def vector_bits() -> int:
    """Return the bits of the widest vectors."""
    return 512 if "avx512f" in features() else 256 if "avx2" in features() else 128


@functools.cache
def bandwidth(kind: str, size: int, threads: int) -> float:
    """Return bytes per second that ``threads`` threads move together, each in ``size`` bytes of its own.

    ``kind`` is ``"read"`` or ``"copy"``, which reads one half of the bytes and writes the other.
    """
    half = size // 2 // 1024 * 1024
    buffers = [_aligned(size + 4096) for _ in range(threads)]
    forms = ["read"] if kind == "read" else ["copy", "stream"]
    turns = max(1, round(2e-3 * 40e9 / size))  # about 2 ms at 40 GB/s
    calls = {}
    for form in forms:
        function = _compiled(form)
        moved = size // 1024 * 1024 if form == "read" else 2 * half
        ends = [(b.ctypes.data, b.ctypes.data + half, moved if form == "read" else half, turns) for b in buffers]
        calls[form] = [functools.partial(function, *each) for each in ends]
    moved = size // 1024 * 1024 if kind == "read" else 2 * half
    return max(threads * moved * turns / _together(each) for each in calls.values())


@functools.cache
def rate(instruction: str, threads: int) -> float:
    """Return instructions of the widest vectors a second that these threads issue together; 0 where there is none."""
    if INSTRUCTIONS[instruction][1] not in features():
        return 0.0
    function, turns = _compiled(instruction), 20_000
    calls = [functools.partial(function, 0, 0, 0, turns)] * threads
    return threads * turns * _IN_A_TURN / _together(calls)


def level_of(size: float) -> str:
    """Return the level in which so many bytes of one thread lie, by the sizes of this processor's caches."""
    caches = [size for _, size in sorted(_cache_sizes().items())]
    return next((f"L{i}" for i, most in enumerate(caches, 1) if size <= most), "memory")


def least(
    threads: int = 1,
    *,
    copied: float = 0,
    read: float = 0,
    held: float | None = None,
    issued: Mapping[str, float] | None = None,
) -> Limit | None:
    """Return the least time of work that copies, reads and issues so much, all of it at once.

    Parameters
    ----------
    threads : int
        Threads that share the work.
    copied, read : float
        Bytes that must move: read and written, and read only. Both use the same paths: their times are added.
    held : float, optional
        Bytes among which these lie, in all threads: they say which level is measured. By default those that move.
    issued : mapping
        Instructions of the widest vectors, by name (:data:`INSTRUCTIONS`); those that the processor lacks do not count.

    Returns
    -------
    Limit or None
        ``None`` where neither bytes nor instructions can be measured.
    """
    found: dict[str, float] = {}
    total = copied + read
    level = level_of((total if held is None else held) / threads) if total else ""
    if total:
        parts = ((amount, kind) for amount, kind in ((copied, "copy"), (read, "read")) if amount)
        seconds = sum(amount / bandwidth(kind, SIZES[level], threads) for amount, kind in parts)
        found[f"{amount_of(total, 'B')} at {total / seconds / 1e9:.0f} GB/s, {level}"] = seconds
    known = {name: count for name, count in (issued or {}).items() if count and rate(name, threads)}
    for name, count in known.items():
        found[f"{amount_of(count)} {name}"] = count / rate(name, threads)
    if len(known) > 1:  # all go through the same pipes
        together = sum(known.values())
        found[f"{amount_of(together)} {' and '.join(known)}"] = together / max(rate(name, threads) for name in known)
    if not found:
        return None
    binds = max(found, key=lambda name: found[name])
    instruction = max(known, key=lambda name: known[name] / rate(name, threads)) if known else ""
    return Limit(found[binds], binds, threads, total, level, sum(known.values()), instruction)


def measure(threads: Iterable[int], *, quick: bool) -> dict[str, Any]:
    """Return the speeds of all levels and instructions, for the results."""
    levels = {name: size for name, size in SIZES.items() if not (quick and name == "memory")}
    threads = list(threads)
    return {
        "vector_bits": vector_bits(),
        "bandwidth": {
            f"{level}, {kind}, {n}": bandwidth(kind, size, n)
            for level, size in levels.items()
            for kind in ("read", "copy")
            for n in threads
        },
        "rate": {f"{name}, {n}": rate(name, n) for name in INSTRUCTIONS for n in threads if rate(name, n)},
    }


def amount_of(count: float, unit: str = "") -> str:
    """Return a count with three digits: 1.2 MB, 400 k."""
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= scale:
            return f"{count / scale:.3g} {prefix}{unit}"
    return f"{count:.3g} {unit}".strip()


@functools.cache
def _cache_sizes() -> dict[int, int]:
    """Return the bytes of each level's cache, one core's; usual ones where the system does not say."""
    sizes = {1: 32 << 10, 2: 512 << 10, 3: 8 << 20}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level, kind, text = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:  # a system that hides them
            continue
        if kind != "Instruction" and text.endswith("K"):
            sizes[int(level)] = int(text[:-1]) << 10
    return sizes


def _aligned(size: int) -> Any:
    """Return zeros that start at a page and are in memory."""
    whole = np.zeros(size + 4096, dtype=np.uint8)
    whole[::4096] = 1
    start = -whole.ctypes.data % 4096
    return whole[start : start + size]


def _together(calls: list[Any]) -> float:
    """Return the least seconds in which all calls, each on a thread of its own, were done: a limit is the best."""
    times: list[float] = []
    if len(calls) == 1:
        end = time.perf_counter() + _SECONDS
        while len(times) < 20 or time.perf_counter() < end:
            started = time.thread_time()
            calls[0]()
            times.append(time.thread_time() - started)
        return min(times)
    barrier = threading.Barrier(len(calls))

    def run(call: Any) -> float:
        barrier.wait()
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    with ThreadPoolExecutor(len(calls)) as pool:
        end = time.perf_counter() + 2 * _SECONDS
        while len(times) < 20 or time.perf_counter() < end:
            times.append(max(pool.map(run, calls)))
    return min(times)


@functools.cache
def _compiled(name: str) -> Any:
    """Return machine code ``(from, to, bytes, turns)`` that reads, copies, copies with streaming stores, or issues."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    binding.initialize_native_asmparser()
    target = binding.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=2
    )
    module = binding.parse_assembly(_instructions(name) if name in INSTRUCTIONS else _memory(name))
    module.verify()
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _engines.append(engine)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(engine.get_function_address("run"))


_engines: list[Any] = []  # their code lives as long as they do


def _memory(form: str) -> str:
    """Write the loops over memory: 1,024 bytes a round, volatile so that they stay."""
    body = []
    for i in range(1024 // VECTOR):
        body.append(f"%p{i} = getelementptr i8, ptr %from, i64 %o{i}")
        body.insert(0, f"%o{i} = add i64 %at, {i * VECTOR}")
        body.append(f"%x{i} = load volatile <16 x i32>, ptr %p{i}, align {VECTOR}")
        if form != "read":
            hint = ", !nontemporal !0" if form == "stream" else ""
            body.append(f"%q{i} = getelementptr i8, ptr %to, i64 %o{i}")
            body.append(f"store <16 x i32> %x{i}, ptr %q{i}, align {VECTOR}{hint}")
    return _LOOPS.format(body="\n".join(body), step=1024, bytes="%bytes") + "\n!0 = !{i32 1}\n"


def _instructions(name: str) -> str:
    """Write a loop of one instruction, on as many registers as hide its latency."""
    bits = vector_bits()
    kind, last = {512: "zmm", 256: "ymm", 128: "xmm"}[bits], 31 if "avx512vl" in features() else 15
    registers, text = last - 1, INSTRUCTIONS[name][0]
    lines = [text.format(v=kind, i=i % registers, a=last - 1, b=last) for i in range(_IN_A_TURN)]
    clear = [f"vpxor %xmm{i}, %xmm{i}, %xmm{i}" for i in range(16)]
    if last > 15:
        clear += [f"vpxord %zmm{i}, %zmm{i}, %zmm{i}" for i in range(16, 32)]
    start, body = (f'call void asm sideeffect "{NEW_LINE.join(text)}", "~{{memory}}"()' for text in (clear, lines))
    return _LOOPS.format(body=body, step=1, bytes="1").replace("entry:", f"entry:\n{start}")


_LOOPS = """
define void @run(i64 %from_, i64 %to_, i64 %bytes, i64 %turns) {{
entry:
  %from = inttoptr i64 %from_ to ptr
  %to = inttoptr i64 %to_ to ptr
  br label %turn
turn:
  %t = phi i64 [0, %entry], [%t1, %turned]
  br label %loop
loop:
  %at = phi i64 [0, %turn], [%next, %loop]
  {body}
  %next = add i64 %at, {step}
  %more = icmp ult i64 %next, {bytes}
  br i1 %more, label %loop, label %turned
turned:
  %t1 = add i64 %t, 1
  %again = icmp ult i64 %t1, %turns
  br i1 %again, label %turn, label %done
done:
  ret void
}}
"""
