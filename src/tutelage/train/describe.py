"""The plan as text: everything that will run, before the first step, so that a wrong run dies now."""

from __future__ import annotations

from collections.abc import Mapping
from platform import machine
from typing import Any

import torch

from tutelage.config.load import describe_changes
from tutelage.models.cost import cost
from tutelage.models.graph import GraphDetector
from tutelage.train.assemble import Parts


def plan_rows(
    parts: Parts,
    record: dict[str, Any] | None,
    weights: str,
    origins: Mapping[str, str],
    folder: str,
) -> tuple[tuple[str, str], ...]:
    """Return labelled lines: machine, student, teacher, pairs, methods, data, schedule, changes."""
    config, plan = parts.config, parts.plan
    rows = [("run", f"{folder} · torch {torch.__version__} · {_device(parts)} · {parts.precision}")]
    rows.append(("student", f"{_size(parts.student, config.train.image_size)}   {parts.start}"))
    if parts.teaching is not None and record is not None:
        network = parts.teaching.network
        size = _size(network, config.train.image_size) if isinstance(network, GraphDetector) else ""
        rows.append(("teacher", f"{size}   {record['source']} · {_worth(record)}"))
        rows += _pairs(parts)
        rows.append(("methods", _methods(parts, weights)))
        rows.append(("kd", _kd_schedule(parts)))
    rows.append(
        (
            "data",
            f"{len(parts.train)} train · {len(parts.val)} val · {len(parts.train.names)} classes · "
            f"{sum(f.severity == 'warning' for f in parts.train.findings)} warnings",
        )
    )
    rows.append(
        (
            "schedule",
            f"{plan.epochs} epochs × {plan.steps} steps, {config.train.image_size} px, batch {plan.batch} × "
            f"accumulate {plan.accumulation} (nominal {plan.nominal_batch}), {config.optim.name} "
            f"{config.optim.lr:g}, {plan.schedule}, warm-up {plan.warmup_steps} steps, "
            f"clip {plan.max_norm:g}, seed {plan.seed}, {parts.workers} workers",
        )
    )
    rows.append(("changed", describe_changes(config, origins)))
    return tuple(rows)


def _device(parts: Parts) -> str:
    device = parts.accelerator.device
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{machine()} {device.type}"
    )
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{parts.accelerator.num_processes} × {name}{threads}"


def _size(network: GraphDetector, image_size: int) -> str:
    found = cost(network, image_size)
    return f"{network.arch_name:<12} {found.parameters / 1e6:.2f} M   {found.gflops:.2f} GFLOPs"


def _worth(record: dict[str, Any]) -> str:
    scores = record.get("scores")
    if scores is None:
        return "no class in common with the data: not evaluated"
    return f"AP {scores['AP']:.3f} on this val · stops at its last tap"


def _pairs(parts: Parts) -> list[tuple[str, str]]:
    assert parts.teaching is not None
    pairs = parts.teaching.pairs
    rows = []
    for s, t in zip(pairs.student, pairs.teacher, strict=True):
        connector = "1×1" if s.channels != t.channels else "none"
        rows.append(
            (
                "pairs" if not rows else "",
                f"{s.key:>4} → {t.key:<4} {s.channels:>4} → {t.channels:<4} ch   /{s.stride:<3} connector {connector}",
            )
        )
    return rows


def _methods(parts: Parts, weights: str) -> str:
    assert parts.teaching is not None
    notes = []
    for config in parts.config.distill.methods:
        options = "  ".join(f"{name} {value}" for name, value in config.options.items())
        notes.append(f"{config.name} × {config.weight}" + (f"  {options}" if options else ""))
    automatic = (
        f"   ({weights}; gradient ratio {parts.config.distill.ratio:g})"
        if parts.teaching.shares
        else ""
    )
    return " · ".join(notes) + automatic


def _kd_schedule(parts: Parts) -> str:
    distill = parts.config.distill
    stop = f", stops at epoch {distill.stop_epoch}" if distill.stop_epoch else ""
    rise = f", rises over {distill.warmup_epochs:g} epochs" if distill.warmup_epochs else ""
    return f"{distill.schedule}{rise}{stop}; loss = (Σ detection + kd · Σ distillation) × batch"
