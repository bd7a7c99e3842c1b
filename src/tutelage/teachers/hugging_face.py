"""Detectors of the transformers library as teachers: ``hf:FOLDER`` or ``hf:ID``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage.errors import ConfigError, MissingExtraError, WeightsError, nearest
from tutelage.losses.boxes import corners
from tutelage.structures import Predictions, height_width
from tutelage.teachers.foreign import ForeignTeacher, level_index, log_odds
from tutelage.teachers.recorder import TapRecorder
from tutelage.teachers.teacher import fingerprint

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
Normalisation = tuple[Sequence[float], Sequence[float]]
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
    if not source.strip():
        fix = "Give hf:FOLDER, as save_pretrained writes it, or hf:ID of one in the local cache."
        raise ConfigError("'hf:' names no network.", fix=fix, code="T23")
    library = _library()
    library.utils.logging.disable_progress_bar()
    folder = _folder(library, source)
    try:
        config = library.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"hf:{source} has a config.json that is not read: {reason}", code="T23"
        ) from error
    if config.model_type not in FAMILIES:
        raise ConfigError(
            f"hf:{source} is a {config.model_type}, which is not read.",
            fix=f"Known: {' '.join(FAMILIES)}. Others: tutelage.teachers.FeatureTeacher",
            code="T23",
        )
    for name in FIXED_SIZES:
        if hasattr(config, name):
            setattr(config, name, None)
    try:
        model, info = library.AutoModelForObjectDetection.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
        )
    except ImportError as error:
        what = f"hf:{source} needs a package that is not installed."
        raise MissingExtraError(what, fix=str(error).strip().splitlines()[0]) from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"hf:{source} cannot be read: {reason}", code="T23") from error
    if missing := sorted(info["missing_keys"]):
        what = f"hf:{source} is no trained detector: it has no {missing[0]}"
        raise WeightsError(f"{what} ({len(missing)} tensors are missing).", code="T23")
    record = {"source": f"hf:{source}", "sha256": fingerprint(model.state_dict().items())}
    mean, std = _normalisation(folder, FAMILIES[config.model_type])
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


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "hf: teachers need the transformers package.", fix="pip install 'tutelage[hf]'"
        ) from error
    return transformers


def _folder(library: Any, source: str) -> Path:
    """Return the folder of a model that is on this machine."""
    folder = Path(source)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            fix = "Give a folder written by save_pretrained."
            raise WeightsError(f"{source} holds no config.json.", fix=fix, code="T23")
        return folder
    if folder.is_absolute() or len(folder.parts) > 2:  # an id is NAME or OWNER/NAME
        beside = [path.name for path in folder.parent.glob("*") if path.is_dir()]
        fix = nearest(folder.name, beside) or "Give a folder written by save_pretrained."
        raise WeightsError(f"{source} does not exist.", fix=fix, code="T23")
    try:
        return Path(library.utils.cached_file(source, "config.json", local_files_only=True)).parent
    except (OSError, ValueError) as error:
        fix = f"hf download {source}"
        raise WeightsError(f"hf:{source} is not on this machine.", fix=fix, code="T23") from error


def _normalisation(folder: Path, usual: Normalisation) -> Normalisation:
    """Return mean and std for images in 0..1 from the image processor's file."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return usual
    try:
        settings: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is no JSON: {error}", code="T23") from error
    factor = (
        float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0
    )
    mean, std = usual
    normalised = settings.get("do_normalize")
    if normalised is not None:
        mean, std = (
            (settings.get("image_mean", IMAGENET[0]), settings.get("image_std", IMAGENET[1]))
            if normalised
            else PLAIN
        )
    scale = 255 * factor  # the network's pixel range relative to 0..1
    return [x / scale for x in mean], [x / scale for x in std]
