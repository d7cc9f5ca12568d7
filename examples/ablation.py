"""What each part buys: the network without it, trained and measured as the whole one is.

    python examples/ablation.py fsdd --data DIR --seeds 0 1 2 --out runs/ablation_fsdd

Every variant is a configuration with a few keys changed. Finished runs are not repeated and unfinished ones continue,
so the command can be stopped and called again. It leaves a table (``table.md``, ``table.json``) in the folder: test
accuracy over the seeds, the difference from the whole network with its standard error, parameters and firing rate.
``--only`` takes some variants; ``--processes`` runs several at once, each on one thread.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pnbx_snn.training.checkpoint import build_model
from pnbx_snn.training.config import load_config, to_toml
from pnbx_snn.training.run_log import read_metrics

VARIANTS: dict[str, list[str]] = {
    "whole": [],
    "without SSM": ["pnbx.ssm=none"],
    "without micro-RNN": ["pnbx.rnn=none"],
    "without fast weights": ["pnbx.fast_weights=none"],
    "without hippocampus": ["pnbx.hippocampus=none"],
    "without messages": ["pnbx.messages=false"],
    "without glia": ["pnbx.glia=false"],
    "rate penalty for glia": ["pnbx.glia=false", "train.rate_weight=20.0"],
    "without noise": ["pnbx.noise_sigma=0.0"],
    "without skip": ["pnbx.skip=false"],
    "no pathway at all": ["pnbx.ssm=none", "pnbx.rnn=none", "pnbx.fast_weights=none", "pnbx.hippocampus=none"],
    "SSM real instead of selective": ["pnbx.ssm=real"],
    "SSM complex instead of selective": ["pnbx.ssm=complex"],
    "spiking micro-RNN": ["pnbx.rnn=spiking"],
    "fast weights by delta rule": ["pnbx.fast_weights=delta"],
    "hippocampus, winner takes all": ["pnbx.competition=winner"],
}
MATCHED = {
    "without SSM, RNN as large": ["pnbx.ssm=none"],
    "without micro-RNN, SSM as large": ["pnbx.rnn=none"],
}
"""Filled up with units of the other pathway to the parameters of the whole network."""


def variants(config: Path) -> dict[str, list[str]]:
    """Return all variants, the matched ones with the sizes that match."""
    whole = load_config(config).pnbx
    assert whole is not None, "an ablation needs a [pnbx]"
    # An SSM state costs 4 H numbers, a unit of the min-GRU 3 H.
    rnn = whole.d_rnn + round(4 * whole.d_ssm / 3)
    ssm = whole.d_ssm + round(3 * whole.d_rnn / 4)
    sizes = {"without SSM, RNN as large": f"pnbx.d_rnn={rnn}", "without micro-RNN, SSM as large": f"pnbx.d_ssm={ssm}"}
    return VARIANTS | {name: [*overrides, sizes[name]] for name, overrides in MATCHED.items()}


def run_one(config: Path, overrides: Sequence[str], folder: Path, data: str) -> dict[str, Any]:
    """Train if needed, measure on the test samples, return the measurement."""
    done = folder / "test.json"
    if not done.exists():
        command = [sys.executable, "-m", "pnbx_snn.cli"]
        arguments = [str(config), "--data", data, "--out", str(folder), "--quiet"]
        for override in overrides:
            arguments += ["--set", override]
        resume = ["--resume"] if (folder / "checkpoint.safetensors").exists() else []
        subprocess.run([*command, "train", *arguments, *resume], check=True)
        measured = subprocess.run(
            [*command, "eval", str(folder), "--data", data, "--json"], check=True, capture_output=True, text=True
        )
        done.write_text(measured.stdout)
    result: dict[str, Any] = json.loads(done.read_text())
    return result


def row(name: str, results: Sequence[dict[str, Any]], whole: Sequence[dict[str, Any]], size: int) -> dict[str, Any]:
    """Summarise the seeds of a variant; the difference is paired by seed."""
    accuracy = [100 * result["accuracy"] for result in results]
    lost = [100 * (a["accuracy"] - b["accuracy"]) for a, b in zip(results, whole, strict=True)]
    deviation = statistics.stdev(lost) / len(lost) ** 0.5 if len(lost) > 1 else float("nan")
    return {
        "variant": name,
        "accuracy": statistics.mean(accuracy),
        "sd": statistics.stdev(accuracy) if len(accuracy) > 1 else float("nan"),
        "difference": statistics.mean(lost),
        "standard_error": deviation,
        "parameters": size,
        "firing_rate": 100 * statistics.mean(result["firing_rate"] for result in results),
        "seeds": len(results),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write the rows as Markdown."""
    head = "| variant | test % (sd) | difference (s.e.) | parameters | firing % | seeds |"
    lines = [head, "| --- |" + " --- |" * 5]
    for r in rows:
        lines.append(
            f"| {r['variant']} | {r['accuracy']:.2f} ({r['sd']:.2f}) | {r['difference']:+.2f} "
            f"({r['standard_error']:.2f}) | {r['parameters']:,} | {r['firing_rate']:.1f} | {r['seeds']} |"
        )
    return "\n".join(lines) + "\n"


