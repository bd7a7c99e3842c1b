"""The YOLOv9 weights of MultimediaTechLab/YOLO are starts and teachers, read as data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.models.repeatable_weights import normal_image
from tests.models.yolov9_golden import golden, published_state
from tutelage.errors import WeightsError
from tutelage.models import build, load, load_weights
from tutelage.models.summary import summarise
from tutelage.weights import read_foreign
from tutelage.weights.yolov9_keys import yolov9_keys


def saved(tmp_path: Path, content: object, name: str = "v9-t.pt") -> Path:
    path = tmp_path / name
    torch.save(content, path)
    return path


def trainer(state: dict[str, Tensor], ema: dict[str, Tensor]) -> dict[str, object]:
    """A checkpoint of the published trainer, which is one of Lightning."""
    both = {f"model.model.{key}": x for key, x in state.items()}
    both |= {f"ema.model.{key}": x for key, x in ema.items()}
    return {"epoch": 3, "global_step": 12, "state_dict": both, "optimizer_states": [], "loops": {}}


@pytest.mark.parametrize("form", ["published", "with its module", "of the trainer"])
@torch.no_grad()
def test_published_weights_give_the_published_outputs(tmp_path: Path, form: str) -> None:
    meta, _, arrays = golden("yolov9-t")
    state = published_state("yolov9-t")
    content: object = state
    if form == "with its module":
        content = {f"model.{key}": x for key, x in state.items()}
    elif form == "of the trainer":
        content = trainer({key: torch.zeros_like(x) for key, x in state.items()}, state)
    detector = load(saved(tmp_path, content))
    assert detector.arch_name == "yolov9-t"
    raw = detector(normal_image(meta["image_size"])).raw
    for level, tensor in enumerate(raw):
        torch.testing.assert_close(tensor, arrays[f"raw_{level}"], rtol=1e-5, atol=1e-5)


def test_the_summary_names_them(tmp_path: Path) -> None:
    found = summarise(saved(tmp_path, published_state("yolov9-t")))
    assert (found.architecture, found.form) == ("yolov9-t", "yolov9, auxiliary head")
    assert found.names == ("0", "1", "2")
    assert found.holds == {}


def test_they_start_a_model_of_other_classes(tmp_path: Path) -> None:
    path = saved(tmp_path, published_state("yolov9-t"))
    detector = load("yolov9-t", weights=path, names=["a", "b"])
    assert torch.equal(detector.model[0].conv.weight, published_state("yolov9-t")["0.conv.weight"])
    assert detector.head.lead[0].cls[2].out_channels == 2


def test_weights_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path, published_state("yolov9-t"))
    for other in ("yolov9-s", "yolov9-m"):
        with pytest.raises(WeightsError, match=f"does not fit {other}") as caught:
            load_weights(build(other, ["a", "b", "c"]), path)
        assert "It looks like yolov9-t" in caught.value.fix
        assert "--cfg yolov9-t" in caught.value.fix


@pytest.mark.parametrize("key", ["model.22.cv2.0.0.conv.weight", "model.38.dfl.conv.weight"])
def test_the_names_of_other_repositories_are_refused(tmp_path: Path, key: str) -> None:
    state = {"model.0.conv.weight": torch.ones(16, 3, 3, 3), key: torch.ones(1)}
    with pytest.raises(WeightsError, match="names of another repository") as caught:
        read_foreign(saved(tmp_path, state))
    assert "MultimediaTechLab/YOLO" in caught.value.fix


def test_a_checkpoint_that_would_call_something_is_refused(tmp_path: Path) -> None:
    content = {"state_dict": published_state("yolov9-t"), "hyper_parameters": _Calls()}
    with pytest.raises(WeightsError, match="Nothing was executed"):
        read_foreign(saved(tmp_path, content))


class _Calls:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("called",)


def test_tensors_of_a_graph_that_is_not_known_need_a_yaml(tmp_path: Path) -> None:
    state = {key: x for key, x in published_state("yolov9-t").items() if not key.startswith("5.")}
    with pytest.raises(WeightsError, match="no known architecture has tensors like these"):
        load(saved(tmp_path, state))


def test_other_states_are_left_alone() -> None:
    assert yolov9_keys({"model.0.conv.weight": 1, "model.24.anchors": 2}) is None
