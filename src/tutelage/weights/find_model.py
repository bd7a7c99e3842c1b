"""Finding the model in what a checkpoint holds: its tensors by name, and what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tutelage.errors import WeightsError
from tutelage.weights.allowlist import UnreadTensor, printable, shown
from tutelage.weights.convert import COUNTERS, official_keys
from tutelage.weights.metadata import MAX_DEPTH
from tutelage.weights.pickle_parser import DamagedError, PickledObject

_MAX_MODULES = 100_000
_MAX_KEY = 200  # letters; the longest known has 60
_PART = re.compile(r"[A-Za-z0-9_]+")
_HUB = ("AutoShape", "autoShape", "DetectMultiBackend")  # what YOLOv5's torch.hub returns
_MAX_WRAPPERS = 4
_CLASSIFIERS = re.compile(r"(model\.\d+\.linear|fc|classifier(\.\d+)?|head)\.weight")
_STATES = ("ema", "model", "state_dict", "model_state_dict")


class FoundModel(NamedTuple):
    """A model as a file holds it.

    Attributes:
        layouts: Its tensors by their official keys, in the order of ``state_dict``.
        fields: The attributes of the model object, or those beside a bare state dict.
        source: Whether the weights are the file's EMA or its model.
        head: Class name of the head, empty for a bare state dict.
        note: What kind of file it is, for a person.
        activations: The different activations of its convolutions, as a yaml spells them; empty for
            a bare state dict.
    """

    layouts: dict[str, UnreadTensor]
    fields: Mapping[Any, Any]
    source: Literal["ema", "model"]
    head: str
    note: str
    activations: tuple[str, ...] = ()


def find(content: Any, path: Path, *, resumable: bool = False) -> FoundModel:
    """Find the model: the EMA if there is one, else the model, else a state dict.

    Args:
        content: What the file holds.
        path: The file, for messages.
        resumable: Take the training state of a run of ours too.

    Raises:
        WeightsError: There is none, or another kind of network.
        DamagedError: It is nested without end.
    """
    if isinstance(content, PickledObject):
        return _of_model(content, path, "model", "a bare model")
    if not isinstance(content, dict):
        what = "tensor" if isinstance(content, UnreadTensor) else type(content).__name__
        raise WeightsError(f"{path} holds a {what}, not a model.", code="W22")
    for source in ("ema", "model"):
        found = content.get(source)
        if isinstance(found, tuple) and found:  # some releases wrote (ema, updates)
            found = found[0]
        if isinstance(found, PickledObject):
            stripped = content.get("optimizer") is None
            epoch = shown(content.get("epoch"))
            note = "stripped" if stripped else f"training checkpoint of epoch {epoch}"
            return _of_model(found, path, source, note)
    if _is_training_state(content):
        average = content.get("ema")
        if resumable and isinstance(average, dict):
            inside = {key: value for key, value in average.items() if key != "n_averaged"}
            return FoundModel(_of_state(inside), {}, "ema", "", "the training state of a run")
        raise WeightsError(
            f"{path} is the training state of a run, to be continued with --resume.",
            fix=f"Its weights are beside it: {path.with_name('best.safetensors')}",
            code="W22",
        )
    for source, state in (("model", content), *((key, content.get(key)) for key in _STATES)):
        layouts = _of_state(state) if isinstance(state, dict) else {}
        if layouts:
            _require_detector(layouts, path)
            fields = {} if state is content else content
            kind: Literal["ema", "model"] = "ema" if source == "ema" else "model"
            return FoundModel(layouts, fields, kind, "", "a bare state dict")
    keys = ", ".join(shown(key) for key in list(content)[:5]) or "nothing"
    raise WeightsError(
        f"{path} holds no model (found: {keys}).",
        fix="Expected a YOLOv7/YOLOv5 checkpoint with its model or ema inside.",
        code="W22",
    )


def _is_training_state(content: Any) -> bool:
    """Whether this is a ``last.pt`` of a run of ours."""
    kind = content.get("format") if isinstance(content, dict) else None
    return isinstance(kind, str) and kind.startswith("tutelage")


def _of_model(
    model: PickledObject, path: Path, source: Literal["ema", "model"], note: str
) -> FoundModel:
    model = _unwrapped(model)
    fields, head = model.state, _head(model)
    if not isinstance(fields, dict) or "_modules" not in fields:
        raise WeightsError(
            f"{path} holds a {printable(model.path)}, which is no model.", code="W22"
        )
    if _class(model) == "Ensemble":
        count = len(_parts(model, "_modules"))
        raise WeightsError(
            f"{path} is an ensemble of {count} networks; only single ones are read.",
            fix="Give one of the files that it was made of.",
            code="W22",
        )
    if head == "Classify" or model.path.endswith("ClassificationModel"):
        raise WeightsError(
            f"{path} is a classifier ({printable(model.path)}): it finds no objects.",
            fix="Expected a YOLOv7/YOLOv5 detector.",
            code="W22",
        )
    layouts = dict(_limited(_tensors(model)))
    if not layouts:
        raise WeightsError(f"{path} holds a model without weights.", code="W22")
    return FoundModel(layouts, fields, source, head, note, _activations(model))


def _unwrapped(model: PickledObject) -> PickledObject:
    """The network itself: without data-parallel, hub and EMA objects around it."""
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
    """The tensors of a state dict, under their official names."""
    layouts = {
        key: value
        for key, value in state.items()
        if isinstance(key, str) and isinstance(value, UnreadTensor)
    }
    if any(len(key) > _MAX_KEY for key in layouts):
        raise DamagedError("a tensor has an unreasonably long name")
    return official_keys(layouts)


def _require_detector(layouts: Mapping[str, UnreadTensor], path: Path) -> None:
    """Refuse tensors of another kind of network; a head is known by its anchors."""
    if any(re.fullmatch(r"model\.\d+\.anchors", key) for key in layouts):
        return
    last = next((key for key in layouts if _CLASSIFIERS.fullmatch(key)), None)
    first = ", ".join(printable(key) for key in list(layouts)[:3])
    what = f"the tensors of a classifier ({last})" if last else f"bare tensors (found: {first})"
    raise WeightsError(
        f"{path} holds {what}, no YOLOv7/YOLOv5 detector.",
        fix="Expected a YOLOv7/YOLOv5 checkpoint with its model or ema inside.",
        code="W22",
    )


def _limited(tensors: Iterator[tuple[str, UnreadTensor]]) -> Iterator[tuple[str, UnreadTensor]]:
    for count, pair in enumerate(tensors):
        if count > _MAX_MODULES:
            raise DamagedError("the model has more tensors than any")
        yield pair


def _parts(module: PickledObject, group: str) -> dict[Any, Any]:
    """One of the dicts (``_parameters``, ``_buffers``, ``_modules``) of a module's state."""
    found = module.state.get(group) if isinstance(module.state, dict) else None
    return found if isinstance(found, dict) else {}


