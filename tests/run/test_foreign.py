"""One short run per family of teachers: the KD loss falls, and the student's AP does not."""

import pytest
import torch
from safetensors.torch import save_file

from tests.data.write_dataset import NAMES
from tests.run.small_runs import last, make_data, run, settings
from tests.teachers.library_networks import hugging_face_detector, torchvision_detector
from tutelage.demo import shipped_teacher
from tutelage.run.events import Evaluated, Planned, StepDone

OWN = """
import torch
from torch import nn
from tutelage.teachers import FeatureTeacher


def build(device):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 8, 8), nn.ReLU(), nn.Conv2d(8, 16, 2, 2), nn.ReLU(), nn.Conv2d(16, 8, 2, 2)
    )
    return FeatureTeacher(net, taps={"p3": "0", "p4": "2", "p5": "4"}, names=(), device=device)
"""


def teacher_of(family, folder, monkeypatch):
    """Write a random teacher and return how it is called."""
    if family == "hf":
        hugging_face_detector("rt_detr").save_pretrained(folder / "hf")
        return f"hf:{folder / 'hf'}"
    if family == "torchvision":
        name = "ssdlite320_mobilenet_v3_large"
        save_file(torchvision_detector(name).state_dict(), folder / "ssd.safetensors")
        return f"torchvision:{name}@{folder / 'ssd.safetensors'}"
    (folder / "my_teacher.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))
    return "my_teacher:build"


def tuned(project, distill=None):
    """Train a detector one more epoch and return all events."""
    return run(
        settings(
            "digits:easy",
            project,
            model={"arch": None, "weights": str(shipped_teacher())},
            train={"image_size": 128, "batch": 8, "nominal_batch": 8},
            optim={"lr": 0.001, "warmup_epochs": 0},
            augment={"mosaic": 0.0, "mixup": 0.0, "fliplr": 0.0},
            loss={"scaling": "reference"},  # small steps: a random teacher pulls as hard
            distill=distill or {},
        )
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The AP that the student reaches without a teacher."""
    return last(tuned(tmp_path_factory.mktemp("alone")), Evaluated).scores["AP"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["hf", "torchvision", "own"])
def test_a_student_learns_from_another_library(family, alone, tmp_path, monkeypatch):
    """What random networks teach is of no use, but the student can do it and stays what it is."""
    source = teacher_of(family, tmp_path, monkeypatch)
    distill = {"accept_teacher": True, "methods": [{"name": "fitnet"}], "ratio": 1.0}
    if family == "torchvision":
        distill |= {"student_kd_layers": ["p4", "p5"]}  # SSDLite has no stride 8
    events = tuned(tmp_path, {"teacher": source} | distill)
    assert source in dict(last(events, Planned).rows)["teacher"]
    done = [e.losses.distillation for e in events if isinstance(e, StepDone)]
    found = [float(terms["fitnet/feature"]) for terms in done]
    assert sum(found[-8:]) < 0.95 * sum(found[:8])
    assert alone > 0.5
    assert last(events, Evaluated).scores["AP"] > alone - 0.02


@pytest.mark.slow
def test_responses_of_another_library_are_matched(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    network = hugging_face_detector("rt_detr")
    network.config.id2label = dict(enumerate((*NAMES, "other")))
    network.save_pretrained(tmp_path / "hf")
    distill = {
        "teacher": f"hf:{tmp_path / 'hf'}",
        "accept_teacher": True,
        "classes": "by-name",
        "methods": [{"name": "bckd"}, {"name": "logits"}],
    }
    train = {"image_size": 128, "validate_runs": False}
    data = make_data(tmp_path / "data")
    events = run(settings(data, tmp_path, train=train, distill=distill))
    terms = [e.losses.distillation for e in events if isinstance(e, StepDone)]
    assert {"bckd/class", "bckd/objectness", "bckd/box"} <= set(terms[0])
    assert all(float(value) > 0 for value in terms[0].values())
