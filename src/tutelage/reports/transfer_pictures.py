"""The pictures of what was transferred: six images, their masks, attention and disagreement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from tutelage.data import DatasetIndex
from tutelage.data.draw_boxes import colour_of, draw_boxes
from tutelage.evaluation.coco import Table
from tutelage.pages import data_uri
from tutelage.reports.chosen_images import ChosenImage, choose_images
from tutelage.reports.runs import RunFiles
from tutelage.reports.side_by_side import QUALITY
from tutelage.reports.transfer import (
    AttentionMaps,
    DisagreementMaps,
    ImageTransfer,
    transferred,
)
from tutelage.sanitise import score_text

SIDE = 320  # pixels of an image, at most
COLOURS = "viridis"


class MapPicture(NamedTuple):
    """A map with its caption, as a data URI."""

    caption: str
    source: str


class MapRow(NamedTuple):
    """The maps of one method on one level."""

    title: str
    maps: tuple[MapPicture, ...]


class TransferPicture(NamedTuple):
    """An image, why it was chosen, and its maps."""

    title: str
    image: str
    rows: tuple[MapRow, ...]


def transfer_pictures(
    run: RunFiles, index: DatasetIndex, table: Table, baseline: Table | None
) -> tuple[list[TransferPicture], tuple[str, ...]]:
    """Return the pictures of a run with a teacher, and sentences about methods without any.

    Args:
        run: The run.
        index: Its val images.
        table: Its detections on them.
        baseline: Those of the baseline on the same images; None: there is none.

    Raises:
        UserError: Data, weights or teacher are gone.
    """
    chosen = choose_images(index, table, baseline)
    if not chosen:
        return [], ()
    found = transferred(run.folder, [each.position for each in chosen])
    if found is None:
        return [], ()
    pictures = [
        TransferPicture(_title(index, why), _canvas(image), tuple(_rows(image)))
        for why, image in zip(chosen, found.images, strict=True)
    ]
    return [each for each in pictures if each.rows], found.skipped


def _title(index: DatasetIndex, chosen: ChosenImage) -> str:
    quality = score_text(chosen.quality)
    if chosen.baseline_quality is not None:
        quality = f"{score_text(chosen.baseline_quality)} → {quality}"
    return f"{index.name(chosen.position)}: {chosen.reason} (F1 {quality})"


def _canvas(image: ImageTransfer) -> str:
    colours = [colour_of(int(label)) for label in image.labels]
    drawn = draw_boxes(image.canvas, image.boxes, colours)
    scale = SIDE / max(drawn.shape[:2])
    if scale < 1:
        drawn = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return data_uri(np.asarray(drawn, np.uint8), QUALITY)


def _rows(image: ImageTransfer) -> Iterator[MapRow]:
    for maps in image.attention:
        yield _attention(maps)
    for maps in image.disagreement:
        yield _disagreement(maps)


def _attention(maps: AttentionMaps) -> MapRow:
    values = {"foreground mask": maps.foreground, "background mask": maps.background}
    shown = [_picture(name, each, each.max()) for name, each in values.items() if each is not None]
    students = {"student, epoch 1": maps.first, "student, best": maps.best}
    attention = {"teacher": maps.teacher, **students}
    known = {name: each for name, each in attention.items() if each is not None}
    most = max(float(each.max()) for each in known.values())
    shown += [_picture(name, each, most) for name, each in known.items()]
    shown.append(_picture("difference, best", maps.best_difference, most))
    agreement = [
        f"{name} {_correlation(maps.teacher, each):+.2f}"
        for name, each in students.items()
        if each is not None
    ]
    title = f"{maps.method}, stride {maps.stride:g}, layers {maps.layers[0]} and {maps.layers[1]}"
    return MapRow(f"{title}; attention correlates: {', '.join(agreement)}", tuple(shown))


def _disagreement(maps: DisagreementMaps) -> MapRow:
    known = {"epoch 1": maps.first, "best": maps.best}
    values = {name: each for name, each in known.items() if each is not None}
    most = max(float(each.max()) for each in values.values())
    shown = [
        _picture(f"{name} (largest {each.max():.2f})", each, most) for name, each in values.items()
    ]
    title = f"{maps.method}, stride {maps.stride:g}: {maps.quantity}"
    return MapRow(title, tuple(shown))


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the correlation of two maps; 0 where one of them is flat."""
    if not (a.std() and b.std()):
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _picture(caption: str, values: NDArray[np.float32], most: float) -> MapPicture:
    """Return a map ``(h, w)`` from 0 to ``most`` in colours, one pixel per cell."""
    coloured = colormaps[COLOURS](np.clip(values / max(most, 1e-12), 0, 1))[..., :3]
    return MapPicture(caption, data_uri(np.rint(255 * coloured).astype(np.uint8)))
