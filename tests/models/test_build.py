"""Building and loading models from everything that names one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.models.graphs import MENAGERIE, YOLOV5N6, changed
from tests.models.repeatable_weights import GOLDEN
from tutelage.errors import ConfigError, WeightsError
from tutelage.models import GraphDetector, build, load, load_weights, transfer
from tutelage.models.catalog import named
from tutelage.weights import save_best

CHECKPOINTS = GOLDEN.parent / "checkpoints"
OFFICIAL = CHECKPOINTS / "yolov7-tiny-w025-stripped.pt"
IMAGES = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def save(detector: GraphDetector, path: Path, **meta: Any) -> Path:
    header = {
        "format": "test",
        "arch": detector.arch,
        "arch_name": detector.arch_name,
        "names": list(detector.names),
        "image_size": 64,
    }
    save_best(path, detector.state_dict(), {**header, **meta})
    return path


def same(first: GraphDetector, second: GraphDetector) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def trained() -> GraphDetector:
    torch.manual_seed(1)
    detector = build("yolov7-tiny@0.25", ["WBC", "RBC", "Platelets"])
    with torch.no_grad():
        detector.train()(torch.rand(2, 3, 64, 64))  # BatchNorm moves
    anchors = detector.head.anchor_sizes * 1.25  # and so do anchors
    detector.load_training_state({"anchors": anchors.tolist()})
    return detector


@pytest.fixture(scope="module")
def best(trained: GraphDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(trained, tmp_path_factory.mktemp("run") / "best.safetensors")


# What names an architecture


def test_a_yaml_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(YOLOV5N6))
    with torch.device("meta"):
        for source in (path, str(path)):
            detector = build(source, ["a", "b"])
            assert (detector.arch_name, detector.names) == ("mine", ("a", "b"))
        assert load(path).names == tuple(str(i) for i in range(80))


def test_faults_of_a_yaml_file_say_which_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(changed(YOLOV5N6, width_multiple=-1)))
    with pytest.raises(ConfigError, match="mine is not a usable model: width_multiple") as caught:
        load(path)
    assert caught.value.where == str(path)
    with pytest.raises(ConfigError, match="does not exist") as caught:
        load(tmp_path / "nine.yaml")
    assert caught.value.fix == "Did you mean 'mine.yaml'?"
    for content, message in (
        (b"[1, 2]", "no mapping"),
        (b"a: 1\nb: [", r"mine\.yaml is not valid yaml: expected .*\(mine\.yaml:2\)"),
        (b"a: " + 3000 * b"[", "nested too deeply"),
        (b"\xff\xd8", "not a text file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            load(path)


@pytest.mark.parametrize(
    "name", ["yolov8n", "yolov8n.yaml", "yolo11n", "yolov10x", "yolo26s", "YOLOv9c", "rtdetr-l"]
)
def test_a_network_of_ultralytics_is_a_teacher_not_a_student(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(name, ["a"])
    stem = name.removesuffix(".yaml")
    assert f"--teacher-weights ultralytics:{stem}.pt" in caught.value.fix
    assert "Architectures: yolov7-tiny, " in caught.value.fix


def test_only_names_of_other_families_are_sent_to_ultralytics() -> None:
    for name in ("yolov7-tny", "yolov5", "yolov7-w7", "resnet"):
        with pytest.raises(ConfigError) as caught:
            build(name, ["a"])
        assert "ultralytics" not in caught.value.fix


@pytest.mark.parametrize("count", [0, -3, "many", 2.5, True, None])
def test_a_wrong_class_count(count: Any) -> None:
    with pytest.raises(ConfigError, match="nc must be a positive integer"):
        load(changed(YOLOV5N6, nc=count))


def test_a_mapping(trained: GraphDetector) -> None:
    narrow = load({**named("yolov7-tiny"), "width_multiple": 0.25}, names=("a",))
    assert narrow.arch_name == "yolov7-tiny@0.25"
    assert narrow.arch["nc"] == 1
    with torch.device("meta"):
        assert (
            build(changed(MENAGERIE, anchors=tuple(MENAGERIE["anchors"])), ["a"]).arch_name
            == "custom"
        )
        again = build(trained.arch, trained.names)
    assert again.layers == trained.layers


@pytest.mark.parametrize("names", ["RBC", [], ()])
def test_names_that_are_not(names: Any) -> None:
    with pytest.raises(ConfigError, match="names must be a list"):
        build("yolov5n", names)


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no architecture, yaml, weight file or run folder"):
        load("yolo7")
    with pytest.raises(WeightsError, match="does not exist"):
        load(tmp_path / "absent.pt")
    with pytest.raises(WeightsError, match=r"holds no best\.safetensors"):
        load(tmp_path)
    with pytest.raises(WeightsError, match=r"is a weight file; an architecture is.*--weights"):
        build(OFFICIAL, ["a"])
    with pytest.raises(WeightsError, match="is a folder; an architecture is a name or a yaml"):
        build(tmp_path, ["a"])


# Weights with their own architecture


def test_a_run_folder_and_its_file(trained: GraphDetector, best: Path) -> None:
    for source in (best.parent, best, str(best)):
        detector = load(source)
        assert same(detector, trained)
        assert (detector.arch_name, detector.names) == (trained.arch_name, trained.names)
        assert all(p.requires_grad and not p.is_meta for p in detector.parameters())
        assert not detector.training
    assert torch.equal(load(best).head.anchor_sizes, trained.head.anchor_sizes)


def test_weights_that_are_not_finite(trained: GraphDetector, tmp_path: Path) -> None:
    path = save(trained, tmp_path / "best.safetensors")
    state = {key: value.clone() for key, value in trained.state_dict().items()}
    state["model.0.conv.weight"][0] = float("nan")
    save_best(path, state, {"arch": trained.arch, "names": list(trained.names)})
    with pytest.raises(WeightsError, match=r"has NaN values in model\.0\.conv\.weight"):
        load(path)


def test_half_precision_files_become_float32(trained: GraphDetector, tmp_path: Path) -> None:
    path = save(trained, tmp_path / "best.safetensors")
    state = {k: v.half() if v.is_floating_point() else v for k, v in trained.state_dict().items()}
    header = {"arch": trained.arch, "names": list(trained.names)}
    save_best(path, state, header)
    detector = load(path)
    assert {p.dtype for p in detector.parameters()} == {torch.float32}
    assert detector.arch_name == "yolov7-tiny@0.25"  # recognised


def test_other_names(trained: GraphDetector, best: Path) -> None:
    renamed = load(best, names=["x", "y", "z"])
    assert renamed.names == ("x", "y", "z")
    assert same(renamed, trained)
    fewer = load(best, names=["only"])
    assert fewer.layers[-1].channels == 3 * 6
    assert torch.equal(fewer.model[0].conv.weight, trained.model[0].conv.weight)
    assert torch.equal(fewer.head.anchor_sizes, trained.head.anchor_sizes)
    assert fewer.arch["nc"] == 1


@torch.no_grad()
def test_a_folded_file_gives_a_folded_model(trained: GraphDetector, tmp_path: Path) -> None:
    deploy = trained.fused()
    path = save(deploy, tmp_path / "best.safetensors")
    detector = load(path)
    assert same(detector, deploy)
    assert not any(p.requires_grad for p in detector.parameters())
    for a, b in zip(detector(IMAGES).raw, deploy(IMAGES).raw, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(WeightsError, match="folded deploy file"):
        load("yolov7-tiny@0.25", weights=path)
    with pytest.raises(WeightsError, match="folded deploy file"):
        load(path, names=["other", "count"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("model.0.conv.weight"), "model.0.conv.weight is missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra is not part of the graph"),
        (
            lambda state: state.update({"model.0.bn.bias": torch.zeros(1)}),
            r"is \[1\] instead of \[8\]",
        ),
    ],
)
def test_files_that_are_not_what_they_say(
    trained: GraphDetector, tmp_path: Path, change: Any, message: str
) -> None:
    state = trained.state_dict()
    change(state)
    path = tmp_path / "best.safetensors"
    save_best(path, state, {"arch": trained.arch, "names": list(trained.names)})
    with pytest.raises(WeightsError, match=message):
        load(path)


def test_files_without_an_architecture(trained: GraphDetector, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_best(path, trained.state_dict(), {"names": list(trained.names)})
    assert same(load(path), trained)  # the tensors tell which architecture it is
    assert (load(path).arch_name, load(path).names) == (trained.arch_name, trained.names)
    save_best(path, {"fc.weight": torch.zeros(2, 2)}, {})
    with pytest.raises(WeightsError, match="no architecture and class names in its header"):
        load(path)
    save_best(path, trained.state_dict(), {"names": ["a"], "arch": {"nc": 1}})
    with pytest.raises(WeightsError, match="cannot be used: its yaml has 0 rows, but"):
        load(path)


@torch.no_grad()
def test_a_checkpoint_of_yolov7_gives_its_published_boxes() -> None:
    detector = load(OFFICIAL).eval()
    assert detector.arch_name == "yolov7-tiny@0.25"
    assert detector.names == ("WBC", "RBC", "Platelets")
    with np.load(CHECKPOINTS / "yolov7-tiny-w025.npz") as file:
        image, expected = (torch.from_numpy(file[key]) for key in ("image", "decoded"))
    for each in (detector, detector.fused()):
        (decoded, _), _ = each(image, profile=True)
        torch.testing.assert_close(decoded, expected, rtol=1e-4, atol=1e-5 * expected.max().item())


# Weights for an architecture


def test_weights_for_an_architecture(trained: GraphDetector, best: Path) -> None:
    detector = load("yolov7-tiny@0.25", weights=best)
    assert detector.names == trained.names
    mine, others = detector.state_dict(), trained.state_dict()
    for key in mine:
        assert torch.equal(mine[key], others[key]) == ("anchor" not in key), key
    new = load("yolov7-tiny@0.25", weights=best.parent, names=["a", "b"])
    assert torch.equal(new.model[73].conv.weight, trained.model[73].conv.weight)
    assert torch.equal(new.head.ia[0].implicit, trained.head.ia[0].implicit)


def test_two_sets_of_weights(best: Path) -> None:
    with pytest.raises(ConfigError, match="has weights of its own"):
        load(best, weights=best)


def test_weights_of_another_architecture(
    best: Path, trained: GraphDetector, tmp_path: Path
) -> None:
    detector = build("yolov5n", ["a"])
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(detector, best)
    assert f"{best} does not fit yolov5n: " in caught.value.what
    assert "of 348 tensors match." in caught.value.what
    assert caught.value.fix == (
        "It looks like yolov7-tiny@0.25 (78 layers). Use  --cfg yolov7-tiny@0.25"
    )
    own = save(trained, tmp_path / "best.safetensors", arch_name="mine")  # no name to build it by
    with pytest.raises(WeightsError, match=r"like mine \(78 layers\)\. Leave out --cfg"):
        load_weights(detector, own)
    assert all(torch.equal(before[key], value) for key, value in detector.state_dict().items())


def test_what_a_transfer_reports(trained: GraphDetector, best: Path) -> None:
    report = load_weights(build("yolov7-tiny@0.25", ["one"]), best)
    assert (report.matched, report.total) == (342 - 9, 342)
    assert sorted(report.skipped)[0] == "model.77.im.0.implicit"
    assert len(report.skipped) == 9
    assert set(report.left) == set(report.skipped)
    words = report.in_words("model.77.", 2, 1)
    assert words == "333 of 342 tensors (head is new: 2 → 1 classes)"
    full = build("yolov7-tiny@0.25", trained.names)
    assert transfer(full, trained.state_dict(), anchors=True).matched == 344
    assert same(full, trained)


@torch.no_grad()
def test_a_plain_head_meets_a_head_with_implicit_vectors(trained: GraphDetector) -> None:
    """A deploy file has folded its vectors into the convolutions: they must not act twice."""
    arch = {**trained.arch}
    arch["head"] = [*arch["head"][:-1], [[74, 75, 76], 1, "Detect", ["nc", "anchors"]]]
    plain = build(arch, trained.names)
    transfer(plain, trained.state_dict(), anchors=True)
    student = build(trained.arch, trained.names)
    report = transfer(student, plain.state_dict(), anchors=True)
    assert {key.split(".")[2] for key in report.skipped} == {"ia", "im"}
    assert report.in_words("model.77.", 2, 2) == "338 of 344 tensors (6 new in the head)"
    more = {**plain.state_dict(), "model.78.conv.weight": torch.zeros(1)}
    del more["model.0.conv.weight"]
    report = transfer(student, more)
    assert report.left == ("model.78.conv.weight",)
    assert report.in_words("model.77.", 2, 2).endswith(
        "(6 new in the head, 1 new elsewhere, 1 of the file left)"
    )
    for a, b in zip(student.eval()(IMAGES).raw, plain.eval()(IMAGES).raw, strict=True):
        torch.testing.assert_close(a, b)
