"""Losses and weights that are not finite."""

import pytest
import torch

from tutelage.errors import TrainingError
from tutelage.run.finite_guard import FiniteGuard
from tutelage.structures import Losses
from tutelage.training.schedule import Position


def losses(box=1.0, kd=2.0):
    return Losses({"box": torch.tensor(box)}, {"fgd/relation": torch.tensor(kd)})


def test_guard_names_the_term_and_where():
    guard = FiniteGuard("runs/x")
    guard.saved = Position(2)
    guard.add(losses(), 3, 119)
    with pytest.raises(
        TrainingError, match=r"fgd/relation became inf at epoch 3 step 120.*from epoch 2"
    ):
        guard.add(losses(kd=float("inf")), 3, 120)


def test_guard_tells_the_images_the_other_terms_and_the_files():
    guard = FiniteGuard("runs/x", 20, "data/{}.jpg".format)
    guard.saved, guard.best = Position(2), 0
    ids = torch.arange(10)
    guard.add(losses(box=0.25), 3, 4, ids)
    guard.add(losses(box=0.25, kd=float("nan")), 3, 5, ids + 100)
    guard.add(losses(float("nan"), float("nan")), 3, 6, ids + 200)
    with pytest.raises(TrainingError) as caught:
        guard.check_losses()
    error = caught.value
    assert error.what.startswith(
        "fgd/relation became nan at epoch 3 step 5 (all others finite: box 0.25). Stopped. "
        "In runs/x last.pt is from epoch 2, best.safetensors from epoch 1."
    )
    assert error.what.endswith("data/106.jpg, data/107.jpg and 2 more.")
    assert "data/100.jpg, data/101.jpg" in error.what
    assert "optim.lr" in error.fix
    assert "distill.ratio" in error.fix
    assert error.code == "R14"


def test_guard_says_when_nothing_was_saved():
    with pytest.raises(TrainingError, match=r"all terms became nan.*Nothing was saved yet"):
        FiniteGuard("runs/x").add(losses(float("nan"), float("nan")), 0, 1)


def test_a_guard_that_looks_seldom_looks_before_anything_is_saved():
    guard = FiniteGuard("runs/x", every=20)
    guard.add(losses(kd=float("nan")), 3, 7)
    guard.add(losses(), 3, 8)
    with pytest.raises(TrainingError, match="fgd/relation became"):
        guard.check_losses()
    guard.check_losses()  # told once


def test_a_guard_looks_at_weights_and_buffers():
    net = torch.nn.BatchNorm2d(2)
    guard = FiniteGuard("runs/x")
    guard.check_weights([net, torch.nn.Identity()], 1)
    net.running_var[1] = float("inf")
    with pytest.raises(TrainingError, match="not finite any more at the end of epoch 4"):
        guard.check_weights([net], 4)
