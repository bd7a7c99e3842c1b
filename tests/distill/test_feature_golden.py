"""MGD, CWD, PKD, FitNet, attention transfer and SPKD against published implementations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.distill.fake_networks import NO_BOXES, SIZE
from tutelage.distill.method import LevelMethod, Method, Resized
from tutelage.distill.methods import METHODS, MGD
from tutelage.structures import Knowledge

FOLDER = Path(__file__).parents[1] / "golden" / "distillation"
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "cwd_0_tau1": ("cwd", {}),
    "cwd_0_tau4": ("cwd", {"temperature": 4.0}),
    "cwd_1_tau1": ("cwd", {}),
    "cwd_1_tau4": ("cwd", {"temperature": 4.0}),
    "cwd_large_values_tau1": ("cwd", {}),
    "pkd_basic": ("pkd", {}),
    "pkd_batch1": ("pkd", {}),
    "pkd_constant_teacher_channel": ("pkd", {}),
    "pkd_resize_student": ("pkd", {}),
    "pkd_resize_teacher": ("pkd", {}),
    "at_code": ("at", {"form": "mean"}),
    "at_paper": ("at", {}),
    "spkd": ("spkd", {}),
    "spkd_gap": ("spkd", {"pooled": True}),
    "l2_mean": ("fitnet", {}),
    "l2_per_sample": ("fitnet", {"form": "image"}),
    "l2_normalised": ("fitnet", {"form": "normalised"}),
}
MASKED = ["mgd_equal", "mgd_align", "mgd_two_stage", "mgd_channel_mask"]
OURS = {"align": "connectors.0.project", "gen_conv1": "levels.0.0", "gen_conv2": "levels.0.2"}


def load(name: str) -> dict[str, Tensor]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return {k: torch.from_numpy(np.asarray(file[k])) for k in file.files if k != "meta_json"}


def run(method: Method, s: Tensor, t: Tensor) -> Tensor:
    terms = method.double()(Knowledge((s,)), Knowledge((t,)), NO_BOXES, SIZE)
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient(case: str) -> None:
    arrays, (name, options) = load(case), CASES[case]
    s, t = arrays["in__student"].requires_grad_(), arrays["in__teacher"]
    channels = [(s.shape[1], t.shape[1])]
    method = METHODS[name](channels, **options)
    if s.shape[-2:] != t.shape[-2:]:
        method = Resized(method, channels, "teacher" if case.endswith("teacher") else "student")
    value = run(method, s, t)
    (gradient,) = torch.autograd.grad(value, s)
    torch.testing.assert_close(value, arrays["out__loss"].reshape(()), rtol=1e-9, atol=0)
    torch.testing.assert_close(gradient, arrays["grad__student"], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("case", MASKED)
def test_masked_generation(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = load(case)
    s, t = arrays["in__student"].requires_grad_(), arrays["in__teacher"]
    channelwise = case == "mgd_channel_mask"
    method = MGD(
        [(s.shape[1], t.shape[1])],
        alpha=float(arrays["cfg__alpha"]),
        lam=float(arrays["cfg__lambda_mask"]),
        channelwise=channelwise,
    ).double()
    own = dict(method.named_parameters())
    for name, value in arrays.items():
        if name.startswith("p__"):
            layer, _, leaf = name.removeprefix("p__").rpartition("_")
            own[f"{OURS[layer]}.{leaf}"].data.copy_(value)
    keep = arrays["in__keep_mask"]
    monkeypatch.setattr(method, "draw_mask", lambda shape, like: keep.to(like.dtype))
    value = run(method, s, t)
    value.backward()
    torch.testing.assert_close(value, arrays["out__total"].reshape(()), rtol=1e-9, atol=0)
    torch.testing.assert_close(s.grad, arrays["grad__student"], rtol=1e-7, atol=1e-14)
    checked = 0
    for name, expected in arrays.items():
        if name.startswith("grad__") and name != "grad__student":
            layer, _, leaf = name.removeprefix("grad__").rpartition("_")
            torch.testing.assert_close(
                own[f"{OURS[layer]}.{leaf}"].grad, expected, rtol=1e-7, atol=1e-14
            )
            checked += 1
    assert checked == len(own)


@pytest.mark.parametrize("lam", [0.15, 0.65])
def test_the_mask_blanks_out_the_share_asked_for(lam: float) -> None:
    torch.manual_seed(0)
    kept = MGD([(4, 4)], lam=lam).draw_mask((8, 1, 64, 64), torch.zeros(1))
    assert float(kept.mean()) == pytest.approx(1 - lam, abs=0.01)
    again = MGD([(4, 4)], lam=lam).draw_mask((8, 1, 64, 64), torch.zeros(1))
    assert not torch.equal(kept, again)


def test_a_dead_channel_does_not_explode() -> None:
    torch.manual_seed(0)
    s = torch.randn(2, 3, 6, 6)
    s[:, 1] = 0.5 + 1e-7 * torch.randn(2, 6, 6)
    s.requires_grad_()
    method = METHODS["pkd"]([(3, 3)])
    assert isinstance(method, LevelMethod)
    method(Knowledge((s,)), Knowledge((torch.randn(2, 3, 6, 6),)), NO_BOXES, SIZE)[
        "correlation"
    ].backward()
    assert s.grad is not None
    largest = s.grad.abs().amax((0, 2, 3))
    assert 0 < largest[1] < 300 * largest[0]  # as of a deviation a hundredth of the mean


def published_pkd(s: Tensor, t: Tensor) -> Tensor:
    ours, theirs = (
        (x - x.mean((0, 2, 3), keepdim=True)) / (x.std((0, 2, 3), keepdim=True) + 1e-6)
        for x in (s, t)
    )
    return 0.5 * (ours - theirs).square().mean()


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_pkd_keeps_its_published_value_where_channels_hardly_vary(side: str) -> None:
    torch.manual_seed(0)
    s, t = torch.randn(2, 3, 6, 6).double(), torch.randn(2, 3, 6, 6).double()
    (s if side == "student" else t)[:, 1] *= 1e-5
    s.requires_grad_()
    found, wanted = run(METHODS["pkd"]([(3, 3)]), s, t), published_pkd(s, t)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)
    (ours,), (theirs,) = (torch.autograd.grad(x, s) for x in (found, wanted))
    live = [0, 2] if side == "student" else [0, 1, 2]
    torch.testing.assert_close(ours[:, live], theirs[:, live], rtol=1e-9, atol=1e-15)
    factor = ours[:, 1] / theirs[:, 1]  # of the dead one the direction is as published
    torch.testing.assert_close(factor, factor[:1, :1, :1].expand_as(factor))
    assert float(factor[0, 0, 0]) == pytest.approx(0.0015 if side == "student" else 1, rel=0.2)


def test_one_image_alone_has_nothing_to_be_similar_to() -> None:
    s = torch.randn(1, 3, 4, 4, requires_grad=True)
    teacher = Knowledge((torch.randn(1, 3, 4, 4),))
    terms = METHODS["spkd"]([(3, 3)])(Knowledge((s,)), teacher, NO_BOXES, SIZE)
    (gradient,) = torch.autograd.grad(terms["similarity"], s)
    assert float(terms["similarity"].detach()) == pytest.approx(0, abs=1e-12)
    assert float(gradient.abs().max()) == pytest.approx(0, abs=1e-6)


def test_normalised_channels_forget_their_scale() -> None:
    torch.manual_seed(0)
    s, t = torch.randn(2, 3, 6, 6).double(), torch.randn(2, 3, 6, 6).double()
    method = METHODS["cwd"]([(3, 3)], normalise=True)
    assert isinstance(method, LevelMethod)
    scaled = 1 + 5 * torch.arange(3).view(3, 1, 1)
    torch.testing.assert_close(run(method, s, t), run(method, s * scaled, t), rtol=1e-4, atol=0)
