"""LiteRT files: equal to the checkpoint, pictures with channels last, metadata at the end."""

from __future__ import annotations

import copy
import json
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.deploy.conftest import NAMES, SIZE, TINY
from tests.models.repeatable_weights import fill_normal
from tutelage.deploy.bench import bench
from tutelage.deploy.export import export
from tutelage.deploy.predict import predict
from tutelage.deploy.runtime import open_model, read_metadata
from tutelage.deploy.verify import HALF_LIMIT
from tutelage.errors import ConfigError, MissingExtraError, WeightsError
from tutelage.evaluation.predictor import predictor
from tutelage.evaluation.validate import validate
from tutelage.models import build

converts = pytest.mark.skipif(
    any(
        find_spec(each) is None for each in ("ai_edge_litert", "ai_edge_quantizer", "litert_torch")
    ),
    reason="needs ai-edge-litert, ai-edge-quantizer and litert-torch",
)


@converts
def test_it_equals_the_checkpoint(detector, run, capfd) -> None:
    from ai_edge_litert.interpreter import Interpreter

    done = export(run, "litert")
    assert done.path == run / "best.tflite"
    assert 0 < done.difference < 1e-4
    about = read_metadata(done.path)
    assert about == done.metadata
    assert (about.names, about.image_size, about.shape) == (NAMES, SIZE, (1, SIZE, SIZE))
    assert about.parameters == sum(p.numel() for p in detector.fused().parameters())
    assert f"In: images (1, {SIZE}, {SIZE}, 3) float32" in about.description
    with zipfile.ZipFile(done.path) as archive:
        assert json.loads(archive.read("tutelage.json"))["names"] == list(NAMES)
    squares = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = predictor(detector)(squares)
        found = open_model(done.path, "cpu").run(squares)
    assert capfd.readouterr() == ("", "")
    torch.testing.assert_close(found.xyxy, expected.xyxy, rtol=1e-4, atol=1e-3)
    scores = expected.logits.sigmoid() * expected.objectness.sigmoid()[..., None]
    torch.testing.assert_close(found.logits.sigmoid(), scores, rtol=1e-4, atol=1e-5)
    [signature] = Interpreter(str(done.path)).get_signature_list().values()
    assert signature == {"inputs": ["images"], "outputs": ["boxes", "scores"]}


@converts
def test_half_precision_and_the_commands(run) -> None:
    done = export(run, "litert", half=True)
    assert done.path.name == "best-fp16.tflite"
    assert read_metadata(done.path).precision == "float16"
    assert 1e-6 < done.difference < HALF_LIMIT
    data = run.parent / "d.yaml"
    one, other = (validate(each, data=data).AP for each in (run, open_model(done.path)))
    assert one == pytest.approx(other, abs=0.01)
    picture = np.full((20, 40, 3), 90, np.uint8)
    assert len(predict(done.path, picture, conf=0.1)[0]) > 0
    [measured] = bench(done.path, device="cpu", repeats=2, threads=1)
    assert (measured.runtime, measured.precision) == ("litert", "float16")
    with pytest.raises(ConfigError, match=f"takes {SIZE} only"):
        predict(done.path, picture, img_size=2 * SIZE)


@converts
def test_weights_of_equal_shape_are_kept_apart(run) -> None:
    """LiteRT Torch mixes them up where they are channels-last, as folded ones are."""
    arch = copy.deepcopy(TINY)
    arch["backbone"] = [[-1, 1, "Conv", [16, 3, 2]]] * 4
    alike = build(arch, NAMES)
    fill_normal(alike)
    alike = alike.eval().to(memory_format=torch.channels_last)
    done = export(alike, "litert", out=run, data=run.parent / "d.yaml", img_size=SIZE)
    assert done.difference < 1e-4


def test_what_is_damaged_or_foreign(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(b"\x1c\0\0\0TFL3")
    with pytest.raises(WeightsError, match="not exported by tutelage"):
        open_model(foreign, "cpu")


def test_the_converter_has_a_command_of_its_own(run, monkeypatch) -> None:
    monkeypatch.setattr(
        "tutelage.optional_packages.find_spec",
        lambda name: None if name == "litert_torch" else name,
    )
    with pytest.raises(MissingExtraError) as caught:
        export(run, "litert")
    assert caught.value.what == "LiteRT Torch is not installed:"
    first, second = caught.value.fix.splitlines()
    assert first == "pip install 'tutelage[litert]'"
    assert second.startswith("pip install --no-deps litert-torch==")
