"""YOLOv9 does what YOLOv7 does: it is trained, taught by its own and others, and exported."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import tutelage
from tests.data.write_dataset import NAMES
from tests.run.small_runs import interrupted, last, make_data, run, settings, told
from tutelage.config.load import load_config
from tutelage.distill import METHODS
from tutelage.errors import UserError
from tutelage.models import build
from tutelage.models.catalog import named
from tutelage.run.events import Finished, Planned
from tutelage.weights.store import load_best, save_best

SMALL = "yolov9-t@0.25"
WIDER = named("yolov9-t@0.5")
WITHOUT_OBJECTNESS = [name for name in METHODS if name != "objectness"]


def make_teacher(path: Path, arch: dict, *, noise: float = 1.0, spread: float = 0.0) -> str:
    """Write an untrained teacher that finds objects: a fresh head gives scores of nearly zero.

    Args:
        path: The file.
        arch: Its graph.
        noise: Share of BatchNorm's statistics that are those of noise: with none deep maps are
            nearly constant, with all of it rounding is amplified.
        spread: Deviation of the last weights of the classes; 0: as they start, so that scores are
            almost equal.
    """
    torch.manual_seed(2)
    net = build(arch, NAMES)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = noise
        net(torch.rand(8, 3, 64, 64))
        for level in net.head.lead if spread else ():
            nn.init.normal_(level.cls[-1].weight, std=spread)
        for module in net.head.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                module.bias.clamp_(min=-1)
    meta = {"arch": net.arch, "arch_name": net.arch_name, "names": NAMES, "image_size": 64}
    save_best(path, net.state_dict(), meta)
    return str(path)


def taught(tmp_path: Path, *methods: str, student: str = SMALL, teacher: str = "", **train: object):
    """Settings of a run; the teacher is a wider YOLOv9 unless another is given."""
    return settings(
        make_data(tmp_path / "data"),
        tmp_path / "runs",
        model={"arch": student},
        train={"epochs": 2, "batch": 4, "patience": 0, **train},
        distill={
            "teacher": teacher or make_teacher(tmp_path / "wider.safetensors", arch=WIDER),
            "accept_teacher": True,
            "methods": [{"name": name, "weight": 0.1} for name in methods],
        },
    )


def rows_of(folder: str) -> list[dict]:
    return [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]


def assert_taught(folder: str, methods: set[str]) -> None:
    for row in rows_of(folder):
        assert {"box", "dfl", "cls"} <= row.keys() or "obj" in row
        terms = {name: value for name, value in row.items() if "/" in name}
        assert {name.partition("/")[0] for name in terms} == methods
        assert all(math.isfinite(value) for value in terms.values())


def test_all_methods_teach_it_within_its_family(tmp_path: Path) -> None:
    """Candidate by candidate: both have the same cells; localisation by the bins of both."""
    config = taught(tmp_path, *WITHOUT_OBJECTNESS)
    folder = last(run(config), Finished).folder
    assert_taught(folder, set(WITHOUT_OBJECTNESS))
    assert all(row["ld/box"] > 0 for row in rows_of(folder))
    tensors, meta = load_best(f"{folder}/best.safetensors")
    assert meta["arch_name"] == SMALL
    assert tensors.keys() == tutelage.load(folder).state_dict().keys()


def test_the_valuable_region_is_a_second_term(tmp_path: Path) -> None:
    methods = [{"name": "ld", "weight": 0.1, "valuable": 1.0}]
    config = taught(tmp_path)
    config = config.model_validate(
        {**config.model_dump(), "distill": {**config.distill.model_dump(), "methods": methods}}
    )
    folder = last(run(config), Finished).folder
    assert all(row["ld/valuable"] > 0 for row in rows_of(folder))


RESPONSE = ("bckd", "crosskd", "logits", "box")


@pytest.mark.parametrize(
    ("student", "teacher"),
    [(SMALL, "yolov7-tiny@0.125"), ("yolov7-tiny@0.125", SMALL), (SMALL, "yolox-nano@0.25")],
)
def test_methods_compare_it_with_other_families(tmp_path: Path, student: str, teacher: str) -> None:
    methods = (*RESPONSE, "fgd", "sl2")
    path = make_teacher(tmp_path / "other.safetensors", arch=named(teacher))
    folder = last(run(taught(tmp_path, *methods, student=student, teacher=path)), Finished).folder
    assert_taught(folder, set(methods))


@pytest.mark.parametrize(
    ("student", "teacher"), [(SMALL, "yolov7-tiny@0.125"), ("yolov7-tiny@0.125", SMALL)]
)
def test_distributions_are_asked_of_both_heads(tmp_path: Path, student: str, teacher: str) -> None:
    path = make_teacher(tmp_path / "other.safetensors", arch=named(teacher))
    with pytest.raises(UserError, match="predicts one value per side of a box"):
        run(taught(tmp_path, "ld", student=student, teacher=path))


@pytest.mark.parametrize(
    ("student", "teacher", "methods"),
    [
        (SMALL, "yolov9-t@0.5", ("bckd", "ld")),
        (SMALL, "yolox-nano@0.25", ("bckd", "fgd")),
        ("yolox-nano@0.25", SMALL, ("bckd", "fgd")),
        ("yolox-nano@0.25", "yolox-tiny@0.25", ("bckd", "box", "logits")),
    ],
)
def test_stored_answers_teach(
    tmp_path: Path, student: str, teacher: str, methods: tuple[str, ...]
) -> None:
    """The second epoch asks no teacher, and neither does another run."""
    path = make_teacher(tmp_path / "stored.safetensors", arch=named(teacher), noise=0.7)
    config = taught(tmp_path, *methods, student=student, teacher=path)
    config = config.model_copy(update={"distill": config.distill.model_copy(update={"views": 1})})
    first, second = (rows_of(last(run(config), Finished).folder) for _ in range(2))
    assert [row["asked"] > 0 for row in (*first, *second)] == [True, False, False, False]
    for name in methods:
        terms = [{key: x for key, x in row.items() if key.startswith(f"{name}/")} for row in first]
        assert all(value > 0 and math.isfinite(value) for row in terms for value in row.values())
        assert terms == [{key: row[key] for key in terms[0]} for row in second]


def test_it_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    config = taught(tmp_path, "fgd", "ld")
    whole = last(run(config), Finished).folder
    folder = interrupted(config, epoch=1, step=1)
    run(config, resume=folder)
    expected, found = (load_best(f"{each}/best.safetensors")[0] for each in (whole, folder))
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


@pytest.mark.parametrize("nms", [False, True])
def test_it_is_exported_and_verified(tmp_path: Path, nms: bool) -> None:
    data = make_data(tmp_path / "data")
    path = make_teacher(tmp_path / "wider.safetensors", arch=WIDER, noise=0.7, spread=1.0)
    result = tutelage.export(path, to="onnx", data=data, img_size=64, nms=nms)
    image = str(tmp_path / "data/images/train/000.png")
    options = {"img_size": 64, "conf": 0.001}
    found = tutelage.predict(result.path, image, **options)[0]
    ours = tutelage.predict(path, image, **options)[0]
    assert len(ours)
    torch.testing.assert_close(found.xyxy, ours.xyxy, atol=0.02, rtol=0)


def test_features_as_return_values() -> None:
    detector = build(SMALL, NAMES)
    images = torch.rand(1, 3, 64, 64)
    output, features = detector.forward_once(images, extra_features=["p3", "p4", "p5"])
    assert [x.shape[-1] for x in features] == [8, 4, 2]
    assert [x.shape for x in output] == [(1, 64 + len(NAMES), n, n) for n in (8, 4, 2)] * 2
    again = detector.resume(dict(zip(("p3", "p4", "p5"), features, strict=True)))
    assert len(again) == 3
    for a, b in zip(again, output, strict=False):
        torch.testing.assert_close(a, b)


def test_the_doctor_examines_it(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    teacher = make_teacher(tmp_path / "wider.safetensors", arch=WIDER)
    found = tutelage.doctor(SMALL, teacher_weights=teacher, data=data, img_size=64)
    assert found is not None


def test_keys_of_a_hyp_file_without_effect_are_named(tmp_path: Path) -> None:
    hyp = tmp_path / "hyp.scratch.p5.yaml"
    hyp.write_text("lr0: 0.005\nbox: 0.05\nobj: 0.7\nanchor_t: 4.0\nloss_ota: 1\n")
    base = taught(tmp_path)
    loaded = load_config(hyp=hyp, flags={"model.arch": (SMALL, "--cfg")})
    assert loaded.config.optim.lr == 0.005
    config = base.model_copy(update={"loss": loaded.config.loss, "distill": loaded.config.distill})
    events = run(config, origins=loaded.origins)
    unused = "box, obj, anchor_t, loss_ota (hyp.scratch.p5.yaml): no effect"
    assert f"{unused}, {SMALL} has a loss of its own" in told(events)
    assert "loss." not in dict(last(events, Planned).rows)["changed"]


def test_anchors_are_refused() -> None:
    with pytest.raises(UserError, match="anchors: AuxDFLDetect has none, drop this key"):
        build({**WIDER, "anchors": 3}, NAMES)
