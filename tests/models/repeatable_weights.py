"""Weights and images that anyone can make again, for comparison with numbers made elsewhere."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "models"


def golden(name: str) -> tuple[dict[str, Any], dict[str, list[int]], dict[str, Tensor]]:
    """Meta data, state-dict shapes and arrays of a golden case."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        meta, keys = (json.loads(str(file[key])) for key in ("meta", "keys"))
        arrays = {
            key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "fi"
        }
    return meta, keys, arrays


def fill_normal(model: torch.nn.Module) -> None:
    """Fill a model from normal numbers seeded by each key."""
    fill_state(model.state_dict())


def fill_state(state: dict[str, Tensor]) -> None:
    """Fill tensors from normal numbers seeded by their keys."""
    for key, value in state.items():
        if not value.is_floating_point() or "anchor" in key:
            continue
        value.copy_(normal_of(key, value.shape))


def normal_of(key: str, shape: Sequence[int]) -> Tensor:
    """The tensor ``key`` of :func:`fill_normal`."""
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    return torch.from_numpy(normal_values(key, random.standard_normal(tuple(shape)))).float()


def normal_values(key: str, a: np.ndarray) -> np.ndarray:
    """The values of the tensor ``key``, made from normal numbers of its shape."""
    if key.endswith("running_var"):
        return 0.8 + 0.4 / (1 + np.exp(-a))
    if key.endswith("running_mean"):
        return 0.05 * a
    if key.endswith("weight") and (".bn." in key or a.ndim == 1):
        return 1 + 0.1 * a
    if key.endswith("implicit"):
        return (1.0 if ".im." in key else 0.0) + 0.02 * a
    if a.ndim == 4:
        return a * np.sqrt(1.5 / np.prod(a.shape[1:]))
    return 0.05 * a


def normal_image(size: int) -> Tensor:
    """The images that belong to :func:`fill_normal`: (2, 3, size, size)."""
    random = np.random.RandomState(7)
    return torch.from_numpy(random.uniform(0, 1, (2, 3, size, size)).astype(np.float32))


def hashed(count: int, key: str) -> np.ndarray:
    """``count`` numbers in -0.5..0.5 that depend on ``key`` only."""
    h = (np.arange(count, dtype=np.uint64) * 2654435761 + zlib.crc32(key.encode())) % 2**32
    h ^= h >> 16
    h = (h * 73244475) % 2**32
    h ^= h >> 16
    return h / 2**32 - 0.5


def fill_hashed(model: torch.nn.Module, gain: float) -> None:
    """Fill a model from hashes of its keys."""
    for key, value in model.state_dict().items():
        if "anchor" in key or key.endswith("num_batches_tracked"):
            continue
        a = hashed(value.numel(), key).reshape(value.shape)
        if key.endswith("implicit"):
            a = (1.0 if ".im." in key else 0.0) + 0.2 * a
        elif a.ndim == 4:
            a = a * np.sqrt(gain / np.prod(a.shape[1:]))
        else:
            a = np.full(value.shape, float(key.endswith(("weight", "running_var"))))
        value.copy_(torch.from_numpy(a))


def hashed_image(batch: int, size: int = 128) -> Tensor:
    """The images that belong to :func:`fill_hashed`."""
    numbers = 0.5 + hashed(batch * 3 * size * size, "input")
    return torch.from_numpy(numbers.reshape(batch, 3, size, size).astype(np.float32))


def published_state(keys: dict[str, list[int]]) -> dict[str, Tensor]:
    """Weights of a published YOLOX network by its own keys; those of the stem by 1/255.

    Its images are 0..255.
    """
    state: dict[str, Tensor] = {}
    for key, shape in keys.items():
        state[key] = torch.zeros(shape, dtype=torch.float32 if shape else torch.int64)
    fill_state(state)
    return {key: value / 255 if _is_stem(key) else value for key, value in state.items()}


def _is_stem(key: str) -> bool:
    return ".stem." in key and key.endswith("conv.weight")
