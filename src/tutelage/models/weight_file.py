"""Reading weight files of any kind into one form, and making models of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tutelage.errors import ConfigError, WeightsError
from tutelage.models.architecture import Architecture, read_architecture
from tutelage.models.blocks import BLOCKS
from tutelage.models.catalog import is_named, recognise, stored_name
from tutelage.models.graph import GraphDetector
from tutelage.models.head_forms import adapt_head, find_head, fold_like, plain_head
from tutelage.models.heads import HEADS, Detect
from tutelage.models.hugging_face import is_hugging_face, read_student
from tutelage.models.identify import identify
from tutelage.models.meta_device import without_values
from tutelage.models.transfer import TransferReport, adapt_stem, compare_states, transfer
from tutelage.weights import load_best, read_foreign, require_finite
from tutelage.weights.convert import block_names, infer_form, normalise_names, official_keys
from tutelage.weights.file_type import release_page, sniff
from tutelage.weights.header import image_size_of, metadata_of, strides_of

SUFFIXES = (".pt", ".pth", ".safetensors")
BEST = "best.safetensors"
_LONGEST = 200  # letters of a name in a header
_NO_NAME = re.compile(r"[^\w@.+ -]")


class Checkpoint(NamedTuple):
    """The weights of a graph and all that is needed to build it.

    Attributes:
        source: Path, for messages.
        state: Tensors under ``model.<row>.<...>``, in the precision of the file.
        arch: Yaml mapping; empty for a state dict of a graph that is not known.
        arch_name: Name of the architecture.
        names: Class names.
        strides: Strides as stored, or empty.
        note: Which weights these are of what kind of file, for a person.
        metadata: What the file says of the training: image size, scores, ….
    """

    source: str
    state: dict[str, Tensor]
    arch: dict[str, Any]
    arch_name: str
    names: tuple[str, ...]
    strides: tuple[int, ...]
    note: str
    metadata: Mapping[str, Any] = MappingProxyType({})


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a run folder, a ``.safetensors`` of ours, a published ``.pt`` or ``hf:FOLDER``.

    No code is run.

    Raises:
        WeightsError: The file is missing, damaged, refused, or not of a kind that is known.
    """
    if is_hugging_face(path):
        state, arch, name, names = read_student(str(path))
        return Checkpoint(str(path), state, arch, name, names, (), "weights of transformers")
    path = weight_file(path)
    return _read_safetensors(path) if sniff(path) == "safetensors" else _read_foreign(path)


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
                f"{path} holds no {BEST}.",
                fix="A run folder has one after its first evaluation.",
                code="W22",
            )
        return path / BEST
    if is_named(str(source)) and not path.exists():
        raise WeightsError(
            f"{source} is an architecture: it has no trained weights.",
            fix=f"Give a run folder or a file ending in {', '.join(SUFFIXES)}.\n"
            f"{release_page(str(source))}",
            code="W22",
        )
    return path


def _read_safetensors(path: Path) -> Checkpoint:
    state, meta = load_best(path)
    require_finite(state, path)
    arch, names = meta.get("arch"), meta.get("names")
    if not isinstance(arch, dict) or not isinstance(names, list) or not names:
        return _read_bare_state(path, state, names)._replace(metadata=metadata_of(meta))
    stored = str(meta.get("arch_name") or recognise(arch) or path.stem)
    name = _safe_name(stored_name(stored, arch))
    note = str(meta.get("note") or "EMA weights of a run")[:_LONGEST]
    known = tuple(map(str, names)), strides_of(meta), note, metadata_of(meta)
    return Checkpoint(str(path), state, dict(arch), name, *known)


def _safe_name(text: str) -> str:
    """A name from a header as run folders and exported files may bear it: no path hides in it."""
    return _NO_NAME.sub("_", text[:_LONGEST]).lstrip(".") or "custom"


def _read_bare_state(path: Path, state: dict[str, Tensor], names: object) -> Checkpoint:
    """A state dict that another program put into a ``.safetensors``."""
    state = official_keys(state)
    try:
        found = infer_form(state, {})
    except WeightsError as error:
        raise WeightsError(
            f"{path} has no architecture and class names in its header, and its tensors are of no "
            "detector that is known.",
            fix="Give a best.safetensors of a run, or a checkpoint of YOLOv7, YOLOv5, YOLOv9 or "
            "YOLOX.",
            code="W22",
        ) from error
    known = normalise_names(names, found.classes)
    return _normalised(path, state, {}, known, (), "a bare state dict")


