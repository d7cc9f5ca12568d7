"""A program as C99: ``network.c`` and ``network.h``, with static memory, and without floats and libraries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from neuromorphic.bounds import prove
from neuromorphic.executors.c.arrays import Array, Arrays, Events
from neuromorphic.executors.c.graphs import VALUE, Part, parts_of, symbols_in_order
from neuromorphic.executors.c.header import header, plain
from neuromorphic.executors.c.kernels import Kernels, Memory, base, listing, room_of, span_of, with_list
from neuromorphic.executors.c.products import with_readers
from neuromorphic.executors.c.text import function, indented, loop, storage
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
        Type of the elements of an input, ``network_input`` in the header.
    output : str
        Operation whose value a step returns: the last ``Readout``, or else the last operation.
    constant_bytes, state_bytes : int
        What constants take in flash, and arrays in RAM; the size of the code is the compiler's.
    """

    source: str
    header: str
    input_type: str
    output: str
    constant_bytes: int
    state_bytes: int


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
    CompileError
        When an operation uses a primitive that has no rule here.
    """
    prove(program)
    writer = _Writer(program, record)
    source = writer.source()
    flash, ram = (sum(array.bytes for array in held) for held in (writer.arrays.flash, writer.arrays.ram))
    told = header(program, writer.output, writer.given.type, writer.record, flash=flash, ram=ram)
    return Network(source, told, writer.given.type, writer.output.name, flash, ram)


class _Writer:
    """The file while it is written."""

    def __init__(self, program: Program, record: Iterable[str]) -> None:
        readouts = program.of_type(Readout)
        self.program, self.arrays = program, Arrays()
        self.output: Operation = readouts[-1] if readouts else program.ops[-1]
        self.record = program.variables_to_record(record, "c")
        self.parts = parts_of(program, [self.output.name], self.record)
        entry = program.input
        kind = storage((min(entry.low, -1), entry.high))  # int8_t rather than uint8_t where both hold it
        kind = kind if kind == "int8_t" else storage((entry.low, entry.high))
        self.given = self.arrays.variable(f"{entry.name}_value", kind, entry.size)
        self.values = {entry.name: self.given}
        self.states: dict[str, dict[str, Array]] = {}
        self.variables: dict[str, Array] = {}
        homes = [self._homes(part) for part in self.parts]
        self.events = {name: self._events(name) for name in self.values if name in self._listed()}
        self.functions: list[str] = []
        self.calls: dict[bool, list[str]] = {True: [], False: []}
        for part, home in zip(self.parts, homes, strict=True):
            self._write(part, home)

    def _homes(self, part: Part) -> dict[str, Array]:
        """Decide where the outcomes of a part lie; those that are one symbol share an array if they can."""
        op = part.op
        homes: dict[str, Array] = {}
        shared: dict[int, Array] = {}
        states = self.states.setdefault(op.name, {})
        held = op.states()
        for name, ends in part.states.items():
            new = part.outcomes.get(name)
            if name not in states:
                first = np.asarray(held[name].first)
                spans = [(int(ends[0].min()), int(ends[1].max())), (int(first.min()), int(first.max()))]
                room = int(np.prod(held[name].shape))
                if new is not None:
                    spans, room = [*spans, span_of(base(new))], max(room, room_of(base(new)))
                states[name] = self.arrays.variable(f"{op.name}_{name}", storage(*spans), room)
            if new is not None:
                homes[name] = states[name]
                shared.setdefault(id(base(new)), states[name])
        for name, symbol in part.outcomes.items():
            if name not in states:
                b = base(symbol)
                if id(b) not in shared:
                    wanted = f"{op.name}_{name or 'value'}"
                    shared[id(b)] = self.arrays.variable(wanted, storage(symbol.span, span_of(b)), room_of(b))
                homes[name] = shared[id(b)]
        if VALUE in homes:
            self.values[op.name] = homes[VALUE]
        self.variables |= {f"{op.name}.{name}": array for name, array in homes.items()}
        return homes

    def _listed(self) -> set[str]:
        """Return the operations of whose events somebody adds up columns of weights."""
        found = set()
        for part in self.parts:
            products = (s for s in symbols_in_order(part.outcomes.values()) if s.kind == "product")
            sources = (base(s.args[1]) for s in products)
            found |= {part.op.sources[x.facts["number"]] for x in sources if x.kind == "input"}
        return {name for name in found if self.program[name].kind == "events"}

    def _events(self, name: str) -> Events:
        size = self.program[name].size
        places = self.arrays.variable(f"{name}_places", storage((0, size - 1)), size)
        return Events(places, self.arrays.variable(f"{name}_count", "int32_t", 1))

    def _write(self, part: Part, homes: dict[str, Array]) -> None:
        op = part.op
        is_read = isinstance(op, Delay) and VALUE in homes  # before its source has run
        sources = () if is_read else op.sources
        memory = Memory(
            inputs=[self.values[source] for source in sources],
            events=[self.events.get(source) for source in sources],
            states=self.states[op.name],
            homes=homes,
            listed=self.events.get(op.name) if VALUE in homes else None,
        )
        lines = Kernels(self.arrays, part, memory).statements()
        name = self.arrays.name(f"{'step' if VALUE in homes else 'store'}_{op.name}")
        summary = (type(op).__doc__ or "").splitlines()[0].split(": ")[0].replace("`", "").rstrip(".")
        self.functions.append(function(name, f"{op.name}, {type(op).__name__}: {plain(summary)}", lines))
        self.calls[part.steady].append(f"{name}();")

    def source(self) -> str:
        """Return ``network.c``."""
        step, resets = self._step(), self._reset()
        recorded: list[str] = []
        for key, (_, variable) in self.record.items():
            recorded += loop((("i", variable.size),), [f"*to++ = {self.variables[key].name}[i];"])
        texts = [
            "/* A network of integers: see network.h. Arrays are named after operations: OP_value is what flows on,\n"
            " * OP_places and OP_count list what of it is not zero; others are states and scratch memory. */",
            '#include "network.h"\n',
            *self.arrays.text(),
            "",
            *with_readers(self.arrays.functions()),
            *self.functions,
            function("network_reset", "", resets, static=False),
            function("network_step", "", step, "const network_input *in, int32_t *out", static=False),
        ]
        if self.record:
            texts.append(function("network_record", "", recorded, "int32_t *to", static=False))
        return "\n".join(texts)

    def _step(self) -> list[str]:
        size, given, steady = self.given.size, self.given.name, self.calls[True]
        if self.program.input.name in self.events:
            events, index = self.events[self.program.input.name], (("i", size),)
            listed = with_list(events, loop(index, listing(events, f"{given}[i]", index)))
            steady = [*listed, *steady]
        lines = [*loop((("i", size),), [f"{given}[i] = in[i];"]), *steady]
        if steady:
            known = self.arrays.variable("input_is_known", "uint8_t", 1).name
            changed = [f"if ({given}[i] != in[i]) {{", f"    {given}[i] = in[i];", f"    {known}[0] = 0;", "}"]
            lines = [*loop((("i", size),), changed), f"if ({known}[0] == 0) {{", *indented(steady)]
            lines += [f"    {known}[0] = 1;", "}"]
        out = self.values[self.output.name].name
        return [*lines, *self.calls[False], *loop((("i", self.output.size),), [f"out[i] = {out}[i];"])]

    def _reset(self) -> list[str]:
        lines = []
        for op in self.program.ops:
            for name, array in self.states.get(op.name, {}).items():
                state = op.states()[name]
                first = np.broadcast_to(np.asarray(state.first), state.shape)
                value = f"{self.arrays.constant(first)}[i]" if first.any() else "0"
                lines += loop((("i", first.size),), [f"{array.name}[i] = {value};"])
        return lines
