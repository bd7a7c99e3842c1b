"""ncnn files: equal to the checkpoint, with their metadata beside them, for one size."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.deploy.conftest import NAMES, SIZE, TINY
from tests.models.repeatable_weights import fill_normal
from tutelage.deploy.bench import bench
from tutelage.deploy.export import export
from tutelage.deploy.formats import files_of
from tutelage.deploy.predict import predict
from tutelage.deploy.runtime import open_model, read_metadata
from tutelage.deploy.verify import HALF_LIMIT
from tutelage.errors import ConfigError, ExportError, WeightsError
from tutelage.evaluation.predictor import predictor
from tutelage.evaluation.validate import validate
from tutelage.models import build
from tutelage.models.blocks.resample import ReOrg

pytest.importorskip("ncnn", reason="needs ncnn")
pytest.importorskip("pnnx", reason="needs pnnx")


@pytest.fixture
def exported(run: Path) -> Path:
    return export(run, "ncnn").path


@pytest.fixture
def squares() -> torch.Tensor:
    return torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def test_it_equals_the_checkpoint(detector, run, squares) -> None:
    done = export(run, "ncnn")
    assert done.path == run / "best.ncnn.param"
    assert 0 < done.difference < 1e-4
    assert [way._asdict() for way in done.ways] == [{"batch": 1, "canvas_hw": (SIZE, SIZE)}]
    assert [file.name for file in files_of(done.path)] == [
        "best.ncnn.param", "best.ncnn.bin", "best.ncnn.json"
    ]  # fmt: skip
    about = read_metadata(done.path)
    assert about == done.metadata
    assert (about.names, about.image_size, about.shape) == (NAMES, SIZE, (1, SIZE, SIZE))
    assert about.parameters == sum(p.numel() for p in detector.fused().parameters())
    assert f"In: images (1, 3, {SIZE}, {SIZE}) float32" in about.description
    assert about.description.endswith("in0 images, out0 boxes, out1 scores.")
    with torch.no_grad():
        expected = predictor(detector)(squares)
        found = open_model(done.path, "cpu").run(squares)
    torch.testing.assert_close(found.xyxy, expected.xyxy, rtol=1e-4, atol=1e-3)
    scores = expected.logits.sigmoid() * expected.objectness.sigmoid()[..., None]
    torch.testing.assert_close(found.logits.sigmoid(), scores, rtol=1e-4, atol=1e-5)
    assert not [each for each in run.iterdir() if each.name.startswith(".export-")]


def test_half_precision_halves_the_weights(exported, run) -> None:
    done = export(run, "ncnn", half=True)
    assert done.path.name == "best-fp16.ncnn.param"
    assert read_metadata(done.path).precision == "float16"
    assert 1e-6 < done.difference < HALF_LIMIT
    small, large = (each.with_suffix(".bin").stat().st_size for each in (done.path, exported))
    assert small < 0.7 * large


def test_commands_run_it(exported, run) -> None:
    data = run.parent / "d.yaml"
    one, other = (validate(each, data=data).AP for each in (run, open_model(exported, "cpu")))
    assert one == pytest.approx(other)
    picture = np.full((40, 40, 3), 90, np.uint8)
    [ours], [theirs] = (predict(each, picture, conf=0.1, device="cpu") for each in (run, exported))
    assert len(theirs) == len(ours) > 0
    [measured] = bench(exported, device="cpu", repeats=2, threads=1)
    assert (measured.runtime, measured.image_size) == ("ncnn", SIZE)
    sizes = sum(file.stat().st_size for file in files_of(exported))
    assert measured.megabytes == pytest.approx(sizes / 1e6)


def test_only_its_own_size(exported, run) -> None:
    picture = np.zeros((20, 40, 3), np.uint8)
    with pytest.raises(ConfigError, match=f"takes {SIZE} only, its shapes are fixed"):
        predict(exported, picture, img_size=2 * SIZE, device="cpu")
    with pytest.raises(ConfigError, match=f"takes {SIZE} only"):
        list(bench(exported, img_size=2 * SIZE))
    model = open_model(exported, "cpu")
    with pytest.raises(ConfigError, match=f"takes {SIZE} only"):
        validate(model, data=run.parent / "d.yaml", image_size=2 * SIZE)
    with pytest.raises(ConfigError, match="takes squares only"):
        validate(model, data=run.parent / "d.yaml", rect=True)
    with pytest.raises(ConfigError, match="one image at a time"):
        export(run, "ncnn", fixed_batch=2)
    with pytest.raises(ConfigError, match="--nms needs --to onnx or openvino, not ncnn"):
        export(run, "ncnn", nms=True)
    with pytest.raises(ConfigError, match="ncnn runs on the CPU here"):
        open_model(exported, "cuda")


def test_what_is_damaged_or_foreign(exported) -> None:
    weights, about = exported.with_suffix(".bin"), exported.with_suffix(".json")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(WeightsError, match=r"best\.ncnn\.bin is missing or damaged"):
        open_model(exported, "cpu")
    weights.unlink()
    with pytest.raises(WeightsError, match=r"best\.ncnn\.bin is missing or damaged"):
        open_model(exported, "cpu")
    weights.write_bytes(whole)
    about.unlink()
    with pytest.raises(WeightsError, match="not exported by tutelage"):
        open_model(exported, "cpu")
    with pytest.raises(WeightsError, match="is an export already"):
        export(exported)


def test_one_that_differs_is_refused_and_kept_aside(run, monkeypatch) -> None:
    monkeypatch.setattr("tutelage.deploy.ncnn.OUTPUTS", ("out1", "out0"))
    with pytest.raises(ExportError, match="The ncnn model differs from the checkpoint"):
        export(run, "ncnn")
    assert not (run / "best.ncnn.param").exists()
    assert (run / "best.ncnn.bin.rejected").exists()


def test_a_failure_of_the_converter_is_told(run, monkeypatch) -> None:
    monkeypatch.setattr("pnnx.EXEC_PATH", "false")
    with pytest.raises(ExportError, match="pnnx cannot convert tiny: it ended with 1") as caught:
        export(run, "ncnn")
    assert caught.value.code == "E21"


def test_blocks_of_pixels_become_channels(run, monkeypatch) -> None:
    from tutelage.deploy.ncnn import _Unshuffle

    x = torch.rand(2, 3, 8, 12)
    assert torch.equal(_Unshuffle()(x), ReOrg()(x))
    arch = copy.deepcopy(TINY)
    arch["backbone"][0] = [-1, 1, "ReOrg", []]
    reordered = build(arch, NAMES)
    fill_normal(reordered)
    given = {"out": run, "data": run.parent / "d.yaml", "img_size": SIZE}
    assert 0 < export(reordered.eval(), "ncnn", **given).difference < 1e-4
    monkeypatch.setattr(_Unshuffle, "forward", lambda self, x: ReOrg()(x))
    with pytest.raises(ExportError, match=r"that ncnn does not have: Tensor\.slice"):
        export(reordered, "ncnn", **given)
