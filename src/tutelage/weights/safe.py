"""Reads foreign ``.pt`` checkpoints without executing them.

A checkpoint of YOLOv7 or YOLOv5 is a pickle of the whole model object, and unpickling executes code
of the file. Here the stream is only parsed (:mod:`tutelage.weights.pickle_parser`), every name in
it must be on an allowlist, and the state dict is built from the records. No foreign package is
needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from tutelage.errors import WeightsError
from tutelage.weights.allowlist import UnreadTensor, printable
from tutelage.weights.archive import Archive, Container
from tutelage.weights.convert import infer_form, normalise_names, with_activation
from tutelage.weights.file_type import human_size, sniff
from tutelage.weights.find_model import FoundModel, describe_entries, find_model
from tutelage.weights.header import image_size_of
from tutelage.weights.metadata import MetadataReader
from tutelage.weights.old_archives import OldArchive
from tutelage.weights.pickle_parser import DamagedError, PickledObject, RefusedError


@dataclass(frozen=True, slots=True)
class ForeignCheckpoint:
    """The content of a YOLOv7 or YOLOv5 checkpoint, as plain data.

    Attributes:
        state: The state dict under its original keys, in its original order and precision. Tensors
            may be views of the mapped file: copy those that must outlive it.
        yaml: The graph description stored with the model; empty for a bare state dict.
        names: Class names.
        strides: Stride of each level in pixels, as stored (empty if absent).
        nc: Number of classes.
        hyp: Hyper-parameters of the training, as far as they are plain values.
        source: Whether the weights are the file's EMA or its model.
        head: Class name of the head, for example ``IDetect``.
        note: The kind of file, for messages.
        holds: The entries of the file, each in a few words.
        date: The stored date of writing (YOLOv5), or empty.
        epoch: The last finished epoch, -1 after stripping, or None.
        image_size: Side of the training images in pixels (YOLOv5 from 7.0 on), or None.
    """

    state: dict[str, Tensor]
    yaml: dict[str, Any]
    names: tuple[str, ...]
    strides: tuple[int, ...]
    nc: int
    hyp: dict[str, Any]
    source: Literal["ema", "model"]
    head: str
    note: str
    holds: dict[str, str] = field(default_factory=dict)
    date: str = ""
    epoch: int | None = None
    image_size: int | None = None


_MAX_CLASSES = 100_000
_END_RECORD_WITHIN = 22 + (1 << 16)  # its size and that of the longest comment
_OTHER_TENSORS = (
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_sparse",
    "torch._utils._rebuild_meta",
    "torch.Complex",
)
_FAMILIES: Mapping[str, tuple[str, str]] = {
    "ultralytics.": (
        "was written by the ultralytics package (YOLOv8 or later): another, anchor-free family "
        "that is not read here",
        "As a teacher that package can open it:  --teacher-weights ultralytics:FILE",
    ),
    "torchvision.": (
        "was written with torchvision: a classifier or another network, no detector that is known",
        "Its detectors are teachers by name:  --teacher-weights torchvision:NAME",
    ),
    "transformers.": (
        "was written by the transformers package: no detector that is known",
        "As a teacher that package can open it:  --teacher-weights hf:NAME",
    ),
    "timm.": ("was written with timm: a classifier, no detector", ""),
}


def read_foreign(path: str | Path, *, values: bool = True) -> ForeignCheckpoint:
    """Read a YOLOv7 or YOLOv5 ``.pt`` file; nothing in it is executed.

    The EMA is taken if the file has one, else the model. A bare pickled model, also inside a
    (distributed) data-parallel wrapper, and a bare state dict are accepted.

    Args:
        path: The file.
        values: If False, the tensors are on the meta device, without values; the training state
            of a Tutelage run is accepted, too.

    Raises:
        WeightsError: The file is missing, damaged, of another kind, names anything but model parts,
            or holds values that are not finite.
    """
    path = Path(path)
    kind = sniff(path)
    if kind == "safetensors":
        what = f"{path} is a .safetensors file, not a .pt."
        fix = "Give a run folder or a best.safetensors of ours as it is."
        raise WeightsError(what, fix=fix, code="W22")
    try:
        container = Archive(path) if kind == "zip" else OldArchive(path)
        return _interpret(container, path, values=values)
    except RefusedError as error:
        _refuse(path, error.name)
    except DamagedError as error:
        if kind == "zip" and not _has_directory(path):
            size = human_size(path.stat().st_size)
            what = f"{path} is truncated (zip directory missing, {size} are here)."
            fix = "Download it again."
            raise WeightsError(what, fix=fix, code="W10") from error
        raise WeightsError(
            f"{path} is not a readable checkpoint: {error}.", fix="Download it again.", code="W10"
        ) from error


def _has_directory(path: Path) -> bool:
    """Whether the end of the file holds the whole end record of a zip's directory."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_RECORD_WITHIN))
        end = file.read()
    return len(end) - end.rfind(b"PK\x05\x06") >= 22 and b"PK\x05\x06" in end


