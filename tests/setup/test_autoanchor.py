"""The anchors of a run: kept where they reach the boxes, else found, stored and never lost."""

import numpy as np
import pytest
import torch

from tests.data.write_dataset import make_dataset
from tests.run.small_runs import last, make_data, run, settings
from tutelage.config.schema import Config
from tutelage.data import open_splits
from tutelage.models.build import build, load
from tutelage.run.events import Planned, StepDone
from tutelage.run.run import run_training
from tutelage.setup import autoanchor as module
from tutelage.setup.autoanchor import settle_anchors
from tutelage.setup.student import make_student
from tutelage.weights.store import load_header

ARCH = "yolov7-tiny@0.125"


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A data set of boxes so flat that no published anchor reaches them."""
    rng = np.random.default_rng(0)
    labels = {
        f"{n:02}": "\n".join(
            f"{n % 2} 0.5 {y:.3f} {w:.4f} {h:.4f}"
            for y, w, h in rng.uniform((0.2, 0.6, 0.04), (0.8, 0.95, 0.06), (3, 3))
        )
        for n in range(8)
    }
    return str(make_dataset(tmp_path_factory.mktemp("flat"), labels))


def settled(data, arch=ARCH, began=None, **changes):
    config = settings(data, ".", model={"arch": arch, **changes})
    student = build(arch, ["cat", "dog"])
    index, _ = open_splits(data, "train", "val")
    return student, settle_anchors(student, index, config, began)


def test_anchors_that_reach_the_boxes_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "search_anchors", None)
    student, words = settled(make_data(tmp_path))
    assert words == "best possible recall 1.000, kept"
    assert torch.equal(student.anchors, build(ARCH, ["a"]).anchors)


@pytest.mark.parametrize("arch", [ARCH, "yolov5n", "yolov7-w6@0.125"])
def test_anchors_that_do_not_are_replaced(flat, arch):
    student, words = settled(flat, arch)
    assert words == "best possible recall 0.000, 1.000 with anchors found for these boxes"
    pixels = student.anchors
    areas = pixels.prod(-1).flatten()
    assert pixels.shape == build(arch, ["a"]).anchors.shape
    assert torch.equal(areas, areas.sort().values)  # small ones where the stride is small
    assert torch.equal(pixels, settled(flat, arch)[0].anchors)
    strides = torch.tensor(student.strides)[:, None, None]
    torch.testing.assert_close(student.detect.anchors * strides, pixels)
    rebuilt = build(student.arch, ["x"])
    torch.testing.assert_close(rebuilt.anchors, pixels)


def test_it_can_be_switched_off(flat):
    student, words = settled(flat, autoanchor=False)
    assert words == "best possible recall 0.000, kept (model.autoanchor is off)"
    assert torch.equal(student.anchors, build(ARCH, ["a"]).anchors)


def test_worse_anchors_are_not_taken(flat, monkeypatch):
    monkeypatch.setattr(module, "search_anchors", lambda *_: np.full((9, 2), 500.0))
    student, words = settled(flat)
    assert words.endswith("kept: no better ones were found")
    monkeypatch.setattr(module, "search_anchors", lambda *_: None)
    assert settled(flat)[1] == words
    assert torch.equal(student.anchors, build(ARCH, ["a"]).anchors)


@pytest.mark.parametrize("began", [(), [[[1.0, 2.0]] * 3] * 3], ids=["not told", "told"])
def test_a_resumed_run_keeps_its_own(flat, monkeypatch, began):
    monkeypatch.setattr(module, "search_anchors", None)
    student, words = settled(flat, began=began)
    assert words.endswith("as the run began")
    expected = torch.tensor(began) if began else build(ARCH, ["a"]).anchors
    assert torch.equal(student.anchors, expected)


def test_a_run_stores_its_anchors_and_goes_on_with_them(flat, tmp_path, monkeypatch):
    config = settings(flat, tmp_path, train={"epochs": 2}, augment={"mosaic": 0.0})
    whole, plan = [], {}
    for event in run_training(config):
        whole.append(event)
        if isinstance(event, StepDone) and event.epoch == 1:
            break
    folder = last(whole, Planned).folder
    assert "with anchors found" in dict(last(whole, Planned).rows)["anchors"]
    monkeypatch.setattr(module, "search_anchors", None)
    seen = []
    made = module.settle_anchors

    def watched(student, *args):
        words = made(student, *args)
        seen.append(student.anchors.clone())
        return words

    monkeypatch.setattr("tutelage.setup.build.settle_anchors", watched)
    plan = dict(last(run(config, resume=folder), Planned).rows)
    assert plan["anchors"] == "best possible recall 1.000, as the run began"
    own = load(folder).anchors
    assert not torch.allclose(own, build(ARCH, ["a"]).anchors)
    torch.testing.assert_close(own, seen[0])
    header = load_header(f"{folder}/best.safetensors")
    torch.testing.assert_close(torch.tensor(header["arch"]["anchors"]).view(3, 3, 2), own)
    again, _ = make_student(Config(model={"weights": folder}), ("x",))  # other classes
    torch.testing.assert_close(again.anchors, own)
