"""Runs only where the package is installed; it is no dependency."""

import pytest
import torch

from tutelage.errors import WeightsError
from tutelage.evaluation.nms import nms
from tutelage.teachers import Teacher, fingerprint, load_teacher

library = pytest.importorskip("ultralytics")
CPU = torch.device("cpu")


@pytest.fixture(
    params=["yolov8n", "yolov5n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n"]
)
def file(request, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "teacher.pt"  # the package takes yolov5n.pt for a name of its own
    library.YOLO(f"{request.param}.yaml", verbose=False).save(path)
    return path


def test_a_detector_of_the_package(file):
    teacher = load_teacher(f"ultralytics:{file}", CPU)
    assert isinstance(teacher, Teacher)
    assert [(tap.key, tap.stride) for tap in teacher.taps] == [("p3", 8), ("p4", 16), ("p5", 32)]
    assert len(teacher.names) == 80
    before = fingerprint(teacher.state())
    images = torch.rand(2, 3, 64, 96)
    plain, knowledge = teacher(images), teacher(images, predictions=True)
    found = knowledge.predictions
    assert plain.predictions is None
    assert found is not None
    for tap, one, two in zip(teacher.taps, plain.features, knowledge.features, strict=True):
        assert one.shape == (2, tap.channels, 64 // tap.stride, 96 // tap.stride)
        assert torch.equal(one, two)
    assert fingerprint(teacher.state()) == before
    assert found.level.tolist() == [0] * 96 + [1] * 24 + [2] * 6

    model = library.YOLO(file, verbose=False).model.eval()
    with torch.no_grad():
        raw = model(images)[0]
    best = raw[0, 4:].amax(0).argmax()
    own = nms(found, conf=0, multi_label=False, iou=1)[0]
    x, y, w, h = raw[0, :4, best].tolist()
    assert own.score[0].item() == pytest.approx(raw[0, 4:].max().item(), rel=1e-3)
    box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    assert own.xyxy[0].tolist() == pytest.approx(box, abs=1e-2)


def test_a_file_that_the_package_takes_for_another_is_told(file, monkeypatch):
    other = library.YOLO(file, verbose=False)
    other.ckpt_path = "other.pt"
    monkeypatch.setattr(library, "YOLO", lambda *_args, **_options: other)
    with pytest.raises(WeightsError, match=r"opened other\.pt.*another name"):
        load_teacher(f"ultralytics:{file}", CPU)


def test_a_head_that_chooses_by_itself(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "e.pt"
    yolo = library.YOLO("yolo26n.yaml", verbose=False)
    yolo.save(path)
    teacher = load_teacher(f"ultralytics:{path}", CPU)
    head = teacher.network.model[-1]
    head.end2end = True
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        out = teacher.network(images)
    raw = out if torch.is_tensor(out) else out[0]
    assert raw.shape[-1] == 6
    found = teacher(images, predictions=True).predictions
    assert found is not None
    score, label = found.logits.sigmoid().max(-1)
    assert torch.equal(label, raw[..., 5].long())
    assert torch.allclose(score, raw[..., 4], atol=1e-5)
    assert torch.equal(found.xyxy, raw[..., :4])
