"""A teacher that sees the student's images at a larger size: its knowledge in their frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.structures import Knowledge, Predictions

Head = Callable[[tuple[Tensor | None, ...]], Predictions]


def in_student_frame(knowledge: Knowledge, zoom: float) -> Knowledge:
    """Return what a teacher knows of enlarged images as knowledge of the images themselves.

    Maps stay as they are: those of stride s have the cells of stride s / zoom. Predictions, also
    those of its head, are brought to the student's pixels. Their candidates are other ones than
    the student's, see :func:`~tutelage.distill.candidate_matching.match_candidates`.

    Args:
        knowledge: The teacher's, of images ``zoom`` times as large.
        zoom: Width of its images by that of the student's.
    """
    if zoom == 1:
        return knowledge
    predictions, head = knowledge.predictions, knowledge.head
    return knowledge._replace(
        predictions=None if predictions is None else shrink_predictions(predictions, zoom),
        head=None if head is None else _shrunk_head(head, zoom),
    )


def shrink_predictions(predictions: Predictions, zoom: float) -> Predictions:
    """Return the predictions of enlarged images in pixels of the images themselves.

    Level and grids stay true: a candidate keeps its cell, which is smaller by ``zoom``, and so do
    the bins, which count cells. Raw box outputs do not: sizes are encoded by anchors in pixels, or
    for another stride, of the enlarged images.

    Args:
        predictions: Corners in pixels of images ``zoom`` times as large.
        zoom: Width of those images by that of the student's.
    """
    return predictions._replace(xyxy=predictions.xyxy / zoom, box_raw=None)


def canvas_step(stride: int, teacher_stride: int, zoom: float) -> int:
    """Return what the sides of the student's canvases must be multiples of.

    They are multiples of the student's stride then, and ``zoom`` times as large of the teacher's:
    with strides of 32, 64 for a zoom of 1.5 and 32 for 2.

    Args:
        stride: The student's largest stride.
        teacher_stride: The stride of the teachers.
        zoom: A ratio of small whole numbers.
    """
    ratio = Fraction(zoom).limit_denominator(100)
    wanted = teacher_stride * ratio.denominator
    return math.lcm(stride, wanted // math.gcd(wanted, ratio.numerator))


def check_enlarged_size(image_size: int, stride: int, teacher_stride: int, zoom: float) -> None:
    """Refuse an image size whose enlargement does not fit the teacher's grid.

    Args:
        image_size: Side of the student's images in pixels.
        stride: The student's largest stride.
        teacher_stride: The stride of the teachers.
        zoom: The teachers see the images at so many times that size.

    Raises:
        ConfigError: The size is no positive multiple of :func:`canvas_step`.
    """
    step = canvas_step(stride, teacher_stride, zoom)
    if image_size < step or image_size % step:
        sizes = sorted({max(image_size // step, 1) * step, -(-image_size // step) * step})
        raise ConfigError(
            f"--img-size {image_size} must be a multiple of {step}: the teacher sees images "
            f"{zoom:g} × as large, whose sides must be multiples of {teacher_stride}.",
            fix=f"Nearest: {' or '.join(map(str, sizes))}.",
            code="C17",
        )


def _shrunk_head(head: Head, zoom: float) -> Head:
    return lambda features: shrink_predictions(head(features), zoom)
