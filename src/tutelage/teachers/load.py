"""Loads a teacher from the value of ``--teacher-weights``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import torch

from tutelage.errors import ConfigError, nearest
from tutelage.models.weight_file import SUFFIXES, read_checkpoint, restore, weight_file
from tutelage.store.folder import is_store
from tutelage.teachers.custom import load_custom
from tutelage.teachers.hugging_face import load_hugging_face
from tutelage.teachers.native import NativeTeacher
from tutelage.teachers.recorded import load_recorded
from tutelage.teachers.teacher import Teacher, content_hash
from tutelage.teachers.ultralytics import load_ultralytics
from tutelage.weights.store import identity

Loader = Callable[[str, torch.device, torch.dtype], Teacher]


def _torchvision(name: str, device: torch.device, dtype: torch.dtype) -> Teacher:
    from tutelage.teachers.torchvision import load_torchvision  # slow to import

    return load_torchvision(name, device, dtype)


TEACHERS: Mapping[str, Loader] = {  # by the prefix before the colon
    "torchvision": _torchvision,
    "hf": load_hugging_face,
    "ultralytics": load_ultralytics,
}


def load_teacher(source: str, device: torch.device, dtype: torch.dtype = torch.float32) -> Teacher:
    """Load a teacher.

    Args:
        source: ``family:name`` of another library (see :data:`TEACHERS`), a run folder, a YOLOv7 or
            YOLOv5 weight file, ``package.module:function``, or the folder of a store.
        device: Where it runs.
        dtype: Its precision; networks of other libraries run in float32.

    Raises:
        WeightsError: It cannot be read.
        MissingExtraError: The library is not installed.
        ConfigError: There is no such family or network.
    """
    family, _, name = source.partition(":")
    if is_store(Path(source)):
        return load_recorded(Path(source))
    if is_native(source):
        if source.isidentifier() and not Path(source).exists() and _importable(source):
            what = f"'{source}' is no file, but a module"
            fix = f"Name its function that returns a teacher:  --teacher-weights {source}:build"
            raise ConfigError(what, fix=fix, code="T26")
        return load_native(source, device, dtype)
    if family.lower() in TEACHERS:
        return TEACHERS[family.lower()](name.strip(), device, dtype)
    if not _importable(family):
        forms = " ".join(f"{known}:…" for known in TEACHERS)
        fix = f"{nearest(family, TEACHERS)} Known: {forms} package.module:function, or a file."
        raise ConfigError(f"'{source}': there is no '{family}'", fix=fix.strip(), code="T23")
    return load_custom(source, device, dtype)


def is_native(source: str) -> bool:
    """Whether a source is a run folder or weight file rather than another library's network."""
    family, colon, _ = source.partition(":")
    if colon and family.lower() in TEACHERS:
        return False
    return not colon or Path(source).exists() or source.endswith(SUFFIXES)


def is_code(source: str) -> bool:
    """Whether loading a source runs what it names: a function, or a file that Ultralytics opens."""
    family, colon, _ = source.partition(":")
    own = family.lower() not in TEACHERS or family.lower() == "ultralytics"
    return bool(colon) and own and not is_native(source)


def load_native(source: str, device: torch.device, dtype: torch.dtype) -> NativeTeacher:
    """Load a run folder, or a weight file of YOLOv7, YOLOv5 or Tutelage.

    Raises:
        WeightsError: There is no such file, or it cannot be read.
    """
    path = weight_file(source)
    checkpoint = read_checkpoint(path)
    detector, note = restore(checkpoint), checkpoint.note
    del checkpoint  # the file's tensors: the network has its own, and is copied once more
    record = {
        "source": source,
        "weights": note,
        **identity(path),
        "content": content_hash(
            detector.state_dict(), [detector.arch, detector.names, detector.strides]
        ),
        **({"image_size": detector.image_size} if detector.image_size else {}),
    }
    return NativeTeacher(detector, device=device, dtype=dtype, record=record)


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a missing parent package, or no module name
        return False
