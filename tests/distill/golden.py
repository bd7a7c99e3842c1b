"""Stored numbers of published implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "golden" / "distillation"


def load(name: str) -> dict[str, Tensor]:
    """Load a case; tensors of the student require gradients."""
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = {k: torch.from_numpy(np.asarray(file[k])) for k in file.files if k != "meta_json"}
    for key, value in arrays.items():
        value.requires_grad_(key.startswith("in__student"))
    return arrays


def same(actual: Tensor, expected: Tensor, rtol: float = 1e-9) -> None:
    scale = float(expected.abs().max())
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=1e-12 * scale)


def same_gradients(total: Tensor, case: dict[str, Tensor], *names: str) -> None:
    gradients = torch.autograd.grad(total, [case[f"in__student_{name}"] for name in names])
    for name, gradient in zip(names, gradients, strict=True):
        same(gradient, case[f"grad__student_{name}"])
