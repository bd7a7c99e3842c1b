"""What the shell completes, instantly: nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tutelage.cli.codes import CODES, FINDINGS

# Those of tutelage.models.ARCHITECTURES and tutelage.distill.METHODS, which import torch.
ARCHITECTURES = (
    *("yolov7-tiny", "yolov7-tiny-silu", "yolov7", "yolov7x"),
    *("yolov7-w6", "yolov7-e6", "yolov7-d6", "yolov7-e6e"),
    *(f"yolov5{size}{levels}" for levels in ("", "6") for size in "nsmlx"),
    *("yolov9-t", "yolov9-s", "yolov9-m", "yolov9-c"),
    *("yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x"),
)
METHODS = (
    *("fgd", "mgd", "cwd", "pkd", "fitnet", "at", "spkd", "defeat", "frs", "sl2", "objectness"),
    *("logits", "box", "bckd", "crosskd", "ld"),
)


def complete_models(incomplete: str) -> list[str]:
    """Complete ``--cfg``: architectures and model yamls."""
    return [*_starting(incomplete, ARCHITECTURES), *_yamls(incomplete)]


def complete_methods(incomplete: str) -> list[str]:
    """Complete ``--method``, after a plus of ``tutelage compare`` too."""
    before, plus, last = incomplete.rpartition("+")
    return [f"{before}{plus}{name}" for name in _starting(last, ("auto", *METHODS))]


def complete_settings(incomplete: str) -> list[str]:
    """Complete ``--set``: the names of settings, then the values of those with a choice."""
    from tutelage.config.describe import leaves

    key, equals, value = incomplete.partition("=")
    if not equals:
        return _starting(key, (f"{name}=" for name in leaves()))
    leaf = leaves().get(key)
    return [f"{key}={choice}" for choice in _starting(value, leaf.choices if leaf else ())]


def complete_codes(incomplete: str) -> list[str]:
    """Complete the codes of ``tutelage explain``."""
    codes = CODES if incomplete[:1].isupper() else map(str.lower, CODES)
    return _starting(incomplete, (*codes, *FINDINGS))


def complete_stores(incomplete: str) -> list[str]:
    """Complete a store: names in the usual folder, then paths."""
    usual = Path("runs/store")
    names = sorted(path.parent.name for path in usual.glob("*/store.json"))
    return [*_starting(incomplete, names), *_folders(incomplete)]


def _starting(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _yamls(incomplete: str) -> Iterator[str]:
    """Yield the yamls and folders whose path starts so."""
    for path in _paths(incomplete):
        if path.endswith(("/", ".yaml", ".yml")):
            yield path


def _folders(incomplete: str) -> Iterator[str]:
    """Yield the folders whose path starts so."""
    return (path for path in _paths(incomplete) if path.endswith("/"))


def _paths(incomplete: str) -> Iterator[str]:
    """Yield the paths that start so; folders end with a slash."""
    folder, _, name = incomplete.rpartition("/")
    place = Path(f"{folder}/") if "/" in incomplete else Path()
    try:
        entries = sorted(place.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(name) and (name or not entry.name.startswith(".")):
            yield f"{entry}/" if entry.is_dir() else str(entry)