def _read_foreign(path: Path) -> Checkpoint:
    found = read_foreign(path)
    kind = "EMA weights" if found.source == "ema" else "plain weights"
    names = found.names if len(found.names) == found.nc else tuple(map(str, range(found.nc)))
    note = f"{kind}, {found.note}"
    state = dict(found.state)
    known = {"image_size": found.image_size, "epoch": found.epoch, "date": found.date or None}
    metadata = {key: value for key, value in known.items() if value is not None}
    checkpoint = _normalised(path, state, dict(found.yaml), names, found.strides, note)
    return checkpoint._replace(metadata=metadata)


def _normalised(
    path: Path,
    state: dict[str, Tensor],
    arch: dict[str, Any],
    names: tuple[str, ...],
    strides: tuple[int, ...],
    note: str,
) -> Checkpoint:
    """Even out what differs between releases: the form of the head and where anchors are."""
    arch = arch or identify(state, len(names)) or {}
    if arch:
        arch["nc"] = len(names)
        if not any(".ia." in key for key in state):
            arch = plain_head(arch)
        head = HEADS.get((block_names(arch) or ("",))[-1], Detect)
        head.complete_mapping(arch, state, f"model.{_row_count(arch) - 1}", strides)
    name = recognise(arch) or path.stem
    return Checkpoint(str(path), state, arch, name, names, strides, note)


def _row_count(arch: Mapping[str, Any]) -> int:
    parts = [arch.get("backbone"), arch.get("head")]
    return sum(len(part) for part in parts if isinstance(part, list))


def restore(checkpoint: Checkpoint, names: Sequence[str] | None = None) -> GraphDetector:
    """Build the model of a checkpoint and load it.

    Args:
        checkpoint: What was read.
        names: Other class names. With another number of them the head starts anew.

    Returns:
        The model in float32; a folded one if the file is folded.

    Raises:
        WeightsError: The graph is not usable, or its tensors are not those of the file.
    """
    chosen = tuple(names or checkpoint.names)
    if len(chosen) != len(checkpoint.names):
        return build_for_classes(checkpoint, chosen)[0]
    detector, state = _checked(checkpoint, chosen)
    folded = is_folded(state)
    # Copies: the state may be a part of the mapped file, which someone may write to later.
    own = {
        key: x.to(torch.float32 if x.is_floating_point() else x.dtype, copy=True)
        for key, x in state.items()
    }
    detector.load_state_dict(own, assign=True)
    detector.metadata = dict(checkpoint.metadata)
    return detector.to(memory_format=torch.channels_last) if folded else detector


def build_for_classes(
    checkpoint: Checkpoint, names: Sequence[str]
) -> tuple[GraphDetector, TransferReport]:
    """Build the model of a checkpoint for training on other classes.

    Returns:
        The model, unfolded, and what it took over.

    Raises:
        WeightsError: As :func:`restore`, or the file is folded.
    """
    require_usable(checkpoint)  # so that a small file cannot ask for a huge model
    with _as_weights_error(checkpoint):
        detector = GraphDetector(_architecture(checkpoint, len(names)), names)
    return detector, load_matching(detector, checkpoint, anchors=True)


def require_usable(checkpoint: Checkpoint) -> None:
    """Check that a checkpoint can be restored, without the memory that this takes.

    Raises:
        WeightsError: As :func:`restore`.
    """
    _checked(checkpoint, checkpoint.names)


def _checked(
    checkpoint: Checkpoint, names: Sequence[str]
) -> tuple[GraphDetector, dict[str, Tensor]]:
    """The model on the meta device and its state: the graph has exactly the file's tensors."""
    with _as_weights_error(checkpoint), without_values():
        detector = GraphDetector(_architecture(checkpoint, len(names)), names)
    if checkpoint.strides and checkpoint.strides != detector.strides:
        raise WeightsError(
            f"{checkpoint.source} says strides {list(checkpoint.strides)}, but its graph has "
            f"{list(detector.strides)}.",
            code="W10",
        )
    prefix = f"model.{len(detector.model) - 1}"
    state = detector.head.complete_state(checkpoint.state, prefix)
    if is_folded(state):
        detector = detector.fused()
        gone = (".ia.", ".im.", ".m2.", *(f"model.{row}." for row in detector.auxiliary))
        state = {k: v for k, v in state.items() if not any(part in k for part in gone)}
    else:
        fold_like(detector, state)
    _require_same(detector, state, checkpoint.source)
    return detector, state


