"""What runs around ``network.c`` on an emulated board: memory, start-up, files of the host, and two mains.

The C speaks to QEMU through semihosting (Arm's "Semihosting for AArch32 and AArch64"): a ``bkpt 0xab`` with a number in
``r0`` and a pointer to its arguments in ``r1``. SysTick counts cycles of its clock down, 24 bits; under ``-icount`` an
instruction takes a fixed time, so that ticks tell instructions.
"""

from __future__ import annotations

from dataclasses import dataclass

from neuromorphic.errors import ExecutorError
from neuromorphic.executors.c.network import to_c
from neuromorphic.program import Program


@dataclass(frozen=True)
class Board:
    """A machine of QEMU.

    Attributes
    ----------
    machine : str
        What ``qemu-system-arm -M`` calls it.
    flash, ram : int
        Bytes from 0 and from 0x20000000.
    clock_hz : int
        Of its SysTick.
    """

    machine: str
    flash: int
    ram: int
    clock_hz: int


BOARDS = {
    "cortex-m3": Board("mps2-an385", flash=4 << 20, ram=4 << 20, clock_hz=25_000_000),
    "cortex-m0": Board("microbit", flash=256 << 10, ram=16 << 10, clock_hz=16_000_000),
}


def check_size(program: Program) -> None:
    """Refuse a program whose arrays alone are larger than the largest board."""
    network = to_c(program)
    flash, ram = (max(getattr(board, name) for board in BOARDS.values()) for name in ("flash", "ram"))
    for what, size, held in (
        ("flash for its constants", network.constant_bytes, flash),
        ("static RAM", network.state_bytes, ram),
    ):
        if size > held:
            raise ExecutorError(f"takes {size:,} bytes of {what}, the largest board emulated has {held:,}")


ICOUNT_SHIFT = 6
"""An instruction takes ``2**6`` ns of emulated time: more than a tick of either clock, so no instruction is missed."""

LINK = """
MEMORY
{
    flash (rx) : ORIGIN = 0, LENGTH = $FLASH
    RAM (rwx) : ORIGIN = 0x20000000, LENGTH = $RAM
}
SECTIONS
{
    .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) . = ALIGN(4); } > flash
    .data : { data_start = .; *(.data*) . = ALIGN(4); data_end = .; } > RAM AT > flash
    data_load = LOADADDR(.data);
    .bss (NOLOAD) : { bss_start = .; *(.bss*) *(COMMON) . = ALIGN(4); bss_end = .; } > RAM
    stack_top = ORIGIN(RAM) + LENGTH(RAM);
    ASSERT(stack_top - bss_end >= 1024, "region `RAM' overflowed by 1024 bytes")
    /DISCARD/ : { *(.ARM.exidx*) *(.ARM.attributes) *(.comment) }
}
"""

START = """
#include <stddef.h>
#include <stdint.h>

extern uint32_t data_start, data_end, data_load, bss_start, bss_end, stack_top;
int main(void);
void failed(void);

/* What GCC may call where it finds a loop that looks so. */
void *memset(void *to, int value, size_t n)
{
    unsigned char *p = to;
    while (n--)
        *p++ = (unsigned char)value;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    unsigned char *p = to;
    const unsigned char *q = from;
    while (n--)
        *p++ = *q++;
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    unsigned char *p = to;
    const unsigned char *q = from;
    if (p < q)
        return memcpy(to, from, n);
    while (n--)
        p[n] = q[n];
    return to;
}

void start(void)
{
    uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end; to++)
        *to = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end; to++)
        *to = 0;
    main();
    for (;;) {
    }
}

__attribute__((weak)) void failed(void)
{
    for (;;) {
    }
}

/* Stack pointer, reset, non-maskable interrupt, hard fault and the faults of an M3. */
__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, (const void *)start, (const void *)failed, (const void *)failed, (const void *)failed,
    (const void *)failed, (const void *)failed,
};
"""

SMALLEST = """
#include "network.h"

static network_input in[NETWORK_INPUTS];
static int32_t out[NETWORK_OUTPUTS];

int main(void)
{
    network_reset();
    for (;;)
        network_step(in, out);
}
"""

HARNESS = """
#include "network.h"

enum { OPEN = 1, CLOSE = 2, WRITE_CHARACTER = 3, WRITE = 5, READ = 6, EXIT = 0x20, STOPPED = 0x20026 };
enum { FILES = 2, TOO_FEW = 3, CANNOT_WRITE = 4, FAULT = 5, PAINT = 0x5a5a5a5a };

extern uint32_t bss_end;
static network_input given[NETWORK_INPUTS];
static int32_t out[NETWORK_OUTPUTS], seen[NETWORK_RECORDED];
static uint32_t facts[5]; /* ticks of all steps (two words), most of a step, whether one had too many, bytes of stack */

static int32_t host(int32_t number, const void *arguments)
{
    register int32_t r0 __asm__("r0") = number;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void leave(uint32_t status)
{
    const uint32_t arguments[2] = {STOPPED, status};
    host(EXIT, arguments);
    for (;;) {
    }
}

void failed(void)
{
    leave(FAULT);
}

static uint32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t arguments[3] = {(uint32_t)name, mode, length};
    const int32_t file = host(OPEN, arguments);
    if (file == -1)
        leave(FILES);
    return (uint32_t)file;
}

static void move(int32_t number, uint32_t file, const void *bytes, uint32_t n, uint32_t status)
{
    const uint32_t arguments[3] = {file, (uint32_t)bytes, n};
    if (host(number, arguments) != 0)
        leave(status);
}

static volatile uint32_t *const tick = (volatile uint32_t *)0xE000E010u;

static uint32_t from_the_top(void)
{
    tick[2] = 0; /* it starts again, and forgets that it has been at 0 */
    while (tick[2] == 0) {
    }
    return tick[2];
}

int main(void)
{
    const uint32_t in = open_file("inputs.bin", 10, 1), to = open_file("outputs.bin", 11, 5);
    volatile uint32_t *const floor = &bss_end;
    volatile uint32_t *here, *top;
    uint32_t most = 0, low = 0, high = 0, spent, idle;

    __asm__ volatile("mov %0, sp" : "=r"(top));
    for (here = floor; here < top; here++) /* below main there is nothing yet */
        *here = PAINT;
    tick[1] = 0xffffffu;
    tick[0] = 5;
    spent = from_the_top();
    idle = spent - tick[2]; /* reading alone */
    for (int32_t b = 0; b < $BATCH; b++) {
        network_reset();
        for (int32_t t = 0; t < $STEPS; t++) {
            move(READ, in, given, sizeof given, TOO_FEW);
            spent = from_the_top();
            network_step(given, out);
            spent -= tick[2] + idle;
            if (tick[0] & 0x10000u)
                facts[3] = 1;
            if (low + spent < low)
                high++;
            low += spent;
            if (spent > most)
                most = spent;
            if (b == 0 && t == 0)
                for (here = floor; here < top && *here == PAINT; here++)
                    ;
            network_record(seen);
            move(WRITE, to, seen, sizeof seen, CANNOT_WRITE);
        }
        host(WRITE_CHARACTER, ".");
    }
    facts[0] = low;
    facts[1] = high;
    facts[2] = most;
    facts[4] = 4u * (uint32_t)(top - here);
    move(WRITE, to, facts, sizeof facts, CANNOT_WRITE);
    leave(0);
    return 0;
}
"""
STATUS = {
    2: "cannot open its files",
    3: "was given too few inputs",
    4: "cannot write what it records",
    5: "ended in a fault of the processor",
}
