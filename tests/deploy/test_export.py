"""Exports: equal to the checkpoint at any batch and size, or refused."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.deploy.conftest import GRAPHS, NAMES, SIZE, TINY
from tests.models.repeatable_weights import fill_normal
from tutelage.deploy.export import export
from tutelage.deploy.formats import FORMATS
from tutelage.deploy.network import DeployedNetwork
from tutelage.deploy.predict import predict
from tutelage.deploy.runtime import open_model, read_metadata
from tutelage.deploy.source_model import load_source
from tutelage.deploy.verify import HALF_LIMIT
from tutelage.errors import ConfigError, DataError, ExportError, MissingExtraError, WeightsError
from tutelage.evaluation.nms import nms
from tutelage.evaluation.predictor import predictor, trained_size
from tutelage.models import GraphDetector, build, load
from tutelage.weights.store import save_best


def leftovers(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir() if each.name.startswith(".export-")]


@pytest.mark.parametrize("to", GRAPHS)
def test_it_equals_the_checkpoint(to, detector, graph, run, images) -> None:
    done = export(run, to)
    assert done.path == run / f"best{FORMATS[to].suffix}"
    assert 0 < done.difference < 1e-4
    assert (done.images, done.source) == (3, f"val of {run.parent / 'd.yaml'}")
    assert len({way.batch for way in done.ways}) == len({way.canvas_hw for way in done.ways}) == 2
    about = read_metadata(done.path)
    assert about == done.metadata
    assert (about.names, about.stride, about.image_size, about.nms) == (NAMES, 16, SIZE, None)
    assert about.parameters == sum(p.numel() for p in detector.fused().parameters())
    with torch.no_grad():
        expected = predictor(detector)(images)
        found = open_model(done.path, "cpu").run(images)
    torch.testing.assert_close(found.xyxy, expected.xyxy, rtol=1e-4, atol=1e-3)
    scores = expected.logits.sigmoid() * expected.objectness.sigmoid()[..., None]
    torch.testing.assert_close(found.logits.sigmoid(), scores, rtol=1e-4, atol=1e-5)
    assert leftovers(run) == []


@pytest.mark.parametrize("most", [500, 4])
@pytest.mark.parametrize("to", GRAPHS)
def test_suppression_inside_is_ours(to, most, detector, graph, run, images) -> None:
    settings = {"conf": 0.1, "iou": 0.3, "max_detections": most}
    done = export(run, to, nms=True, conf=0.1, iou=0.3, max_det=most)
    assert done.metadata.nms is not None
    assert done.metadata.nms.model_dump() == settings
    assert "detections (m, 7)" in read_metadata(done.path).description
    network = open_model(done.path, "cpu")
    [rows] = network.network(images)
    for number in range(len(images)):
        score = rows[rows[:, 0] == number, 6]
        assert 3 < len(score) <= most
        assert (np.diff(score) <= 0).all()
    with torch.no_grad():
        expected = nms(predictor(detector)(images), **settings)
        found = nms(network.run(images), **settings)
    assert [len(x.score) for x in found] == [len(x.score) for x in expected]
    assert {int(label) for x in found for label in x.label} == {0, 1}
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.score, theirs.score, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine.xyxy, theirs.xyxy, rtol=1e-4, atol=1e-2)
        assert torch.equal(mine.label, theirs.label)
    assert done.path == run / f"best-nms{FORMATS[to].suffix}"  # beside the file without
    blank = open_model(export(run, to, nms=True, conf=1.0).path, "cpu").run(images)
    assert blank.xyxy.shape == (2, 0, 4)


def test_one_that_differs_is_refused_and_kept_aside(detector, graph, run) -> None:
    good = export(run).path.read_bytes()
    weight = next(x for x in graph.graph.initializer if len(x.dims) == 4)
    changed = np.frombuffer(weight.raw_data, np.float32).copy()
    changed *= 1.05
    weight.raw_data = changed.tobytes()
    with pytest.raises(ExportError, match="The ONNX model differs from the checkpoint") as caught:
        export(run)
    assert caught.value.exit_code == 5
    assert "3 images, val of" in caught.value.what
    assert "(limit 0.001)" in caught.value.what
    assert caught.value.fix == "Kept as best.onnx.rejected; please report it."
    assert (run / "best.onnx").read_bytes() == good
    assert (run / "best.onnx.rejected").exists()
    assert leftovers(run) == []


def test_lost_weights_are_noticed(graph, run) -> None:
    convolution = next(node for node in graph.graph.node if node.op_type == "Conv")
    convolution.op_type = "ConvTranspose"
    with pytest.raises(ExportError, match="parameters, but the model has"):
        export(run)
    assert not (run / "best.onnx").exists()


def test_free_sizes_have_names(graph) -> None:
    def sizes(value: Any) -> list[str | int]:
        return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]

    assert sizes(graph.graph.input[0]) == ["batch", 3, "16*rows", "16*columns"]
    assert [sizes(each)[0] for each in graph.graph.output] == ["batch", "batch"]
    assert "rows" in str(sizes(graph.graph.output[0])[1])


def test_a_bias_of_zeros_may_be_left_out(graph) -> None:
    from tutelage.deploy.onnx import count_parameters

    count = count_parameters(graph)
    convolution = next(node for node in graph.graph.node if node.op_type == "Conv")
    del convolution.input[2]
    assert count_parameters(graph) == count


@pytest.mark.parametrize("to", GRAPHS)
def test_half_precision_keeps_its_inputs_and_outputs(to, detector, run, images) -> None:
    done = export(run, to, half=True)
    assert done.path.name == f"best-fp16{FORMATS[to].suffix}"
    assert read_metadata(done.path).precision == "float16"
    assert 1e-6 < done.difference < HALF_LIMIT
    weights = done.path if to == "onnx" else done.path.with_suffix(".bin")
    constants = 2.4 * sum(p.numel() for p in detector.fused().parameters())
    assert to == "onnx" or weights.stat().st_size < constants
    boxes, scores = open_model(done.path, "cpu").network(images)
    assert (boxes.dtype, scores.dtype) == (np.float32, np.float32)
    if to == "onnx":
        onnx = pytest.importorskip("onnx")
        kinds = {x.name: x.data_type for x in onnx.load(done.path).graph.initializer}
        convolutions = [n for n in onnx.load(done.path).graph.node if n.op_type == "Conv"]
        assert {kinds[n.input[1]] for n in convolutions} == {onnx.TensorProto.FLOAT16}


def test_an_architecture_is_exported_with_random_weights(tmp_path, monkeypatch, caplog) -> None:
    for package in ("onnxscript", "onnxslim", "onnxruntime"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(yaml.safe_dump(TINY))
    done = export("tiny.yaml", img_size=SIZE)
    assert done.path == Path("tiny.onnx")
    assert (done.metadata.weights, done.metadata.names) == ("random", ("0", "1"))
    with caplog.at_level(logging.WARNING):
        predict(done.path, np.zeros((32, 32, 3), np.uint8), device="cpu")
    told = [each.message for each in caplog.records if each.name.startswith("tutelage")]
    assert told[-1] == "tiny.onnx has random weights: good for measuring only."
    assert all("are not known" in each for each in told[:-1])
    assert load_source("yolov7-w6@0.0625").stem == "yolov7-w6@0.0625"
    assert trained_size(load("yolov7-w6@0.0625")) == 1280
    with pytest.raises(WeightsError, match=r"tiny\.onnx is an export already"):
        export("tiny.onnx")


def test_a_file_says_where_it_comes_from(graph, run) -> None:
    about = read_metadata(export(run).path)
    weights = run / "best.safetensors"
    assert about.weights == "best.safetensors"
    assert about.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert about.data == "d.yaml"
    assert about.scores == {"AP": 0.5}
    assert about.description.startswith("tiny, 2 classes, float32. In: images (b, 3, h, w)")


def test_data_that_was_asked_for_is_not_replaced(graph, run) -> None:
    with pytest.raises(DataError, match=r"none\.yaml"):
        export(run, data="none.yaml")
    other = run.parent / "other.yaml"
    other.write_text((run.parent / "d.yaml").read_text().replace("cell", "nucleus"))
    with pytest.raises(WeightsError, match="not known to the model: nucleus"):
        export(run, int8=True, data=other)
    assert not list(run.glob("*.onnx*"))


def test_torch_export(detector, traced, run, images) -> None:
    done = export(run, "pt2", out=run / "away")
    assert done.path == run / "away" / "best.pt2"
    assert done.difference < 1e-4
    for part in zipfile.ZipFile(done.path).infolist():
        content = zipfile.ZipFile(done.path).read(part)
        assert b".py" not in content  # no place of this machine
        assert str(Path.cwd()).encode() not in content
    extra = {"tutelage.json": ""}
    again = torch.export.load(done.path, extra_files=extra).module()
    assert json.loads(extra["tutelage.json"])["names"] == list(NAMES)
    with torch.no_grad():
        expected = DeployedNetwork(detector)(images)
        torch.testing.assert_close(again(images)[1], expected[1])
    with pytest.raises(WeightsError, match=r"Refused to read .*best\.pt2: .* can run code"):
        open_model(done.path)


def test_a_saved_torch_export_can_be_converted(detector, traced, run, images) -> None:
    """Everything but running it begins with a decomposition, with any batch and size."""
    openvino = pytest.importorskip("openvino")
    loaded = torch.export.load(export(run, "pt2").path)
    converted = openvino.convert_model(loaded)
    assert converted.inputs[0].partial_shape.to_string() == "[?,3,?,?]"
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(converted, "CPU", precise)
    for pictures in (images, images[:1, :, :64]):
        with torch.no_grad():
            expected = DeployedNetwork(detector)(pictures)
        for found, wanted in zip(compiled(pictures.numpy()).values(), expected, strict=True):
            np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-3)


def test_a_file_that_cannot_be_converted_is_refused(traced, run, monkeypatch) -> None:
    def fail(self: Any, *_: Any) -> None:
        raise AssertionError("expected sympy.Symbol")

    monkeypatch.setattr("torch.export.ExportedProgram.run_decompositions", fail)
    with pytest.raises(ExportError, match=r"cannot be converted: expected sympy\.Symbol"):
        export(run, "pt2")
    assert not (run / "best.pt2").exists()


@pytest.mark.parametrize("to", GRAPHS)
def test_integers_are_scored_beside_floats(to, graph, run, images, monkeypatch) -> None:
    if to == "openvino":
        pytest.importorskip("nncf")
    precisions: list[str] = []

    def validate(model, *, data, image_size):
        assert (data, image_size) == (str(run.parent / "d.yaml"), SIZE)
        precisions.append(read_metadata(Path(model.title)).precision)
        return SimpleNamespace(AP={"float32": 0.5, "int8": 0.25}[precisions[-1]])

    monkeypatch.setattr("tutelage.deploy.export.validate", validate)
    done = export(run, to, int8=True, nms=True, conf=0.1)
    assert done.path.name == f"best-int8-nms{FORMATS[to].suffix}"
    assert read_metadata(done.path).precision == "int8"
    assert (precisions, done.float_ap, done.int8_ap) == (["float32", "int8"], 0.5, 0.25)
    assert open_model(done.path, "cpu").run(images).xyxy.shape[0] == 2


def test_the_last_convolutions_stay_in_floats(graph) -> None:
    from tutelage.deploy.quantise import tail

    kept = set(tail(graph))
    weights = {
        node.input[1] for node in graph.graph.node if node.name in kept and node.op_type == "Conv"
    }
    assert weights == {"detector.model.7.m.0.weight", "detector.model.7.m.1.weight"}
    produced = {x for node in graph.graph.node if node.name in kept for x in node.output}
    assert {x.name for x in graph.graph.output} <= produced


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "pt2", "nms": True}, "--nms needs --to onnx or openvino"),
        ({"to": "pt2", "int8": True}, "--int8 needs --to onnx or openvino"),
        ({"to": "ncnn", "out": "x.param"}, r"must end in \.ncnn\.param"),
        ({"half": True, "int8": True}, "--half and --int8 exclude each other"),
        ({"img_size": 63}, "must be a multiple of 16"),
        ({"out": "x.xml"}, "must end in .onnx"),
    ],
)
def test_contradictions(options, message, graph, run) -> None:
    with pytest.raises(ConfigError, match=message):
        export(run, **options)


def test_integers_need_data(graph, run) -> None:
    (run / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="needs training images"):
        export(run, int8=True)


def test_a_missing_package_is_named_before_anything_is_done(run, monkeypatch) -> None:
    absent = {"openvino", "onnxslim"}
    monkeypatch.setattr(
        "tutelage.optional_packages.find_spec", lambda name: None if name in absent else name
    )
    with pytest.raises(MissingExtraError) as caught:
        export(run, "openvino")
    assert str(caught.value) == (
        "onnxslim and OpenVINO are not installed: pip install 'tutelage[export,openvino]'"
    )
    absent.remove("onnxslim")
    with pytest.raises(MissingExtraError) as caught:
        export(run, "openvino")
    assert str(caught.value) == "OpenVINO is not installed: pip install 'tutelage[openvino]'"
    assert caught.value.exit_code == 5


def test_foreign_and_damaged_files(converted: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    foreign = tmp_path / "foreign.onnx"
    stripped = copy.deepcopy(converted)
    del stripped.metadata_props[:]
    foreign.write_bytes(stripped.SerializeToString())
    with pytest.raises(WeightsError, match="not exported by tutelage"):
        open_model(foreign)
    foreign.write_bytes(foreign.read_bytes()[:500])
    with pytest.raises(WeightsError, match="cannot be read by ONNX Runtime"):
        open_model(foreign)
    with pytest.raises(WeightsError, match="does not exist"):
        open_model(tmp_path / "none.onnx")


def test_without_data_or_digits_images_are_asked_for(graph, run, monkeypatch) -> None:
    (run / "config.yaml").unlink()
    monkeypatch.setattr("tutelage.deploy.verification_images.BUILT_IN", None)
    with pytest.raises(ExportError, match="no real image"):
        export(run)
    done = export(run, images=run.parent / "d" / "images")
    assert done.images == 7


def test_a_detector_stays_as_it_is(detector: GraphDetector, graph, run) -> None:
    before = copy.deepcopy(detector.state_dict())
    done = export(detector, out=run / "x.onnx", images=run.parent / "d", img_size=SIZE)
    assert done.path == run / "x.onnx"
    assert all(torch.equal(x, before[key]) for key, x in detector.state_dict().items())


def test_a_grey_student_takes_colours_and_says_so(run: Path) -> None:
    pytest.importorskip("onnxruntime")
    grey = build({**copy.deepcopy(TINY), "ch": 1}, NAMES)
    fill_normal(grey)
    meta = {"arch": grey.arch, "arch_name": "grey", "names": list(NAMES), "image_size": SIZE}
    save_best(run / "best.safetensors", grey.state_dict(), {**meta, "image_range": [0, 4095]})
    done = export(run, "onnx")
    assert 0 < done.difference < 1e-4
    about = read_metadata(done.path)
    assert (about.grey, about.image_range) == (True, (0, 4095))
    assert "RGB in 0..1, turned grey inside" in about.description
    assert open_model(done.path, "cpu").image_range == (0, 4095)
    assert open_model(run, "cpu").image_range == (0, 4095)
