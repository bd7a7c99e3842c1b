"""A run folder means the same data and teachers from everywhere."""

import pytest

from tutelage.config import load_config
from tutelage.config.dump import dump
from tutelage.config.run_paths import locate, started_in, with_absolute_paths
from tutelage.config.schema import Config
from tutelage.data.digits import VARIANTS


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a run, and the folder elsewhere that is the working directory."""
    home, other = tmp_path / "project", tmp_path / "other"
    for folder in (home / "runs/teacher", home / "digits", other):
        folder.mkdir(parents=True)
    (home / "my_data.yaml").touch()
    run = home / "runs/x"
    run.mkdir()
    values = {"data": "my_data.yaml", "distill": {"teacher": ["runs/teacher", "gone.pt"]}}
    (run / "config.yaml").write_text(dump(Config.model_validate(values), {}))
    (run / "environment.txt").write_text(f"command: tutelage train\ndirectory: {home}\n")
    monkeypatch.chdir(other)
    return home


def test_paths_of_a_run_are_those_of_where_it_was_started(project):
    resolved = load_config(config_file="../project/runs/x/config.yaml")
    assert resolved.config.data == str(project / "my_data.yaml")
    assert resolved.config.distill.teachers == (str(project / "runs/teacher"), "gone.pt")
    assert resolved.notices[0] == f"data of ../project/runs/x/config.yaml: {project}/my_data.yaml"


def test_a_file_of_the_same_name_here_is_another_one(project):
    (project.parent / "other/my_data.yaml").touch()
    resolved = load_config(config_file="../project/runs/x/config.yaml")
    assert resolved.config.data == str(project / "my_data.yaml")


def test_nothing_changes_where_it_was_started(project, monkeypatch):
    monkeypatch.chdir(project)
    resolved = load_config(config_file="runs/x/config.yaml")
    assert (resolved.config.data, resolved.notices) == ("my_data.yaml", ())


def test_a_project_that_has_moved_as_a_whole_is_read_from_here(project, monkeypatch):
    moved = project.rename(project.with_name("moved"))
    monkeypatch.chdir(moved)
    assert load_config(config_file="runs/x/config.yaml").config.data == "my_data.yaml"


def test_run_files_of_users_and_old_runs_mean_the_working_directory(project):
    (project / "runs/x/environment.txt").write_text("command: tutelage train\n")
    assert started_in(project / "runs/x/config.yaml") is None
    assert load_config(config_file=project / "runs/x/config.yaml").config.data == "my_data.yaml"


@pytest.mark.parametrize("name", [*VARIANTS, "yolov7-tiny@0.25", "~/d.yaml", "a.b:Net", "", None])
def test_names_are_no_paths(project, name):
    (project / "yolov7-tiny@0.25").touch()
    assert locate(name, project) == name


def test_paths_that_mean_the_same_from_everywhere(project, monkeypatch):
    monkeypatch.chdir(project)
    values = {"data": "runs/../my_data.yaml", "model": {"arch": "yolov7-tiny"}}
    config = with_absolute_paths(Config.model_validate(values))
    assert config.data == str(project / "my_data.yaml")
    assert config.model.arch == "yolov7-tiny"
