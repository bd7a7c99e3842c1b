"""Reading weight files of any kind into one form, and making models of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tutelage.errors import ConfigError, WeightsError
from tutelage.models.architecture import read_architecture
from tutelage.models.catalog import is_named, recognise
from tutelage.models.graph import GraphDetector
from tutelage.models.transfer import TransferReport, matching, transfer

SUFFIXES = (".pt", ".pth", ".safetensors")
BEST = "best.safetensors"


class Checkpoint(NamedTuple):
    """The weights of a graph and all that is needed to build it.

    Attributes:
        source: Path, for messages.
        state: Tensors under ``model.<row>.<...>``, floating ones in float32.
        arch: Yaml mapping.
        arch_name: Name of the architecture.
        names: Class names.
        strides: Strides as stored, or empty.
        note: Which weights these are of what kind of file, for a person.
    """

    source: str
    state: dict[str, Tensor]
    arch: dict[str, Any]
    arch_name: str
    names: tuple[str, ...]
    strides: tuple[int, ...]
    note: str


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a run folder, a ``.safetensors`` of ours or a YOLOv7/YOLOv5 ``.pt``. No code is run.

    Raises:
        WeightsError: The file is missing, damaged, refused, or not of a kind that is known.
    """
    path = weight_file(path)
    return _own(path) if path.suffix == ".safetensors" else _foreign(path)


def weight_file(source: str | Path) -> Path:
    """Return the file behind a run folder or a weight file.

    Raises:
        WeightsError: The folder holds no weights, or the name of an architecture was given, which
            has none.
    """
    path = Path(source)
    if path.is_dir():
        if not (path / BEST).is_file():
            raise WeightsError(
                f"{path} holds no {BEST}.", fix="A run folder has one after its first evaluation."
            )
        return path / BEST
    if is_named(str(source)) and not path.exists():
        raise WeightsError(
            f"{source} is an architecture: it has no trained weights.",
            fix=f"Give a run folder or a file ending in {', '.join(SUFFIXES)}.",
        )
    return path


def _own(path: Path) -> Checkpoint:
    from tutelage.weights import load_best, require_finite

    state, meta = load_best(path)
    arch, names = meta.get("arch"), meta.get("names")
    if not isinstance(arch, dict) or not isinstance(names, list) or not names:
        raise WeightsError(
            f"{path} has no architecture and class names in its header: not written by tutelage.",
            fix="Give a best.safetensors of a run, or a YOLOv7/YOLOv5 .pt.",
        )
    name = str(meta.get("arch_name") or recognise(arch) or path.stem)
    floats = {key: x.float() if x.is_floating_point() else x for key, x in state.items()}
    require_finite(floats, path)
    return Checkpoint(
        str(path), floats, dict(arch), name, tuple(map(str, names)), (), "EMA weights of a run"
    )


def _foreign(path: Path) -> Checkpoint:
    from tutelage.weights import read_foreign

    found = read_foreign(path)
    state, arch = dict(found.state), dict(found.yaml)
    arch["nc"] = found.nc
    head = f"model.{_row_count(arch) - 1}"
    if not any(key.startswith(f"{head}.ia.") for key in state):
        _use_plain_head(arch)
    _use_stored_anchors(arch, state, head, found.strides)
    names = found.names if len(found.names) == found.nc else tuple(map(str, range(found.nc)))
    note = f"{'EMA weights' if found.source == 'ema' else 'plain weights'}, {found.note}"
    arch_name = recognise(arch) or path.stem
    return Checkpoint(str(path), state, arch, arch_name, names, found.strides, note)


def _row_count(arch: Mapping[str, Any]) -> int:
    parts = [arch.get("backbone"), arch.get("head")]
    return sum(len(part) for part in parts if isinstance(part, list))


def _use_plain_head(arch: dict[str, Any]) -> None:
    """Name the head Detect if the file has no implicit vectors: they are folded already."""
    match arch.get("head"):
        case [*rows, [source, number, "IDetect", args]]:
            arch["head"] = [*rows, [source, number, "Detect", args]]
            arch.setdefault("family", "yolov7")
        case _:
            pass


def _use_stored_anchors(
    arch: dict[str, Any], state: Mapping[str, Tensor], head: str, strides: Sequence[int]
) -> None:
    """Take anchors from the buffers where the yaml has another number of them, or only a count."""
    cells, pixels = state.get(f"{head}.anchors"), state.get(f"{head}.anchor_grid")
    if cells is None:
        return
    written = arch.get("anchors")
    shape = [2 * cells.shape[1]] * len(cells)
    if isinstance(written, list) and [len(level) for level in written] == shape:
        return
    if pixels is not None:
        arch["anchors"] = pixels.reshape(len(cells), -1).tolist()
    elif len(strides) == len(cells):
        scaled = [a * s for a, s in zip(cells, strides, strict=True)]
        arch["anchors"] = torch.stack(scaled).flatten(1).tolist()


