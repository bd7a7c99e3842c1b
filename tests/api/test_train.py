"""``tutelage.train`` and what it returns."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

import tutelage
from tests.run.small_runs import make_data, make_teacher
from tutelage.errors import ConfigError, MissingExtraError, WeightsError
from tutelage.run.events import StepDone
from tutelage.run.interrupt import RunInterrupted

SMALL = {"cfg": "yolov7-tiny@0.125", "batch_size": 4, "img_size": 64, "device": "cpu", "workers": 0}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_data(tmp_path)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A run of two epochs with a teacher."""
    root = tmp_path_factory.mktemp("api")
    data = make_data(root)
    teacher = make_teacher(root / "teacher.safetensors")
    return tutelage.train(
        data,
        **SMALL,
        epochs=2,
        teacher_weights=Path(teacher),
        method="fgd:weight=1",
        project=root / "runs",
        name="taught",
        set={"distill.accept_teacher": True, "optim.lr": 0.02},
    )


def test_it_prints_nothing_and_returns_the_run(data, capfd) -> None:
    run = tutelage.train(data, **SMALL, epochs=1, name="mine", seed=3)
    assert capfd.readouterr() == ("", "")
    assert run.folder == Path("runs/mine")
    assert run.best == Path("runs/mine/best.safetensors")
    assert run.config.train.seed == 3
    assert (run.folder / "report.html").exists()


def test_asked_to_it_shows_what_the_command_shows(data, capsys) -> None:
    tutelage.train(data, **SMALL, epochs=1, show=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"tutelage {tutelage.__version__}"
    assert any(line.startswith("epoch 1/1") for line in lines)


def test_settings_say_that_they_are_arguments(taught) -> None:
    text = (taught.folder / "config.yaml").read_text()
    assert "argument epochs" in text
    assert "argument set" in text
    assert "flag --" not in text
    assert taught.config.optim.lr == 0.02


def test_scores_and_metrics(taught) -> None:
    stored = json.loads((taught.folder / "scores.json").read_text())
    scores = taught.scores
    assert stored["AP"] == scores.AP
    assert stored["AR100"] == scores.AR100
    assert {name: each.instances for name, each in scores.per_class.items()} == {
        name: each["instances"] for name, each in stored["per_class"].items()
    }
    metrics = taught.metrics
    assert len(metrics) == 2
    assert metrics["epoch"] == [1, 2]
    assert metrics[-1]["kd_weights/fgd"] == 1.0
    assert {"box", "fgd/foreground", "lr", "AP"} <= set(metrics.columns)
    with pytest.raises(KeyError, match="box"):
        metrics["boxes"]
    assert metrics._repr_html_().count("<tr>") == 3


def test_metrics_as_a_data_frame(taught) -> None:
    pandas = pytest.importorskip("pandas")
    frame = taught.metrics.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["epoch"]) == [1, 2]


def test_without_pandas_its_command_is_named(taught, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        taught.metrics.to_pandas()


def test_a_run_is_a_model(taught) -> None:
    scores = tutelage.evaluate(taught, split="val")
    assert pytest.approx(taught.scores.AP, abs=1e-6) == scores.AP
    [found] = tutelage.predict(taught, sorted(Path(taught.config.data).parent.rglob("*.jpg"))[0])
    assert found.error is None or not found.error
    assert tutelage.load_teacher(taught.folder, device="cpu").names == ("cat", "dog")
    report = tutelage.report([taught])
    assert report.path == taught.folder / "report.html"


def test_plot_and_preview(taught) -> None:
    figure = taught.plot()
    [axes] = figure.axes
    epochs = next(line for line in axes.lines if line.get_label() == "taught").get_xdata()
    assert list(epochs) == [1, 2]
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    page = taught._repr_html_()
    assert "<svg" in page
    assert ">cat</td>" in page
    assert repr(taught).startswith("Run(")


def test_a_stopped_run_is_resumed(data) -> None:
    """As by the stop button of a notebook, which sends SIGINT to the process."""
    shown = []

    class Stopping:
        def show(self, event) -> None:
            shown.append(event)
            if isinstance(event, StepDone) and len(shown) > 4 and not self.sent:
                self.sent = True
                signal.raise_signal(signal.SIGINT)

        sent = False

        def close(self) -> None: ...

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tutelage.api.shown.Display", Stopping)
        with pytest.raises(RunInterrupted) as stop:
            tutelage.train(data, **SMALL, epochs=3, name="stopped")
    assert stop.value.__notes__ == ["To go on:  tutelage.train(resume='runs/stopped')"]
    stopped = tutelage.Run("runs/stopped")
    assert len(stopped.metrics) < 3
    run = tutelage.train(resume=stopped)
    assert run.folder == stopped.folder
    assert run.metrics["epoch"] == [1, 2, 3]


def test_a_run_without_scores(data) -> None:
    run = tutelage.train(data, **SMALL, epochs=1, dry_run=True, name="dry")
    with pytest.raises(WeightsError):
        _ = run.scores
    assert "not evaluated yet" in run._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": "many"}, "argument epochs"),
        ({"set": {"optim.speed": 1}}, "argument set"),
        ({"set": ["optim.lr=fast"]}, "--set"),
        ({"teacher_weights": ""}, "argument teacher_weights is empty"),
        ({"resume": "nowhere"}, "There is no run folder"),
    ],
)
def test_errors_name_the_argument(data, arguments, message) -> None:
    with pytest.raises(ConfigError, match=message):
        tutelage.train(**{"data": data, **SMALL, **arguments})


def test_no_run_folder(tmp_path) -> None:
    with pytest.raises(ConfigError, match="has no config"):
        tutelage.Run(tmp_path)


def test_code_in_a_file_needs_to_be_allowed(data, tmp_path) -> None:
    (tmp_path / "run.yaml").write_text(
        f"data: {data}\ndistill:\n  teacher: t.pt\n  methods: [{{name: 'my_kd:Mine'}}]\n"
    )
    with pytest.raises(ConfigError) as error:
        tutelage.train(config=tmp_path / "run.yaml", **SMALL)
    assert error.value.code == "C37"
