"""Foreign checkpoints: what differs between releases is evened out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.forward_passes import assert_same_outputs
from tests.models.graphs import MENAGERIE, changed
from tests.models.repeatable_weights import fill_normal
from tutelage.errors import WeightsError
from tutelage.models import GraphDetector, build
from tutelage.models.catalog import named
from tutelage.models.heads import Detect, IDetect
from tutelage.models.weight_file import Checkpoint, read_checkpoint, restore
from tutelage.weights import ForeignCheckpoint


def filled(arch: Any) -> GraphDetector:
    detector = build(arch, ["a", "b"])
    fill_normal(detector)
    return detector.eval()


def foreign(detector: GraphDetector, **changes: Any) -> ForeignCheckpoint:
    """What the safe reader would return for a model like ``detector``."""
    fields: dict[str, Any] = {
        "state": dict(detector.state_dict()),
        "yaml": detector.arch,
        "names": detector.names,
        "strides": detector.strides,
        "nc": len(detector.names),
        "hyp": {},
        "source": "model",
        "head": type(detector.head).__name__,
        "note": "stripped",
    }
    return ForeignCheckpoint(**{**fields, **changes})


def read(monkeypatch: pytest.MonkeyPatch, found: ForeignCheckpoint) -> Checkpoint:
    monkeypatch.setattr("tutelage.models.weight_file.read_foreign", lambda _: found)
    monkeypatch.setattr("tutelage.models.weight_file.sniff", lambda _: "zip")
    return read_checkpoint(Path("some.pt"))


def assert_same_model(first: GraphDetector, second: GraphDetector) -> None:
    assert_same_outputs(first, second)
    torch.testing.assert_close(first.head.anchor_sizes, second.head.anchor_sizes)


def without(state: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if part not in key}


def test_yolov7_without_stored_pixel_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = filled("yolov7-tiny@0.25")
    detector.load_training_state({"anchors": (detector.head.anchor_sizes * 1.5).tolist()})
    state = without(detector.state_dict(), "anchor_grid")
    restored = restore(read(monkeypatch, foreign(detector, state=state)))
    assert_same_model(restored, detector)
    assert restored.arch_name == "yolov7-tiny@0.25"


def test_early_yolov5_with_stored_pixel_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = filled("yolov5n")
    state = {**detector.state_dict(), "model.24.anchor_grid": torch.zeros(3, 1, 3, 1, 1, 2)}
    assert_same_model(restore(read(monkeypatch, foreign(detector, state=state))), detector)


@pytest.mark.parametrize("arch", ["yolov7-tiny@0.25", "yolov5n"])
@pytest.mark.parametrize("written", [4, [[1, 2]] * 3], ids=["a count", "other lists"])
def test_anchors_come_from_the_buffers(
    monkeypatch: pytest.MonkeyPatch, arch: str, written: Any
) -> None:
    """After autoanchor the true anchors are in the buffers only."""
    four = [[10 * i, 8 * i, 12 * i, 20 * i, 25 * i, 16 * i, 33 * i, 23 * i] for i in (1, 2, 4)]
    detector = filled({**named(arch), "anchors": four})
    found = foreign(detector, yaml={**detector.arch, "anchors": written})
    restored = restore(read(monkeypatch, found))
    assert_same_model(restored, detector)
    assert restored.arch["anchors"] == four


def test_a_folded_head_under_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = filled("yolov7-tiny@0.25")
    plain = {**detector.arch, "family": "yolov7"}
    plain["head"] = [*plain["head"][:-1], [[74, 75, 76], 1, "Detect", ["nc", "anchors"]]]
    deploy = filled(plain)
    restored = restore(read(monkeypatch, foreign(deploy, yaml=detector.arch)))
    assert type(restored.head) is Detect
    assert restored.family == "yolov7"
    assert_same_model(restored, deploy)
    kept = restore(read(monkeypatch, foreign(detector)))
    assert type(kept.head) is IDetect


@pytest.mark.parametrize("arch", ["yolov7@0.125", "yolov5n"])
def test_a_file_folded_by_the_published_code(monkeypatch: pytest.MonkeyPatch, arch: str) -> None:
    """It leaves the implicit vectors behind, though they are folded already."""
    detector = filled(arch)
    state = dict(detector.fused().state_dict())
    state |= {k: v for k, v in detector.state_dict().items() if "implicit" in k}
    restored = restore(read(monkeypatch, foreign(detector, state=state)))
    assert_same_model(restored, detector)
    assert not any(".bn." in key for key in restored.state_dict())


def test_a_partly_folded_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = filled("yolov7@0.125")
    state = dict(detector.state_dict())
    for key in [key for key in state if key.startswith("model.102.")]:
        del state[key]
    state["model.102.rbr_reparam.weight"] = torch.zeros(32, 16, 3, 3)
    with pytest.raises(WeightsError, match="does not hold the tensors of its own graph"):
        restore(read(monkeypatch, foreign(detector, state=state)))


def test_strides_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = filled("yolov5n")
    with pytest.raises(
        WeightsError, match=r"says strides \[8, 16, 64\], but its graph has \[8, 16, 32\]"
    ):
        restore(read(monkeypatch, foreign(detector, strides=(8, 16, 64))))


def test_names_that_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = filled("yolov5n")
    assert read(monkeypatch, foreign(detector, names=("a",))).names == ("0", "1")


def test_a_graph_without_a_name_takes_the_file_s(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = filled(MENAGERIE)
    assert restore(read(monkeypatch, foreign(detector))).arch_name == "some"


def test_heads_that_are_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = filled("yolov7-tiny@0.25")
    arch = changed(detector.arch)
    arch["head"][-1] = [[74, 75, 76], 1, "IBin", ["nc", "anchors"]]
    with pytest.raises(WeightsError, match=r"some\.pt cannot be used: .*only boxes by regression"):
        restore(read(monkeypatch, foreign(detector, yaml=arch)))
