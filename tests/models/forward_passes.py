"""Forward passes of detectors: which rows run, and whether two detectors return the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tutelage.models import GraphDetector

IMAGES = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@contextmanager
def rows_run(detector: GraphDetector) -> Iterator[list[int]]:
    """The rows that are run inside the block, in order."""
    run: list[int] = []
    handles = [
        layer.register_forward_pre_hook(lambda *_, row=row: run.append(row))
        for row, layer in enumerate(detector.model)
    ]
    yield run
    for handle in handles:
        handle.remove()


@torch.no_grad()
def assert_same_outputs(first: GraphDetector, second: GraphDetector, rtol: float = 1e-4) -> None:
    for a, b in zip(first.eval()(IMAGES).raw, second.eval()(IMAGES).raw, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)
