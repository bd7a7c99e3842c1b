"""Finds the model in the content of a checkpoint: its tensors by name, and its attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tutelage.errors import WeightsError
from tutelage.weights.allowlist import UnreadTensor, printable, printable_value
from tutelage.weights.convert import COUNTERS, official_keys
from tutelage.weights.file_type import release_page
from tutelage.weights.metadata import MAX_DEPTH
from tutelage.weights.pickle_parser import DamagedError, PickledObject

_MAX_MODULES = 100_000
_MAX_KEY = 200  # characters; the longest known key has 60
_PART = re.compile(r"[A-Za-z0-9_]+")
_HUB = ("AutoShape", "autoShape", "DetectMultiBackend")  # wrappers of YOLOv5's torch.hub
_MAX_WRAPPERS = 4
_CLASSIFIERS = re.compile(r"(model\.\d+\.linear|fc|classifier(\.\d+)?|head)\.weight")
_EXPECTED = "Expected a checkpoint of YOLOv7, YOLOv5, YOLOv9 or YOLOX with its model or ema inside."
_HEADS = re.compile(r"model\.\d+\.(anchors|cls_preds\.0\.weight|lead\.0\.cls\.2\.bias)")
_OTHER_NAMES = re.compile(r"(\w+\.)*\d+\.(dfl\.conv\.weight|cv\d\.0\.0\.conv\.weight)")
_STATES = ("ema", "model", "state_dict", "model_state_dict")


class FoundModel(NamedTuple):
    """The model of a checkpoint.

    Attributes:
        layouts: Its tensors by their official keys, in the order of ``state_dict``.
        fields: The attributes of the model object, or those beside a bare state dict.
        source: Whether the weights are the file's EMA or its model.
        head: Class name of the head, empty for a bare state dict.
        note: The kind of file, for messages.
        activations: The different activations of its convolutions, as a yaml spells them; empty for
            a bare state dict.
    """

    layouts: dict[str, UnreadTensor]
    fields: Mapping[Any, Any]
    source: Literal["ema", "model"]
    head: str
    note: str
    activations: tuple[str, ...] = ()


def find_model(content: Any, path: Path, *, resumable: bool = False) -> FoundModel:
    """Find the model: the EMA if there is one, else the model, else a state dict.

    Args:
        content: The parsed content of the file.
        path: The file, for messages.
        resumable: Accept the training state (``last.pt``) of a Tutelage run, too.

    Raises:
        WeightsError: There is none, or it is no detector.
        DamagedError: It is nested too deeply.
    """
    if isinstance(content, PickledObject):
        return _of_model(content, path, "model", "a bare model")
    if not isinstance(content, dict):
        what = "tensor" if isinstance(content, UnreadTensor) else type(content).__name__
        raise _no_model(path, f"holds a {what}, not a model.")
    for source in ("ema", "model"):
        model = content.get(source)
        if isinstance(model, tuple) and model:  # some releases wrote (ema, updates)
            model = model[0]
        if isinstance(model, PickledObject):
            stripped = content.get("optimizer") is None
            epoch = printable_value(content.get("epoch"))
            note = "stripped" if stripped else f"training checkpoint of epoch {epoch}"
            return _of_model(model, path, source, note)
    kind = content.get("format")
    if isinstance(kind, str) and kind.startswith("tutelage"):  # a last.pt of Tutelage
        average = content.get("ema")
        if resumable and isinstance(average, dict):
            state = {key: value for key, value in average.items() if key != "n_averaged"}
            return FoundModel(_of_state(state), {}, "ema", "", "the training state of a run")
        fix = f"Its weights are beside it: {path.with_name('best.safetensors')}"
        raise _no_model(path, "is the training state of a run, to be continued with --resume.", fix)
    for source, state in (("model", content), *((key, content.get(key)) for key in _STATES)):
        layouts = _of_state(state) if isinstance(state, dict) else {}
        if layouts:
            _require_detector(layouts, path)
            fields = {} if state is content else content
            origin: Literal["ema", "model"] = "ema" if source == "ema" else "model"
            return FoundModel(layouts, fields, origin, "", "a bare state dict")
    keys = ", ".join(printable_value(key) for key in list(content)[:5]) or "nothing"
    raise _no_model(path, f"holds no model (found: {keys}).", _EXPECTED)


def _no_model(path: Path, what: str, fix: str = "") -> WeightsError:
    return WeightsError(f"{path} {what}", fix=fix, code="W22")


def _of_model(
    model: PickledObject, path: Path, source: Literal["ema", "model"], note: str
) -> FoundModel:
    model = _unwrapped(model)
    fields, head = model.state, _head(model)
    if not isinstance(fields, dict) or "_modules" not in fields:
        raise _no_model(path, f"holds a {printable(model.path)}, which is no model.")
    if _class(model) == "Ensemble":
        count = len(_parts(model, "_modules"))
        what = f"is an ensemble of {count} networks; only single ones are read."
        raise _no_model(path, what, "Give one of the files that it was made of.")
    if head == "Classify" or model.path.endswith("ClassificationModel"):
        what = f"is a classifier ({printable(model.path)}): it finds no objects."
        raise _no_model(path, what, "Expected a detector of YOLOv7, YOLOv5, YOLOv9 or YOLOX.")
    layouts = dict(islice(_tensors(model), _MAX_MODULES + 2))
    if not layouts:
        raise _no_model(path, "holds a model without weights.")
    if len(layouts) > _MAX_MODULES:
        raise DamagedError("the model has more tensors than any")
    return FoundModel(official_keys(layouts), fields, source, head, note, _activations(model))


def _unwrapped(model: PickledObject) -> PickledObject:
    """Return the network inside data-parallel, hub and EMA wrappers."""
    for _ in range(_MAX_WRAPPERS):
        children, name = _parts(model, "_modules"), _class(model)
        inner: object = None
        if model.path.startswith("torch.nn.parallel."):
            inner = children.get("module")
        elif name in _HUB:
            inner = children.get("model")
        elif name == "Ensemble" and len(children) == 1:
            inner = next(iter(children.values()))
        elif name == "ModelEMA" and isinstance(model.state, dict):
            inner = model.state.get("ema")
        if not isinstance(inner, PickledObject):
            break
        model = inner
    return model


def _class(model: PickledObject) -> str:
    return model.path.rpartition(".")[2]


def _of_state(state: dict[Any, Any]) -> dict[str, UnreadTensor]:
    """Return the tensors of a state dict under their official names."""
    layouts = {
        key: value
        for key, value in state.items()
        if isinstance(key, str) and isinstance(value, UnreadTensor)
    }
    if any(len(key) > _MAX_KEY for key in layouts):
        raise DamagedError("a tensor has an unreasonably long name")
    return official_keys(layouts)


def _require_detector(layouts: Mapping[str, UnreadTensor], path: Path) -> None:
    """Refuse the tensors of other networks, which have neither anchors nor a head that is known."""
    if any(map(_HEADS.fullmatch, layouts)):
        return
    other = next((key for key in layouts if _OTHER_NAMES.fullmatch(key)), None)
    if other:
        raise _no_model(
            path,
            f"holds an anchor-free head with the names of another repository ({printable(other)}).",
            "YOLOv9 is read with the names of MultimediaTechLab/YOLO (v9-t.pt to v9-c.pt). "
            f"{release_page('yolov9')}",
        )
    last = next((key for key in layouts if _CLASSIFIERS.fullmatch(key)), None)
    first = ", ".join(printable(key) for key in list(layouts)[:3])
    what = f"the tensors of a classifier ({last})" if last else f"bare tensors (found: {first})"
    raise _no_model(path, f"holds {what}, no detector that is known.", _EXPECTED)


def _parts(module: PickledObject, group: str) -> dict[Any, Any]:
    """Return ``_parameters``, ``_buffers`` or ``_modules`` of a module's state."""
    parts = module.state.get(group) if isinstance(module.state, dict) else None
    return parts if isinstance(parts, dict) else {}


