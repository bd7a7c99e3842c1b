"""Learning rate, momentum and KD weights of a run, from its settings."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.config.schema import Config, DistillConfig, MethodConfig
from tutelage.errors import ConfigError
from tutelage.setup.distillation import MethodBinding
from tutelage.training.schedule import Schedule, WeightSchedule, nominal_batch, warmup_steps


def make_schedule(
    config: Config, *, images: int, steps: int, bindings: Mapping[str, MethodBinding]
) -> Schedule:
    """Return the schedule of a run with ``steps`` batches per epoch and process."""
    train, optim, closing = config.train, config.optim, config.augment.close_mosaic
    return Schedule(
        epochs=train.epochs,
        steps=steps,
        batch=train.images,
        nominal_batch=nominal_batch(train.nominal_batch, images),
        warmup_steps=warmup_steps(train.epochs, steps, optim.warmup_epochs),
        lrf=optim.lrf,
        lr_shape=optim.schedule,
        momentum=optim.momentum,
        warmup_momentum=optim.warmup_momentum,
        warmup_bias_lr=optim.warmup_bias_lr,
        max_norm=train.max_norm,
        seed=train.seed,
        weight_schedules={
            name: _make_weight_schedule(binding.config, config.distill, train.epochs, steps)
            for name, binding in bindings.items()
        },
        every=_every(config, steps) if bindings else 1,
        close_from=train.epochs - closing if closing else None,
    )


def _every(config: Config, steps: int) -> int:
    """Return at which steps the methods act."""
    every, total = config.distill.every, config.train.epochs * steps
    if every > 1 and every > total // 2:
        what = f"distill.every={every}: the run has {total} steps, and would be taught at the first"
        fix = "For half of the cost of the teacher:  --set distill.every=2"
        raise ConfigError(f"{what} alone.", fix=fix, code="T28")
    return every


def _make_weight_schedule(
    method: MethodConfig, distill: DistillConfig, epochs: int, steps: int
) -> WeightSchedule:
    """Return the weight schedule of a method: its own settings, else those of the run."""
    warmup = distill.warmup_epochs if method.warmup_epochs is None else method.warmup_epochs
    stop = distill.stop_epoch if method.stop_epoch is None else method.stop_epoch
    end = epochs if stop is None else stop
    if end > epochs:
        raise ConfigError(
            f"'{method.name}' would stop at epoch {end}, but the run has {epochs} epochs.",
            fix="Leave stop_epoch out to teach to the end.",
            code="T28",
        )
    if warmup >= end:
        raise ConfigError(
            f"'{method.name}' would rise for {warmup:g} epochs and end with epoch {end}: "
            "it would never have its full weight.",
            fix="Lower warmup_epochs.",
            code="T28",
        )
    schedule = distill.schedule if method.schedule is None else method.schedule
    return WeightSchedule(schedule, round(warmup * steps), stop)
