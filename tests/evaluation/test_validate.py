"""A model and a data set by name: sizes, classes, devices, and the ways to look at an image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.evaluation.synthetic_coco import make_index
from tutelage.errors import ConfigError, DataError, WeightsError
from tutelage.evaluation.device import choose_device
from tutelage.evaluation.predictor import from_rows, predictor
from tutelage.evaluation.validate import match_classes, validate
from tutelage.models.build import load
from tutelage.models.graph import GraphDetector
from tutelage.weights import save_best

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"
WEIGHTS = GOLDEN / "yolov7-tiny-w025-stripped.pt"
NAMES = ("WBC", "RBC", "Platelets")


@pytest.fixture(scope="module")
def model() -> GraphDetector:
    """A small YOLOv7, hardly trained."""
    return load(WEIGHTS)


def write_data(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """A YOLO data set of six noise images."""
    index = make_index(6, seed=4, names=names, most=4)
    generator = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir(parents=True)
    for number, item in enumerate(index):
        width, height = item.size_wh
        noise = generator.integers(0, 255, (height, width, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / "images" / "val" / f"{number}.png"), noise)
        box = item.xyxy / np.array([width, height, width, height])
        rows = np.concatenate([(box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]], 1)
        lines = [
            f"{label} " + " ".join(f"{value:.6f}" for value in row) + "\n"
            for label, row in zip(item.label.tolist(), rows, strict=True)
        ]
        (folder / "labels" / "val" / f"{number}.txt").write_text("".join(lines))
    text = f"path: .\ntrain: images/val\nval: images/val\nnames: [{', '.join(names)}]\n"
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of this module."""
    return write_data(tmp_path_factory.mktemp("data"))


def test_golden_predictions(model: GraphDetector) -> None:
    """What the published code makes of an image, by the plain way and as rows."""
    with np.load(GOLDEN / "yolov7-tiny-w025.npz") as golden:
        image, decoded = torch.from_numpy(golden["image"]), torch.from_numpy(golden["decoded"])
    rows = from_rows(decoded)
    for detector in (model.eval(), model.fused()):
        with torch.no_grad():
            found = predictor(detector)(image)
        for mine, theirs in (
            (found.xyxy, rows.xyxy),
            (found.logits, rows.logits),
            (found.objectness, rows.objectness),
        ):
            assert mine is not None
            assert theirs is not None
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-3)


def test_rows_keep_probabilities_zero_and_one_finite() -> None:
    found = from_rows(torch.tensor([[[10.0, 20, 4, 6, 0, 1, 0.25]]]))
    assert found.xyxy.tolist() == [[[8, 17, 12, 23]]]
    assert found.logits.isfinite().all()
    assert found.objectness is not None
    assert found.objectness.sigmoid().item() < 1e-6
    assert found.logits.sigmoid()[0, 0].tolist() == pytest.approx([1, 0.25], abs=1e-6)


def test_weights_run_folder_and_detector_score_alike(
    model: GraphDetector, data: Path, tmp_path: Path
) -> None:
    meta = {"arch": model.arch, "arch_name": model.arch_name, "names": NAMES, "image_size": 96}
    save_best(tmp_path / "best.safetensors", model.state_dict(), meta)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    explicit = validate(model, data=data, image_size=96, device="cpu")
    assert len(explicit.table) > 100
    for same in (tmp_path, tmp_path / "best.safetensors"):
        found = validate(same, data=data, device="cpu", batch=4)  # the size is that of the training
        np.testing.assert_allclose(found.table, explicit.table, atol=0.02)
    foreign = validate(WEIGHTS, data=data, image_size=96, device="cpu", batch=16)
    assert np.array_equal(foreign.table, explicit.table)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert (explicit.images, list(explicit.per_class)) == (6, list(NAMES))


def test_ways_to_look(model: GraphDetector, data: Path) -> None:
    plain = validate(model, data=data, image_size=96, device="cpu")
    augmented = validate(model, data=data, image_size=96, device="cpu", augment=True)
    rect = validate(model, data=data, image_size=96, device="cpu", rect=True)
    for other in (augmented, rect):
        assert other.images == 6
        assert len(other.table) > 100
        assert not np.array_equal(other.table, plain.table)
    middle = float(np.median(plain.table[:, 5]))
    strict = validate(model, data=data, image_size=96, device="cpu", conf=middle)
    assert 0 < len(strict.table) < len(plain.table)
    assert strict.table[:, 5].min() >= round(middle, 6)


def test_single_class_joins_all_of_both(model: GraphDetector, data: Path) -> None:
    found = validate(model, data=data, image_size=96, device="cpu", single_cls=True)
    assert len(found.per_class) == 1
    assert set(found.table[:, 6]) == {0.0}
    assert found.instances == validate(model, data=data, image_size=96, device="cpu").instances


