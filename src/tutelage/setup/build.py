"""Builds all parts of a run from its settings."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from accelerate.state import AcceleratorState
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from tutelage.config.schema import Config, DistillConfig
from tutelage.data import DatasetIndex, evaluation_loader, open_splits, training_loader
from tutelage.data.check.faint_images import check_some_images
from tutelage.data.loader import Stores
from tutelage.data.sampler import Views
from tutelage.distill import Need
from tutelage.errors import ConfigError, DataError
from tutelage.evaluation.device import choose_device
from tutelage.models.detector import check_image_size
from tutelage.models.graph import GraphDetector
from tutelage.setup.autoanchor import choose_anchors
from tutelage.setup.cpu_threads import choose_threads, choose_workers
from tutelage.setup.distillation import (
    DistillationSetup,
    bind_methods,
    load_teachers,
)
from tutelage.setup.distributed import check_batch, synchronise
from tutelage.setup.few_images import advise_preset
from tutelage.setup.pictures import extra_images
from tutelage.setup.schedule import make_schedule
from tutelage.setup.student import StudentOrigin, make_student
from tutelage.setup.teacher_runtime import check_runtime
from tutelage.setup.teaching import Teaching, plan_teaching, without_effect
from tutelage.setup.unlabelled import open_unlabelled
from tutelage.setup.unused_settings import unused_loss_settings
from tutelage.teachers.scale import canvas_step, check_enlarged_size
from tutelage.training.ema import make_ema
from tutelage.training.optimizer import freeze_rows, make_optimizer
from tutelage.training.schedule import Schedule
from tutelage.training.supervision import TeacherSupervision
from tutelage.training.task import Task

LARGE = 1_000_000  # parameters from which on AMX makes bfloat16 faster
TOLD = ("path-elsewhere", "class-left-out")  # facts about data that are shown before a run


@dataclass(frozen=True)
class RunParts:
    """All parts of a run, prepared."""

    config: Config
    accelerator: Accelerator
    train: DatasetIndex
    val: DatasetIndex
    unlabelled: DatasetIndex | None
    student: GraphDetector
    start: str
    anchors: str
    distillation: DistillationSetup | None
    teaching: Teaching
    supervision: TeacherSupervision | None
    task: nn.Module
    unwrapped_task: Task
    optimizer: Optimizer
    ema: AveragedModel
    loader: Any
    val_loader: Any
    schedule: Schedule
    stride: int
    workers: int
    precision: str
    notices: tuple[str, ...]

    @property
    def teacher_records(self) -> tuple[dict[str, Any], ...]:
        """Identity and scores of each teacher."""
        return self.distillation.records if self.distillation else ()


def build_run(
    config: Config,
    origins: Mapping[str, str] | None = None,
    *,
    student_origin: StudentOrigin | None = None,
    keep_threads: bool = False,
    trial: bool = False,
    stores: bool = False,
    view_count: int | None = None,
    flips: bool | None = None,
    precision: str | None = None,
) -> RunParts:
    """Build everything that a run needs.

    Args:
        config: All settings.
        origins: Where each came from, for messages.
        student_origin: The student with which a resumed run began; its number of CPU threads is
            already set.
        keep_threads: Do not change the number of CPU threads.
        trial: The batch size is not that of the run, and not checked.
        stores: Read what the teachers said from stores, and write there.
        view_count: The views per image with which a resumed run began; 0: none.
        flips: Whether a resumed run flips its views anew.
        precision: That of a resumed run; ``auto`` keeps to it on the CPU.

    Raises:
        UserError: Data, model, teacher, layers, image size or device cannot be used.
    """
    if config.data is None:
        raise ConfigError(
            "No data set is given.",
            fix="Add  --data data.yaml  (or the built-in:  --data digits).",
            code="C26",
        )
    began = precision
    accelerator, precision = make_accelerator(config.train.device, config.train.precision)
    with accelerator.local_main_process_first():  # the others use its cache
        train, val = open_splits(
            config.data,
            "train",
            "val",
            single_class=config.train.single_cls,
            classes=config.train.classes,
            image_range=config.train.image_range,
        )
        train, val = (_with_faint_images(index) for index in (train, val))
    if not len(train.boxes):
        raise DataError(
            f"No training image of {config.data} has a box.",
            fix="Check the label files.",
            code="D26",
        )
    student, start = make_student(config, train.names, origins, student_origin)
    check_image_size(config.train.image_size, max(student.strides))
    if config.train.precision == "auto" and trains_in_bfloat16(accelerator, student, began):
        accelerator, precision = make_accelerator(config.train.device, "bf16")
    share = accelerator.process_index, accelerator.num_processes
    if not trial:
        check_batch(config.train, max(student.strides), len(train), share[1])
    head_state = student_origin.head if student_origin else None
    anchors = choose_anchors(student, train, config, head_state)
    findings = dict.fromkeys(f.message for f in (*train.findings, *val.findings) if f.code in TOLD)
    notices = [*findings, *without_effect(config)]
    if student_origin is None:  # the settings of a resumed run all come from its file
        notices += unused_loss_settings(student, config, origins)
    frozen = freeze_rows(student, config.train.freeze)
    if frozen:
        notices.append(f"{frozen:,} parameters are frozen (train.freeze)")
    distillation, stride = None, max(student.strides)
    if config.distill.teacher:
        check_runtime(config, accelerator.device)
        half = halves_teachers(accelerator.device, precision)
        teachers = load_teachers(config.distill, accelerator.device, origins, half=half)
        distillation = bind_methods(config.distill, student, teachers, origins)
        zoom, own = config.distill.teacher_scale, max(student.strides)
        check_enlarged_size(config.train.image_size, own, distillation.teachers.stride, zoom)
        stride = canvas_step(own, distillation.teachers.stride, zoom)

    if accelerator.device.type == "cpu" and student_origin is None and not keep_threads:
        size, images = config.train.image_size, config.train.images
        torch.set_num_threads(choose_threads(config.train.threads, student, size, images))
    workers = choose_workers(config.train.workers, accelerator.device)
    unlabelled = open_unlabelled(config, val)
    teaching = plan_teaching(
        config,
        distillation,
        (train, unlabelled),
        accelerator,
        stores=stores,
        view_count=view_count,
        flips=flips,
    )
    loader = make_training_loader(
        config,
        train,
        batch=config.train.images,
        workers=workers,
        stride=stride,
        unlabelled=unlabelled,
        share=share,
        views=teaching.views,
        stores=teaching.readers,
    )
    notices += teaching.notes
    notices += advise_preset(config, origins, len(train), config.train.epochs * len(loader))
    distillation = teaching.enlarge(config, loader.dataset)
    if distillation is not None:  # what the checks ask is timed, too
        distillation = distillation._replace(teachers=distillation.teachers.timed())
    task = Task(
        student.to(memory_format=torch.channels_last),
        student.head.criterion(config.loss, image_size=config.train.image_size),
        distillation.methods if distillation else None,
        distillation.weights if distillation else None,
        distillation.taps if distillation else (),
        distillation.views if distillation else None,
    )
    schedule = make_schedule(
        config,
        images=len(train),
        steps=len(loader),
        bindings=distillation.bindings if distillation else {},
    )
    optimizer = make_optimizer(task, config.optim, schedule.decay_scale)
    task.to(accelerator.device)
    ema = make_ema(student, config.train.ema_decay, config.train.ema_ramp, config.train.ema_share)
    if config.train.sync_bn:
        synchronise(student, accelerator.device.type, accelerator.num_processes)
    # channels-last has two names for the strides of 1×1 convolutions; the copy costs nothing
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    supervision = None
    if distillation:
        first_unlabelled = len(train) if unlabelled is not None else None
        supervision = _make_supervision(config.distill, distillation, first_unlabelled)
    prepared, optimizer = accelerator.prepare(task, optimizer)
    return RunParts(
        config=config,
        accelerator=accelerator,
        train=train,
        val=val,
        unlabelled=unlabelled,
        student=student,
        start=start,
        anchors=anchors,
        distillation=distillation,
        teaching=teaching,
        supervision=supervision,
        task=prepared,
        unwrapped_task=task,
        optimizer=optimizer,
        ema=ema,
        loader=prepare_data_loader(  # each process has its part already
            loader, accelerator.device, num_processes=1, process_index=0, put_on_device=True
        ),
        val_loader=evaluation_loader(
            val,
            image_size=config.train.image_size,
            batch=2 * max(config.train.images // share[1], 1),
            workers=workers,
            rect=config.train.rect,
            stride=stride,
            share=share,
        ),
        schedule=schedule,
        stride=stride,
        workers=workers,
        precision=precision,
        notices=tuple(notices),
    )


def halves_teachers(device: torch.device, precision: str) -> bool:
    """Whether teachers run in half precision."""
    return device.type == "cuda" and precision != "fp32"


def _with_faint_images(index: DatasetIndex) -> DatasetIndex:
    """Add the finding of images whose values hardly differ as they are read."""
    found = check_some_images(index, "--set train.image_range=")
    return replace(index, findings=(*index.findings, *found))


def make_accelerator(device: str, precision: str) -> tuple[Accelerator, str]:
    """Return an Accelerator, and the precision with ``auto`` resolved.

    Raises:
        ConfigError: This machine has no such device.
    """
    where = choose_device(device)
    if precision == "auto":
        half = "bf16" if where.type == "cuda" and torch.cuda.is_bf16_supported() else "fp16"
        precision = half if where.type == "cuda" else "fp32"
    if precision == "fp16" and where.type == "cpu":
        raise ConfigError(
            "--precision fp16 needs a GPU.", fix="Use fp32 or bf16 on the CPU.", code="C30"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        # Accelerate keeps one state per process; a second run may have another precision or device.
        AcceleratorState._reset_state(reset_partial_state=True)
    if where.index is not None:
        torch.cuda.set_device(where)
    accelerator = Accelerator(
        cpu=where.type == "cpu", mixed_precision="no" if precision == "fp32" else precision
    )
    return accelerator, precision


def precision_of_checks(accelerator: Accelerator) -> AbstractContextManager[None]:
    """The precision of what is computed beside the training: checks, the weights of the methods.

    That of training where it is bfloat16, so that nothing takes more memory than the training
    does; else float32: without a gradient scaler small gradients would vanish in float16.
    """
    return accelerator.autocast() if accelerator.mixed_precision == "bf16" else nullcontext()


def trains_in_bfloat16(accelerator: Accelerator, student: nn.Module, began: str | None) -> bool:
    """Whether ``precision: auto`` is bfloat16 on this processor.

    Processors with AMX are faster in it, unless the network is small (docs/benchmarks.md). A
    resumed run stays as it began. Several processes may have different processors: float32.

    Args:
        accelerator: Devices and processes.
        student: The network to train.
        began: The precision of a resumed run; None for a new one.
    """
    if accelerator.device.type != "cpu" or accelerator.num_processes > 1:
        return False
    if began is not None:
        return began == "bf16"
    size = sum(parameter.numel() for parameter in student.parameters())
    return bool(torch.cpu.get_capabilities().get("amx_bf16")) and size >= LARGE


def make_training_loader(
    config: Config,
    index: DatasetIndex,
    *,
    batch: int,
    workers: int,
    stride: int = 32,
    seed: int | None = None,
    unlabelled: DatasetIndex | None = None,
    share: tuple[int, int] = (0, 1),
    views: Views | None = None,
    stores: Stores = Stores(),  # noqa: B008  (an immutable NamedTuple)
    cache: bool = True,
) -> Any:
    """Return the loader of the training images.

    Args:
        config: All settings.
        index: The training images.
        batch: Images per batch, over all processes.
        workers: Loader processes.
        stride: Canvas sides of rect batches are multiples of it.
        seed: Replaces the seed of the run.
        unlabelled: Images without labels to mix in.
        share: Rank and number of the processes.
        views: The views of the images.
        stores: Where the teachers' answers about them are stored.
        cache: Keep decoded images in RAM if the settings say so.
    """
    closing = config.augment.close_mosaic
    extra = extra_images(config, min(batch, len(index)))
    return training_loader(
        index,
        image_size=config.train.image_size,
        batch=batch,
        augment=config.augment,
        seed=config.train.seed if seed is None else seed,
        workers=workers,
        cache=config.train.cache_images == "ram" and cache,
        cache_gib=config.train.cache_gib,
        unreadable=config.train.unreadable,
        rect=config.train.rect,
        close_from=config.train.epochs - closing if closing else None,
        stride=stride,
        unlabelled=unlabelled,
        extra=extra if unlabelled is not None else 0,
        share=share,
        views=views,
        stores=stores,
    )


def _make_supervision(
    config: DistillConfig, distillation: DistillationSetup, first_unlabelled: int | None
) -> TeacherSupervision:
    """Return the supervision by the teachers."""
    return TeacherSupervision(
        distillation.teachers.timed(),
        distillation.columns,
        pick=config.combine == "pick" and len(distillation.teachers.teachers) > 1,
        first_unlabelled=first_unlabelled,
        pseudo_label=config.pseudo_label,
        needs={
            name: (binding.teacher, Need.PREDICTIONS in distillation.methods[name].needs)
            for name, binding in distillation.bindings.items()
        },
    )
