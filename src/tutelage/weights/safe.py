"""Foreign ``.pt`` checkpoints, read without running them.

A YOLOv7 or YOLOv5 checkpoint is a pickle of the whole model object, and unpickling runs whatever
the file asks for. Here the stream is only parsed (:mod:`tutelage.weights.inert`), every name in it
must be on a list, and the state dict is gathered from the records. No foreign package is needed or
imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, NoReturn

from torch import Tensor

from tutelage.errors import WeightsError
from tutelage.weights.archive import MAX_DEPTH, Archive, Layout, Plainer, printable
from tutelage.weights.convert import normalise_names, plain_mapping
from tutelage.weights.files import human_size, sniff
from tutelage.weights.inert import DamagedError, Record, RefusedError


@dataclass(frozen=True, slots=True)
class ForeignCheckpoint:
    """What a YOLOv7 or YOLOv5 checkpoint holds, as plain data.

    Attributes:
        state: The state dict under its original keys and in its original order; floating tensors in
            float32, integers as stored.
        yaml: The graph description stored with the model.
        names: Class names.
        strides: Stride of each level in pixels, as stored (empty if absent).
        nc: Number of classes.
        hyp: Hyper-parameters of the training, as far as they are plain values.
        source: Whether the weights are the file's EMA or its model.
        head: Class name of the head, for example ``IDetect``.
        note: What kind of file it is, for a person.
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


_MAX_MODULES = 100_000
_END_RECORD_WITHIN = 22 + (1 << 16)  # its size and that of the longest comment
_WRAPPERS = ("torch.nn.parallel.",)


def read_foreign(path: str | Path) -> ForeignCheckpoint:
    """Read a YOLOv7 or YOLOv5 ``.pt`` file. Nothing in it is executed, whatever it holds.

    The EMA is taken if the file has one, else the model; half precision becomes float32. A bare
    pickled model, also inside a (distributed) data-parallel wrapper, is accepted.

    Raises:
        WeightsError: The file is missing, damaged, of another kind, names anything but model parts,
            or holds values that are not finite.
    """
    path = Path(path)
    if sniff(path) != "zip":
        raise WeightsError(
            f"{path} is a .safetensors file, not a YOLOv7/YOLOv5 .pt.",
            fix="Give a run folder or a best.safetensors of ours as it is.",
        )
    try:
        with Archive(path) as archive:
            return _interpret(archive.content(), archive, path)
    except RefusedError as error:
        _refuse(path, error.name)
    except DamagedError as error:
        if not _has_directory(path):
            size = human_size(path.stat().st_size)
            raise WeightsError(
                f"{path} is truncated (zip directory missing, {size} are here).",
                fix="Download it again.",
            ) from error
        raise WeightsError(
            f"{path} is not a readable checkpoint: {error}.", fix="Download it again."
        ) from error


