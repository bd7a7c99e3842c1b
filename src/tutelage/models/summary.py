"""Summarise a weight file without building its model; convert it to ``.safetensors``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tutelage.errors import ConfigError, WeightsError
from tutelage.models.blocks import BLOCKS
from tutelage.models.catalog import recognise
from tutelage.models.heads import HEADS
from tutelage.models.identify import identify
from tutelage.models.weight_file import read_checkpoint, require_usable, weight_file
from tutelage.weights import read_foreign, save_best
from tutelage.weights.convert import block_names, infer_form, normalise_names, official_keys
from tutelage.weights.file_type import sniff
from tutelage.weights.header import header, strides_of
from tutelage.weights.store import load_outline

_LONGEST = 200  # characters of a text in a header
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "anchors", "anchor_grid")


@dataclass(frozen=True)
class WeightFileSummary:
    """The content of a weight file.

    Attributes:
        path: The file.
        bytes: Its size.
        kind: What kind of file it is.
        architecture: Name of the graph; empty if it is neither known nor described.
        rows: Rows of the graph, or 0.
        unknown_blocks: Blocks of its yaml that are not supported.
        form: Family and form of the weights.
        names: Class names.
        strides: Pixels per cell of each level, as stored, or empty.
        tensors: Number of tensors of the model.
        parameters: Number of trained values: without statistics and anchors.
        precision: Number of values by type, the most frequent first.
        date: Date of writing, as stored, or empty.
        epoch: The last finished epoch, -1 after stripping, or None.
        holds: The entries of the file, each with a short description.
    """

    path: str
    bytes: int
    kind: str
    architecture: str
    rows: int
    unknown_blocks: tuple[str, ...]
    form: str
    names: tuple[str, ...]
    strides: tuple[int, ...]
    tensors: int
    parameters: int
    precision: dict[str, int]
    date: str
    epoch: int | None
    holds: dict[str, str]


def summarise(source: str | Path) -> WeightFileSummary:
    """Summarise a run folder, a ``.safetensors``, a ``last.pt`` or a foreign ``.pt``.

    Raises:
        WeightsError: The file is missing, damaged, refused, or not of a kind that is known.
    """
    path = weight_file(source)
    if sniff(path) == "safetensors":
        state, meta = load_outline(path)
        own = isinstance(meta.get("arch"), dict)
        kind = str(meta.get("note") or "weights of a run") if own else "tensors of another program"
        training = meta.get("training")
        epoch = training.get("epochs") if isinstance(training, dict) else meta.get("epoch")
        date = meta.get("date")
        return _summary(
            path, official_keys(state), kind[:_LONGEST], meta["arch"] if own else {},
            names=meta.get("names"), strides=strides_of(meta),
            epoch=epoch if isinstance(epoch, int) else None,
            date=date[:_LONGEST] if isinstance(date, str) else "",
            holds={key[:_LONGEST]: _short(value) for key, value in meta.items()},
        )  # fmt: skip
    found = read_foreign(path, values=False)
    kind = f"{found.note}{': its EMA' if found.source == 'ema' else ''}"
    return _summary(
        path, found.state, kind, found.yaml, head=found.head, names=list(found.names),
        strides=found.strides, date=found.date, epoch=found.epoch, holds=found.holds,
    )  # fmt: skip


def _summary(
    path: Path,
    state: Mapping[str, Tensor],
    kind: str,
    arch: Mapping[str, Any],
    *,
    names: object,
    strides: tuple[int, ...],
    holds: dict[str, str],
    head: str = "",
    date: str = "",
    epoch: int | None = None,
) -> WeightFileSummary:
    words, classes = _form(state, arch, head)
    arch = arch or identify(state, classes) or {}
    count = len(names) if isinstance(names, list) else classes
    blocks = block_names(arch)
    values = Counter[str]()
    for value in state.values():
        values[str(value.dtype).removeprefix("torch.")] += value.numel()
    return WeightFileSummary(
        path=str(path),
        bytes=path.stat().st_size,
        kind=kind,
        architecture=recognise(arch) or ("a graph of its own" if arch else ""),
        rows=len(blocks),
        unknown_blocks=tuple(dict.fromkeys(b for b in blocks if b not in {*BLOCKS, *HEADS})),
        form=words,
        names=normalise_names(names, count),
        strides=strides,
        tensors=len(state),
        parameters=sum(v.numel() for k, v in state.items() if not k.endswith(_STATISTICS)),
        precision=dict(values.most_common()),
        date=date,
        epoch=epoch,
        holds=holds,
    )


def _form(state: Mapping[str, Tensor], arch: Mapping[str, Any], head: str) -> tuple[str, int]:
    """Return family and form as text, and the number of classes of the head."""
    try:
        found = infer_form(state, arch, head)
    except WeightsError:
        return f"no anchor head{f': {head}' if head else ''}", 0
    words = [found.family]
    if found.family == "yolov7":
        words.append(
            "deploy form: implicit vectors folded"
            if found.deploy or found.fused
            else "training form"
        )
    words += ["auxiliary head"] * found.auxiliary + ["BatchNorm folded"] * found.fused
    words += ["RepConv re-parameterised"] * found.reparameterised
    return ", ".join(words), found.classes


def _short(value: object) -> str:
    if isinstance(value, Mapping | list):
        return f"{len(value)} entries"
    text = str(value)
    return text if len(text) <= 60 else f"text of {len(text)} letters"


def convert(source: str | Path, target: str | Path, *, force: bool = False) -> None:
    """Convert any weight file to a ``.safetensors`` of Tutelage.

    Precision and metadata (image size, scores, training) stay.

    Raises:
        ConfigError: The target has another suffix or no folder, or exists and ``force`` is False.
        WeightsError: The source cannot be used; nothing is written.
    """
    path = Path(target)
    if path.suffix != ".safetensors":
        raise ConfigError(f"--to {path}: only .safetensors is written.", code="C29")
    if not path.parent.is_dir():
        raise ConfigError(f"--to {path}: there is no folder {path.parent}.", code="C29")
    if path.exists() and not force:
        raise ConfigError(
            f"--to {path}: the file exists.", fix="Replace it with  --force", code="C29"
        )
    checkpoint = read_checkpoint(source)
    require_usable(checkpoint)
    note = f"{checkpoint.note}, converted from {Path(checkpoint.source).name}"
    meta = header(
        checkpoint.arch,
        checkpoint.arch_name,
        checkpoint.names,
        checkpoint.strides,
        {**checkpoint.metadata, "note": note},
    )
    save_best(path, checkpoint.state, meta)
