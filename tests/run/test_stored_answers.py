"""Runs that read what a teacher said: equal losses, who is asked, which stores are refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.run.small_runs import last, make_data, make_teacher, run, settings, told
from tutelage.errors import TeacherError
from tutelage.run import stored_answers
from tutelage.run.events import Finished, Planned
from tutelage.run.stored_answers import release_teachers
from tutelage.setup.build import build_run

EPOCHS = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_CACHE", str(folder / "cache"))
        patch.setattr("tutelage.run.kd_weights.IMAGES", 8)
        make_data(folder / "data")
        make_teacher(folder / "teacher.safetensors")
        yield folder


def train(
    place,
    project,
    *,
    seed=0,
    teacher="teacher.safetensors",
    method="bckd",
    multi_scale=False,
    weight=1,
    **distill,
):
    """Return the events of a run and the rows of its metrics."""
    config = settings(
        str(place / "data" / "data.yaml"),
        place / project,
        train={"epochs": EPOCHS, "seed": seed, "multi_scale": multi_scale},
        distill={
            "teacher": str(place / teacher),
            "accept_teacher": True,
            "views": 2,
            # not measured: that asks about the images before the first epoch
            "methods": [{"name": name, "weight": weight} for name in method.split("+")],
            **distill,
        },
    )
    events = run(config)
    folder = next(event.folder for event in events if isinstance(event, Finished))
    rows = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return events, rows


def losses(rows):
    return [{key: value for key, value in row.items() if "/" in key or key == "AP"} for row in rows]


def stores(place, project):
    return sorted(path.name for path in (place / project / "store").iterdir())


def test_the_networks_are_let_go_once_all_is_stored(place):
    config = settings(
        str(place / "data" / "data.yaml"),
        place / "released",
        train={"epochs": 2},
        distill={
            "teacher": str(place / "teacher.safetensors"),
            "methods": [{"name": "bckd", "weight": 1}],
            "views": 2,
        },
    )
    parts = build_run(config, stores=True, keep_threads=True)
    teachers = parts.supervision.teachers

    def answers(epoch):
        parts.loader.set_epoch(epoch)
        return [teachers(batch.floating())[0].predictions for batch in parts.loader]

    first = answers(0)
    release_teachers(parts)
    assert not teachers.released  # one view is not stored
    answers(1)
    release_teachers(parts)
    assert teachers.released
    assert parts.distillation.teachers.released
    resting = teachers.teachers
    release_teachers(parts)
    assert teachers.teachers is resting
    teachers.close()
    for path in (place / "released" / "store").glob("*/*.records"):
        path.write_bytes(b"")
    again = answers(0)  # the network is loaded as it was
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.logits, other.logits)
        assert torch.equal(one.xyxy, other.xyxy)


def test_a_dry_run_plans_with_the_store_of_the_run(place):
    config = settings(
        str(place / "data" / "data.yaml"),
        place / "dry",
        train={"epochs": EPOCHS},
        distill={
            "teacher": str(place / "teacher.safetensors"),
            "accept_teacher": True,
            "views": 2,
        },
    )
    dry, again = (dict(last(run(config, dry_run=True), Planned).rows)["views"] for _ in range(2))
    assert " of 4 epochs ask the teacher" in dry
    assert stores(place, "dry") == [Path(dry.rpartition(" ")[2]).name]
    assert " are stored already" in again  # what it asked is kept for the run


def test_a_full_store_is_enough_from_the_checks_on(place, monkeypatch):
    train(place, "enough", weight="auto")
    monkeypatch.setattr(stored_answers, "load_teacher", lambda *_: pytest.fail("loaded again"))
    _, rows = train(place, "enough", weight="auto")
    assert {row["asked"] for row in rows} == {0}


@pytest.mark.parametrize("method", ["bckd", "cwd", "sl2+bckd"])
def test_a_teacher_is_asked_in_the_first_epochs_only(place, method):
    project = f"asked-{method}"
    events, rows = train(place, project, method=method)
    asked = [row["asked"] for row in rows]
    assert asked[0] + asked[1] > 0
    assert asked[2:] == [0, 0]
    assert all("teacher_seconds" not in row for row in rows[2:])
    (finished,) = (event for event in events if isinstance(event, Finished))
    assert finished.teaching["epochs"] == EPOCHS
    assert finished.teaching["asked"] == pytest.approx(sum(asked), abs=1e-3)
    again, second = train(place, project, method=method)
    assert [row["asked"] for row in second] == [0] * EPOCHS
    assert losses(second) == losses(rows)  # the bits of a fresh answer
    assert "is not used" not in told(again)


@pytest.mark.parametrize("method", ["bckd", "cwd"])
def test_sizes_that_change_with_the_view(place, method):
    given = {"method": method, "multi_scale": True, "weight": "auto"}
    _, rows = train(place, f"sizes-{method}", **given)
    _, again = train(place, f"sizes-{method}", **given)
    assert losses(again) == losses(rows)
    assert [row["asked"] for row in again] == [0] * EPOCHS
    assert losses(rows) != losses(train(place, f"sizes-{method}", method=method)[1])


def test_what_checks_and_weighing_have_asked_is_told_apart(place):
    _, rows = train(place, "weighed", weight="auto")
    assert sum(row.get("checks_asked", 0.0) for row in rows) == 2  # all images of both views
    assert sum(row["asked"] for row in rows) == 0
    spent = [
        (row.get("checks_teacher_seconds", 0.0), _checks(row))
        for row in rows
        if "checks_asked" in row
    ]
    assert all(0 < asked < whole for asked, whole in spent)
    _, again = train(place, "weighed", weight="auto")
    assert not any("checks_asked" in row for row in again)
    assert any(_checks(row) for row in again)


def _checks(row):
    return row.get("measuring_seconds", 0.0) + row.get("checking_seconds", 0.0)


def test_other_seeds_and_methods_of_the_same_need_read_it(place):
    train(place, "shared")
    before = stores(place, "shared")
    assert [r["asked"] for r in train(place, "shared", seed=5)[1]] == [0] * EPOCHS
    assert [r["asked"] for r in train(place, "shared", method="box")[1]] == [0] * EPOCHS
    assert stores(place, "shared") == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"view_seed": 1}, "view_seed 1, before 0"),
        ({"method": "cwd"}, "holds"),
        ({"teacher": "other.safetensors"}, "teacher"),
    ],
)
def test_a_store_that_does_not_fit_is_not_used_and_says_why(place, changes, words):
    project = f"unlike-{words.split()[0]}"
    train(place, project)
    if not (place / "other.safetensors").exists():
        make_teacher(place / "other.safetensors")
    events, rows = train(place, project, **changes)
    assert sum(row["asked"] for row in rows) > 0
    assert "is not used" in told(events)
    assert words in told(events)
    assert len(stores(place, project)) == 2


def test_a_store_is_a_teacher(place):
    _, rows = train(place, "teaches")
    (store,) = (place / "teaches" / "store").iterdir()
    _, again = train(place, "teaches", teacher=store)
    assert losses(again) == losses(rows)
    with pytest.raises(TeacherError, match="lacks an answer") as raised:
        train(place, "teaches", teacher=store, view_seed=9)
    assert raised.value.code == "T45"


def test_a_store_that_may_not_be_written(place, monkeypatch):
    def refused(self, *rows):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tutelage.teachers.stored.RecordWriter.append", refused)
    events, rows = train(place, "refused")
    assert all(row["asked"] == 1 for row in rows)
    assert told(events).count("Nothing more is stored") == 1
    assert "Permission denied" in told(events)


def test_methods_that_run_layers_of_the_teacher_ask_it(place):
    _, rows = train(place, "live", method="crosskd")
    assert [row["asked"] for row in rows] == [1] * EPOCHS
    assert not (place / "live" / "store").exists()


def test_nothing_is_stored_without_a_store(place):
    _, rows = train(place, "without", store="off")
    assert [row["asked"] for row in rows] == [1] * EPOCHS
    assert not (place / "without" / "store").exists()
    assert losses(rows) != losses(train(place, "without", views="off")[1])


@pytest.mark.parametrize("method", ["cwd", "sl2"])
def test_a_teacher_that_sees_more(place, method):
    _, rows = train(place, f"larger-{method}", method=method, teacher_scale=2)
    _, again = train(place, f"larger-{method}", method=method, teacher_scale=2)
    assert losses(again) == losses(rows)
    assert [row["asked"] for row in again] == [0] * EPOCHS
    assert losses(rows) != losses(train(place, f"larger-{method}", method=method)[1])


def test_changed_pictures_are_asked_about(place):
    other = place / "changed"
    shutil.copytree(place / "data", other / "data")
    make_teacher(other / "teacher.safetensors")
    train(other, "runs")
    pictures = list((other / "data").rglob("*.png"))
    smallest = min(pictures, key=lambda path: path.stat().st_size)
    for path in pictures:  # of the same size, so that only the pixels tell
        path.write_bytes(smallest.read_bytes().ljust(path.stat().st_size, b"\0"))
    _, rows = train(other, "runs")
    assert sum(row["asked"] for row in rows) > 0
