import os
from typing import Any

import pytest

from tutelage.run.events import EpochDone, Evaluated, Finished, Planned, StepDone
from tutelage.structures import Losses

# Two test processes on two cores: one thread each, or they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory):
    """What tests derive from data goes where it is thrown away, not into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def script() -> list[Any]:
    """A distilled run of two epochs of two steps."""
    rows = (("student", "yolov7-tiny   6.2 M"), ("pairs", "57 → 75"), ("", "65 → 88"))
    events: list[Any] = [Planned(rows, "runs/d-01", 2, 2)]
    for epoch in range(2):
        for step in (1, 2):
            losses = Losses(
                {"box": 0.05, "obj": 0.7, "cls": 0.00001},
                {"fgd/foreground": 0.25, "fgd/relation": 0.5},
            )
            events.append(StepDone(epoch, step, losses, 0.01, 0.38))  # type: ignore[arg-type]
        means = {
            "box": 0.0461,
            "obj": 0.0113,
            "cls": 0.0042,
            "fgd/foreground": 0.25,
            "fgd/relation": 0.5,
        }
        events.append(EpochDone(epoch, means, 61.4, 0.0098))
        events.append(
            Evaluated(
                epoch, {"AP": 0.405 + epoch / 100, "AP50": 0.774, "AP75": 0.371}, best=epoch == 1
            )
        )
    events.append(Finished("runs/d-01", {"AP": 0.415, "AP50": 0.774}, 1, 2472.0))
    return events