@contextlib.contextmanager
def _as_weights_error(checkpoint: Checkpoint) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise WeightsError(
            f"{checkpoint.source} cannot be used: {error.what}", fix=error.fix
        ) from error


def _architecture(checkpoint: Checkpoint, classes: int) -> Architecture:
    """Check the yaml of a checkpoint: its blocks, and that it is not larger than the file."""
    if not checkpoint.arch:
        raise WeightsError(
            f"{checkpoint.source} holds tensors without a yaml, and no known architecture has "
            "tensors like these.",
            fix="Give the yaml of the model too:  --cfg model.yaml --weights FILE",
            code="W22",
        )
    unknown: dict[str, list[str]] = {}
    for row, block in enumerate(block_names(checkpoint.arch)[:-1]):
        if block not in BLOCKS and block not in HEADS:
            unknown.setdefault(block, []).append(str(row))
    if unknown:
        listed = ", ".join(
            f"{block[:40]} (row {', '.join(rows[:5])}{'…' if len(rows) > 5 else ''})"
            for block, rows in list(unknown.items())[:8]
        )
        raise ConfigError(
            f"its graph has blocks that are not known here: {listed}.",
            fix="A block is one file and one line: see docs/architecture.md.",
            code="C28",
        )
    rows, head = _row_count(checkpoint.arch), find_head(checkpoint.state)
    last = f"model.{rows - 1}."
    if head is None and not any(key.startswith(last) for key in checkpoint.state):
        raise ConfigError(f"its yaml has {rows} rows, but the file has no head there.", code="C28")
    if head is not None and head.row != rows - 1:
        place = f"its head in row {head.row}"
        raise ConfigError(f"its yaml has {rows} rows, but the file has {place}.", code="C28")
    arch = read_architecture(checkpoint.arch, name=checkpoint.arch_name, classes=classes)
    if sum(row.count for row in arch.rows) > rows + len(checkpoint.state):
        raise ConfigError(
            "its yaml repeats blocks more often than the file has tensors.", code="C28"
        )
    return arch


def load_matching(
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
            code="W22",
        )
    given = adapt_head(checkpoint.state, detector.state_dict())
    state = adapt_stem(detector, given)
    report = compare_states(detector, state, anchors=anchors)
    if 2 * report.matched < report.total:
        raise WeightsError(
            f"{checkpoint.source} does not fit {detector.arch_name}: "
            f"{report.matched} of {report.total} tensors match.",
            fix=_suggest_architecture(checkpoint, detector),
            code="W12",
        )
    if (size := image_size_of(checkpoint.metadata)) is not None:
        detector.metadata = {"image_size": size}
    grey = any(state[key] is not given[key] for key in given)
    return transfer(detector, state, anchors=anchors)._replace(grey=grey)


def _suggest_architecture(checkpoint: Checkpoint, detector: GraphDetector) -> str:
    """Name the architecture that a file looks like, if it is another one."""
    name = checkpoint.arch_name
    if not checkpoint.arch or name == detector.arch_name:
        return ""
    way = f"Use  --cfg {name}" if is_named(name) else "Leave out --cfg to train that one."
    return f"It looks like {name} ({_row_count(checkpoint.arch)} layers). {way}"


def is_folded(state: Mapping[str, Tensor]) -> bool:
    """Say whether a state has no BatchNorm left."""
    return not any(key.endswith(".running_var") for key in state)


def _require_same(detector: GraphDetector, state: Mapping[str, Tensor], source: str) -> None:
    own = detector.state_dict()
    faults = [f"{key} is missing" for key in own if key not in state]
    faults += [f"{key} is not part of the graph" for key in state if key not in own]
    for key in filter(state.__contains__, own):
        given, wanted = state[key], own[key]
        if given.shape != wanted.shape:
            faults.append(f"{key} is {list(given.shape)} instead of {list(wanted.shape)}")
        elif given.is_floating_point() != wanted.is_floating_point():
            faults.append(f"{key} is of type {str(given.dtype).removeprefix('torch.')}")
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(
            f"{source} does not hold the tensors of its own graph: {'; '.join(faults[:3])}{more}.",
            code="W10",
        )