def _tensors(module: PickledObject) -> Iterator[tuple[str, UnreadTensor]]:
    """Yield a module's tensors in the order of ``state_dict``."""
    for prefix, child in _modules(module):
        fields: Any = child.state if isinstance(child.state, dict) else {}
        volatile = fields.get("_non_persistent_buffers_set")
        skipped: Any = volatile if isinstance(volatile, set) else set()
        for group in ("_parameters", "_buffers"):
            for name, value in _parts(child, group).items():
                kept = group == "_parameters" or name not in (*skipped, *COUNTERS)
                if kept and isinstance(value, UnreadTensor):
                    yield _join(prefix, name), value


def _modules(module: PickledObject) -> Iterator[tuple[str, PickledObject]]:
    """Yield a module and all its descendants, each with the prefix of its tensors."""
    pending = [("", module, 0)]
    for _ in range(_MAX_MODULES):
        if not pending:
            return
        prefix, module, depth = pending.pop()
        yield prefix, module
        children = _parts(module, "_modules")
        if depth > MAX_DEPTH or len(pending) + len(children) > _MAX_MODULES:
            break
        pending += [
            (f"{_join(prefix, name)}.", child, depth + 1)
            for name, child in reversed(children.items())
            if isinstance(child, PickledObject)
        ]
    raise DamagedError("its modules are nested without end")


