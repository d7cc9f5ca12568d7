"""Stream a PNB-X network for many steps and print what it needed, as JSON; run by test_streaming.py.

A script of its own: inside pytest every call is type-checked, and a million steps would take hours.
"""

import gc
import json
import os
import sys
from pathlib import Path

import torch

from pnbx_snn import PNBX, keep_ternary


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def state_bytes(state) -> int:
    if isinstance(state, torch.Tensor):
        assert state.untyped_storage().nbytes() == state.numel() * state.element_size()
        return state.numel() * state.element_size()
    return sum(map(state_bytes, state)) if isinstance(state, tuple) else 0


def main(num_steps: int, sizes: dict[str, int]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = PNBX(num_classes=10, num_steps=4, **sizes)
    inputs = torch.rand(64, 1, sizes["in_features"])
    model.calibrate(inputs[:, 0])
    for _ in range(40):
        model.adapt(model(model.encode(inputs[:, 0])).spikes)
    model.eval()
    gc.collect()
    gc.freeze()  # a hundred collections look through what the loop makes, not through all of torch
    state, rates, state_sizes, resident = None, [], [], []
    with keep_ternary(model):
        for t in range(num_steps):
            logits, state = model.stream(inputs[t % 64], state)
            if t % (num_steps // 100) == 0:
                gc.collect()
                state_sizes.append(state_bytes(state))
                resident.append(resident_bytes())
                rates.append(state.blocks[0].membrane.z.mean().item())
    result = {"steps": state.num_steps, "state_bytes": sorted(set(state_sizes)), "resident_bytes": resident}
    print(json.dumps({**result, "rate": sum(rates) / len(rates), "finite": bool(torch.isfinite(logits).all())}))


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
