"""A run folder does not depend on the working directory."""

from tests.run.small_runs import make_data, settings
from tutelage.cli.app import run as command
from tutelage.config.yaml_reader import load_yaml
from tutelage.run.events import Planned, StepDone
from tutelage.run.run import run_training


def test_a_run_goes_on_and_is_evaluated_from_elsewhere(tmp_path, monkeypatch, capsys):
    project, other = tmp_path / "project", tmp_path / "other"
    make_data(project / "set")
    other.mkdir()
    (other / "set").mkdir()
    (other / "set/data.yaml").write_text("junk: true\n")  # of the same name, and not the run's
    monkeypatch.chdir(project)
    config = settings("set/data.yaml", "runs", train={"epochs": 2})
    folder = ""
    for event in run_training(config):
        folder = event.folder if isinstance(event, Planned) else folder
        if isinstance(event, StepDone) and event.epoch == 1:
            break
    monkeypatch.chdir(other)
    place = f"../project/{folder}"
    assert command(["train", "--resume", place]) == 0
    data = str(project / "set/data.yaml")
    assert f"data of {place}/config.yaml: {data}" in capsys.readouterr().out
    assert load_yaml((project / folder / "config.yaml").read_text())["data"] == data
    assert command(["val", place]) == 0
    assert f"on val of {data}" in capsys.readouterr().out
