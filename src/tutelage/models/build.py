"""Build detectors from a name, a yaml, a mapping, a run folder or a weight file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from tutelage.config.yaml_reader import SAVE_AS, load_yaml, not_text, read_yaml, yaml_problem
from tutelage.errors import ConfigError, WeightsError, nearest
from tutelage.models.architecture import read_architecture
from tutelage.models.catalog import is_named, named, recognise, suggest
from tutelage.models.graph import GraphDetector
from tutelage.models.hugging_face import (
    is_hugging_face,
    is_student,
    student_graph,
    student_weights,
)
from tutelage.models.transfer import TransferReport
from tutelage.models.weight_file import (
    SUFFIXES,
    Checkpoint,
    load_matching,
    read_checkpoint,
    restore,
)

Source = str | Path | Mapping[str, Any]
YAML = (".yaml", ".yml")
MAX_CLASSES = 100_000


def build(arch: Source, names: Sequence[str]) -> GraphDetector:
    """Build a detector with fresh weights.

    Args:
        arch: Architecture name, ``name@share`` (the same graph with that share of its width, e.g.
            ``yolov7-tiny@0.25``), path of a yaml, a mapping like one, or ``hf:FOLDER`` of a D-FINE.
        names: Class names; their number replaces the yaml's ``nc``.

    Returns:
        The detector, in training mode.

    Raises:
        ConfigError: No such architecture, or a graph that cannot be built; rows are named.
    """
    name, mapping = _mapping(arch)
    return _build(arch, name, mapping, _checked_names(names))


def load(
    model: Source, *, weights: str | Path | None = None, names: Sequence[str] | None = None
) -> GraphDetector:
    """Build a detector and load its weights, if any.

    Args:
        model: What :func:`build` takes, or weights with their own architecture: a run folder, a
            ``.safetensors`` of a run, or a published ``.pt``.
        weights: Initial weights of an architecture; tensors that agree in name and shape are
            copied, the anchors stay those of the architecture.
        names: Class names (default: those of the weights, else 0, 1, ... up to ``nc``).

    Returns:
        The detector: of weights in evaluation mode, of an architecture in training mode. It is a
        folded one only if ``model`` is a folded file.

    Raises:
        ConfigError: No such model, or a graph that cannot be built.
        WeightsError: A weight file that cannot be used, or that does not fit.
    """
    chosen = None if names is None else _checked_names(names)
    if is_checkpoint(model):
        if weights is not None:
            raise ConfigError(
                f"'{model}' has weights of its own, and '{weights}' was given too.",
                fix="Give an architecture with weights, or a weight file alone.",
                code="C30",
            )
        return restore(read_checkpoint(cast("str | Path", model)), chosen).eval()
    name, mapping = _mapping(model)
    weights = own_weights(model) if weights is None else weights
    checkpoint = None if weights is None else read_checkpoint(weights)
    if chosen is None:
        chosen = _stored_names(name, mapping, checkpoint)
    detector = _build(model, name, mapping, chosen)
    if checkpoint is not None:
        load_matching(detector, checkpoint)
    return detector


def load_weights(detector: GraphDetector, weights: str | Path) -> TransferReport:
    """Start ``detector`` from a run folder, ``.safetensors`` or ``.pt``; the anchors stay.

    Returns:
        The tensors copied and skipped.

    Raises:
        WeightsError: A file that cannot be used, is folded, or matches less than half.
    """
    return load_matching(detector, read_checkpoint(weights))


def _build(
    source: Source, name: str, mapping: Mapping[str, Any], names: tuple[str, ...]
) -> GraphDetector:
    try:
        return GraphDetector(read_architecture(mapping, name=name, classes=len(names)), names)
    except ConfigError as error:
        where = "" if isinstance(source, Mapping) or is_named(str(source)) else str(source)
        raise ConfigError(error.what, where=where, fix=error.fix, code=error.code) from error


def is_checkpoint(model: Source) -> bool:
    """Return whether ``model`` names weights: a run folder or a weight file."""
    if isinstance(model, Mapping) or is_named(str(model)) or is_hugging_face(model):
        return False
    path = Path(model)
    return path.is_dir() or path.suffix in SUFFIXES


def is_architecture(model: Source) -> bool:
    """Return whether ``model`` is an architecture name, a yaml or a D-FINE of transformers."""
    if isinstance(model, Mapping):
        return True
    if is_hugging_face(model):
        return is_student(str(model))
    return is_named(str(model)) or Path(model).suffix in YAML


def own_weights(arch: Source) -> str | None:
    """Return the weights that come with an architecture: those of ``hf:FOLDER``, if it has any."""
    if isinstance(arch, Mapping) or not is_hugging_face(arch):
        return None
    return student_weights(str(arch))


def _mapping(arch: Source) -> tuple[str, dict[str, Any]]:
    """Return name and yaml mapping of an architecture."""
    if isinstance(arch, Mapping):
        mapping = {str(key): _as_yaml(value) for key, value in arch.items()}
        return recognise(mapping) or "custom", mapping
    text = str(arch)
    if is_named(text):
        return text, named(text)
    if is_hugging_face(text):
        return student_graph(text)
    path = Path(arch)
    if path.suffix in SUFFIXES or path.is_dir():
        kind = "a folder" if path.is_dir() else "a weight file"
        raise WeightsError(
            f"{path} is {kind}; an architecture is a name or a yaml.",
            fix=f"To start from trained weights:  --weights {path}",
            code="W22",
        )
    if path.suffix not in YAML:
        what = f"'{text}' is no architecture, yaml, weight file or run folder."
        raise ConfigError(what, fix=suggest(text), code="C27")
    return path.stem, _read_yaml(path)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = load_yaml(read_yaml(path))
    except FileNotFoundError as error:
        siblings = [each.name for each in path.parent.glob("*.y*ml")]
        hint = nearest(path.name, siblings) or suggest(path.stem)
        raise ConfigError(f"{path} does not exist.", fix=hint, code="C27") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{not_text(path, error)}.", fix=SAVE_AS, code="C28") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", code="C28") from error
    except (yaml.YAMLError, RecursionError) as error:
        problem, line = yaml_problem(error)
        where = f"{path.name}:{line}" if line else path.name
        raise ConfigError(
            f"{path} is not valid yaml: {problem}", where=where, code="C28"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is no model yaml: it holds no mapping.", code="C28")
    return cast("dict[str, Any]", content)


def _as_yaml(value: Any) -> Any:
    """Turn tuples into lists, as a yaml file would have them."""
    if isinstance(value, list | tuple):
        return [_as_yaml(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _as_yaml(item) for key, item in value.items()}
    return value


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not names:
        raise ConfigError(
            f"names must be a list of class names, got {names!r}.",
            fix="For example ['cat', 'dog'].",
        )
    return tuple(map(str, names))


def _stored_names(
    name: str, mapping: Mapping[str, Any], checkpoint: Checkpoint | None
) -> tuple[str, ...]:
    if checkpoint is not None:
        return checkpoint.names
    count = mapping.get("nc")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_CLASSES:
        raise ConfigError(
            f"{name}: nc must be a positive integer up to {MAX_CLASSES:,}, got {count!r}.",
            code="C28",
        )
    return tuple(map(str, range(count)))
