"""Translates hyper-parameter files of YOLOv7 and YOLOv5 to settings, by one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tutelage.config.yaml_reader import YamlDocument
from tutelage.errors import ConfigError, nearest


class HypKey(NamedTuple):
    """The setting of a key of a hyp file, and the conversion of its value."""

    setting: str
    convert: Callable[[Any], Any] | None = None


_SAME_NAMES = {  # settings with the name of their key, by section
    "optim": "lrf momentum weight_decay warmup_epochs warmup_momentum warmup_bias_lr",
    "loss": "box cls cls_pw obj obj_pw anchor_t fl_gamma label_smoothing",
    "augment": "hsv_h hsv_s hsv_v degrees translate scale shear perspective flipud fliplr "
    "mosaic mixup",
    "distill": "student_kd_layers teacher_kd_layers",
}
HYP: dict[str, HypKey] = {
    "lr0": HypKey("optim.lr"),
    **{key: HypKey(f"{s}.{key}") for s, keys in _SAME_NAMES.items() for key in keys.split()},
    "loss_ota": HypKey("loss.assigner", {1: "ota", 0: "anchor"}.__getitem__),
}

WITHOUT_EFFECT: dict[str, str] = {
    "copy_paste": "needs outlines, and boxes are trained here",
    "paste_in": "needs outlines, and boxes are trained here",
    "anchors": "their number is the architecture's own",
    "iou_t": "YOLOv7 and YOLOv5 do not use it either",
}

_EXPECTED: dict[str, str] = {"loss_ota": "1 (OTA) or 0 (anchor ratio)"}


class TranslatedHyp(NamedTuple):
    """A translated hyp file: ``(setting, value, origin)`` entries, notices, errors."""

    entries: list[tuple[str, Any, str]]
    notices: list[str]
    errors: list[ConfigError]


def translate_hyp(document: YamlDocument) -> TranslatedHyp:
    """Translate a hyp file.

    One notice lists the non-zero keys without effect; unknown keys are errors.
    """
    result = TranslatedHyp([], [], [])
    values = document.values
    section = next((name for name in values if isinstance(values[name], dict)), None)
    if section is not None and section not in HYP:
        what = f"{document.name} is no hyp file: '{section}' is a group of settings"
        fix = "That is a run file: give it with --config."
        result.errors.append(ConfigError(what, where=document.origin(section), fix=fix))
        return result
    unused: list[str] = []
    for name, value in values.items():
        origin = document.origin(name)
        if name in WITHOUT_EFFECT:
            if value:
                unused.append(f"{name} ({WITHOUT_EFFECT[name]})")
        elif name not in HYP:
            what = f"A hyp file has no key '{name}'"
            fix = nearest(name, [*HYP, *WITHOUT_EFFECT]) or f"Keys: {' '.join(HYP)}"
            result.errors.append(ConfigError(what, where=origin, fix=fix, code="C05"))
        else:
            key = HYP[name]
            try:
                converted = key.convert(value) if key.convert else value
                result.entries.append((key.setting, converted, origin))
            except (KeyError, TypeError, ValueError, OverflowError):
                what, fix = f"{name}: {value!r} cannot be used", f"Expected {_EXPECTED[name]}."
                result.errors.append(ConfigError(what, where=origin, fix=fix, code="C25"))
    if unused:
        result.notices.append(f"{document.name}: without effect here: {', '.join(unused)}.")
    return result