def draw_glia(folders: dict[str, list[Path]], path: Path) -> None:
    """Draw firing rate and accuracy over the training with glia, with the plain penalty, and with neither."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (rate_axes, accuracy_axes) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
    for (name, runs), color in zip(folders.items(), ("#1b6ca8", "#c8553d", "#777777"), strict=True):
        for i, run in enumerate(runs):
            rows = read_metrics(run / "metrics.jsonl")
            epochs = [r["epoch"] for r in rows]
            label = name if i == 0 else None
            rate_axes.plot(epochs, [100 * r["firing_rate_layers"][1] for r in rows], color=color, lw=1.2, label=label)
            rate_axes.plot(epochs, [100 * r["firing_rate_layers"][0] for r in rows], color=color, lw=0.8, ls=":")
            accuracy_axes.plot(epochs, [100 * r["accuracy_train"] for r in rows], color=color, lw=1.2)
    rate_axes.axhline(18.8, color="black", lw=0.6)
    rate_axes.set_ylabel("firing rate, %\n(line: block, dots: encoder)")
    rate_axes.legend(frameon=False)
    accuracy_axes.set(xlabel="epoch", ylabel="training accuracy, %")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="some of: " + ", ".join({**VARIANTS, **MATCHED}))
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    chosen = {n: o for n, o in variants(options.config).items() if not options.only or n in ("whole", *options.only)}
    options.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.processes) as pool:
        futures, folders = {}, {}
        for name, overrides in chosen.items():
            for seed in options.seeds:
                folder = options.out / name.replace(" ", "_").replace(",", "") / f"seed{seed}"
                folders[name, seed] = folder
                changes = [*options.overrides, *overrides, f"train.seed={seed}", "train.threads=1"]
                futures[name, seed] = pool.submit(run_one, options.config, changes, folder, options.data)
        results = {}
        for number, (key, future) in enumerate(futures.items(), start=1):
            results[key] = future.result()
            print(f"{number} of {len(futures)}: {key[0]}, seed {key[1]}: {results[key]['accuracy']:.2%}", flush=True)
    whole = [results["whole", seed] for seed in options.seeds]
    rows = []
    for name, overrides in chosen.items():
        model = build_model(load_config(options.config, [*options.overrides, *overrides]))
        size = sum(parameter.numel() for parameter in model.parameters())
        rows.append(row(name, [results[name, seed] for seed in options.seeds], whole, size))
    (options.out / "table.json").write_text(json.dumps(rows, indent=1))
    (options.out / "table.md").write_text(table(rows))
    (options.out / "config.toml").write_text(to_toml(load_config(options.config, options.overrides)))
    kinds = ("whole", "rate penalty for glia", "without glia")
    if all(kind in chosen for kind in kinds):
        names = {"glia": "whole", "penalty 20 (rate - 0.188)²": kinds[1], "neither": kinds[2]}
        draw_glia({label: [folders[kind, s] for s in options.seeds] for label, kind in names.items()},
                  options.out / "glia.png")  # fmt: skip
    print(table(rows))


if __name__ == "__main__":
    main()
