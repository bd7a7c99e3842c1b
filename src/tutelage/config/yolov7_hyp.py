"""Hyper-parameter files of YOLOv7 and YOLOv5: one table from their flat keys to our settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tutelage.config.yaml_reader import YamlDocument
from tutelage.errors import ConfigError, nearest


class HypKey(NamedTuple):
    """Where a key of a hyp file goes, and how its value is turned into ours."""

    setting: str
    convert: Callable[[Any], Any] | None = None


def _assigner(value: Any) -> str:
    return {1: "ota", 0: "anchor"}[value]


HYP: dict[str, HypKey] = {
    "lr0": HypKey("optim.lr"),
    "lrf": HypKey("optim.lrf"),
    "momentum": HypKey("optim.momentum"),
    "weight_decay": HypKey("optim.weight_decay"),
    "warmup_epochs": HypKey("optim.warmup_epochs"),
    "warmup_momentum": HypKey("optim.warmup_momentum"),
    "warmup_bias_lr": HypKey("optim.warmup_bias_lr"),
    "box": HypKey("loss.box"),
    "cls": HypKey("loss.cls"),
    "cls_pw": HypKey("loss.cls_pw"),
    "obj": HypKey("loss.obj"),
    "obj_pw": HypKey("loss.obj_pw"),
    "anchor_t": HypKey("loss.anchor_t"),
    "fl_gamma": HypKey("loss.fl_gamma"),
    "label_smoothing": HypKey("loss.label_smoothing"),
    "loss_ota": HypKey("loss.assigner", _assigner),
    "hsv_h": HypKey("augment.hsv_h"),
    "hsv_s": HypKey("augment.hsv_s"),
    "hsv_v": HypKey("augment.hsv_v"),
    "degrees": HypKey("augment.degrees"),
    "translate": HypKey("augment.translate"),
    "scale": HypKey("augment.scale"),
    "shear": HypKey("augment.shear"),
    "perspective": HypKey("augment.perspective"),
    "flipud": HypKey("augment.flipud"),
    "fliplr": HypKey("augment.fliplr"),
    "mosaic": HypKey("augment.mosaic"),
    "mixup": HypKey("augment.mixup"),
    "student_kd_layers": HypKey("distill.student_kd_layers"),
    "teacher_kd_layers": HypKey("distill.teacher_kd_layers"),
}

WITHOUT_EFFECT: dict[str, str] = {
    "copy_paste": "needs outlines, and boxes are trained here",
    "paste_in": "needs outlines, and boxes are trained here",
    "anchors": "their number is the architecture's own",
    "iou_t": "YOLOv7 and YOLOv5 do not use it either",
}

_EXPECTED: dict[str, str] = {
    "loss_ota": "1 (OTA) or 0 (anchor ratio)",
}


class TranslatedHyp(NamedTuple):
    """A hyp file in our terms: ``(setting, value, origin)`` entries, notices, faults."""

    entries: list[tuple[str, Any, str]]
    notices: list[str]
    faults: list[ConfigError]


def translate_hyp(document: YamlDocument) -> TranslatedHyp:
    """Translate a hyp file.

    Keys without effect that are switched on are told in one notice; unknown keys are faults.
    """
    result = TranslatedHyp([], [], [])
    group = next((name for name, value in document.values.items() if isinstance(value, dict)), None)
    if group is not None and group not in HYP:
        what = f"{document.name} is no hyp file: '{group}' is a group of settings"
        fix = "That is a run file: give it with --config."
        result.faults.append(ConfigError(what, where=document.origin(group), fix=fix))
        return result
    idle: list[str] = []
    for name, value in document.values.items():
        origin = document.origin(name)
        if name in WITHOUT_EFFECT:
            if value:
                idle.append(f"{name} ({WITHOUT_EFFECT[name]})")
        elif name not in HYP:
            result.faults.append(_unknown(name, origin))
        else:
            key = HYP[name]
            try:
                result.entries.append(
                    (key.setting, key.convert(value) if key.convert else value, origin)
                )
            except (KeyError, TypeError, ValueError, OverflowError):
                fix = f"Expected {_EXPECTED[name]}."
                result.faults.append(
                    ConfigError(
                        f"{name}: {value!r} cannot be used", where=origin, fix=fix, code="C25"
                    )
                )
    if idle:
        result.notices.append(f"{document.name}: without effect here: {', '.join(idle)}.")
    return result


def _unknown(name: str, origin: str) -> ConfigError:
    hint = nearest(name, [*HYP, *WITHOUT_EFFECT])
    return ConfigError(
        f"A hyp file has no key '{name}'",
        where=origin,
        fix=hint or f"Keys: {' '.join(HYP)}",
        code="C05",
    )
