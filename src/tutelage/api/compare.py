"""``tutelage.compare``: the command as a function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from tutelage.api.arguments import One, Several, listed, resolve_arguments
from tutelage.api.run import Run
from tutelage.api.shown import Shown, showing
from tutelage.comparison.arms import ComparisonPlan, plan_comparison
from tutelage.comparison.run import ComparisonEvent, ComparisonFinished, run_comparison
from tutelage.comparison.stored import FINISHED, state_of
from tutelage.comparison.table import ArmRow, table_cells
from tutelage.display.comparison import CompareDisplay
from tutelage.display.html_table import html_table
from tutelage.errors import TrainingError
from tutelage.reports.after_run import with_report
from tutelage.run.events import Notice
from tutelage.setup.named_code import names_of_code
from tutelage.trackers import with_tracked_report


class Comparison(NamedTuple):
    """The result of a comparison.

    Attributes:
        folder: Its folder, with the runs and ``report.html``.
        split: The split that the runs were compared on.
        teachers: AP of each teacher that has all classes.
        arms: A row per arm: the baseline, then the others by falling gain.
        notes: How to read them.
        runs: The finished runs by the name of their folder, as ``fgd-s0``.
    """

    folder: Path
    split: str
    teachers: Mapping[str, float]
    arms: tuple[ArmRow, ...]
    notes: tuple[str, ...]
    runs: Mapping[str, Run]

    @property
    def verdict(self) -> tuple[str, ...]:
        """The effect of each arm in a sentence, with its interval."""
        return tuple(row.sentence for row in self.arms if row.sentence)

    def __fspath__(self) -> str:
        """Return the path of its folder."""
        return str(self.folder)

    def _repr_html_(self) -> str:
        """Return the table, what it says, and how to read it."""
        table = html_table(table_cells(self.arms, self.teachers))
        lines = Markup("").join(Markup("<div>{}</div>").format(text) for text in self.verdict)
        notes = Markup("").join(
            Markup('<div style="opacity:.7">{}</div>').format(text) for text in self.notes
        )
        return str(Markup("<div>{}{}{}</div>").format(table, lines, notes))


def compare(
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
    ratio: float | Sequence[float] | None = None,
    epochs_share: float | None = None,
    student_kd_layers: Sequence[int | str] | None = None,
    teacher_kd_layers: Sequence[int | str] | None = None,
    seeds: int | None = None,
    seed_list: Sequence[int] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    img_size: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    precision: str | None = None,
    optimizer: str | None = None,
    freeze: int | Sequence[int] | None = None,
    patience: int | None = None,
    multi_scale: bool = False,
    rect: bool = False,
    cache_images: bool = False,
    time: bool = False,
    allow_code: Several | None = None,
    set: Mapping[str, Any] | Sequence[str] | None = None,
    track: str | Sequence[str] | None = None,
    project: One | None = None,
    name: str | None = None,
    show: Shown = "auto",
) -> Comparison:
    """Train without a teacher and with each method, at equal seeds, and compare.

    The same call goes on where an earlier one was stopped. Each run is a process of its own: as
    always with :mod:`multiprocessing`, a script that calls this needs
    ``if __name__ == "__main__":``. Finished runs are compared by :func:`tutelage.report`.

    Args:
        data: Data set: YOLO yaml, COCO json, VOC folder, or ``digits``.
        cfg: Architecture, as ``yolov7-tiny@0.25``, or its yaml.
        weights: Start from these weights.
        config: A run file; arguments override it.
        hyp: A hyper-parameter file of YOLOv7 or YOLOv5.
        preset: ``small``, ``v7-tiny``, …
        single_cls: Treat all classes as one.
        teacher_weights: The teacher, or several.
        method: An arm each, as ``fgd`` or ``fgd+bckd``; None: one arm with the default.
        ratio: Arms with each of these gradient ratios.
        epochs_share: 0.6: arms also with 60 % of the epochs.
        student_kd_layers: Layers of the student whose maps are compared.
        teacher_kd_layers: Layers of the teacher that they are compared with.
        seeds: Seeds 0 to n-1; None: 3.
        seed_list: The seeds themselves.
        epochs: Passes over the images.
        batch_size: Images per step.
        img_size: Longer side of the images, in pixels.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:0``, ``mps``.
        workers: Loader processes.
        precision: ``auto``, ``fp32``, ``fp16``, ``bf16``.
        optimizer: ``sgd``, ``adam``, ``adamw``.
        freeze: Rows of the network that do not train.
        patience: Epochs without a better AP after which a run ends.
        multi_scale: Vary the image size by half.
        rect: Batches of similar shape, no mosaic.
        cache_images: Keep images in RAM.
        time: At the end, time the steps of all arms in turn.
        allow_code: Methods and teachers named in files that may be imported.
        set: Any other setting: ``{"optim.lr": 0.02}``.
        track: ``tensorboard``, ``mlflow``, ``wandb``, ``trackio``, or several.
        project: Parent of the comparison's folder.
        name: Name of the comparison's folder.
        show: ``auto``: a live bar in a notebook, nothing elsewhere. True: as on the command line.
            False: nothing.

    Raises:
        TrainingError: Some runs failed; the same call tries them again.
        UserError: Anything else that the caller can mend.
        RunInterrupted: Ctrl-C, or the stop button of a notebook; the same call goes on.
    """
    given = locals()
    own = ("method", "ratio", "epochs_share", "seeds", "seed_list")
    resolved, _ = resolve_arguments({k: v for k, v in given.items() if k not in own})
    plan = plan_comparison(
        resolved.config,
        methods=listed(method),
        ratios=[f"{each:g}" for each in _several(ratio)],
        epochs_share=None if epochs_share is None else f"{epochs_share:g}",
        seeds=None if seeds is None else str(seeds),
        seed_list=None if seed_list is None else ",".join(map(str, seed_list)),
    )
    finished = None
    with showing(show, lambda: CompareDisplay(as_json=False, quiet=False)) as display:
        for text in resolved.notices:
            display.show(Notice("info", text))
        events = run_comparison(plan, origins=resolved.origins, time=time)
        for event in with_comparison_report(events, plan):
            display.show(event)  # pyright: ignore[reportArgumentType]
            if isinstance(event, ComparisonFinished):
                finished = event
    assert finished is not None  # noqa: S101  (the last event)
    if finished.failed:
        faults = "; ".join(f"{name}: {text}" for name, text in finished.failed.items())
        raise TrainingError(
            f"{len(finished.failed)} of {len(plan.runs())} runs failed. {faults}",
            where=finished.folder,
            fix="The same call tries them again.",
            code="R26",
        )
    return Comparison(
        Path(finished.folder),
        finished.split,
        finished.teachers,
        finished.rows,
        finished.notes,
        {run.folder.name: Run(run.folder) for run in plan.runs() if state_of(run) == FINISHED},
    )


def with_comparison_report(
    events: Iterator[ComparisonEvent], plan: ComparisonPlan
) -> Iterator[ComparisonEvent]:
    """Yield the events of a comparison; before the last its report is written and tracked."""
    if plan.config.run.report:
        events = with_report(events, ComparisonFinished, names_of_code(plan.config))
    return with_tracked_report(events, ComparisonFinished, plan.config)


def _several(value: float | Sequence[float] | None) -> Sequence[float]:
    if value is None:
        return ()
    return [value] if isinstance(value, int | float) else value
