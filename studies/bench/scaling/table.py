"""The table of what was measured."""

from __future__ import annotations

from typing import Any

from studies.bench.scaling.model import MACHINES, NETWORKS, queue_speedup, training_speedup
from studies.bench.timing import readable


def _times(values: dict[Any, float], key: Any, first: Any) -> str:
    return f"{values[key] / values[first]:.2f}"


def markdown(found: dict[str, Any]) -> str:
    """Return the tables in Markdown."""
    machine, training, inference, link = (found[name] for name in ("machine", "training", "inference", "link"))
    trained = {(row["processes"], row["threads"]): row["samples_per_s"] for row in training["rows"]}
    ran = {(row["batch"], row["threads"]): row["steps_per_s"] for row in inference["rows"]}
    task = "not measured" if link["task_s"] is None else readable(link["task_s"])
    lines = [
        "<!-- Written by `python -m studies.bench.scaling`. -->",
        "",
        f"*Measured* on {machine['processor']}, {machine['logical_cpus']} logical processors, {machine['vectors']}, "
        f"torch {machine['versions']['torch']}; load average before: {machine['load_average'][0]}. Medians, extremes "
        "(training) or quartiles (inference) in brackets.",
        "",
        f"| training: {training['network']} | samples a second | times one process with one thread | loss at the end |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['processes']} process{'es' if row['processes'] > 1 else ''}, {row['threads']} "
        f"thread{'s' if row['threads'] > 1 else ''} each | {row['samples_per_s']:,.0f} ({row['low']:,.0f} - "
        f"{row['high']:,.0f}) | {_times(trained, (row['processes'], row['threads']), (1, 1))} | {row['loss']:.4f} |"
        for row in training["rows"]
    ]
    lines += [
        "",
        f"| inference: {inference['network']} | steps a second, all samples | times batch 1 with one thread |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| batch {row['batch']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''} | "
        f"{row['steps_per_s']:,.0f} ({row['low']:,.0f} - {row['high']:,.0f}) | "
        f"{_times(ran, (row['batch'], row['threads']), (1, 1))} |"
        for row in inference["rows"]
    ]
    lines += [
        "",
        "| constant of the model | measured here |",
        "| --- | --- |",
        f"| gradients of the network above | {training['gradient_bytes']:,} bytes |",
        f"| two processes of this machine add them up in | {readable(link['sum_s'])} |",
        f"| of that a message from one to the other, λ | {readable(link['latency_s'])} |",
        f"| bandwidth between them, w | {link['bytes_per_s'] / 1e9:.2f} GB/s |",
        f"| a task of Dask that does nothing | {task} |",
        f"| a step of an input, unpacked | {inference['step_bytes']:,} bytes |",
    ]
    here = training_speedup(found, 2, link["bytes_per_s"], link["latency_s"])
    lines += [
        "",
        f"With these constants the model says {here:.2f} times for two processes here; measured were "
        f"{_times(trained, (2, 1), (1, 1))} times.",
        "",
        "| *modelled*, times one machine of one thread | " + " | ".join(f"{n} machines" for n in MACHINES[1:]) + " |",
        "| --- |" + " --- |" * len(MACHINES[1:]),
    ]
    for what, speedup in (("training", training_speedup), ("a queue of recordings", queue_speedup)):
        for name, bytes_per_s in NETWORKS.items():
            values = " | ".join(f"{speedup(found, n, bytes_per_s):.1f}" for n in MACHINES[1:])
            lines.append(f"| {what}, {name} | {values} |")
    return "\n".join(lines) + "\n"
