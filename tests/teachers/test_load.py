import pytest
import torch

from tutelage.errors import ConfigError, MissingExtraError, WeightsError
from tutelage.teachers import load_teacher

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("torchvison:retinanet_resnet50_fpn", ConfigError, "Did you mean 'torchvision'"),
        ("nowhere.at_all:build", ConfigError, "no 'nowhere.at_all'.*Known: torchvision:… hf:…"),
        ("not a module:x", ConfigError, "no 'not a module'"),
        ("C:/weights/teacher.pt", WeightsError, "does not exist"),
        ("runs/none", WeightsError, "does not exist"),
        ("torchvision:retinanet_resnet50", ConfigError, "Did you mean 'retinanet_resnet50_fpn'"),
        ("torchvision:", ConfigError, "Detectors: fasterrcnn"),
        ("hf:", ConfigError, "'hf:' names no network.*hf:FOLDER"),
        ("ultralytics: ", ConfigError, "names no network.*ultralytics:FILE.pt"),
        ("ultralytics:none.pt", WeightsError, "does not exist"),
        ("hf:nobody/nothing", WeightsError, "hf download nobody/nothing"),
        ("HF: nobody/nothing", WeightsError, "hf download nobody/nothing"),
        ("hf:a/b/nothing", WeightsError, "a/b/nothing does not exist.*save_pretrained"),
        ("Torchvision:retinanet", ConfigError, "Did you mean 'retinanet_resnet50_fpn'"),
        ("colorsys", ConfigError, "is no file, but a module.*--teacher-weights colorsys:build"),
    ],
)
def test_what_cannot_be_loaded_is_told(source, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        load_teacher(source, CPU)


@pytest.mark.parametrize(
    ("source", "library", "command"),
    [
        ("hf:x", "transformers", r"pip install 'tutelage\[hf\]'"),
        ("ultralytics:x.pt", "ultralytics", "pip install ultralytics.*AGPL"),
    ],
)
def test_a_library_that_is_missing(source, library, command, tmp_path, monkeypatch):
    (tmp_path / "x.pt").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(MissingExtraError, match=command):
        load_teacher(source, CPU)


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path):
    path = tmp_path / "a:b"
    path.write_text("nothing")
    with pytest.raises(WeightsError, match="not a checkpoint"):
        load_teacher(str(path), CPU)
