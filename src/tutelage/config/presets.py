"""Presets: the published hyper-parameters, and the default preset of a model."""

from __future__ import annotations

import json
import re
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from tutelage.config.yaml_reader import CoreLoader, load_yaml, read_yaml

# The file names under which the two families publish the same values; none: our own.
PRESETS: dict[str, str] = {
    "v7-p5": "hyp.scratch.p5.yaml",
    "v7-p6": "hyp.scratch.p6.yaml",
    "v7-tiny": "hyp.scratch.tiny.yaml",
    "v7-custom": "hyp.scratch.custom.yaml",
    "v5-low": "hyp.scratch-low.yaml",
    "v5-med": "hyp.scratch-med.yaml",
    "v5-high": "hyp.scratch-high.yaml",
    "yolox": "",
    "yolox-tiny": "",
    "yolox-nano": "",
    "d-fine": "",
    "small": "",
    "small-yolox": "",
}
OF_FAMILIES = {("small", "yolox"): "small-yolox"}  # preset that was asked for, family → preset
P6_NAMES = re.compile(r"yolov7-(w6|e6e?|d6)(?![a-z0-9])")
HEADS = re.compile(rb"(?<![A-Za-z])(IDetect|IAuxDetect|Detect|YOLOXHead|DFineHead)(?![A-Za-z])")
OWN_PRESETS = {"YOLOXHead": "yolox", "DFineHead": "d_fine"}  # head → family
HUGGING_FACE = "hf:"
YOLOX_KEY = b"backbone.backbone.stem"  # in published weights
PEEK_BYTES = 8 * 2**20


def read_preset(name: str) -> dict[str, dict[str, Any]]:
    """Return a preset's settings by section.

    Raises:
        KeyError: There is no preset of that name.
    """
    if name not in PRESETS:
        raise KeyError(name)
    text = files("tutelage.config").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=CoreLoader)  # noqa: S506  (CoreLoader is a SafeLoader)


def default_preset(arch: str | None, has_weights: bool, *, weights: str | None = None) -> str:
    """Return the preset of a run that names none.

    YOLOv7 with weights starts from ``v7-custom``, without from ``v7-tiny``, ``v7-p6`` (W6, E6, D6
    and E6E) or ``v7-p5``. YOLOv5 starts from ``v5-low`` with weights and for n and s, ``v5-med``
    for m, ``v5-high`` for l and x. YOLOX has ``yolox-nano``, ``yolox-tiny`` and ``yolox``.
    YOLOv9 starts as YOLOv7 of its size does, and D-FINE from ``d-fine``.

    Args:
        arch: Architecture name, path of a model yaml, or None: the architecture of the weights,
            else yolov7-tiny.
        has_weights: Whether training starts from weights.
        weights: Those weights; searched for their head, never loaded; used if ``arch`` is None.
    """
    family = _family(arch, weights)
    stem = Path(arch).stem.lower() if arch else "yolov7-tiny"
    if family == "yolov5":
        size = re.match(r"yolov5([nsmlx])", stem)
        if has_weights or not size:
            return "v5-low"
        return {"n": "v5-low", "s": "v5-low", "m": "v5-med"}.get(size.group(1), "v5-high")
    if family == "yolox":
        name = Path(arch or weights or "").stem.lower().replace("_", "-")
        return next((p for p in ("yolox-nano", "yolox-tiny") if name.startswith(p)), "yolox")
    if family == "d_fine":
        return "d-fine"
    if has_weights:
        return "v7-custom"
    if stem.startswith(("yolov7-tiny", "yolov9-t", "yolov9-s")):
        return "v7-tiny"
    return "v7-p6" if P6_NAMES.match(stem) else "v7-p5"


def preset_of_family(preset: str, arch: str | None, *, weights: str | None = None) -> str:
    """Return the form that a preset has for the family of a model, if it has one of its own.

    Args:
        preset: What was asked for.
        arch: As for :func:`default_preset`.
        weights: As for :func:`default_preset`.
    """
    if preset not in {asked for asked, _ in OF_FAMILIES}:
        return preset  # without a look into the weights
    return OF_FAMILIES.get((preset, _family(arch, weights) or ""), preset)


def _family(arch: str | None, weights: str | None) -> str | None:
    """Return the family of an architecture or, where none is named, of weights."""
    if arch:
        return family_of(arch)
    return family_of_weights(weights) if weights else None


def family_of(arch: str) -> str:
    """Return the family of an architecture name or yaml: by its name, else by its head."""
    if arch.lower().startswith(HUGGING_FACE):
        return "d_fine"
    stem = Path(arch).stem.lower()
    if stem.startswith("yolov5"):
        return "yolov5"
    if stem.startswith("yolov7"):
        return "yolov7"
    if stem.startswith("yolox"):
        return "yolox"
    try:
        graph = load_yaml(read_yaml(Path(arch)), CoreLoader)
        module = str(graph["head"][-1][2])
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
        return "yolov7"  # building the model reports the error
    if module in OWN_PRESETS:
        return OWN_PRESETS[module]
    return "yolov5" if module.rpartition(".")[2] == "Detect" else "yolov7"


def family_of_weights(weights: str) -> str | None:
    """Return the family of a checkpoint: by the head named in it, else by its file name."""
    if weights.lower().startswith(HUGGING_FACE):
        return "d_fine"
    path = Path(weights)
    text = _text_of_weights(path)
    heads = set(HEADS.findall(text))
    if YOLOX_KEY in text:
        return "yolox"
    for head, family in OWN_PRESETS.items():
        if head.encode() in heads:
            return family
    if heads:
        return "yolov7" if heads & {b"IDetect", b"IAuxDetect"} else "yolov5"
    known = ("yolov5", "yolov7", "yolox")
    return next((name for name in known if path.name.lower().startswith(name)), None)


def _text_of_weights(path: Path) -> bytes:
    """Return the part of a checkpoint that names its classes, as raw bytes."""
    path = path / "best.safetensors" if path.is_dir() else path
    if not path.is_file():  # a pipe would wait for ever
        return b""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
                return archive.open(pickles[0]).read(PEEK_BYTES) if pickles else b""
        with path.open("rb") as file:
            start = file.read(8)
            if path.suffix == ".safetensors":
                header = json.loads(file.read(min(int.from_bytes(start, "little"), PEEK_BYTES)))
                return json.dumps(header.get("__metadata__", {})).encode()
            return start + file.read(PEEK_BYTES)
    except Exception:  # damaged: reading it later reports the error
        return b""
