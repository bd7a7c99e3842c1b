"""Code that a settings file names is imported only if the command line says so."""

import shutil
import sys

import pytest

from tests.run.small_runs import make_data, make_teacher, run, settings
from tutelage.cli.app import run as command
from tutelage.config import load_config
from tutelage.errors import ConfigError
from tutelage.reports import write_report
from tutelage.setup.named_code import check_named_code, named_code

METHOD = """
import pathlib
from tutelage.distill.methods import METHODS

pathlib.Path(r"{mark}").touch()  # that it was imported

class Mine(METHODS["fitnet"]):
    pass
"""
TEACHER = """
import pathlib
pathlib.Path(r"{mark}").touch()

def build(device):
    from tutelage.teachers import load_teacher
    return load_teacher(r"{teacher}", device)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with code that leaves a mark when it is imported, data and a teacher."""
    mark = tmp_path / "imported"
    teacher = make_teacher(tmp_path / "teacher.safetensors")
    (tmp_path / "my_kd.py").write_text(METHOD.format(mark=mark))
    (tmp_path / "my_net.py").write_text(TEACHER.format(mark=mark, teacher=teacher))
    make_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("my_kd", "my_net"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


FILES = [
    pytest.param({"teacher": "teacher.safetensors", "methods": [{"name": "my_kd:Mine"}]}, id="kd"),
    pytest.param({"teacher": "my_net:build", "methods": [{"name": "fitnet"}]}, id="teacher"),
]


def run_file(place, distill):
    import yaml

    values = settings(str(place / "data.yaml"), place / "runs").model_dump(mode="json")
    values = {key: values[key] for key in ("data", "model", "train", "run")}
    path = place / "run.yaml"
    path.write_text(yaml.safe_dump({**values, "distill": distill}))
    return str(path)


@pytest.mark.parametrize("distill", FILES)
@pytest.mark.parametrize("words", [["train"], ["compare", "--seeds", "1"], ["teach"], ["doctor"]])
def test_a_file_may_not_name_code(place, distill, words, capsys):
    assert command([*words, "--config", run_file(place, distill)]) == 2
    error = capsys.readouterr().err
    assert "C37" in error
    assert "run.yaml:" in error
    assert "--allow-code my_" in error
    assert not (place / "imported").exists()


@pytest.mark.parametrize("distill", FILES)
def test_the_command_line_may_allow_it(place, distill):
    [name] = [
        code.name for code in named_code(load_config(config_file=run_file(place, distill)).config)
    ]
    words = ["train", "--config", run_file(place, distill), "--allow-code", name, "--quiet"]
    words += ["--set", "distill.accept_teacher=true"]
    assert command(words) == 0
    assert (place / "imported").exists()


def test_the_command_line_may_name_it(place):
    words = ["--method", "my_kd:Mine", "--set", "distill.accept_teacher=true", "--quiet"]
    file = run_file(place, {"teacher": "teacher.safetensors"})
    assert command(["train", "--config", file, *words, "--dry-run"]) == 0
    assert (place / "imported").exists()


@pytest.mark.parametrize("distill", FILES)
def test_a_run_from_elsewhere_is_neither_resumed_nor_shown_with_its_code(place, distill, capsys):
    given = {**distill, "accept_teacher": True}
    config = settings(str(place / "data.yaml"), place / "runs", distill=given)
    folder = run(config)[-1].folder
    (place / "imported").unlink()
    for name in ("my_kd", "my_net"):
        sys.modules.pop(name, None)
    assert command(["train", "--resume", folder]) == 2
    assert "--allow-code my_" in capsys.readouterr().err
    shutil.copytree(folder, place / "again")
    report = write_report([folder, place / "again"], place / "report.html")  # asks the teacher
    assert "names code" in report.path.read_text()
    assert not (place / "imported").exists()
    allowed = [code.name for code in named_code(config)]
    report = write_report([folder], place / "report.html", allow_code=allowed)
    assert "names code" not in report.path.read_text()
    assert (place / "imported").exists()


@pytest.mark.parametrize(
    ("method", "teacher", "names"),
    [
        ("fgd", "runs/teacher", []),
        ("fgd", "torchvision:fcos_resnet50_fpn", []),
        ("fgd", "ultralytics:best.pt", ["ultralytics:best.pt"]),  # that package unpickles it
        ("fgd", "hf:folder", []),
        ("fgd", "C:/models/teacher.pt", []),
        ("a.b:C", "x:y", ["a.b:C", "x:y"]),
    ],
)
def test_what_is_code(method, teacher, names):
    distill = {"teacher": teacher, "methods": [{"name": method}]}
    config = settings("digits", "runs", distill=distill)
    assert [code.name for code in named_code(config)] == names


def test_all_that_a_file_names_is_told_at_once():
    distill = {"teacher": "x:y", "methods": [{"name": "a:B"}, {"name": "c:D"}]}
    config = settings("digits", "runs", distill=distill)
    origins = {"distill.teacher": "flag --teacher-weights", "distill.methods": "run.yaml:3"}
    with pytest.raises(ConfigError) as caught:
        check_named_code(config, origins)
    assert "a:B" in str(caught.value)
    assert "c:D" in str(caught.value)
    assert "x:y" not in str(caught.value)
    check_named_code(config, origins, ["a:B", "c:D"])
