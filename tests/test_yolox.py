"""YOLOX does what YOLOv7 does: trained, taught by its own and other families, resumed, exported."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import tutelage
from tests.data.write_dataset import NAMES
from tests.models.repeatable_weights import fill_normal
from tests.run.small_runs import interrupted, last, make_data, make_teacher, run, settings, told
from tutelage.config.load import load_config
from tutelage.distill import METHODS
from tutelage.models import build
from tutelage.models.blocks.stem import FocusBGR
from tutelage.models.catalog import named
from tutelage.run.events import Finished, Planned
from tutelage.weights.store import load_best, save_best

NANO = "yolox-nano@0.25"
TINY = named("yolox-tiny@0.25")


def taught(tmp_path: Path, *methods: str, student: str = NANO, teacher: str = "", **train: object):
    """Settings of a run; the teacher is a wider YOLOX unless another is given."""
    return settings(
        make_data(tmp_path / "data"),
        tmp_path / "runs",
        model={"arch": student},
        train={"epochs": 2, "batch": 4, "patience": 0, **train},
        augment={"close_mosaic": 1},
        distill={
            "teacher": teacher or make_teacher(tmp_path / "tiny.safetensors", arch=TINY),
            "accept_teacher": True,
            "methods": [{"name": name, "weight": 0.1} for name in methods],
        },
    )


def rows_of(folder: str) -> list[dict]:
    return [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]


def test_all_methods_teach_it_within_its_family(tmp_path: Path) -> None:
    """Candidate by candidate: both have the same cells."""
    methods = [name for name in METHODS if name != "ld"]
    folder = last(run(taught(tmp_path, *methods)), Finished).folder
    for row in rows_of(folder):
        terms = {name: value for name, value in row.items() if "/" in name}
        assert {name.partition("/")[0] for name in terms} == set(methods)
        assert all(math.isfinite(value) for value in terms.values())
    assert ["l1" in row for row in rows_of(folder)] == [False, True]
    tensors, meta = load_best(f"{folder}/best.safetensors")
    assert meta["arch_name"] == NANO
    assert tensors.keys() == tutelage.load(folder).state_dict().keys()


def sure_teacher(path: Path, arch: str) -> str:
    """Write an untrained teacher that finds objects everywhere, with features that differ."""
    net = build(arch, NAMES)
    with torch.no_grad():
        fill_normal(net)
        if isinstance(net.model[0], FocusBGR):  # it multiplies by 255
            net.model[0].conv.conv.weight /= 255
        for name, bias in net.head.named_parameters():
            if bias.ndim == 1 and name.startswith("m."):
                bias.view(3, -1)[:, 4:] += 1
            elif bias.ndim == 1 and name.startswith(("cls_preds.", "obj_preds.")):
                bias += 1
    meta = {"arch": net.arch, "arch_name": net.arch_name, "names": NAMES, "image_size": 64}
    save_best(path, net.state_dict(), meta)
    return str(path)


RESPONSE = ("bckd", "crosskd", "logits", "box")


@pytest.mark.parametrize(
    ("student", "teacher"),
    [(NANO, "yolov7-tiny@0.125"), ("yolov7-tiny@0.125", NANO), (NANO, "yolov5n@0.25")],
)
def test_methods_compare_it_with_other_families(tmp_path: Path, student: str, teacher: str) -> None:
    methods = (*RESPONSE, "fgd", "sl2")
    path = sure_teacher(tmp_path / "other.safetensors", teacher)
    folder = last(run(taught(tmp_path, *methods, student=student, teacher=path)), Finished).folder
    for row in rows_of(folder):
        terms = {name: value for name, value in row.items() if "/" in name}
        assert {name.partition("/")[0] for name in terms} == set(methods)
        assert all(math.isfinite(value) for value in terms.values())


def test_it_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    """The second epoch has the L1 term, with which a resumed run begins."""
    config = taught(tmp_path, "fgd", "bckd")
    whole = last(run(config), Finished).folder
    folder = interrupted(config, epoch=1, step=1)
    run(config, resume=folder)
    assert rows_of(folder)[1]["l1"] == rows_of(whole)[1]["l1"]
    expected, found = (load_best(f"{each}/best.safetensors")[0] for each in (whole, folder))
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def test_it_is_exported_and_verified(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    path = sure_teacher(tmp_path / "nano.safetensors", NANO)
    result = tutelage.export(path, data=data, img_size=64, nms=True, conf=0.1)
    image = str(tmp_path / "data/images/train/000.png")
    found = tutelage.predict(result.path, image, img_size=64, conf=0.1)[0]
    ours = tutelage.predict(path, image, img_size=64, conf=0.1)[0]
    assert len(ours) > 1
    torch.testing.assert_close(found.xyxy, ours.xyxy, atol=0.02, rtol=0)


def test_features_as_return_values() -> None:
    detector = build(NANO, NAMES)
    images = torch.rand(1, 3, 64, 64)
    output, features = detector.forward_once(images, extra_features=["p3", "p4", "p5"])
    assert [x.shape[-1] for x in features] == [8, 4, 2]
    assert [x.shape for x in output] == [(1, 1, n, n, 5 + len(NAMES)) for n in (8, 4, 2)]
    again = detector.resume(dict(zip(("p3", "p4", "p5"), features, strict=True)))
    for a, b in zip(again, output, strict=True):
        torch.testing.assert_close(a, b)


def test_the_doctor_examines_it(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    teacher = make_teacher(tmp_path / "tiny.safetensors", arch=TINY)
    found = tutelage.doctor(NANO, teacher_weights=teacher, data=data, img_size=64)
    assert found is not None


def test_keys_of_a_hyp_file_without_effect_are_named(tmp_path: Path) -> None:
    hyp = tmp_path / "hyp.scratch.p5.yaml"
    hyp.write_text("lr0: 0.005\nbox: 0.05\nobj: 0.7\nanchor_t: 4.0\nloss_ota: 1\n")
    data = make_data(tmp_path / "data")
    base = taught(tmp_path)
    loaded = load_config(hyp=hyp, flags={"data": (data, "--data"), "model.arch": (NANO, "--cfg")})
    assert loaded.config.optim.lr == 0.005
    config = base.model_copy(update={"loss": loaded.config.loss, "distill": loaded.config.distill})
    events = run(config, origins=loaded.origins)
    unused = "box, obj, anchor_t, loss_ota (hyp.scratch.p5.yaml): no effect"
    assert f"{unused}, {NANO} has a loss of its own" in told(events)
    assert "loss." not in dict(last(events, Planned).rows)["changed"]
