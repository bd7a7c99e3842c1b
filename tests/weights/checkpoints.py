"""Checkpoints for tests: sound ones, hand-made archives, and objects that run code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.weights.foreign import Model, Writer, archive
from tutelage.weights import read_foreign

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"
SHARED = Path(__file__).parents[3] / "shared" / "golden" / "checkpoints"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(),
    reason="needs ../shared/golden/checkpoints, which is not part of the project",
)


def trained(**options: object) -> Model:
    """A model whose tensors all differ."""
    torch.manual_seed(0)
    made = Model(**options)  # type: ignore[arg-type]
    for tensor in made.state_dict().values():
        if tensor.is_floating_point() and tensor.dim() < 5:
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    made.model[0].bn.num_batches_tracked.fill_(7)
    return made


def assert_same_state(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype, key
        assert torch.equal(found[key], value), key
        assert found[key].is_contiguous(), key


WEIGHT = torch.arange(6.0).numpy().tobytes()


def read(value: Any, tmp_path: Path, entries: dict[str, bytes] | None = None) -> Any:
    """Read an archive whose pickle holds ``value``."""
    pickled = value if isinstance(value, bytes) else Writer().value(value).done()
    stored = {"data/0": WEIGHT} if entries is None else entries
    return read_foreign(archive(pickled, tmp_path / "evil.pt", stored))


class Touch:
    """Unpickling this runs a command; the file it makes is the proof."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call