def _refuse(path: Path, name: str) -> NoReturn:
    for prefix, (what, fix) in _FAMILIES.items():
        if name.startswith(prefix):
            raise WeightsError(f"{path} {what} (it names {name}).", fix=fix, code="W22")
    if name.startswith(_OTHER_TENSORS):
        raise WeightsError(
            f"{path} holds tensors that are no plain numbers ({name}): quantised, sparse, complex "
            "or without values.",
            fix="Give the checkpoint from before that.",
            code="W22",
        )
    raise WeightsError(
        f"Refused to read {path}: loading it would call {name}. Nothing was executed. "
        "Model checkpoints only need classes of their repository (models.*, utils.*, yolo.*, "
        "yolox.*), of torch.nn, numpy and pathlib.",
        fix="Ask its author for .safetensors.",
        code="W11",
    )


def _interpret(container: Container, path: Path, *, values: bool) -> ForeignCheckpoint:
    content = container.content()
    found = find_model(content, path, resumable=not values)
    plain = MetadataReader(container.tensor)
    fields = {key: plain(found.fields.get(key)) for key in ("yaml", "nc", "names", "stride", "hyp")}
    yaml = fields["yaml"] if isinstance(fields["yaml"], dict) else {}
    yaml = with_activation(yaml, found.activations)
    state = _state(found.layouts, container, path, values=values)
    top = content if isinstance(content, dict) else {}
    epoch, date = top.get("epoch"), top.get("date")
    nc = _classes(fields["nc"], yaml, found, state, path)
    strides = fields["stride"] if isinstance(fields["stride"], list) else []
    return ForeignCheckpoint(
        state=state,
        yaml={**yaml, "nc": nc} if yaml else {},
        names=normalise_names(fields["names"], nc),
        strides=tuple(
            int(each) for each in strides if isinstance(each, int | float) and 1 <= each <= 4096
        ),
        nc=nc,
        hyp=fields["hyp"] if isinstance(fields["hyp"], dict) else {},
        source=found.source,
        head=found.head,
        note=found.note,
        holds=describe_entries(content, plain),
        date=printable(date) if isinstance(date, str) else "",
        epoch=epoch if type(epoch) is int and abs(epoch) < 1 << 31 else None,
        image_size=_image_size(top.get("opt")),
    )


def _image_size(options: Any) -> int | None:
    """Return the image size among the options of the training: one number, or several."""
    options = options.state if isinstance(options, PickledObject) else options
    size = options.get("imgsz", options.get("img_size")) if isinstance(options, dict) else None
    size = size[0] if isinstance(size, list | tuple) and size else size
    return image_size_of({"image_size": size})


def _classes(
    stored: Any, yaml: Mapping[str, Any], found: FoundModel, state: Mapping[str, Tensor], path: Path
) -> int:
    """Return the number of classes: as stored, else from the outputs of the head."""
    nc = yaml.get("nc") if stored is None else stored
    if nc is None:
        try:
            nc = infer_form(state, yaml, found.head).classes
        except WeightsError as error:
            kind = f"a {found.head} head" if found.head else "no head that is known"
            raise WeightsError(
                f"{path} holds a model without its yaml and with {kind}: "
                "it is no detector that is known.",
                code="W22",
            ) from error
    if type(nc) is not int or not 1 <= nc <= _MAX_CLASSES:
        raise DamagedError("it does not say how many classes it has")
    return nc


def _state(
    layouts: Mapping[str, UnreadTensor], container: Container, path: Path, *, values: bool
) -> dict[str, Tensor]:
    needed = sum(prod(each.size) * each.storage.dtype.itemsize for each in layouts.values())
    if needed > len(container.mapped):
        raise DamagedError("the model has more elements than the file")
    if not values:
        return {
            key: torch.empty(each.size, dtype=each.storage.dtype, device="meta")
            for key, each in layouts.items()
        }
    state = container.tensors(layouts)
    require_finite(state, path)
    return state


def require_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights of a diverged training.

    Raises:
        WeightsError: A tensor holds NaN or infinity, or a variance is negative; it is named.
    """
    bad = [key for key, value in state.items() if not _finite(value)]
    if bad:
        kind = "NaN" if state[bad[0]].isnan().any() else "infinite"
        more = f" and {len(bad) - 1} more tensors" if len(bad) > 1 else ""
        what = f"{path} has {kind} values in {printable(bad[0])}{more}."
        fix = "The training diverged, or half precision overflowed: use an earlier checkpoint."
        raise WeightsError(what, fix=fix, code="W23")
    below = [key for key, x in state.items() if key.endswith("running_var") and (x < 0).any()]
    if below:
        raise WeightsError(
            f"{path} has negative values in {printable(below[0])}, a variance.", code="W23"
        )


def _finite(value: Tensor) -> bool:
    """Return whether all values are finite: min and max are 30 times faster than ``isfinite``."""
    if not value.is_floating_point() or not value.numel():
        return True
    return bool(torch.stack(value.aminmax()).isfinite().all())
