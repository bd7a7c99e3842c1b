import pytest
import torch

from tutelage.errors import TrainingError
from tutelage.run.observers import EarlyStopping, FiniteGuard, LossMeans
from tutelage.structures import Losses
from tutelage.train.schedule import Position


def losses(box=1.0, kd=2.0):
    return Losses({"box": torch.tensor(box)}, {"fgd/relation": torch.tensor(kd)})


def test_means_are_per_term_and_start_anew():
    means = LossMeans()
    means.add(losses(1.0, 4.0))
    means.add(losses(3.0, 4.0))
    assert means.take() == {"box": 2.0, "fgd/relation": 4.0}
    means.add(losses(5.0))
    assert means.take()["box"] == 5.0


def test_kd_share():
    means = LossMeans()
    means.add(losses(1.0, 3.0))
    assert means.kd_share(lambda _: 1.0) == pytest.approx(0.75)


def test_guard_names_the_term_and_where():
    guard = FiniteGuard("runs/x")
    guard.saved = Position(2)
    guard.watch(losses(), 3, 119)
    with pytest.raises(
        TrainingError, match=r"fgd/relation became inf at epoch 3 step 120.*from epoch 2"
    ):
        guard.watch(losses(kd=float("inf")), 3, 120)


def test_guard_tells_the_images_the_other_terms_and_the_files():
    guard = FiniteGuard("runs/x", 20, "data/{}.jpg".format)
    guard.saved, guard.best = Position(2), 0
    ids = torch.arange(10)
    guard.watch(losses(box=0.25), 3, 4, ids)
    guard.watch(losses(box=0.25, kd=float("nan")), 3, 5, ids + 100)
    guard.watch(losses(float("nan"), float("nan")), 3, 6, ids + 200)
    with pytest.raises(TrainingError) as caught:
        guard.look()
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
        FiniteGuard("runs/x").watch(losses(float("nan"), float("nan")), 0, 1)


def test_best_and_patience():
    best = EarlyStopping(patience=2)
    assert best.update(0, {"AP": 0.1})
    assert not best.update(1, {"AP": 0.1})
    assert not best.exhausted(1)
    assert best.exhausted(2)
    assert best.update(2, {"AP": 0.2})
    assert (best.epoch, best.value) == (2, 0.2)
    assert not EarlyStopping(patience=0).exhausted(10**6)


def test_the_share_is_not_read_off_the_device_at_every_step_when_kd_rests():
    means = LossMeans()
    means.add(losses(1.0, 3.0))
    assert means.kd_share(lambda _: 0.0) == 0
    means.add(losses(1.0, 3.0))
    assert means.kd_share(lambda _: 1.0) == 0  # the value of ten steps ago, zero or not


def test_a_guard_that_looks_seldom_looks_before_anything_is_saved():
    guard = FiniteGuard("runs/x", every=20)
    guard.watch(losses(kd=float("nan")), 3, 7)
    guard.watch(losses(), 3, 8)
    with pytest.raises(TrainingError, match="fgd/relation became"):
        guard.look()
    guard.look()  # told once


def test_a_guard_looks_at_weights_and_buffers():
    net = torch.nn.BatchNorm2d(2)
    guard = FiniteGuard("runs/x")
    guard.weights([net, torch.nn.Identity()], 1)
    net.running_var[1] = float("inf")
    with pytest.raises(TrainingError, match="not finite any more at the end of epoch 4"):
        guard.weights([net], 4)


def test_processes_may_hold_other_terms_in_another_order():
    means = LossMeans()
    means.add(losses(1.0, 4.0))
    means.add(Losses({"box": torch.tensor(3.0)}, {}))
    other = {"mgd/generation": 1.0, "fgd/relation": 6.0, "box": 4.0}
    found = means.take(lambda here: [*here, other])
    assert found == {"box": 3.0, "fgd/relation": 4.0, "mgd/generation": 0.5}  # 0 where missing
