"""Translates hyper-parameter files of YOLOv7 and YOLOv5 to settings, by one table."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tutelage.config.yaml_reader import YamlDocument
from tutelage.errors import ConfigError, nearest

_SAME_NAMES = {  # settings with the name of their key, by section
    "optim": "lrf momentum weight_decay warmup_epochs warmup_momentum warmup_bias_lr",
    "loss": "box cls cls_pw obj obj_pw anchor_t fl_gamma label_smoothing",
    "augment": "hsv_h hsv_s hsv_v degrees translate scale shear perspective flipud fliplr "
    "mosaic mixup",
    "distill": "student_kd_layers teacher_kd_layers",
}
HYP: dict[str, str] = {  # setting of each key
    "lr0": "optim.lr",
    **{key: f"{s}.{key}" for s, keys in _SAME_NAMES.items() for key in keys.split()},
    "loss_ota": "loss.assigner",
}
SCALING = "loss.scaling"
_ASSIGNERS = {1: "ota", 0: "anchor"}  # values of loss_ota
_KEY = re.compile(r":\d+, (\w+)$")

WITHOUT_EFFECT: dict[str, str] = {
    "copy_paste": "needs outlines, and boxes are trained here",
    "paste_in": "needs outlines, and boxes are trained here",
    "anchors": "their number is the architecture's own",
    "iou_t": "YOLOv7 and YOLOv5 do not use it either",
}


class TranslatedHyp(NamedTuple):
    """A translated hyp file: ``(setting, value, origin)`` entries, notices, errors.

    An origin is file, line and key, e.g. ``hyp.yaml:12, loss_ota``.
    """

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
        elif name == "loss_ota" and value not in tuple(_ASSIGNERS):
            what, fix = f"{name}: {value!r} cannot be used", "Expected 1 (OTA) or 0 (anchor ratio)."
            result.errors.append(ConfigError(what, where=origin, fix=fix, code="C25"))
        else:
            entry = _ASSIGNERS[value] if name == "loss_ota" else value
            result.entries.append((HYP[name], entry, f"{origin}, {name}"))
    scaled = [name for name in ("obj", "cls") if name in values]
    if scaled:  # such gains are meant for the factors of YOLOv7's code
        result.entries.append((SCALING, "reference", f"{document.origin(scaled[0])}, {scaled[0]}"))
    if unused:
        result.notices.append(f"{document.name}: without effect here: {', '.join(unused)}.")
    return result


def hyp_key(origin: str) -> str | None:
    """Return the key of a hyp file that an origin of :class:`TranslatedHyp` names, or None."""
    match = _KEY.search(origin)
    return match[1] if match else None
