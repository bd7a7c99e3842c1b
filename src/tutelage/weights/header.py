"""The header of a weight file: what it says of its model beside the tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FORMAT = "tutelage-1"
LARGEST_SIZE = 8192  # pixels, accepted from a file
_GRAPH = ("format", "arch", "arch_name", "names", "strides")
_DEPTH = 8  # of nested values, and of pyramids


def header(
    arch: Mapping[str, Any],
    arch_name: str,
    names: Sequence[str],
    strides: Sequence[int],
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the header of a model.

    Args:
        arch: Yaml mapping of its graph.
        arch_name: Name of the graph.
        names: Class names.
        strides: Pixels per cell of each level.
        metadata: All that is known of its training: image size, scores, ….
    """
    graph = ("arch", dict(arch)), ("arch_name", arch_name), ("names", [*names])
    return {**metadata, "format": FORMAT, **dict(graph), "strides": [*strides]}


def metadata_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a header that its graph does not tell; those nested too deeply go."""
    return {k: v for k, v in header.items() if k not in _GRAPH and _is_shallow(v, _DEPTH)}


def image_size_of(metadata: Mapping[str, Any]) -> int | None:
    """Return the image size of the training in pixels; None if it is not known."""
    size = metadata.get("image_size")
    return size if type(size) is int and 0 < size <= LARGEST_SIZE else None


def strides_of(header: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the strides of the levels, or nothing if a header has none."""
    strides = header.get("strides")
    found = strides if isinstance(strides, list) else []
    return tuple(each for each in found[:_DEPTH] if type(each) is int)


def _is_shallow(value: object, depth: int) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    return not isinstance(value, list) or (
        depth > 0 and all(_is_shallow(item, depth - 1) for item in value)
    )