def _join(prefix: str, name: object) -> str:
    if not isinstance(name, str) or not _PART.fullmatch(name) or len(prefix + name) > _MAX_KEY:
        raise DamagedError(f"a part of the model has the name {printable_value(name)!r}")
    return prefix + name


def _head(model: PickledObject) -> str:
    """Return the class name of the last row of the graph."""
    rows = _parts(model, "_modules").get("model")
    last = list(_parts(rows, "_modules").values())[-1:] if isinstance(rows, PickledObject) else []
    return printable(_class(last[0])) if last and isinstance(last[0], PickledObject) else ""


def _activations(model: PickledObject) -> tuple[str, ...]:
    """Return the different activations of a model, as a yaml spells them."""
    activations: dict[str, None] = {}
    for _, module in _modules(model):
        act = _parts(module, "_modules").get("act")
        if isinstance(act, PickledObject):
            slope = act.state.get("negative_slope") if isinstance(act.state, dict) else None
            argument = printable_value(slope) if isinstance(slope, float) else ""
            activations[f"nn.{printable(_class(act))}({argument})"] = None
    return tuple(text for text in activations if text != "nn.Identity()")[:MAX_DEPTH]


def describe_entries(content: Any, plain: Callable[[Any], Any]) -> dict[str, str]:
    """Describe each entry of a checkpoint's dict in a few words, except tensors and None."""
    if not isinstance(content, dict):
        return {}
    return {
        printable_value(key): _describe(value, plain)
        for key, value in content.items()
        if value is not None and not isinstance(value, UnreadTensor)
    }


def _describe(value: Any, plain: Callable[[Any], Any]) -> str:
    match value:
        case str() if len(value) > 60:
            return f"text of {len(value)} letters"
        case dict() if {"state", "param_groups"} <= value.keys():
            groups = value["param_groups"]
            return f"state of an optimizer, {len(groups) if isinstance(groups, list) else 0} groups"
        case dict():
            return f"{len(value)} entries"
        case UnreadTensor():
            return f"tensor {list(value.size)}"
        case list() | tuple():
            return f"list of {len(value)}"
        case PickledObject() if value.path.startswith("numpy."):
            number = plain(value)
            return printable_value(
                number[0] if isinstance(number, list) and len(number) == 1 else number
            )
        case PickledObject():
            return printable(value.path)
        case _:
            return printable_value(value).strip()
