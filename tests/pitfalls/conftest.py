"""One distilled run of three epochs, shared: the teacher rests in the last of them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.run.small_runs import CHECKPOINT, last, make_data, run, settings
from tutelage.run.events import Finished, Planned


@pytest.fixture(scope="package")
def distilled(tmp_path_factory):
    """Events, folder, plan and metrics of the run."""
    place = tmp_path_factory.mktemp("distilled")
    distill = {
        "teacher": str(CHECKPOINT),
        "accept_teacher": True,
        "methods": [{"name": "fgd", "weight": 2.0}],
        "stop_epoch": 2,
    }
    data = make_data(place / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_CACHE", str(place / "cache"))
        events = run(settings(data, place, train={"epochs": 3}, distill=distill))
    folder = Path(last(events, Finished).folder)
    return SimpleNamespace(
        events=events,
        data=data,
        folder=folder,
        plan=last(events, Planned).rows,
        metrics=[json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()],
    )
