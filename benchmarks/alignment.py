"""Does a step of a method lower the detection loss on other images?

    python benchmarks/alignment.py --config benchmarks/deeppcb.yaml --data D --teacher-weights T \
                                   [--method fgd] [--ratio 1] [--watch bckd pkd cwd] [--epochs 20]

Trains a student with one method and watches others, which have no weight. After each epoch named by
``--every`` it prints for each of them, from batches of 8 that no step has seen:

- ``cosine`` of the mean gradients of the method and of detection over the weights that both reach,
  estimated from pairs of different batches, so that neither noise nor shared images count;
- ``coherence``: how much of a batch's squared gradient all batches have in common.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tutelage.config.load import load_config
from tutelage.config.schema import MethodConfig
from tutelage.run.kd_weights import batches_with_boxes
from tutelage.setup.build import RunParts, build_run
from tutelage.training.gradient_ratio import apply_weights, buffers_restored, measure_weights
from tutelage.training.loop import EpochEnded, fit
from tutelage.training.supervision import SupervisedBatch

BATCHES = 12


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("config", "data", "teacher-weights"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--method", default="fgd")
    parser.add_argument("--ratio", type=float, default=1.0)
    parser.add_argument("--watch", nargs="*", default=["bckd", "pkd", "cwd"])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--every", type=int, default=3)
    options = parser.parse_args()
    methods = [MethodConfig(name=name) for name in (options.method, *options.watch)]
    flags = {
        "data": options.data,
        "distill.teacher": options.teacher_weights,
        "distill.methods": [method.model_dump() for method in methods],
        "train.epochs": options.epochs,
    }
    loaded = load_config(
        config_file=options.config, flags={key: (value, "") for key, value in flags.items()}
    )
    parts = build_run(loaded.config)
    parts.unwrapped_task.weights.update(dict.fromkeys(options.watch, 0.0))
    weigh(parts, options.method, options.ratio, 0)
    events = fit(
        parts.accelerator,
        parts.task,
        parts.supervision,
        parts.optimizer,
        parts.ema,
        parts.loader,
        parts.schedule,
    )
    for event in events:
        if isinstance(event, EpochEnded) and event.epoch % options.every == 0:
            weigh(parts, options.method, options.ratio, event.epoch + 1)
            for name, (cosine, coherence, detection) in alignment(parts, event.epoch).items():
                print(
                    f"epoch {event.epoch + 1:>3}  {name:<12} cosine {cosine:+.2f}  coherence "
                    f"{coherence:.2f} (detection {detection:.2f})",
                    flush=True,
                )


def weigh(parts: RunParts, method: str, ratio: float, number: int) -> None:
    """Measure and set the weight of the method that teaches."""
    task, teachers = parts.unwrapped_task, parts.distillation.teachers
    batches = batches_with_boxes(parts, 2 * BATCHES, 1 + 2 * number, number)
    reading = measure_weights(task, teachers, batches, {method: ratio})
    apply_weights(task, reading)


def alignment(parts: RunParts, epoch: int) -> dict[str, tuple[float, float, float]]:
    """Return cosine, coherence and detection's coherence of each method."""
    task, teachers = parts.unwrapped_task, parts.distillation.teachers
    weights, rows = dict(task.weights), []
    task.train()
    task.weights.update(dict.fromkeys(weights, 1.0))
    with buffers_restored(task):
        for raw in batches_with_boxes(parts, BATCHES, 2 + 2 * epoch, epoch + 1):
            batch = raw.floating()
            output = task.student(batch.images, task.taps)
            losses = task.losses(output, SupervisedBatch(batch, teachers(batch)))
            terms = {"detection": list(losses.detection.values())}
            for name in task.methods:
                found = losses.distillation.items()
                terms[name] = [value for key, value in found if key.startswith(f"{name}/")]
            rows.append({name: gradient(task.student, values) for name, values in terms.items()})
    task.weights.update(weights)
    return {name: compare(rows, name) for name in task.methods}


def compare(rows: Sequence[Mapping[str, Tensor]], name: str) -> tuple[float, float, float]:
    """Return cosine, coherence and detection's coherence from a gradient per batch."""
    method = torch.stack([row[name] for row in rows])
    reached = method.abs().sum(0) > 0
    method = method[:, reached]
    detection = torch.stack([row["detection"] for row in rows])[:, reached]
    own, other = between(method, method), between(detection, detection)
    cosine = between(method, detection) / max(own * other, 0.0) ** 0.5 if own * other > 0 else 0.0
    squares = [float(x.square().sum(1).mean()) for x in (method, detection)]
    return cosine, own / squares[0], other / squares[1]


def between(a: Tensor, b: Tensor) -> float:
    """Return the mean product of the rows of two tensors that are of different batches."""
    products = a @ b.T
    count = len(products)
    return float((products.sum() - products.diagonal().sum()) / (count * (count - 1)))


def gradient(student: torch.nn.Module, terms: Sequence[Tensor]) -> Tensor:
    """Return the gradient of a sum of terms at all weights, as one vector."""
    parameters = [p for p in student.parameters() if p.requires_grad]
    total = torch.stack(list(terms)).sum()
    found = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
    filled = (
        torch.zeros_like(parameter) if grad is None else grad
        for grad, parameter in zip(found, parameters, strict=True)
    )
    return torch.cat([grad.flatten().double() for grad in filled])


if __name__ == "__main__":
    main()
