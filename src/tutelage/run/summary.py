"""The plan of a run as text, shown before the first step."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from platform import machine
from typing import Any

import torch
from torch import nn

from tutelage.config.load import describe_changes
from tutelage.data.check.boxes import check_similar_names
from tutelage.data.findings import Finding
from tutelage.distill import Method, Need, Pairs
from tutelage.distill.method import Resized
from tutelage.models.catalog import describe_width
from tutelage.models.cost import cost
from tutelage.models.graph import GraphDetector
from tutelage.run.kd_weights import describe_balance
from tutelage.run.predicted_cost import epochs_asked, predicted_cost
from tutelage.run.stored_answers import pictures_of, store_folders
from tutelage.setup.build import RunParts
from tutelage.setup.distillation import AUTO, REASONS, DistillationSetup
from tutelage.setup.pictures import Pictures
from tutelage.setup.unlabelled import HELD_OUT
from tutelage.teachers.stored import StoredTeachers
from tutelage.training.schedule import Schedule


def plan_rows(
    parts: RunParts, origins: Mapping[str, str], folder: str
) -> tuple[tuple[str, str], ...]:
    """Return labelled lines: machine, student, teacher, pairs, methods, data, schedule, changes."""
    size = parts.config.train.image_size
    rows = [
        ("run", f"{folder} · torch {torch.__version__} · {_device(parts)} · {_precision(parts)}"),
        ("student", f"{describe_size(parts.student, size)}   {parts.start}"),
    ]
    if parts.anchors:
        rows.append(("anchors", parts.anchors))
    if parts.distillation is not None:
        rows += _teachers(parts.distillation, size)
        rows += _pairs(parts.distillation)
        rows += _methods(parts, parts.distillation)
        rows += _own(parts)
        rows.append(("views", _views(parts)))
        rows.append(("loss", "(Σ detection + Σ kd · distillation) × batch"))
    if weighed := parts.unwrapped_task.criterion.describe():
        rows.append(("gains", weighed))
    unused = [f"loss.{name}" for name in parts.student.head.unused_settings]
    warnings = len(data_warnings(parts))
    rows += [
        (
            "data",
            f"{len(parts.train)} train · {len(parts.val)} val · {len(parts.train.names)} classes"
            f"{_unlabelled(parts)} · {warnings} warning{'' if warnings == 1 else 's'} on opening it"
            f" (tutelage check {shlex.quote(str(parts.config.data))} looks closer)",
        ),
        ("schedule", _schedule(parts)),
        ("changed", describe_changes(parts.config, origins, without=unused)),
    ]
    return tuple(rows)


def _precision(parts: RunParts) -> str:
    """Return the precision, and whether it was chosen for this machine."""
    return (
        f"{parts.precision} (auto)" if parts.config.train.precision == "auto" else parts.precision
    )


def data_warnings(parts: RunParts) -> list[Finding]:
    """Return the warnings about images, labels and class names."""
    indices = [index for index in (parts.train, parts.val, parts.unlabelled) if index is not None]
    findings = [finding for index in indices for finding in index.findings]
    findings += check_similar_names(parts.train.names)
    return [finding for finding in findings if finding.severity == "warning"]


def _unlabelled(parts: RunParts) -> str:
    distill, index = parts.config.distill, parts.unlabelled
    if index is None:
        return ""
    score = distill.pseudo_label
    boxes = f"detections from {score:g} on count as boxes" if score < 1 else "methods only"
    held_out = "".join(
        f", {finding.count} of them {HELD_OUT[finding.code]} images"
        for finding in index.findings
        if finding.code in HELD_OUT
    )
    return (
        f" · {len(index)} without labels in {index.source}{held_out}, "
        f"{distill.images_ratio:g} per labelled image ({boxes})"
    )


def _schedule(parts: RunParts) -> str:
    schedule, optim = parts.schedule, parts.config.optim
    return (
        f"{schedule.epochs} epochs × {schedule.steps} steps, {parts.config.train.image_size} px, "
        f"batch {schedule.batch} × accumulate {schedule.accumulation} "
        f"(nominal {schedule.nominal_batch}), "
        f"{optim.name} {optim.lr:g}, {schedule.lr_shape}, warm-up {schedule.warmup_steps} steps, "
        f"clip {schedule.max_norm:g}, seed {schedule.seed}, {parts.workers} workers"
    )


def _device(parts: RunParts) -> str:
    device = parts.accelerator.device
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{machine()} {device.type}"
    )
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{parts.accelerator.num_processes} × {name}{threads}"


def describe_size(network: GraphDetector, image_size: int) -> str:
    """Return name, width, parameters and operations of a network at an image size."""
    size, width = cost(network, image_size), describe_width(network.arch_name)
    name = f"{network.arch_name} ({width})" if width else network.arch_name
    return f"{name:<12} {size.parameters / 1e6:.2f} M   {size.gflops:.2f} GFLOPs"


def _teachers(distillation: DistillationSetup, image_size: int) -> list[tuple[str, str]]:
    rows = []
    for number, (teacher, record) in enumerate(
        zip(distillation.teachers.teachers, distillation.records, strict=True)
    ):
        network = getattr(teacher, "network", None)
        if isinstance(network, GraphDetector):
            size = describe_size(network, image_size)
        else:
            size = f"{teacher.title:<12} {distillation.teachers.size(number) / 1e6:.2f} M"
        label = "teacher" if len(distillation.records) == 1 else f"teacher {number + 1}"
        which = f" ({record['weights']})" if "weights" in record else ""
        judged = _teacher_scores(record, image_size)
        runtime = distillation.runtimes[number]
        by = "" if runtime == "torch" else f" · run by {runtime}"
        rows.append((label, f"{size}   {record['source']}{which} · {judged}{by}"))
    return rows


def _teacher_scores(record: Mapping[str, Any], image_size: int) -> str:
    scores, trained = record.get("scores"), record.get("image_size", image_size)
    if scores is None:
        return "no class in common with the data: not evaluated"
    sizes = f" (judged at {image_size} px, trained at {trained})" if trained != image_size else ""
    return f"AP {scores['AP']:.3f} on this val{sizes}"


def _pairs(distillation: DistillationSetup) -> list[tuple[str, str]]:
    """Return one line per pair; methods and teachers that share their pairs share the lines.

    A method that reads no maps, whose gradient is measured there alone, shares those of others.
    """
    users: dict[tuple[Pairs, tuple[str, ...]], list[str]] = {}
    methods = distillation.methods
    for name in sorted(methods, key=lambda name: Need.FEATURES not in methods[name].needs):
        pairs = distillation.bindings[name].pairs
        key = pairs, _connectors(methods[name], len(pairs.student))
        if Need.FEATURES not in methods[name].needs:
            key = next((each for each in users if each[0] == pairs), key)
        users.setdefault(key, []).append(name)
    rows = []
    for (pairs, connectors), names in users.items():
        whose = "" if len(users) == 1 else f" of {', '.join(names)}"
        for s, t, connector in zip(pairs.student, pairs.teacher, connectors, strict=True):
            stride = f"{s.stride}"
            if s.stride != t.stride:
                side = getattr(methods[names[0]], "side", "")
                stride = f"{s.stride} → /{t.stride} {side} resized"
            text = f"{s.key:>4} → {t.key:<4} {s.channels:>4} → {t.channels:<4} ch   /{stride:<3}"
            rows.append(("" if rows else "pairs", f"{text}{connector}{whose}".rstrip()))
            whose = ""
    return rows


def _connectors(method: Method, pairs: int) -> tuple[str, ...]:
    """Describe the convolutions between the maps of each pair; empty if there are none."""
    own = method.method if isinstance(method, Resized) else method
    connectors = getattr(own, "connectors", [None] * pairs)
    sizes = [
        [f"{m.kernel_size[0]}×{m.kernel_size[1]}" for m in modules if isinstance(m, nn.Conv2d)]
        for modules in ([] if each is None else each.modules() for each in connectors)
    ]
    return tuple(f" connector {' '.join(each)}" if each else "" for each in sizes)


def _methods(parts: RunParts, distillation: DistillationSetup) -> list[tuple[str, str]]:
    rows = []
    for name, binding in distillation.bindings.items():
        options = "".join(f"  {key} {value}" for key, value in binding.config.options.items())
        weight = f"{parts.unwrapped_task.weights[name]:.3g}"
        if name in distillation.shares:
            share = f"KD gradient at the taps {distillation.shares[name]:.3g} × detection's"
            balance = describe_balance(parts.unwrapped_task.balance().get(name, ()))
            weight = f"auto (now {weight}{balance}: {share})"
        text = f"{name} × {weight}{options} · {_describe_decay(parts.schedule, name)}"
        rows.append(("" if rows else "methods", text))
    if any(method.name == AUTO for method in parts.config.distill.methods):
        chosen = {binding.config.name for binding in distillation.bindings.values()}
        rows += [("", f"auto: {why}") for name, why in REASONS.items() if name in chosen]
    return rows


def _describe_decay(schedule: Schedule, name: str) -> str:
    decay = schedule.weight_schedules[name]
    rise = f", rises over {decay.warmup_steps} steps" if decay.warmup_steps else ""
    stop = f", stops at epoch {decay.stop_epoch}" if decay.stop_epoch else ""
    every = f", at every {schedule.every}. step" if schedule.every > 1 else ""
    return f"{decay.shape}{rise}{stop}{every}"


def _views(parts: RunParts) -> str:
    """Describe when the teachers are asked, what is stored, and about what that costs."""
    teaching = parts.teaching
    why = f" ({teaching.reason})" if teaching.reason else ""
    predicted = predicted_cost(parts)
    cost = "" if predicted is None else f" · {predicted.in_words}"
    if teaching.views is None:
        return (
            "a new version of each image in every epoch, so that the teacher is asked in "
            f"all{why}{cost}"
        )
    teachers = parts.distillation and parts.distillation.teachers
    flips = ", flipped anew in every epoch" * teaching.views.flips
    text = f"{teaching.views.per_image} of each image, in turn{flips}{why}"
    if not isinstance(teachers, StoredTeachers):
        return f"{text} · nothing is stored: the teacher is asked in all epochs{cost}"
    if not teachers.memories:
        return f"{text} · these methods ask the teacher in all epochs{cost}"
    pictures = pictures_of(parts)
    wanted = pictures.total * len(teachers.memories)
    lacking = sum(
        int((mask & ~store.reader.present(view)).sum())
        for memory in teachers.memories
        for store, masks in zip(memory.stores, pictures, strict=False)
        for view, mask in masks.items()
    )
    stored = _stored(parts, pictures, wanted, lacking)
    size = lacking * teaching.view_bytes / len(teachers.memories)
    more = f", which adds about {size / 2**20:.3g} MiB" if lacking else ""
    folders = ", ".join(store_folders(parts))
    return f"{text} · {stored}{more}{cost} · {folders}"


def _stored(parts: RunParts, pictures: Pictures, wanted: int, lacking: int) -> str:
    """Describe how many epochs ask a teacher, and why not more."""
    if not lacking and not parts.teaching.formats.online:
        return "all answers are stored: no teacher is asked"
    epochs = max(epochs_asked(parts).values(), default=0.0)
    asked = f"{epochs:.2g} of {parts.schedule.epochs} epochs ask the teacher"
    if lacking < wanted:
        asked += f", since {wanted - lacking:,} of {wanted:,} answers are stored already"
    if parts.unlabelled is not None:
        views = len(pictures.labelled) * len(parts.unlabelled)
        shown = sum(int(mask.sum()) for mask in pictures.unlabelled.values())
        if shown < views:
            asked += f"; of {views:,} views of images without labels {shown:,} are shown"
    return asked


def _own(parts: RunParts) -> list[tuple[str, str]]:
    """Describe the parameters of the methods and how they are trained."""
    own = sum(p.numel() for p in parts.unwrapped_task.methods.parameters())
    if not own:
        return []
    groups = (g for g in parts.optimizer.param_groups if g["kind"].startswith("kd"))
    kinds = ", ".join(f"{g['kind']} (decay {g['weight_decay']:.2g})" for g in groups)
    lr = parts.config.optim.lr
    return [("", f"{own:,} parameters of their own: {kinds}, lr {lr:g} without bias warm-up")]
