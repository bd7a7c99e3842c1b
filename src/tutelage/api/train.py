"""``tutelage.train``: the command as a function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from tutelage.api.arguments import One, Several, resolve_arguments
from tutelage.api.run import Run
from tutelage.api.shown import Shown, showing
from tutelage.config import ResolvedConfig
from tutelage.reports.after_run import with_report
from tutelage.run.events import Event, Finished, Planned
from tutelage.run.interrupt import RunInterrupted
from tutelage.run.run import run_training
from tutelage.setup.named_code import names_of_code


def train(
    data: One | None = None,
    *,
    cfg: One | None = None,
    weights: One | None = None,
    config: One | None = None,
    hyp: One | None = None,
    preset: str | None = None,
    single_cls: bool = False,
    teacher_weights: Several | None = None,
    method: str | Sequence[str] | None = None,
    ratio: float | None = None,
    student_kd_layers: Sequence[int | str] | None = None,
    teacher_kd_layers: Sequence[int | str] | None = None,
    epochs: int | None = None,
    batch_size: int | Literal["auto"] | None = None,
    img_size: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    seed: int | None = None,
    precision: str | None = None,
    optimizer: str | None = None,
    freeze: int | Sequence[int] | None = None,
    patience: int | None = None,
    multi_scale: bool = False,
    rect: bool = False,
    cache_images: bool = False,
    resume: One | None = None,
    dry_run: bool = False,
    allow_code: Several | None = None,
    set: Mapping[str, Any] | Sequence[str] | None = None,
    project: One | None = None,
    name: str | None = None,
    exist_ok: bool = False,
    show: Shown = "auto",
) -> Run:
    """Train a detector. Give it a teacher and it is distilled.

    The arguments are the options of ``tutelage train``, and like there what is left out has its
    default, or the value of the files that are given.

    Args:
        data: Data set: YOLO yaml, COCO json, VOC folder, or ``digits``.
        cfg: Architecture, as ``yolov7-tiny@0.25``, or its yaml.
        weights: Start from these weights.
        config: A run file; arguments override it.
        hyp: A hyper-parameter file of YOLOv7 or YOLOv5.
        preset: ``small``, ``v7-tiny``, …
        single_cls: Treat all classes as one.
        teacher_weights: The teacher: a run, a weight file, ``torchvision:…``, …; or several.
        method: How it teaches, as ``fgd`` or ``cwd:weight=5``; or several.
        ratio: KD's gradient over detection's at the taps.
        student_kd_layers: Layers of the student whose maps are compared.
        teacher_kd_layers: Layers of the teacher that they are compared with.
        epochs: Passes over the images.
        batch_size: Images per step; ``auto``: the most that fit.
        img_size: Longer side of the images, in pixels.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0``, ``mps``.
        workers: Loader processes.
        seed: Of everything random.
        precision: ``auto``, ``fp32``, ``fp16``, ``bf16``.
        optimizer: ``sgd``, ``adam``, ``adamw``.
        freeze: Rows of the network that do not train: 10 is rows 0 to 9.
        patience: Epochs without a better AP after which the run ends.
        multi_scale: Vary the image size by half.
        rect: Batches of similar shape, no mosaic.
        cache_images: Keep images in RAM.
        resume: Continue this run; all settings are those of the run.
        dry_run: Build everything, run all checks, take one step, stop.
        allow_code: Methods and teachers named in files, as ``my_kd:Mine``, that may be imported.
        set: Any other setting: ``{"optim.lr": 0.02}``.
        project: Parent of the run folders.
        name: Name of the run folder.
        exist_ok: Use the folder if it exists.
        show: ``auto``: a live bar in a notebook, nothing elsewhere. True: as on the command line.
            False: nothing.

    Raises:
        UserError: Anything that the caller can mend; its class says what family it is of.
        RunInterrupted: Ctrl-C, or the stop button of a notebook. Everything so far is saved;
            ``train(resume=folder)`` goes on.
    """
    resolved, resumed = resolve_arguments(locals())
    folder = resumed or ""
    with showing(show) as display:
        try:
            for event in training_events(resolved, resume=resumed, dry_run=dry_run):
                display.show(event)
                if isinstance(event, Planned):
                    folder = event.folder
        except RunInterrupted as stop:
            stop.add_note(f"To go on:  tutelage.train(resume={folder!r})")
            raise
    return Run(folder)


def training_events(
    resolved: ResolvedConfig,
    *,
    resume: str | None = None,
    dry_run: bool = False,
    notices: Sequence[str] = (),
    command_line: str = "",
) -> Iterator[Event]:
    """Train, and write the report at the end.

    Args:
        resolved: All settings with their origins.
        resume: A run folder to continue.
        dry_run: Build everything, run all checks, take one step, stop.
        notices: Lines to show first.
        command_line: For ``environment.txt``.

    Yields:
        The events of :func:`~tutelage.run.run.run_training`, and those of the report.

    Raises:
        UserError: Anything the user can mend.
        RunInterrupted: The run was stopped by Ctrl-C or SIGTERM, after a save.
    """
    events: Iterator[Event] = run_training(
        resolved.config,
        origins=resolved.origins,
        resume=resume,
        dry_run=dry_run,
        notices=(*notices, *resolved.notices),
        command_line=command_line,
    )
    if resolved.config.run.report:
        events = with_report(events, Finished, names_of_code(resolved.config))
    return events
