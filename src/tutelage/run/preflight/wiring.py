"""Checks, before the first step, that distillation reaches the student.

Most reports that distillation "does nothing" come from a loss that is 0, a connector that no
optimizer trains, a teacher that was never loaded or that drifts. Each is checked here on one real
batch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tutelage.distill.method import Method
from tutelage.errors import ConfigError, TeacherError
from tutelage.run.preflight.warnings import UNSURE, best_score
from tutelage.structures import Batch, Knowledge, Losses
from tutelage.teachers import Teachers, fingerprint
from tutelage.training.gradient_ratio import buffers_restored
from tutelage.training.supervision import SupervisedBatch
from tutelage.training.task import Task

LISTED = 6  # faults in a message
EDGE = 1e-3  # of the image's side that a box may stick out by rounding
UNREACHED = "reaches no parameter of the student"
ON_THE_BATCH = "on the first batch"
PROBE_STEPS = 3  # some parameters are zero-initialised and get their first gradient at step two


def check_wiring(task: Task, teachers: Teachers, batch: Batch) -> None:
    """Check the wiring of a distilled task on one batch with boxes.

    Args:
        task: The unwrapped task; left bit-identical.
        teachers: Its teachers.
        batch: A batch with at least one box, on the task's device.

    Raises:
        ConfigError: A method cannot compare these two networks.
        TeacherError: A KD term is not finite or not positive, does not reach the student, a
            method's own parameter does not train, or the teacher changed. All faults at once.
    """
    before = fingerprint(teachers.state())
    batch = batch.floating()
    knowledge = teachers(batch)
    supervised = SupervisedBatch(batch, knowledge)
    _check_fit(task, supervised)
    faults = [
        *_box_faults(batch),
        *_hidden_faults(task),
        *_teacher_faults(knowledge),
        *_term_faults(task, supervised),
        *_still_faults(task, supervised),
    ]
    if fingerprint(teachers.state()) != before:
        faults.append("the teacher changed during the check: it must be frozen and in eval mode")
    if faults:
        more = f"; and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
        raise TeacherError(
            f"Distillation would not work: {'; '.join(faults[:LISTED])}{more}.",
            where="pre-flight on the first training batch",
            fix=_advice(task, faults, supervised),
            code="T24",
        )


@torch.no_grad()
def _check_fit(task: Task, supervised: SupervisedBatch) -> None:
    batch = supervised.batch
    with buffers_restored(task):
        output = task.train().student(batch.images, task.taps)
        student = task.knowledge(output, batch.image_size)
        for name in task.methods:
            try:
                task.method_terms(name, student, supervised)
            except ValueError as error:
                raise ConfigError(
                    f"Method '{name}' cannot compare this student with this teacher: {error}",
                    where="pre-flight on the first training batch",
                    fix="Choose another method:  tutelage methods",
                    code="T29",
                ) from error


def _advice(task: Task, faults: Sequence[str], supervised: SupervisedBatch) -> str:
    broken = [fault for fault in faults if fault.startswith("the teacher")]
    if broken and all(fault in broken or " is nan " in fault for fault in faults):
        return "Mend the teacher, or use another one: it is broken before anything is compared."
    targets = supervised.batch.targets
    scores = [best_score(each, targets) for each in supervised.knowledge or ()]
    unsure = any(score is not None and score < UNSURE for score in scores)
    if unsure and any(fault.endswith(f"is 0 {ON_THE_BATCH}") for fault in faults):
        return (
            "The teacher finds nothing in these images, so that there is nothing to compare: "
            "train it on this data first."
        )
    frozen = any(not parameter.requires_grad for parameter in task.student.parameters())
    if frozen and any(fault.endswith(UNREACHED) for fault in faults):
        return "Freeze fewer rows with --freeze, or tap later ones with --student-kd-layers."
    return "Leave out the method's weight and options: the defaults are known to work."


def _box_faults(batch: Batch) -> Iterable[str]:
    """Report boxes outside the image: masks and assignments would be wrong."""
    xyxy = batch.targets.xyxy
    h, w = batch.image_size
    limit = xyxy.new_tensor([w, h, w, h])
    outside = ((xyxy < -EDGE * limit) | (xyxy > (1 + EDGE) * limit)).any(1)
    if outside.any():
        yield f"{int(outside.sum())} of {len(xyxy)} boxes lie outside their image of {w}×{h} px"


def _hidden_faults(task: Task) -> Iterable[str]:
    """Report modules and parameters in plain lists and dicts, which PyTorch does not register.

    The forward pass uses them, but no optimizer, device or file has them.
    """
    for name, method in task.methods.items():
        known = {id(x) for x in (*method.modules(), *method.parameters())}
        for owner, module in method.named_modules():
            for key, value in vars(module).items():
                if any(id(x) not in known for x in _trainable(value)):
                    yield (
                        f"{'.'.join(filter(None, (name, owner, key)))} is in a plain list or dict, "
                        "so that nothing trains it (use nn.ModuleList, nn.ModuleDict)"
                    )


def _trainable(value: object) -> Iterator[object]:
    """Yield trainable modules and parameters in lists, tuples and dicts, nested or not."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _trainable(item)
    own = value.parameters() if isinstance(value, nn.Module) else [value]
    if any(isinstance(p, nn.Parameter) and p.requires_grad for p in own):
        yield value


