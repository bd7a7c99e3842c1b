"""What is measured, and that it is measured in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.deploy.conftest import SIZE, TINY
from tutelage.cli.bench import table
from tutelage.deploy.bench import bench
from tutelage.errors import ConfigError, UserError, WeightsError
from tutelage.models import build
from tutelage.models.cost import cost


def test_a_checkpoint(detector, run) -> None:
    [found] = bench([run], repeats=3, batch_size=2, device="cpu", img_size=SIZE, threads=1)
    fused = detector.fused()
    assert found.parameters == sum(p.numel() for p in fused.parameters())
    assert found.gflops == cost(fused, SIZE).gflops
    assert found.megabytes == (run / "best.safetensors").stat().st_size / 1e6
    assert 0 < found.p50_ms <= found.p95_ms
    assert found.images_per_second == pytest.approx(2000 / found.p50_ms)
    assert (found.runtime, found.device, found.precision) == ("torch", "cpu", "float32")
    assert (found.image_size, found.batch, found.threads) == (SIZE, 2, 1)
    assert found.memory_mib is None or 0 < found.memory_mib < 1000
    head, row = table([found])
    assert head.split()[:3] == ["model", "runtime", "device"]
    assert row.split()[1:4] == ["torch", "cpu", f"{SIZE}x2"]


def test_runtimes_of_one_file(graph, run) -> None:
    pytest.importorskip("openvino")
    from tutelage.deploy.export import export

    path = export(run).path
    options = {"repeats": 2, "device": "cpu", "threads": 1, "img_size": 2 * SIZE}
    found = list(bench([path], runtime=["onnx", "openvino"], **options))
    assert [each.runtime for each in found] == ["onnx", "openvino"]
    assert len({(each.parameters, each.gflops, each.megabytes) for each in found}) == 1
    [torch_one] = bench([run], **options)
    assert found[0].parameters == torch_one.parameters
    assert found[0].gflops == pytest.approx(torch_one.gflops, rel=1e-6)
    with pytest.raises(ConfigError, match="--runtime torch cannot run"):
        next(bench([path], runtime=["torch"]))


def test_an_architecture(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    [found] = bench([path], repeats=2, device="cpu", img_size=SIZE, threads=1)
    fused = build(path, ["0", "1"]).fused()
    assert found.parameters == sum(p.numel() for p in fused.parameters())
    assert found.p50_ms > 0


def test_all_models_are_read_before_one_is_measured(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: pytest.fail("measured"))
    with pytest.raises(WeightsError, match="does not exist"):
        next(bench([run, tmp_path / "none.pt"], device="cpu"))


def test_bad_models_and_settings(run, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        next(bench([tmp_path / "none.pt"]))
    with pytest.raises(ConfigError, match="must be a multiple of 16"):
        next(bench([run], img_size=50))
    with pytest.raises(ConfigError, match="is not a device"):
        next(bench([run], device="gpu"))
    answer = type("Done", (), {"stdout": json.dumps({"error": "too bad"}), "stderr": ""})
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: answer)
    with pytest.raises(UserError, match="too bad"):
        next(bench([run]))
    answer.stdout, answer.stderr = "", "Traceback\nKilled"
    with pytest.raises(UserError, match=r"Measuring .* failed: Killed"):
        next(bench([run]))
