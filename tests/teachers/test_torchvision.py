import pytest
import torch
from safetensors.torch import save_file

from tests.teachers.library_networks import LABELS, torchvision_detector
from tests.teachers.library_networks import images as blurred
from tutelage.distill.scores import candidate_scores, score_maps
from tutelage.errors import WeightsError
from tutelage.evaluation.nms import nms
from tutelage.teachers import fingerprint, load_teacher
from tutelage.teachers.torchvision import torchvision_teacher

CPU = torch.device("cpu")
SMALLEST = "ssdlite320_mobilenet_v3_large"


def theirs(model, images, threshold):
    """The library's own detections, without its resizing."""
    height, width = images.shape[-2:]
    model.transform.min_size, model.transform.max_size = (height,), width
    model.transform.fixed_size = None
    model.topk_candidates = 10**6
    head = getattr(model, "roi_heads", model)
    head.score_thresh, head.detections_per_img = threshold, 10**6
    with torch.no_grad():
        found = model(list(images))
    classes = [one["labels"] > 0 for one in found]  # RetinaNet may find "background", too
    return [
        {key: value[keep][:50] for key, value in one.items()}
        for one, keep in zip(found, classes, strict=True)
    ], head.nms_thresh


@pytest.mark.parametrize(
    "name",
    [
        "retinanet_resnet50_fpn_v2",
        "fcos_resnet50_fpn",
        SMALLEST,
        "fasterrcnn_mobilenet_v3_large_320_fpn",
    ],
)
def test_detections_are_those_of_the_library(name):
    model = torchvision_detector(name)
    teacher = torchvision_teacher(model, LABELS, title=name)
    images = blurred(320 if "ssd" in name else 256, 320)
    found = teacher(images, predictions=True).predictions
    assert found is not None
    threshold = float(found.logits.sigmoid().flatten().sort(descending=True).values[300])
    expected, iou = theirs(model, images, threshold)
    ours = nms(found, conf=threshold, iou=iou, max_detections=50, multi_label=True)
    for own, other in zip(ours, expected, strict=True):
        assert len(other["boxes"]) > 5
        rows = torch.cat([own.xyxy, own.label[:, None] * 1e4, own.score[:, None] * 1e4], 1)
        label, score = other["labels"][:, None] - 1, other["scores"][:, None]
        expected_rows = torch.cat([other["boxes"], label * 1e4, score * 1e4], 1)
        assert rows.shape == expected_rows.shape
        distance = torch.cdist(rows, expected_rows, compute_mode="donot_use_mm_for_euclid_dist")
        assert distance.amin(0).max() < 0.1  # a pixel tenth, a score of 1e-5; ties may swap places
        assert distance.amin(1).max() < 0.1


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn", SMALLEST])
def test_scores_of_cells_are_where_the_boxes_are(name):
    """A map of scores is that of the library's candidates in the cells of the map."""
    model = torchvision_detector(name)
    teacher = torchvision_teacher(model, LABELS, title=name)
    images = blurred(320, 384)
    known = teacher(images, predictions=True)
    assert known.predictions is not None
    grids = [(int(f.shape[-2]), int(f.shape[-1])) for f in known.features]
    boxes, level, checked = known.predictions.xyxy, known.predictions.level, 0
    for grid, score in zip(grids, score_maps(known.predictions, grids), strict=True):
        number = known.predictions.grids.index(grid)
        own = level == number
        best, which = candidate_scores(known.predictions)[:, own].max(1)
        assert torch.equal(score.flatten(1).amax(1), best)
        # Boxes of zero offsets are centred in their cells; these are near enough to them.
        corners = boxes[:, own][torch.arange(2), which]
        centre = (corners[:, :2] + corners[:, 2:]) / 2 / corners.new_tensor([384, 320])
        place = score.flatten(1).argmax(1)
        cell = torch.stack((place % grid[1] + 0.5, place // grid[1] + 0.5), 1)
        away = (centre - cell / cell.new_tensor([grid[1], grid[0]])).abs()
        inside = (corners > 1).all(1) & (corners < corners.new_tensor([383, 319] * 2)).all(1)
        assert (away[inside] < 0.25).all()
        checked += int(inside.sum())
    assert checked > 0


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, ("class 1", "class 2", "class 3")),
        ('["x", "y", "z"]', ("x", "y", "z")),
        ('["__background__", "x", "N/A", "z"]', ("x", "z")),
    ],
)
def test_a_state_dict_of_other_classes(names, expected, tmp_path):
    state = torchvision_detector(SMALLEST).state_dict()
    path = tmp_path / ("own.safetensors" if names else "own.pth")
    if names:
        save_file(state, path, metadata={"names": names})
    else:
        torch.save({"model": state}, path)
    teacher = load_teacher(f"torchvision:{SMALLEST}@{path}", CPU)
    assert teacher.names == expected
    assert fingerprint(teacher.state()) == fingerprint(state.items())
    assert teacher.record["source"].startswith(f"torchvision:{SMALLEST}@")
    assert len(teacher.record["sha256"]) == 64
    found = teacher(torch.rand(1, 3, 320, 320), predictions=True).predictions
    assert found is not None
    assert found.logits.shape[-1] == len(expected)


class Payload:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_that_cannot_be_used(tmp_path, capsys):
    state = torchvision_detector(SMALLEST).state_dict()
    cases = {
        "does not fit": {key: x for key, x in state.items() if "bias" not in key},
        "holds no state dict": [1, 2],
        "Refused": {"model": Payload()},
        "NaN": {**state, next(iter(state)): torch.full_like(next(iter(state.values())), torch.nan)},
    }
    path = tmp_path / "own.pth"
    for message, content in cases.items():
        torch.save(content, path)
        with pytest.raises(WeightsError, match=message):
            load_teacher(f"torchvision:{SMALLEST}@{path}", CPU)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged"):
        load_teacher(f"torchvision:{SMALLEST}@{path}", CPU)
    named = tmp_path / "own.safetensors"
    save_file(state, named, metadata={"names": '["x"]'})
    with pytest.raises(WeightsError, match="names 1 classes, but its tensors are of 3"):
        load_teacher(f"torchvision:{SMALLEST}@{named}", CPU)
    assert "executed" not in capsys.readouterr().out


def test_released_weights_come_from_the_cache_of_the_library(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    file = tmp_path / "checkpoints" / "ssdlite320_mobilenet_v3_large_coco-a79551df.pth"
    with pytest.raises(WeightsError, match=f"{file.name}.*@FILE"):
        load_teacher(f"torchvision:{SMALLEST}", CPU)
    file.parent.mkdir()
    torch.manual_seed(0)
    from torchvision.models import get_model

    state = get_model(SMALLEST, weights=None, weights_backbone=None).state_dict()
    torch.save(state, file)
    teacher = load_teacher(f"torchvision:{SMALLEST}", CPU)
    assert len(teacher.names) == 80
    assert teacher.names[:2] == ("person", "bicycle")
    assert fingerprint(teacher.state()) == fingerprint(state.items())
    torch.save({"model": Payload()}, file)
    with pytest.raises(WeightsError, match="Refused"):
        load_teacher(f"torchvision:{SMALLEST}", CPU)