def _teacher_faults(knowledge: Sequence[Knowledge]) -> Iterable[str]:
    for each in knowledge:
        predictions = each.predictions
        if predictions is not None and not all(
            bool(x.isfinite().all()) for x in (predictions.xyxy, predictions.logits)
        ):
            yield "the teacher's predictions are not finite"
    features = [feature for each in knowledge for feature in each.features]
    for number, feature in enumerate(features):
        if not feature.numel():  # no method reads it: it is not stored
            continue
        if not bool(torch.isfinite(feature).all()):
            half = feature.dtype == torch.float16
            hint = " in half precision (--precision fp32 runs it in float32)" if half else ""
            yield f"the teacher's feature {number} is not finite{hint}"
        elif float(feature.detach().float().std()) == 0:
            yield f"the teacher's feature {number} is constant"
        if feature.requires_grad:
            yield f"the teacher's feature {number} carries a gradient"


def _term_faults(task: Task, supervised: SupervisedBatch) -> Iterable[str]:
    task.train()
    student = [p for p in task.student.parameters() if p.requires_grad]
    with buffers_restored(task):  # until the gradients are read: they need the buffers' values
        for name, value in _losses(task, supervised).distillation.items():
            number = float(value.detach())
            boxes = task.views[name.partition("/")[0]].of_targets(supervised.batch.targets)
            if number == 0 and not len(boxes.label):
                continue  # no box of the classes that this one of several teachers knows
            if not 0 < number < float("inf"):
                yield f"{name} is {number:g} {ON_THE_BATCH}"
                continue
            grads: Sequence[Tensor | None] = ()
            if value.requires_grad:
                grads = torch.autograd.grad(value, student, retain_graph=True, allow_unused=True)
            if not any(g is not None and bool(g.any()) and bool(g.isfinite().all()) for g in grads):
                yield f"the gradient of {name} {UNREACHED}"


def _losses(task: Task, supervised: SupervisedBatch) -> Losses:
    """Return the losses in the precision of the weights, unless the caller has set autocast.

    Accelerate's autocast is around the task's ``forward``. Without a gradient scaler the small
    gradients of a KD term would vanish in float16 although nothing is wrong.
    """
    return task.losses(task.student(supervised.batch.images, task.taps), supervised)


def _still_faults(task: Task, supervised: SupervisedBatch) -> Iterable[str]:
    """Take three steps of the methods alone and report parameters that did not change."""
    with torch.no_grad(), buffers_restored(task):
        output = task.train().student(supervised.batch.images, task.taps)
    student = task.knowledge(output, supervised.batch.image_size)
    probe = copy.deepcopy(task, {id(task.student): task.student})
    moving = {
        f"{name}.{own}": parameter
        for name, method in probe.methods.items()
        for own, parameter in cast("Method", method).trained_parameters().items()
    }
    if not moving:
        return
    # Adam without its epsilon: a step's size does not depend on the scale of the gradient
    optimizer = torch.optim.Adam(moving.values(), lr=1e-3, eps=1e-30)
    before = {name: parameter.detach().clone() for name, parameter in moving.items()}
    for _ in range(PROBE_STEPS):
        optimizer.zero_grad()
        terms = [
            term
            for name in probe.methods
            for term in probe.method_terms(name, student, supervised).values()
            if term.requires_grad
        ]
        if terms:
            torch.stack(terms).sum().backward()
        optimizer.step()
    for name, parameter in moving.items():
        if torch.equal(parameter, before[name]):
            yield f"{name} does not train"