def _has_directory(path: Path) -> bool:
    """Whether the end of the file holds the end record of a zip's directory."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_RECORD_WITHIN))
        return b"PK\x05\x06" in file.read()


def _refuse(path: Path, name: str) -> NoReturn:
    if name.startswith("ultralytics."):
        raise WeightsError(
            f"{path} was written by the ultralytics package (it names {name}): another, "
            "anchor-free family that is not read here.",
            fix="Use a YOLOv7 or YOLOv5 checkpoint, or train a teacher with tutelage train.",
        )
    raise WeightsError(
        f"Refused to read {path}: loading it would call {name}. Nothing was executed. "
        "Model checkpoints only need models.*, utils.*, ultralytics.*, torch.nn.*, numpy.* "
        "and pathlib.*.",
        fix="Ask its author for .safetensors.",
    )


def _interpret(content: Any, archive: Archive, path: Path) -> ForeignCheckpoint:
    model, source, note = _find_model(content, path)
    fields: dict[str, Any] = model.state
    plain = Plainer(archive)
    if not isinstance(fields.get("yaml"), dict):
        raise WeightsError(
            f"{path} holds a {printable(model.path)} without its yaml: "
            "it is no YOLOv7/YOLOv5 model."
        )
    yaml = plain_mapping(plain(fields["yaml"]))
    nc = plain(fields.get("nc", yaml.get("nc")))
    if type(nc) is not int or nc < 1:
        raise DamagedError("it does not say how many classes it has")
    strides, hyp = plain(fields.get("stride")), plain(fields.get("hyp"))
    strides = strides if isinstance(strides, list) else []
    return ForeignCheckpoint(
        state=_gather(model, archive, path),
        yaml={**yaml, "nc": nc},
        names=normalise_names(plain(fields.get("names")), nc),
        strides=tuple(int(stride) for stride in strides if isinstance(stride, int | float)),
        nc=nc,
        hyp={str(key): value for key, value in hyp.items()} if isinstance(hyp, dict) else {},
        source=source,
        head=_head(model),
        note=note,
    )


def _find_model(content: Any, path: Path) -> tuple[Record, Literal["ema", "model"], str]:
    if isinstance(content, Record):
        return _unwrapped(content, path), "model", "a bare model"
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a model.")
    for source in ("ema", "model"):
        found = content.get(source)
        if isinstance(found, Record):
            epoch = content.get("epoch")
            stripped = content.get("optimizer") is None
            note = "stripped" if stripped else f"training checkpoint of epoch {epoch}"
            return _unwrapped(found, path), source, note
    if str(content.get("format", "")).startswith("tutelage"):
        raise WeightsError(
            f"{path} is the training state of a run, to be continued with --resume.",
            fix=f"Its weights are beside it: {path.with_name('best.safetensors')}",
        )
    keys = ", ".join(printable(str(key)) for key in list(content)[:5]) or "nothing"
    tensors = any(isinstance(value, Layout) for value in content.values())
    raise WeightsError(
        f"{path} holds {'bare tensors' if tensors else 'no model'} (found: {keys}).",
        fix="Expected a YOLOv7/YOLOv5 checkpoint with its model or ema inside.",
    )


def _unwrapped(model: Record, path: Path) -> Record:
    if model.path.startswith(_WRAPPERS):
        inner = _parts(model, "_modules").get("module")
        model = inner if isinstance(inner, Record) else model
    if not isinstance(model.state, dict) or "_modules" not in model.state:
        raise WeightsError(f"{path} holds a {printable(model.path)}, which is no model.")
    return model


def _parts(module: Record, group: str) -> dict[Any, Any]:
    """One of the dicts (``_parameters``, ``_buffers``, ``_modules``) of a module's state."""
    found = module.state.get(group) if isinstance(module.state, dict) else None
    return found if isinstance(found, dict) else {}


def _tensors(module: Record) -> Iterator[tuple[str, Layout]]:
    """Yield a module's tensors in the order of ``state_dict``."""
    pending = [("", module, 0)]
    for _ in range(_MAX_MODULES):
        if not pending:
            return
        prefix, module, depth = pending.pop()
        fields: Any = module.state if isinstance(module.state, dict) else {}
        volatile = fields.get("_non_persistent_buffers_set")
        skipped: Any = volatile if isinstance(volatile, set) else set()
        for group in ("_parameters", "_buffers"):
            for name, value in _parts(module, group).items():
                if isinstance(value, Layout) and (group == "_parameters" or name not in skipped):
                    yield f"{prefix}{name}", value
        children = [
            (f"{prefix}{name}.", child, depth + 1)
            for name, child in _parts(module, "_modules").items()
            if isinstance(child, Record)
        ]
        if depth > MAX_DEPTH:
            break
        pending += reversed(children)
    raise DamagedError("its modules are nested without end")


def _gather(model: Record, archive: Archive, path: Path) -> dict[str, Tensor]:
    layouts: dict[str, Layout] = {}
    total = 0
    for count, (key, layout) in enumerate(_tensors(model)):
        total += prod(layout.size) * layout.storage.dtype.itemsize
        if total > archive.stored or count > _MAX_MODULES:
            raise DamagedError("the model has more elements than the file")
        layouts[key] = layout
    if not layouts:
        raise WeightsError(f"{path} holds a model without weights.")
    state = {key: archive.tensor(layout) for key, layout in layouts.items()}
    require_finite(state, path)
    return state


def require_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse the weights of a training that diverged.

    Raises:
        WeightsError: A tensor holds NaN or infinity; it is named.
    """
    bad = [
        key
        for key, value in state.items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    if bad:
        kind = "NaN" if state[bad[0]].isnan().any() else "infinite"
        more = f" and {len(bad) - 1} more tensors" if len(bad) > 1 else ""
        raise WeightsError(
            f"{path} has {kind} values in {bad[0]}{more}.",
            fix="The training diverged, or half precision overflowed: use an earlier checkpoint.",
        )


def _head(model: Record) -> str:
    """Class name of the last row of the graph."""
    rows = _parts(model, "_modules").get("model")
    last = list(_parts(rows, "_modules").values())[-1:] if isinstance(rows, Record) else []
    return last[0].path.rpartition(".")[2] if last and isinstance(last[0], Record) else ""