def _tensors(module: PickledObject) -> Iterator[tuple[str, UnreadTensor]]:
    """Yield a module's tensors in the order of ``state_dict``."""
    for prefix, each in _modules(module):
        fields: Any = each.state if isinstance(each.state, dict) else {}
        volatile = fields.get("_non_persistent_buffers_set")
        skipped: Any = volatile if isinstance(volatile, set) else set()
        for group in ("_parameters", "_buffers"):
            for name, value in _parts(each, group).items():
                kept = group == "_parameters" or name not in (*skipped, *COUNTERS)
                if kept and isinstance(value, UnreadTensor):
                    yield _joined(prefix, name), value


def _modules(module: PickledObject) -> Iterator[tuple[str, PickledObject]]:
    """Yield a module and all below it, each with the prefix of its tensors."""
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
            (f"{_joined(prefix, name)}.", child, depth + 1)
            for name, child in reversed(children.items())
            if isinstance(child, PickledObject)
        ]
    raise DamagedError("its modules are nested without end")


def _joined(prefix: str, name: object) -> str:
    if not isinstance(name, str) or not _PART.fullmatch(name) or len(prefix + name) > _MAX_KEY:
        raise DamagedError(f"a part of the model has the name {shown(name)!r}")
    return prefix + name


def _head(model: PickledObject) -> str:
    """Class name of the last row of the graph."""
    rows = _parts(model, "_modules").get("model")
    last = list(_parts(rows, "_modules").values())[-1:] if isinstance(rows, PickledObject) else []
    name = last[0].path.rpartition(".")[2] if last and isinstance(last[0], PickledObject) else ""
    return printable(name)


def _activations(model: PickledObject) -> tuple[str, ...]:
    """The different activations of a model, as a yaml spells them.

    A yaml names them only where they are not the program's default, which has changed.
    """
    found: dict[str, None] = {}
    for _, module in _modules(model):
        act = _parts(module, "_modules").get("act")
        if isinstance(act, PickledObject):
            slope = act.state.get("negative_slope") if isinstance(act.state, dict) else None
            inside = shown(slope) if isinstance(slope, float) else ""
            found[f"nn.{printable(_class(act))}({inside})"] = None
    return tuple(text for text in found if text != "nn.Identity()")[:MAX_DEPTH]


def entries(content: Any, plain: Callable[[Any], Any]) -> dict[str, str]:
    """Say in a few words what each entry of a checkpoint's dict is; None is left out."""
    if not isinstance(content, dict):
        return {}
    return {
        shown(key): _in_words(value, plain) for key, value in content.items() if value is not None
    }


def _in_words(value: Any, plain: Callable[[Any], Any]) -> str:
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
            return shown(number[0] if isinstance(number, list) and len(number) == 1 else number)
        case PickledObject():
            return printable(value.path)
        case _:
            return shown(value).strip()
