"""Detectors of the transformers library as teachers: ``hf:FOLDER`` or ``hf:ID``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tutelage.errors import ConfigError
from tutelage.losses.boxes import corners
from tutelage.models.hugging_face import (
    IMAGENET,
    PLAIN,
    Normalisation,
    find_folder,
    load_model,
    normalisation,
    read_config,
)
from tutelage.structures import Predictions, height_width
from tutelage.teachers.foreign import ForeignTeacher, level_index, log_odds
from tutelage.teachers.recorder import TapRecorder
from tutelage.teachers.teacher import fingerprint

FAMILIES: Mapping[str, Normalisation] = {  # default mean and std
    "rt_detr": PLAIN,
    "rt_detr_v2": PLAIN,
    "d_fine": PLAIN,
    "detr": IMAGENET,
}
ENCODER = "model.encoder"  # returns the pyramid, or the tokens of one map
FIXED_SIZES = ("anchor_image_size", "eval_size")  # None: for every image, not a table for one size
DETR_STRIDE = 32


def load_hugging_face(source: str, device: torch.device, dtype: torch.dtype) -> ForeignTeacher:  # noqa: ARG001
    """Load RT-DETR, RT-DETRv2, D-FINE or DETR.

    Args:
        source: A folder written by ``save_pretrained``, or the id of a model in the local cache.
        device: Where it runs.
        dtype: Unused: it runs in float32.

    Raises:
        MissingExtraError: transformers is not installed, or a package that the model needs.
        ConfigError: It is of another family, or none is named.
        WeightsError: It is not on this machine, cannot be read, or is no trained detector.
    """
    folder = find_folder(source)
    config = read_config(folder, source)
    if config.model_type not in FAMILIES:
        raise ConfigError(
            f"hf:{source} is a {config.model_type}, which is not read.",
            fix=f"Known: {' '.join(FAMILIES)}. Others: tutelage.teachers.FeatureTeacher",
            code="T23",
        )
    for name in FIXED_SIZES:
        if hasattr(config, name):
            setattr(config, name, None)
    model = load_model(folder, source, config, "AutoModelForObjectDetection")
    record = {"source": f"hf:{source}", "sha256": fingerprint(model.state_dict().items())}
    mean, std = normalisation(folder, FAMILIES[config.model_type])
    return hugging_face_teacher(model, mean=mean, std=std, record=record, device=device)


def hugging_face_teacher(
    model: Any,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    record: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
) -> ForeignTeacher:
    """Make a teacher of a detector of transformers.

    Without predictions its decoder does not run.

    Args:
        model: One of :data:`FAMILIES`. It is frozen.
        mean: Of its normalisation, for images in 0..1.
        std: Likewise.
        record: Identifies its weights.
        device: Where it runs.
    """
    recorder = TapRecorder(model, [ENCODER])
    names = [str(name) for _, name in sorted(model.config.id2label.items())]

    def forward(images: Tensor, predictions: bool) -> tuple[list[Tensor], Predictions | None]:
        size = height_width(images)
        outputs, out = recorder(lambda: model(pixel_values=images), stop=not predictions)
        maps = _maps(outputs[ENCODER][0], size)
        return maps, _predictions(out, len(names), size) if predictions else None

    return ForeignTeacher(
        model,
        forward,
        title=str(model.config.model_type),
        names=names,
        mean=mean,
        std=std,
        record=record,
        device=device,
    )


def _maps(encoded: Sequence[Tensor] | Tensor, size: tuple[int, int]) -> list[Tensor]:
    """Return the pyramid; the tokens ``(b, h · w, c)`` of DETR become one map."""
    if not isinstance(encoded, Tensor):
        return list(encoded)
    h = -(-size[0] // DETR_STRIDE)
    return [encoded.transpose(1, 2).unflatten(2, (h, -1)).contiguous()]


def _predictions(out: Any, classes: int, size: tuple[int, int]) -> Predictions:
    """Return the predictions of the queries; a family with a no-object column uses a softmax."""
    raw, (height, width) = out.logits, size
    softmax = raw.shape[-1] == classes + 1
    logits = log_odds(raw.softmax(-1)[..., :-1]) if softmax else raw
    scale = raw.new_tensor([width, height, width, height])
    xyxy = corners(out.pred_boxes) * scale
    return Predictions(xyxy, logits, None, level_index([raw.shape[1]]))
