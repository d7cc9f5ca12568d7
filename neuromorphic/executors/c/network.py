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
from neuromorphic.executors.c.products import is_spikes, with_readers
from neuromorphic.executors.c.sharing import bytes_of, definition, lifetimes, renamed, share
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
    source, ram = writer.write()
    flash = sum(array.bytes for array in writer.arrays.flash)
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
        listed, arrays = self._readings()
        arrays |= {self.output.name}
        homes = [self._homes(part, has_array=part.op.name in arrays) for part in self.parts]
        self.events = {op.name: self._events(op) for op in program.ops if op.name in listed}
        self.functions: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
        for part, home in zip(self.parts, homes, strict=True):
            self.functions[part.steady].append(self._function(part, home))

    def _homes(self, part: Part, *, has_array: bool) -> dict[str, Array]:
        """Decide where the outcomes of a part lie; those that are one symbol share an array if they can.

        A value has none where ``has_array`` is false: it is only listed.
        """
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
            b = base(symbol)
            if name not in states and (name or has_array or id(b) in shared):
                if id(b) not in shared:
                    wanted = f"{op.name}_{name or 'value'}"
                    shared[id(b)] = self.arrays.variable(wanted, storage(symbol.span, span_of(b)), room_of(b))
                homes[name] = shared[id(b)]
        if VALUE in homes:
            self.values[op.name] = homes[VALUE]
        self.variables |= {f"{op.name}.{name}": array for name, array in homes.items()}
        return homes

    def _readings(self) -> tuple[set[str], set[str]]:
        """Return the operations whose events are needed as lists, for products, and those needed as arrays."""
        listed, arrays = set(), set()
        for part in self.parts:
            arrays |= {
                part.op.sources[b.facts["number"]] for b in map(base, part.outcomes.values()) if b.kind == "input"
            }
            for s in symbols_in_order(part.outcomes.values()):
                for x in map(base, s.args if base(s) is s else ()):
                    if x.kind == "input":
                        source = part.op.sources[x.facts["number"]]
                        is_listed = s.kind == "product" and self.program[source].kind == "events"
                        listed |= {source} if is_listed else set()
                        arrays |= set() if is_listed and is_spikes(x.span) else {source}
        return listed, arrays

    def _events(self, op: Operation) -> Events:
        places = self.arrays.variable(f"{op.name}_places", storage((0, op.size - 1)), op.size)
        return Events(places, self.arrays.variable(f"{op.name}_count", "int32_t", 1))

    def _function(self, part: Part, homes: dict[str, Array]) -> tuple[str, str]:
        """Return name and text of the function of a part."""
        op, gives = part.op, VALUE in part.outcomes
        sources = () if isinstance(op, Delay) and gives else op.sources  # it is read before its source has run
        memory = Memory(
            inputs=[self.values.get(source) for source in sources],
            events=[self.events.get(source) for source in sources],
            states=self.states[op.name],
            homes=homes,
            listed=self.events.get(op.name) if gives else None,
        )
        lines = Kernels(self.arrays, part, memory).statements()
        name = self.arrays.name(f"{'step' if gives else 'store'}_{op.name}")
        summary = (type(op).__doc__ or "").splitlines()[0].split(": ")[0].replace("`", "").rstrip(".")
        return name, function(name, plain(f"{op.name}, {type(op).__name__}: {summary}"), lines)

    def write(self) -> tuple[str, int]:
        """Return ``network.c`` and the bytes of its arrays in RAM."""
        begin, calls = self._beginning(), [f"{name}();" for name, _ in self.functions[False]]
        end = loop((("i", self.output.size),), [f"out[i] = {self.values[self.output.name].name}[i];"])
        steady, others = ([text for _, text in self.functions[key]] for key in (True, False))
        recorded: list[str] = []
        for key, (_, variable) in self.record.items():
            recorded += loop((("i", variable.size),), [f"*to++ = {self.variables[key].name}[i];"])
        step = [*begin, *calls, *end]
        ends = [function("network_reset", "", self._reset(), static=False)]
        if self.record:
            ends.append(function("network_record", "", recorded, "int32_t *to", static=False))
        lasting = lifetimes(self.arrays.ram, [*steady, *ends, *begin])
        groups = share([a for a in self.arrays.ram if a.name not in lasting], [*others, "\n".join(end)])
        names: dict[str, str] = {}
        unions = []
        for number, group in enumerate([group for group in groups if len(group) > 1]):
            unions.append(definition(f"shared{number}", group))
            names |= {array.name: f"shared{number}.{array.name}" for array in group}
        alone = [a for a in self.arrays.ram if a.name not in names]
        texts = [
            "/* A network of integers: see network.h. Arrays are named after operations: OP_value is what flows on,\n"
            " * OP_places and OP_count list what of it is not zero; others are states and scratch memory. */",
            '#include "network.h"\n',
            *self.arrays.constants(),
            *(f"static {array.type} {array.name}[{array.size}];" for array in alone),
            *unions,
            "",
            *with_readers(self.arrays.functions()),
            *(renamed(text, names) for text in (*steady, *others, *ends)),
            renamed(function("network_step", "", step, "const network_input *in, int32_t *out", static=False), names),
        ]
        shared = sum(bytes_of(group) for group in groups if len(group) > 1)
        return "\n".join(texts), sum(array.bytes for array in alone) + shared

    def _given(self) -> list[str]:
        """Return the statements that depend on the input alone: what it lists, and steady operations."""
        index, calls = (("i", self.given.size),), [f"{name}();" for name, _ in self.functions[True]]
        if self.program.input.name not in self.events:
            return calls
        events = self.events[self.program.input.name]
        return [*with_list(events, loop(index, listing(events, f"{self.given.name}[i]", index))), *calls]

    def _beginning(self) -> list[str]:
        """Return the statements that take an input, and if it has changed, compute what depends on it alone."""
        index, given, once = (("i", self.given.size),), self.given.name, self._given()
        if not once:
            return loop(index, [f"{given}[i] = in[i];"])
        known = self.arrays.variable("input_is_known", "uint8_t", 1).name
        changed = [f"if ({given}[i] != in[i]) {{", f"    {given}[i] = in[i];", f"    {known}[0] = 0;", "}"]
        return [*loop(index, changed), f"if ({known}[0] == 0) {{", *indented([*once, f"{known}[0] = 1;"]), "}"]

    def _reset(self) -> list[str]:
        lines = []
        for op in self.program.ops:
            for name, array in self.states.get(op.name, {}).items():
                state = op.states()[name]
                first = np.broadcast_to(np.asarray(state.first), state.shape)
                value = f"{self.arrays.constant(first)}[i]" if first.any() else "0"
                lines += loop((("i", first.size),), [f"{array.name}[i] = {value};"])
        return lines