def restore(checkpoint: Checkpoint, names: Sequence[str] | None = None) -> GraphDetector:
    """Build the model of a checkpoint and load it.

    Args:
        checkpoint: What was read.
        names: Other class names. With another number of them the head starts anew.

    Returns:
        The model; a folded one if the file is folded.

    Raises:
        WeightsError: The graph is not usable, or its tensors are not those of the file.
    """
    chosen = tuple(names or checkpoint.names)
    try:
        arch = read_architecture(checkpoint.arch, name=checkpoint.arch_name, classes=len(chosen))
        if len(chosen) != len(checkpoint.names):
            detector = GraphDetector(arch, chosen)
            fill(detector, checkpoint, anchors=True)
            return detector
        with torch.device("meta"):
            detector = GraphDetector(arch, chosen)
    except ConfigError as error:
        raise WeightsError(
            f"{checkpoint.source} cannot be used: {error.what}", fix=error.fix
        ) from error
    if checkpoint.strides and checkpoint.strides != detector.strides:
        raise WeightsError(
            f"{checkpoint.source} says strides {list(checkpoint.strides)}, but its graph has "
            f"{list(detector.strides)}."
        )
    state = _with_anchors(detector, checkpoint.state)
    folded = is_folded(state)
    if folded:
        detector = detector.fused()
        gone = (".ia.", ".im.", ".m2.", *(f"model.{row}." for row in detector.auxiliary))
        state = {k: v for k, v in state.items() if not any(part in k for part in gone)}
    _require_same(detector, state, checkpoint.source)
    detector.load_state_dict(state, assign=True)
    return detector.to(memory_format=torch.channels_last) if folded else detector


def fill(
    detector: GraphDetector, checkpoint: Checkpoint, *, anchors: bool = False
) -> TransferReport:
    """Start a model from a checkpoint, perhaps of another architecture or other classes.

    Args:
        detector: The model to fill.
        checkpoint: What was read.
        anchors: Whether the checkpoint's anchors replace those of the model.

    Raises:
        WeightsError: The file is folded, or fewer than half of the tensors match.
    """
    if is_folded(checkpoint.state):
        raise WeightsError(
            f"{checkpoint.source} is a folded deploy file: without BatchNorm it cannot be trained.",
            fix="Use the file from before folding.",
        )
    report = matching(detector, checkpoint.state, anchors=anchors)
    if 2 * report.matched < report.total:
        rows = _row_count(checkpoint.arch)
        name, ours = checkpoint.arch_name, detector.arch_name
        way = f"Use  --cfg {name}" if is_named(name) else "Leave out --cfg to train that one."
        fix = f"It looks like {name} ({rows} layers). {way}" if name != ours else ""
        raise WeightsError(
            f"{checkpoint.source} does not fit {ours}: "
            f"{report.matched} of {report.total} tensors match.",
            fix=fix,
        )
    return transfer(detector, checkpoint.state, anchors=anchors)


def is_folded(state: Mapping[str, Tensor]) -> bool:
    """Say whether a state has no BatchNorm left."""
    return not any(key.endswith(".running_var") for key in state)


def _with_anchors(detector: GraphDetector, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add or drop the anchors in pixels, which not every release stored."""
    completed = dict(state)
    head = f"model.{len(detector.model) - 1}"
    cells, key = state.get(f"{head}.anchors"), f"{head}.anchor_grid"
    if detector.detect.anchor_grid is None:
        completed.pop(key, None)
    elif key not in completed and cells is not None and len(cells) == len(detector.strides):
        pixels = torch.stack([a * s for a, s in zip(cells, detector.strides, strict=True)])
        completed[key] = pixels.view(len(cells), 1, -1, 1, 1, 2)
    return completed


def _require_same(detector: GraphDetector, state: Mapping[str, Tensor], source: str) -> None:
    own = detector.state_dict()
    faults = [f"{key} is missing" for key in own if key not in state]
    faults += [f"{key} is not part of the graph" for key in state if key not in own]
    faults += [
        f"{key} is {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(
            f"{source} does not hold the tensors of its own graph: {'; '.join(faults[:3])}{more}."
        )
