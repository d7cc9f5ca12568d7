"""A program as C99: ``network.c`` and ``network.h``, with static memory, and without floats and libraries."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from neuromorphic.bounds import prove
from neuromorphic.executors.c.arrays import Array, Arrays, Events
from neuromorphic.executors.c.graphs import Part, parts_of, symbols_in_order
from neuromorphic.executors.c.kernels import Kernels, base, function, listing, partial, room_of, with_list
from neuromorphic.executors.c.products import with_readers
from neuromorphic.executors.c.text import indented, loop, storage
from neuromorphic.integers.symbols import Symbol
from neuromorphic.ops import Delay, Operation, Readout
from neuromorphic.program import Program


@dataclass(frozen=True)
class Network:
    """A program in C.

    Attributes
    ----------
    source, header : str
        ``network.c`` and ``network.h``.
    input_type : str
        Type of the elements of an input.
    output : str
        Operation whose value a step returns.
    constant_bytes, state_bytes : int
        What constants take in flash, and arrays in RAM; the size of the code is the compiler's.
    """

    source: str
    header: str
    input_type: str
    output: str
    constant_bytes: int
    state_bytes: int


def output_of(program: Program) -> Operation:
    """Return the operation whose value a step returns: the last ``Readout``, or else the last operation."""
    readouts = program.of_type(Readout)
    found: Operation = readouts[-1] if readouts else program.ops[-1]
    return found


class _Writer:
    """The file while it is written."""

    def __init__(self, program: Program, record: Iterable[str]) -> None:
        self.program, self.output = program, output_of(program)
        self.record = program.variables_to_record(record, "c")
        self.arrays = Arrays()
        self.parts = parts_of(program, [self.output.name], self.record)
        self.values: dict[str, Array] = {}
        self.states: dict[str, dict[str, Array]] = {}
        self.variables: dict[str, Array] = {}
        self.listed = self._listed()
        entry = program.input
        self.input_type = storage((entry.low, entry.high))
        if self.input_type == "uint8_t" and entry.high <= 127:
            self.input_type = "int8_t"
        self.values[entry.name] = self.arrays.variable(f"v_{entry.name}", self.input_type, entry.size)
        for part in self.parts:
            self._declare(part)
        self.events = {name: self._events(name) for name in self.values if name in self.listed}
        self.functions: list[str] = []
        self.calls: list[tuple[str, bool]] = []
        for part in self.parts:
            self._write(part)

    def _listed(self) -> set[str]:
        """Return the operations of whose events somebody adds up columns of weights."""
        found = set()
        for part in self.parts:
            for s in symbols_in_order(filter(None, [part.value, *part.after.values()])):
                x = base(s.args[1]) if s.kind == "product" else s
                if s.kind == "product" and x.kind == "input":
                    found.add(part.op.sources[x.facts["number"]])
        return {name for name in found if self.program[name].kind == "events"}

    def _events(self, name: str) -> Events:
        size = self.program[name].size
        places = self.arrays.variable(f"e_{name}", storage((0, size - 1)), size)
        return Events(places, self.arrays.variable(f"n_{name}", "int32_t", 1))

    def _declare(self, part: Part) -> None:
        """Decide where states and values lie before anything reads them."""
        op = part.op
        held = op.states()
        if op.name not in self.states:
            self.states[op.name] = {}
            for name, (low, high) in part.states.items():
                new = part.after.get(name)
                if (
                    new is not None
                    and new.facts.get("name") == name
                    and new.kind == "state"
                    and not isinstance(op, Delay)
                ):
                    continue  # no step changes it
                first = np.asarray(held[name].first)
                spans = [(int(low.min()), int(high.max())), (int(first.min()), int(first.max()))]
                if new is not None:
                    spans.append(partial(base(new)))
                size = max(int(np.prod(held[name].shape)), room_of(base(new)) if new is not None else 0)
                self.states[op.name][name] = self.arrays.variable(f"s_{op.name}_{name}", storage(*spans), size)
        if part.value is not None:
            self.values[op.name] = self._place_of(part, part.value, f"v_{op.name}")
        for name, symbol in part.after.items():
            key = f"{op.name}.{name}"
            if key in self.record:
                self.variables[key] = self.states[op.name].get(name) or self._place_of(
                    part, symbol, f"r_{op.name}_{name}"
                )

    def _place_of(self, part: Part, symbol: Symbol, name: str) -> Array:
        """Return the array of a symbol: that of a state or a value which it is, or a new one."""
        states, b = self.states[part.op.name], base(symbol)
        for state, new in part.after.items():
            if state in states and base(new) is b and new.facts.get("name") != state:
                return states[state]
        if name[0] == "r" and part.value is not None and base(part.value) is b:
            return self.values[part.op.name]
        return self.arrays.variable(name, storage(symbol.span, partial(b)), room_of(b))

    def _write(self, part: Part) -> None:
        op, states = part.op, self.states[part.op.name]
        targets: dict[str, Array] = {}
        known = {array.name for array in states.values()}
        if part.value is not None and self.values[op.name].name not in known:
            targets[""] = self.values[op.name]
        for name in part.after:
            array = self.variables.get(f"{op.name}.{name}")
            if array is not None and array.name not in known and array is not targets.get(""):
                targets[name] = array
        inputs = (
            [self.values[source] for source in op.sources] if part.value is None or not isinstance(op, Delay) else []
        )
        events = [self.events.get(source) for source in op.sources]
        listed = None if part.value is None else self.events.get(op.name)
        kernels = Kernels(self.arrays, part, inputs, states, targets, events, listed)
        name = self.arrays.name(f"{'store' if part.value is None else 'step'}_{op.name}")
        lines = kernels.statements()
        if lines:
            first = (type(op).__doc__ or "").splitlines()[0].split(": ")[0].split(", ")[0].replace("`", "")
            self.functions.append(function(name, f"{_plain(op.name)}, {type(op).__name__}: {_plain(first)}", lines))
            self.calls.append((name, part.steady))

    def source(self) -> str:
        """Return ``network.c``."""
        entry, given = self.program.input, self.values[self.program.input.name].name
        steady = [f"{name}();" for name, is_steady in self.calls if is_steady]
        others = [f"{name}();" for name, is_steady in self.calls if not is_steady]
        body = loop((("i", entry.size),), [f"{given}[i] = in[i];"])
        listed: list[str] = []
        if entry.name in self.events:
            events = self.events[entry.name]
            listed = loop((("i", entry.size),), listing(events, f"{given}[i]", (("i", entry.size),)))
            listed = with_list(events, listed)
        if not steady:
            body += listed
        resets: list[str] = []
        if steady:
            fresh = self.arrays.variable("stale", "uint8_t", 1).name
            changed = [f"if ({given}[i] != in[i]) {{", f"    {given}[i] = in[i];", "    changed = 1;", "}"]
            body = [f"int32_t changed = {fresh}[0] == 0;", "", *loop((("i", entry.size),), changed)]
            body += ["if (changed) {", *indented([*listed, *steady]), f"    {fresh}[0] = 1;", "}"]
            resets = [f"{fresh}[0] = 0;"]
        for op in self.program.ops:
            for name, array in self.states.get(op.name, {}).items():
                first = np.broadcast_to(np.asarray(op.states()[name].first), op.states()[name].shape)
                value = f"{self.arrays.constant(first)}[i]" if first.any() else "0"
                resets += loop((("i", first.size),), [f"{array.name}[i] = {value};"])
        out = self.values[self.output.name]
        body += [*others, *loop((("i", self.output.size),), [f"out[i] = {out.name}[i];"])]
        recorded: list[str] = []
        for key, (_, variable) in self.record.items():
            recorded += loop((("i", variable.size),), [f"*to++ = {self.variables[key].name}[i];"])
        texts = [
            "/* Written from a program by `neuromorphic export --to c`. */",
            '#include "network.h"',
            "",
            *self.arrays.text(),
            "",
            *with_readers(self.arrays.functions()),
            *self.functions,
            "\n".join(["void network_reset(void)", "{", *indented(resets), "}", ""]),
            "\n".join(["void network_step(const network_input *in, int32_t *out)", "{", *indented(body), "}", ""]),
        ]
        if self.record:
            texts.append("\n".join(["void network_record(int32_t *to)", "{", *indented(recorded), "}", ""]))
        return "\n".join(texts)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_ ,.()-]", "_", text)


def to_c(program: Program, *, record: Iterable[str] = ()) -> Network:
    """Write a program in C99.

    Parameters
    ----------
    program : Program
        What is written, for ``program.num_steps`` steps between two resets.
    record : iterable of str
        Variables ``"op.variable"`` that ``network_record`` copies, for tests.

    Raises
    ------
    BoundError
        When an accumulator could overflow.
    """
    prove(program)
    writer = _Writer(program, record)
    source = writer.source()
    flash, ram = (sum(array.bytes for array in held) for held in (writer.arrays.flash, writer.arrays.ram))
    return Network(source, _header(program, writer, flash, ram), writer.input_type, writer.output.name, flash, ram)


def _header(program: Program, writer: _Writer, flash: int, ram: int) -> str:
    entry, output = program.input, writer.output
    what = "running sums" if isinstance(output, Readout) else "values"
    lines = [
        "/* A network of integers, written by `neuromorphic export --to c`. C99, static memory, no library.",
        " *",
        f" * Flash: {flash:,} bytes of constants, and the code. RAM: {ram:,} bytes of static memory, and the stack.",
        " *",
        " * Call network_reset before the first step of each sample, then network_step for each step:",
        f" * in:  NETWORK_INPUTS integers in {entry.low}..{entry.high}; one unit stands for {entry.scale:.9g}. Real x become",
        " *      the nearest integer to x / unit, limited to this range; of two, the even one. They must lie in it.",
        f" * out: NETWORK_OUTPUTS integers, the {what} of {_plain(output.name)} ({type(output).__name__}) after the step.",
        f" * The integers are proven to fit for {program.num_steps} steps between two resets, not for more. */",
        "#ifndef NETWORK_H",
        "#define NETWORK_H",
        "",
        "#include <stdint.h>",
        "",
        f"#define NETWORK_INPUTS {entry.size}",
        f"#define NETWORK_OUTPUTS {output.size}",
        f"#define NETWORK_STEPS {program.num_steps}",
        "",
        f"typedef {writer.input_type} network_input;",
        "",
        "void network_reset(void);",
        "void network_step(const network_input *in, int32_t *out);",
    ]
    if writer.record:
        count = sum(variable.size for _, variable in writer.record.values())
        lines += ["", f"#define NETWORK_RECORDED {count}", "", "/* Copies these after a step, one after the other:"]
        lines += [f" * {_plain(name)}: {variable.size}" for name, (_, variable) in writer.record.items()]
        lines += [" */", "void network_record(int32_t *to);"]
    return "\n".join([*lines, "", "#endif", ""])
