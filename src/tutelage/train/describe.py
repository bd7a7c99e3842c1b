"""The plan as text, before the first step, so that a wrong run dies now."""

from __future__ import annotations

from collections.abc import Mapping
from platform import machine
from typing import Any

import torch

from tutelage.config.load import describe_changes
from tutelage.models.cost import cost
from tutelage.models.graph import GraphDetector
from tutelage.train.assemble import Parts
from tutelage.train.teaching import Teaching


def plan_rows(
    parts: Parts, record: Mapping[str, Any], origins: Mapping[str, str], folder: str
) -> tuple[tuple[str, str], ...]:
    """Return labelled lines: machine, student, teacher, pairs, methods, data, schedule, changes.

    Args:
        parts: The parts of the run.
        record: The teacher's identity and scores; empty without a teacher.
        origins: Where each setting came from.
        folder: The run folder.
    """
    size = parts.config.train.image_size
    rows = [
        ("run", f"{folder} · torch {torch.__version__} · {_device(parts)} · {parts.precision}"),
        ("student", f"{_size(parts.student, size)}   {parts.start}"),
    ]
    if parts.teaching is not None:
        network = _size(parts.teaching.network, size)
        rows.append(("teacher", f"{network}   {record['source']} · {_worth(record)}"))
        rows += _pairs(parts.teaching)
        rows.append(("methods", _methods(parts, parts.teaching)))
        rows.append(("loss", f"(Σ detection + kd · Σ distillation) × batch; kd {_kd(parts)}"))
    warnings = len(data_warnings(parts))
    rows += [
        (
            "data",
            f"{len(parts.train)} train · {len(parts.val)} val · {len(parts.train.names)} classes"
            f" · {warnings} warning{'' if warnings == 1 else 's'}",
        ),
        ("schedule", _schedule(parts)),
        ("changed", describe_changes(parts.config, origins)),
    ]
    return tuple(rows)


def data_warnings(parts: Parts) -> list[str]:
    """Return what was noticed in the training and val images and does not keep the run from it."""
    findings = (*parts.train.findings, *parts.val.findings)
    return [finding.message for finding in findings if finding.severity == "warning"]


def _schedule(parts: Parts) -> str:
    plan, optim = parts.plan, parts.config.optim
    return (
        f"{plan.epochs} epochs × {plan.steps} steps, {parts.config.train.image_size} px, "
        f"batch {plan.batch} × accumulate {plan.accumulation} (nominal {plan.nominal_batch}), "
        f"{optim.name} {optim.lr:g}, {plan.schedule}, warm-up {plan.warmup_steps} steps, "
        f"clip {plan.max_norm:g}, seed {plan.seed}, {parts.workers} workers"
    )


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


def _worth(record: Mapping[str, Any]) -> str:
    scores = record.get("scores")
    if scores is None:
        return "no class in common with the data: not evaluated"
    return f"AP {scores['AP']:.3f} on this val · stops at its last tap"


def _pairs(teaching: Teaching) -> list[tuple[str, str]]:
    rows = []
    for s, t in zip(teaching.pairs.student, teaching.pairs.teacher, strict=True):
        connector = "1×1" if s.channels != t.channels else "none"
        text = f"{s.key:>4} → {t.key:<4} {s.channels:>4} → {t.channels:<4} ch   /{s.stride:<3}"
        rows.append(("" if rows else "pairs", f"{text} connector {connector}"))
    return rows


def _methods(parts: Parts, teaching: Teaching) -> str:
    notes = []
    for config in parts.config.distill.methods:
        options = "".join(f"  {name} {value}" for name, value in config.options.items())
        notes.append(f"{config.name} × {config.weight}{options}")
    if teaching.shares:
        found = ", ".join(f"{name} × {parts.bare.weights[name]:.3g}" for name in teaching.shares)
        ratio = parts.config.distill.ratio
        notes[-1] += f"   (now {found}: KD gradients at the taps {ratio:g} × detection's)"
    return " · ".join(notes)


def _kd(parts: Parts) -> str:
    distill = parts.config.distill
    rise = f", rises over {distill.warmup_epochs:g} epochs" if distill.warmup_epochs else ""
    stop = f", stops at epoch {distill.stop_epoch}" if distill.stop_epoch else ""
    return f"{distill.schedule}{rise}{stop}"