def test_classes_in_another_order_are_matched_by_name(model: GraphDetector, tmp_path: Path) -> None:
    order = ("Platelets", "WBC", "RBC")
    here, there = write_data(tmp_path / "a"), write_data(tmp_path / "b", order)
    one = validate(model, data=here, image_size=96, device="cpu")
    other = validate(model, data=there, image_size=96, device="cpu")
    renamed = np.array([order.index(NAMES[int(label)]) for label in one.table[:, 6]])
    assert np.array_equal(other.table[:, :6], one.table[:, :6])
    assert np.array_equal(other.table[:, 6], renamed)


def test_a_model_of_some_classes_is_evaluated_on_these(
    model: GraphDetector, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = ("cell", *reversed(NAMES))
    there = write_data(tmp_path, NAMES)
    (tmp_path / "labels" / "val" / "0.txt").write_text("0 .5 .5 .5 .5\n1 .5 .5 .2 .2\n")
    text = there.read_text().replace(", ".join(NAMES), ", ".join(more))
    there.write_text(text)
    found = validate(model, data=there, image_size=96, device="cpu")
    assert list(found.per_class) == list(NAMES)
    numbers = [line.split()[0] for file in tmp_path.glob("labels/val/*") for line in file.open()]
    assert found.instances == len(numbers) - numbers.count("0")
    assert f"{numbers.count('0')} of {len(numbers)} objects of val" in caplog.text
    chosen = validate(model, data=there, image_size=96, device="cpu", classes=NAMES)
    assert chosen.instances == found.instances


@pytest.mark.parametrize(
    ("model_names", "data_names", "expected"),
    [
        (("a", "b"), ("a", "b"), None),
        (("0", "1"), ("a", "b"), None),
        (("a", "b"), ("b", "a"), {0: 1, 1: 0}),
        (("1", "2", "0"), ("1", "2", "0"), None),
        (("0", "1", "2"), ("1", "2", "0"), {0: 2, 1: 0, 2: 1}),
        (("1", "2", "0"), ("0", "1", "2"), {0: 1, 1: 2, 2: 0}),
        (("0", "1"), ("1", "2"), None),
    ],
)
def test_classes_that_fit(
    model_names: tuple[str, ...], data_names: tuple[str, ...], expected: object
) -> None:
    assert match_classes(model_names, data_names, model="m", data="d") == expected


@pytest.mark.parametrize(
    ("model_names", "data_names", "parts"),
    [
        (
            ("a", "b"),
            ("a", "c"),
            ["the class names differ", "not known to the model: c", "not in the data: b"],
        ),
        (
            ("a", "b", "c"),
            ("a", "b"),
            ["the model knows 3 classes, the data 2", "not in the data: c"],
        ),
        (
            ("0", "1", "2"),
            ("a", "b"),
            ["the model knows 3 classes, the data 2", "not known to the model: a, b"],
        ),
        (tuple("abcdefgh"), ("a",), ["b, c, d, e, f and 2 more"]),
        (
            ("a", "b", "b"),
            ("b", "a", "b"),
            ["the class names differ"],
        ),  # by name it would be a guess
    ],
)
def test_classes_that_do_not_fit(
    model_names: tuple[str, ...], data_names: tuple[str, ...], parts: list[str]
) -> None:
    with pytest.raises(WeightsError) as caught:
        match_classes(model_names, data_names, model="m.pt", data="d.yaml")
    for part in ["m.pt does not fit d.yaml", "--single-cls", *parts]:
        assert part in str(caught.value)


def test_what_cannot_be_evaluated(model: GraphDetector, data: Path) -> None:
    with pytest.raises(ConfigError, match=r"--img-size 100 must be a multiple of 32 .*Nearest: 96"):
        validate(model, data=data, image_size=100, device="cpu")
    with pytest.raises(ConfigError, match="Nearest: 32"):
        validate(model, data=data, image_size=0, device="cpu")
    for name in ("gpu", "cpu:1", "auto:0", "cuda:", "cuda:x"):
        with pytest.raises(ConfigError, match=f"--device {name} is not a device"):
            validate(model, data=data, device=name)
    with pytest.raises(WeightsError, match="yolov7-tiny is an architecture"):
        validate("yolov7-tiny", data=data, device="cpu")
    with pytest.raises(DataError):
        validate(model, data=data.with_name("lost.yaml"), image_size=96, device="cpu")
    with pytest.raises(WeightsError, match="does not exist"):
        validate(data.with_name("lost.pt"), data=data, image_size=96, device="cpu")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for name, message in (
        ("cuda", "this machine has no CUDA device"),
        ("mps", "no MPS device"),
        ("cuda:x", "is not a device"),
        ("xpu", "is not a device"),
    ):
        with pytest.raises(ConfigError, match=message):
            choose_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match=r"has 2 CUDA devices \(cuda:0, cuda:1\)"):
        choose_device("cuda:2")
