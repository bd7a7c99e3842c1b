"""What was transferred: attention and disagreement of teacher and student on chosen images.

All maps are computed by the functions of the losses, so that a picture shows what was compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tutelage.comparison.detections import open_images
from tutelage.config import Config, load_config
from tutelage.data import DatasetIndex, evaluation_loader
from tutelage.data.opening import Split
from tutelage.distill import Method, Need, Pairs, View
from tutelage.distill.attention import attention
from tutelage.distill.iou_loss import overlap_loss
from tutelage.distill.masks import object_masks
from tutelage.distill.method import Resized
from tutelage.distill.methods.bckd import disagreement
from tutelage.distill.methods.box import BoxKD
from tutelage.distill.methods.fgd import FGD
from tutelage.distill.methods.ld import LD
from tutelage.distill.response import ResponseMethod, comparable_predictions
from tutelage.distill.scores import candidate_scores, class_scores, level_counts
from tutelage.distill.standardise import standardise
from tutelage.losses.boxes import at_least_float32
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import BEST, read_checkpoint, restore
from tutelage.reports.runs import read_run
from tutelage.run.preflight.teacher_scores import use_thresholds
from tutelage.run.training import FIRST
from tutelage.setup.distillation import DistillationSetup, bind_methods, load_teachers
from tutelage.structures import Batch, Knowledge, height_width
from tutelage.teachers.scale import in_student_frame
from tutelage.training.task import Task

Map = NDArray[np.float32]


class AttentionMaps(NamedTuple):
    """Attention of one pair of maps on one image.

    It is FGD's (:func:`~tutelage.distill.attention.attention`), read as the run's FGD reads it.
    Other methods compare something else of the same maps; they are shown as FGD's defaults read
    them. Standardised maps are so over the images shown, not over a batch of the training.

    The student's attention is that of its own map. Between equal widths this is what FGD compares.
    A student of another width is compared through a trained connector, which is left out: it
    belongs to the method, is no part of the student that is used, and none is stored that fits the
    first epoch. (In one run of 8 epochs on the built-in digits, student a quarter of yolov7-tiny,
    the correlation with the teacher's attention at stride 8 went from -0.07 before training to
    0.89; of the connected map, to 0.93.)

    Attributes:
        method: The method's name in the run.
        layers: Student's and teacher's layer.
        channels: Student's and teacher's channels.
        stride: Side of a cell in pixels of the canvas.
        teacher: ``(h, w)`` spatial attention, mean 1.
        first: That of the student after its first epoch; None: not stored.
        best: That of the best student.
        foreground: ``(h, w)`` FGD's weights inside boxes, 1 / cells of the box; else None.
        background: ``(h, w)`` FGD's weights outside boxes, summing to 1 or 0; else None.
        teacher_channels: ``(c,)`` channel attention, mean 1; None for unequal widths.
        first_channels: Likewise; also None if there is no ``first``.
        best_channels: Likewise.
    """

    method: str
    layers: tuple[str, str]
    channels: tuple[int, int]
    stride: float
    teacher: Map
    first: Map | None
    best: Map
    foreground: Map | None
    background: Map | None
    teacher_channels: Map | None
    first_channels: Map | None
    best_channels: Map | None

    @property
    def first_difference(self) -> Map | None:
        """``(h, w)`` absolute difference of the first student's attention and the teacher's."""
        return None if self.first is None else np.abs(self.first - self.teacher)

    @property
    def best_difference(self) -> Map:
        """``(h, w)`` absolute difference of the best student's attention and the teacher's."""
        return np.abs(self.best - self.teacher)


class DisagreementMaps(NamedTuple):
    """How far the predictions of student and teacher are apart, on one level of one image.

    The value of a cell is the largest of its candidates. A teacher with other candidates than the
    student is compared as in the loss, with its detections at the candidates that the student's
    detection loss assigns to them, see :mod:`~tutelage.distill.candidate_matching`.

    Attributes:
        method: The method's name in the run.
        quantity: What differs, in words.
        level: Position of the level, finest first.
        stride: Side of a cell in pixels of the canvas.
        first: ``(h, w)`` of the student after its first epoch; None: not stored.
        best: ``(h, w)`` of the best student.
    """

    method: str
    quantity: str
    level: int
    stride: float
    first: Map | None
    best: Map


class ImageTransfer(NamedTuple):
    """What was transferred on one image.

    Attributes:
        position: Its position in the index.
        canvas: ``(h, w, 3)`` uint8 RGB, the letterboxed image that the networks were shown.
        boxes: ``(n, 4)`` float32 corners in pixels of the canvas.
        labels: ``(n,)`` int64 classes.
        attention: Per method of features and pair of maps.
        disagreement: Per method of responses and level.
    """

    position: int
    canvas: NDArray[np.uint8]
    boxes: Map
    labels: NDArray[np.int64]
    attention: tuple[AttentionMaps, ...]
    disagreement: tuple[DisagreementMaps, ...]


class Transfer(NamedTuple):
    """What a run transferred.

    Attributes:
        names: Class names of the boxes.
        images: In the order in which they were asked for.
        skipped: One sentence per method of which there is no picture, with the reason.
    """

    names: tuple[str, ...]
    images: tuple[ImageTransfer, ...]
    skipped: tuple[str, ...]


class _Comparison(NamedTuple):
    """A batch and what the networks know of it."""

    batch: Batch
    teachers: tuple[Knowledge, ...]
    first: Knowledge | None
    best: Knowledge


def transferred(folder: Path, positions: Sequence[int], *, split: Split = "val") -> Transfer | None:
    """Compare teacher and student of a finished run on some images.

    One forward pass of each network on the CPU in float32, in evaluation mode. The images are
    letterboxed to squares, without augmentation. Nothing stays in memory but what is returned.

    Args:
        folder: The run folder.
        positions: Positions in the index of the split, one or more.
        split: The split of the run's data.

    Returns:
        None for a run without a teacher.

    Raises:
        UserError: Settings, weights, teacher or data are gone or do not fit each other.
    """
    config = load_config(config_file=folder / "config.yaml").config
    if not config.distill.teachers:
        return None
    index = open_images(config, split).subset(positions)
    student = restore(read_checkpoint(folder / BEST))
    teachers = load_teachers(config.distill, torch.device("cpu"))
    with torch.random.fork_rng(devices=[]):  # new connectors draw from it
        setup = bind_methods(config.distill, student, teachers)
    use_thresholds(setup.views, read_run(folder).teachers)
    with torch.inference_mode():
        batch = _load(index, config.train.image_size)
        comparison = _Comparison(
            batch=batch,
            teachers=_ask_teachers(setup, config, index, batch),
            first=_ask_first(folder / FIRST, setup, config, batch),
            best=_ask_student(student, setup, config, batch),
        )
        return _compare(setup, comparison, index.names, positions)


def _load(index: DatasetIndex, image_size: int) -> Batch:
    """Return all images of an index as one batch, letterboxed to squares."""
    loader = evaluation_loader(index, image_size=image_size, batch=len(index), workers=0)
    return next(iter(loader))


def _ask_teachers(
    setup: DistillationSetup, config: Config, index: DatasetIndex, batch: Batch
) -> tuple[Knowledge, ...]:
    """Return what the teachers know of a batch, or of the same images drawn larger for them."""
    zoom = config.distill.teacher_scale
    seen = batch if zoom == 1 else _load(index, round(zoom * config.train.image_size))
    answers = setup.teachers(seen.floating())
    return tuple(in_student_frame(answer, zoom) for answer in answers)


def _ask_student(
    student: GraphDetector, setup: DistillationSetup, config: Config, batch: Batch
) -> Knowledge:
    """Return what the methods compare of a student."""
    criterion = student.head.criterion(config.loss, image_size=config.train.image_size)
    task = Task(student, criterion, setup.methods, taps=setup.taps, views=setup.views).eval()
    return task.knowledge(student(batch.floating().images, setup.taps), batch.image_size)


def _ask_first(
    path: Path, setup: DistillationSetup, config: Config, batch: Batch
) -> Knowledge | None:
    """Return what the methods compare of the student after its first epoch, if it was stored."""
    if not path.exists():
        return None
    return _ask_student(restore(read_checkpoint(path)), setup, config, batch)


def _compare(
    setup: DistillationSetup,
    comparison: _Comparison,
    names: tuple[str, ...],
    positions: Sequence[int],
) -> Transfer:
    """Return the maps of all methods, by image."""
    attentions: list[tuple[AttentionMaps, ...]] = []  # per map, of all images
    disagreements: list[tuple[DisagreementMaps, ...]] = []
    skipped: list[str] = []
    for name, method in setup.methods.items():
        view = setup.views[name]
        inner = method.method if isinstance(method, Resized) else method
        reason = _why_no_disagreement(inner, comparison.best)
        if Need.FEATURES in inner.needs:
            pairs = setup.bindings[name].pairs
            attentions += _attention_maps(name, method, inner, pairs, view, comparison)
        elif reason:
            skipped.append(f"{name}: {reason}")
        if not reason:
            disagreements += _disagreement_maps(name, inner, view, comparison)
    targets = comparison.batch.targets
    canvases = comparison.batch.images.permute(0, 2, 3, 1)
    images = tuple(
        ImageTransfer(
            position=int(position),
            canvas=_array(canvases[number]),
            boxes=_array(targets.xyxy[targets.image == number]),
            labels=_array(targets.label[targets.image == number]),
            attention=tuple(maps[number] for maps in attentions),
            disagreement=tuple(maps[number] for maps in disagreements),
        )
        for number, position in enumerate(positions)
    )
    return Transfer(names, images, tuple(skipped))


def _attention_maps(
    name: str, method: Method, inner: Method, pairs: Pairs, view: View, comparison: _Comparison
) -> Iterator[tuple[AttentionMaps, ...]]:
    """Yield the maps of all images for each pair that a method compares.

    Args:
        name: The method's name in the run.
        method: The method.
        inner: The method itself, if it is inside :class:`Resized`.
        pairs: Its layers.
        view: Its maps, teacher and classes.
        comparison: What the networks know.
    """
    batch = comparison.batch
    reading = inner if isinstance(inner, FGD) else FGD(())
    taught = view.of_teacher(comparison.teachers).features
    best = view.of_student(comparison.best).features
    first = comparison.first and view.of_student(comparison.first).features
    students_grid = isinstance(method, Resized) and method.side == "teacher"
    for number, (ours, theirs) in enumerate(zip(pairs.student, pairs.teacher, strict=True)):
        cells = height_width(best[number] if students_grid else taught[number])
        teacher, teacher_channels = _read(reading, taught[number], cells)
        final, final_channels = _read(reading, best[number], cells)
        early, early_channels = _read(reading, first[number], cells) if first else (None, None)
        comparable = ours.channels == theirs.channels
        foreground = background = None
        if isinstance(inner, FGD):
            boxes = view.of_targets(batch.targets)
            masks = object_masks(boxes, len(batch.ids), cells, batch.image_size)
            foreground, background = (_array(mask[:, 0]) for mask in masks)
        yield tuple(
            AttentionMaps(
                method=name,
                layers=(ours.key, theirs.key),
                channels=(ours.channels, theirs.channels),
                stride=batch.image_size[0] / cells[0],
                teacher=teacher[image],
                first=_of(early, image),
                best=final[image],
                foreground=_of(foreground, image),
                background=_of(background, image),
                teacher_channels=teacher_channels[image] if comparable else None,
                first_channels=_of(early_channels, image) if comparable else None,
                best_channels=final_channels[image] if comparable else None,
            )
            for image in range(len(batch.ids))
        )


def _read(reading: FGD, x: Tensor, cells: tuple[int, int]) -> tuple[Map, Map]:
    """Return spatial ``(b, h, w)`` and channel ``(b, c)`` attention of a map as FGD reads it.

    Args:
        reading: The method whose temperature and standardisation are used.
        x: ``(b, c, y, x)``.
        cells: Height and width h, w; other maps are resized, as in :class:`Resized`.
    """
    x = at_least_float32(x)
    if height_width(x) != cells:
        x = F.interpolate(x, cells, mode="bilinear")
    spatial, channels = attention(standardise(x) if reading.standardise else x, reading.temperature)
    return _array(spatial[:, 0]), _array(channels[..., 0, 0])


def _why_no_disagreement(method: nn.Module, student: Knowledge) -> str:
    """Return why no map of the disagreement can be drawn; empty if one can."""
    if not isinstance(method, ResponseMethod):
        return "it compares neither features nor the predictions candidate by candidate"
    if isinstance(method, LD):
        return "it compares distributions over the positions of sides, not scores"
    if student.predictions is None or student.predictions.grids is None:
        return "the candidates of the student belong to no cells"
    return ""


def _disagreement_maps(
    name: str, method: nn.Module, view: View, comparison: _Comparison
) -> Iterator[tuple[DisagreementMaps, ...]]:
    """Yield the maps of all images for each level."""
    teacher = view.of_teacher(comparison.teachers)
    best = _disagreement(method, view.of_student(comparison.best), teacher)
    first = None
    if comparison.first is not None:
        first = _disagreement(method, view.of_student(comparison.first), teacher)
    quantity = "largest difference of a class score"
    if isinstance(method, BoxKD):
        quantity = "difference of the boxes × the teacher's score"
    for level, final in enumerate(best):
        yield tuple(
            DisagreementMaps(
                method=name,
                quantity=quantity,
                level=level,
                stride=comparison.batch.image_size[0] / final.shape[1],
                first=None if first is None else first[level][image],
                best=final[image],
            )
            for image in range(len(final))
        )


def _disagreement(method: nn.Module, student: Knowledge, teacher: Knowledge) -> list[Map]:
    """Return ``(b, h, w)`` per level: the largest value of the candidates of each cell."""
    s, t = comparable_predictions(student, teacher)
    if isinstance(method, BoxKD):
        values = overlap_loss(s.xyxy, t.xyxy, method.overlap) * candidate_scores(t)
    else:
        values = disagreement(class_scores(s), class_scores(t))
    levels = zip(values.split(level_counts(s), 1), s.grids or (), strict=True)
    return [_array(level.unflatten(1, (-1, *cells)).amax(1)) for level, cells in levels]


def _of(maps: NDArray[Any] | None, image: int) -> NDArray[Any] | None:
    """Return the map of one image, if there are any."""
    return None if maps is None else maps[image]


def _array(tensor: Tensor) -> NDArray[Any]:
    """Return a copy, so that no network's output stays in memory."""
    return np.array(tensor.numpy(), order="C")
