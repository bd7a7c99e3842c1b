"""Latency: what is measured, and that it is measured rightly."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn

from tutelage.evaluation import Latency, latency
from tutelage.evaluation.speed import timed
from tutelage.models.detector import Detector
from tutelage.structures import Output, Predictions, Tap


class Sleeper(Detector):
    """A detector that takes a known time and remembers how it was called."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.names, self.strides = ("x",), (8,)
        self.levels: Mapping[str, str] = {}
        self.conv = nn.Conv2d(3, 4, 1)
        self.seconds = seconds
        self.is_fused = False
        self.seen: list[tuple[torch.Size, bool, bool, bool]] = []

    def forward(self, images: Tensor, taps: Sequence[str] = (), *, head: bool = True) -> Output:
        """Sleep."""
        channels_last = images.is_contiguous(memory_format=torch.channels_last)
        self.seen.append((images.shape, self.is_fused, self.training, channels_last))
        time.sleep(self.seconds)
        return Output((images,), ())

    def decode(self, raw: tuple[Tensor, ...], image_size: tuple[int, int]) -> Predictions:
        """Decode nothing."""
        assert raw[0].shape[-2:] == image_size
        return Predictions(torch.zeros(1, 1, 4), torch.zeros(1, 1, 1), None, torch.zeros(1))

    def tap(self, keys: Sequence[str]) -> tuple[Tap, ...]:
        """No taps."""
        return ()

    def fused(self) -> Sleeper:
        """Return a copy that shares the record."""
        made = Sleeper(self.seconds)
        made.is_fused, made.seen = True, self.seen
        return made


def test_measures_the_fused_copy_in_evaluation_mode() -> None:
    detector = Sleeper(0.01).train()
    found = latency(detector, (64, 96), batch=2, repeats=5)
    assert isinstance(found, Latency)
    assert 10 <= found.p50_ms <= found.p95_ms
    assert set(detector.seen) == {(torch.Size([2, 3, 64, 96]), True, False, True)}
    assert len(detector.seen) >= 5 + 3
    assert detector.training


def test_a_square_by_one_number() -> None:
    detector = Sleeper(0.0)
    latency(detector, 64, repeats=1)
    assert detector.seen[0][0] == (1, 3, 64, 64)


def test_percentiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slow step in ten moves the 95th percentile and not the median."""
    clock = {"now": 0.0, "steps": 0}
    monkeypatch.setattr(time, "perf_counter", lambda: clock["now"])

    def step() -> None:
        clock["steps"] += 1
        clock["now"] += 1.0 if clock["steps"] % 10 == 0 else 0.1

    found = timed(step, repeats=40)
    assert found.p50_ms == pytest.approx(100)
    assert found.p95_ms == pytest.approx(1000)
