"""Training and deploy forms: one graph, two states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.forward_passes import assert_same_outputs
from tests.models.graphs import MENAGERIE
from tests.models.repeatable_weights import fill_normal
from tests.weights.publishing import publish
from tutelage.errors import WeightsError
from tutelage.models import GraphDetector, build, load, load_weights
from tutelage.models.catalog import named
from tutelage.models.head_forms import adapt_head, find_head, plain_head
from tutelage.models.heads import Detect
from tutelage.models.identify import identify
from tutelage.models.weight_file import read_checkpoint

IMAGES = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
P7 = "yolov7@0.125"


def filled(arch: Any, names: int = 2) -> GraphDetector:
    detector = build(arch, [f"c{number}" for number in range(names)])
    fill_normal(detector)
    return detector.eval()


def save(state: dict[str, Tensor], path: Path, **beside: Any) -> Path:
    torch.save({"state_dict": state, **beside}, path)
    return path


def deploy_state(detector: GraphDetector) -> dict[str, Tensor]:
    """Implicit vectors folded, BatchNorm and branches kept: what official deploy files hold."""
    plain = build(plain_head(detector.arch), detector.names)
    load_all(plain, adapt_head(detector.state_dict(), plain.state_dict()))
    return dict(plain.state_dict())


def load_all(detector: GraphDetector, state: dict[str, Tensor]) -> None:
    detector.load_state_dict({key: state[key] for key in detector.state_dict()})


@pytest.mark.parametrize("arch", ["yolov7-tiny@0.125", P7])
def test_a_deploy_file_loads_into_the_deploy_graph(tmp_path: Path, arch: str) -> None:
    trained = filled(arch)
    deploy = build(plain_head(trained.arch), trained.names)
    load_all(deploy, deploy_state(trained))
    restored = load(publish(deploy, tmp_path / "yolov7.pt", half=False))
    assert type(restored.head) is Detect
    assert restored.arch_name == trained.arch_name
    assert_same_outputs(restored, trained)


def test_reparameterised_repconv_beside_batch_norm(tmp_path: Path) -> None:
    """Some tools fold only RepConv: three branches become one convolution."""
    trained = filled(P7)
    state, folded = deploy_state(trained), trained.fused().state_dict()
    rows = {key.split(".")[1] for key in state if "rbr_" in key}
    assert rows == {"102", "103", "104"}
    state = {key: value for key, value in state.items() if key.split(".")[1] not in rows}
    state |= {key: value for key, value in folded.items() if key.split(".")[1] in rows}
    restored = load(save(state, tmp_path / "a.pt"))
    assert "model.102.rbr_reparam.weight" in restored.state_dict()
    assert "model.0.bn.weight" in restored.state_dict()
    assert_same_outputs(restored, trained)


def test_a_training_file_fills_a_deploy_graph(tmp_path: Path) -> None:
    trained = filled("yolov7-tiny@0.125")
    path = publish(trained, tmp_path / "a.pt", half=False)
    deploy = build(plain_head(trained.arch), trained.names)
    report = load_weights(deploy, path)
    assert report.skipped == ()
    deploy.load_training_state({"anchors": (trained.head.anchor_sizes).tolist()})
    assert_same_outputs(deploy, trained)


def six(row: int, *parts: str) -> dict[str, Tensor]:
    """The head of a graph of two levels in some row, with random values."""
    generator = torch.Generator().manual_seed(row)
    state = {f"model.{row}.anchors": torch.ones(2, 3, 2)}
    for level in (0, 1):
        shapes = {"weight": (21, 4, 1, 1), "bias": (21,)}
        for part in parts:
            if part in ("ia", "im"):
                size = (1, 4 if part == "ia" else 21, 1, 1)
                key = f"model.{row}.{part}.{level}.implicit"
                state[key] = torch.rand(size, generator=generator)
            else:
                for name, shape in shapes.items():
                    key = f"model.{row}.{part}.{level}.{name}"
                    state[key] = torch.rand(shape, generator=generator)
    return state


def test_the_head_of_a_p6_graph_moves_by_its_auxiliary_rows() -> None:
    training = {
        "model.7.conv.weight": torch.zeros(1),  # an auxiliary row
        **six(9, "m", "m2", "ia", "im"),
    }
    deploy = six(7, "m")
    fits = adapt_head(training, deploy)
    assert set(deploy) <= set(fits)
    x = torch.rand(1, 4, 3, 3)
    for level in (0, 1):
        part = {
            name: training[f"model.9.{name}.{level}.{end}"]
            for name, end in (("ia", "implicit"), ("im", "implicit"), ("m", "weight"))
        }
        bias = training[f"model.9.m.{level}.bias"]
        wanted = part["im"] * torch.conv2d(x + part["ia"], part["m"], bias)
        weight, moved = (fits[f"model.7.m.{level}.{end}"] for end in ("weight", "bias"))
        torch.testing.assert_close(torch.conv2d(x, weight, moved), wanted)
    back = adapt_head(deploy, training)
    assert torch.equal(back["model.9.m.1.bias"], deploy["model.7.m.1.bias"])
    far = {key.replace("model.7", "model.6"): value for key, value in deploy.items()}
    assert set(adapt_head(far, training)) == set(far)  # another graph, not another form


def test_graphs_lose_what_only_training_needs() -> None:
    body = [[-1, 1, "Conv", [8]]] * 4
    head = [*body, [[0, 1, 2, 3], 1, "IAuxDetect", ["nc", "anchors"]]]
    arch = {"backbone": body, "head": head}
    assert plain_head(arch)["head"] == [*body, [[0, 1], 1, "Detect", ["nc", "anchors"]]]
    assert plain_head(arch, drop=True)["head"][:-1] == body[:2]
    assert plain_head({**arch, "head": body}) == {**arch, "head": body}
    assert find_head({"model.3.anchors": torch.ones(4, 3, 2)}) == (3, 4)
    assert find_head({}) is None


@pytest.mark.parametrize(
    ("arch", "form"),
    [
        ("yolov7-tiny@0.125", "training"),
        ("yolov7-tiny@0.125", "deploy"),
        ("yolov7-tiny@0.125", "folded"),
        (P7, "deploy"),
        ("yolov5n", "training"),
        ("yolov5s@0.25", "folded"),
    ],
)
def test_bare_state_dicts_are_identified(tmp_path: Path, arch: str, form: str) -> None:
    trained = filled(arch, names=4)
    state = {
        "training": trained.state_dict,
        "deploy": lambda: deploy_state(trained),
        "folded": lambda: trained.fused().state_dict(),
    }[form]()
    path = save(state, tmp_path / "a.pt", names=["a", "b", "c", "d"])
    restored = load(path)
    assert restored.names == ("a", "b", "c", "d")
    alike = {"yolov5s@0.25": "yolov5n@0.5"}  # the same graph: n and s have one depth
    assert restored.arch_name == alike.get(arch, arch)
    assert_same_outputs(restored, trained)


def test_unknown_state_dicts_need_their_yaml(tmp_path: Path) -> None:
    trained = filled(MENAGERIE)
    path = save(dict(trained.state_dict()), tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="without a yaml, and no known architecture"):
        load(path)
    found = load(MENAGERIE, weights=path, names=["a", "b"])
    assert_same_outputs(found, trained)
    assert identify({}, 2) is None


def test_a_graph_that_is_larger_than_its_file_is_not_built(tmp_path: Path) -> None:
    trained = filled("yolov7-tiny@0.125")
    wide = {**trained.arch, "width_multiple": 10.0}
    trained.arch = wide
    path = publish(trained, tmp_path / "a.pt")
    for names in (None, ["one"]):  # with other classes the model would be built at once
        with pytest.raises(WeightsError, match="does not hold the tensors of its own graph"):
            load(path, names=names)
    many = named("yolov7-tiny@0.125")
    many["head"] = [[*row[:1], 900, *row[2:]] if row[2] == "Conv" else row for row in many["head"]]
    trained.arch = many
    with pytest.raises(WeightsError, match="repeats blocks more often than the file has tensors"):
        load(publish(trained, tmp_path / "b.pt"))
    assert read_checkpoint(path).names == ("c0", "c1")
