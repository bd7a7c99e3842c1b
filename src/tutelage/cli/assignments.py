"""Command lines in the style of Ultralytics, ``train data=x.yaml``: what to type here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from tutelage.errors import ConfigError

_ASSIGNMENT = re.compile(r"([a-z_]\w*)=(.*)", re.DOTALL)
_MODES = ("train", "val", "predict", "export")

# their name → ours; those that are not here are left out
FLAGS: Mapping[str, str] = {
    "data": "--data",
    "epochs": "--epochs",
    "imgsz": "--img-size",
    "batch": "--batch-size",
    "device": "--device",
    "workers": "--workers",
    "project": "--project",
    "name": "--name",
    "seed": "--seed",
    "patience": "--patience",
    "optimizer": "--optimizer",
    "freeze": "--freeze",
    "resume": "--resume",
    "conf": "--conf-thres",
    "iou": "--iou-thres",
    "split": "--split",
    "format": "--to",
    "lr0": "--set optim.lr=",
    "lrf": "--set optim.lrf=",
    "momentum": "--set optim.momentum=",
    "weight_decay": "--set optim.weight_decay=",
}
_SWITCHES = {"exist_ok": "--exist-ok", "single_cls": "--single-cls", "rect": "--rect"}
_SWITCHES |= {"multi_scale": "--multi-scale", "half": "--half", "int8": "--int8", "nms": "--nms"}
_KNOWN = {*FLAGS, *_SWITCHES, "model", "source", "task", "mode"}


def refuse_assignments(argv: Sequence[str]) -> None:
    """Refuse options that are written ``name=value``.

    Raises:
        ConfigError: Some are; the fix is the command line with flags.
    """
    given = {}
    for before, word in zip(["", *argv], argv, strict=False):
        found = _ASSIGNMENT.fullmatch(word)
        if found and found[1] in _KNOWN and not before.startswith("-") and not Path(word).exists():
            given.setdefault(found[1], (found[2], word))
    if not given:
        return
    values = {name: text for name, (text, _) in given.items()}
    mode = values.get("mode") or next((word for word in argv if word in _MODES), "train")
    options = [part for name, text in values.items() for part in _flag(mode, name, text)]
    order = [values[name] for name in ("model", "source") if name in values and mode != "train"]
    first = next(iter(given.values()))[1]
    raise ConfigError(
        f"Options have dashes here, not '{first}'.",
        fix=f"Use  {shlex.join(['tutelage', mode, *order, *options])}",
        code="C22",
    )


def _flag(mode: str, name: str, text: str) -> list[str]:
    """Return an option as flags; empty for what stands without one, or does not exist here."""
    if name == "model" and mode == "train":
        return ["--cfg" if text.endswith((".yaml", ".yml")) else "--weights", text]
    if name in _SWITCHES:
        return [_SWITCHES[name]] if text.lower() in ("true", "1") else []
    flag, _, setting = FLAGS.get(name, "").partition(" ")
    return [flag, f"{setting}{text}"] if flag else []
