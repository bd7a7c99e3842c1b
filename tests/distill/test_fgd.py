from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.distill.fake_networks import (
    CHANNELS,
    NO_BOXES,
    SIZE,
    SOME_BOXES,
    boxes,
    knowledge,
    masks_by_loop,
)
from tutelage.distill.methods import FGD
from tutelage.distill.methods.fgd import GlobalContext
from tutelage.structures import Knowledge, Targets


def literal(method: FGD, number: int, s: Tensor, t: Tensor, targets: Targets) -> tuple[Tensor, ...]:
    """Compute the four terms of one level as the paper writes them, without their weights."""

    def maps(x: Tensor) -> tuple[Tensor, Tensor]:
        spatial = (x.abs().mean(1, keepdim=True) / method.temperature).flatten(2).softmax(2)
        channel = (x.abs().mean((2, 3), keepdim=True) / method.temperature).softmax(1)
        return spatial.view(len(x), 1, *x.shape[2:]) * x[0, 0].numel(), channel * x.shape[1]

    def related(side: str, x: Tensor) -> Tensor:
        block = method.levels[number][side]
        weight = F.conv2d(x, block.mask.weight[..., None, None], block.mask.bias).flatten(2)
        context = (weight.softmax(2) * x.flatten(2)).sum(2)
        return x + block.transform(context)[..., None, None]

    s = method.connectors[number](s)
    (s_spatial, s_channel), (t_spatial, t_channel) = maps(s), maps(t)
    foreground, background = masks_by_loop(targets, len(s), s.shape[2:], SIZE)
    error = (s - t) ** 2 * t_spatial * t_channel
    return (
        (error * foreground).sum() / len(s),
        (error * background).sum() / len(s),
        ((s_spatial - t_spatial).abs().sum() + (s_channel - t_channel).abs().sum()) / len(s),
        ((related("student", s) - related("teacher", t)) ** 2).sum() / len(s),
    )


@pytest.mark.parametrize("targets", [SOME_BOXES, NO_BOXES], ids=["boxes", "no boxes"])
def test_several_levels_equal_the_formulas(targets: Targets) -> None:
    torch.manual_seed(0)
    method = FGD(
        CHANNELS, standardise=False, temperature=0.7, alpha=0.1, beta=0.2, gamma=0.3, lam=0.4
    ).double()
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    student, teacher = (
        knowledge(2, widths, seed, torch.float64)
        for seed, widths in enumerate(zip(*CHANNELS, strict=True))
    )
    terms = method(student, teacher, targets, SIZE)
    levels = [
        literal(method, number, s, t, targets)
        for number, (s, t) in enumerate(zip(student.features, teacher.features, strict=True))
    ]
    weights = (method.alpha, method.beta, method.gamma, method.lam)
    for value, weight, *parts in zip(terms.values(), weights, *levels, strict=True):
        torch.testing.assert_close(value, weight * sum(parts), rtol=1e-10, atol=1e-12)


def test_standardised_maps_are_compared_whatever_their_scale_and_offset() -> None:
    torch.manual_seed(0)
    method = FGD([(3, 3)], standardise=True, lam=5e-3).double()
    generator = torch.Generator().manual_seed(0)
    s, t = torch.randn(2, 2, 3, 8, 8, generator=generator, dtype=torch.float64)
    scale, offset = torch.tensor([[0.1, 3.0, 40.0], [5.0, -2.0, 0.3]])[..., None, None].double()
    plain = method(Knowledge((s,)), Knowledge((t,)), SOME_BOXES, (64, 64))
    for student, teacher in ((scale * s + offset, t), (s, scale * t + offset)):
        found = method(Knowledge((student,)), Knowledge((teacher,)), SOME_BOXES, (64, 64))
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-6)
    standard = FGD([(3, 3)], standardise=False, lam=5e-3).double()
    standard.load_state_dict({**standard.state_dict(), **method.state_dict()})
    given = [(x - x.mean((0, 2, 3), keepdim=True)) for x in (s, t)]
    given = [x / (x.square().sum((0, 2, 3), keepdim=True) / 127).sqrt() for x in given]
    expected = standard(Knowledge((given[0],)), Knowledge((given[1],)), SOME_BOXES, (64, 64))
    torch.testing.assert_close(plain, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("option", ["alpha", "beta", "gamma", "lam"])
def test_a_term_with_weight_zero_is_left_out(option: str) -> None:
    torch.manual_seed(0)
    whole, part = FGD(CHANNELS), FGD(CHANNELS, **{option: 0.0})
    part.load_state_dict(whole.state_dict(), strict=option != "lam")
    student, teacher = (
        knowledge(2, widths, seed) for seed, widths in enumerate(zip(*CHANNELS, strict=True))
    )
    expected = whole(student, teacher, SOME_BOXES, SIZE)
    names = {"alpha": "foreground", "beta": "background", "gamma": "attention", "lam": "relation"}
    del expected[names[option]]
    found = part(student, teacher, SOME_BOXES, SIZE)
    torch.testing.assert_close(found, expected)
    sum(found.values()).backward()
    assert all(p.grad is not None for p in part.parameters())  # no own parameter lies idle


def test_gradients_are_those_of_the_values() -> None:
    torch.manual_seed(0)
    method = FGD([(3, 4)], standardise=False).double()
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    teacher = Knowledge((torch.randn(2, 4, 3, 5, dtype=torch.float64),))
    student = torch.randn(2, 3, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: tuple(method(Knowledge((x,)), teacher, SOME_BOXES, SIZE).values()), student
    )


def test_context_block_starts_as_identity_and_can_train() -> None:
    block = GlobalContext(9)
    x = torch.randn(2, 9, 3, 4)
    assert torch.equal(block(x), torch.zeros(2, 9))
    assert block.transform[0].out_features == 4
    assert block.mask.bias.item() == 0
    block(x).sum().backward()
    assert block.transform[3].weight.grad.abs().max() > 0
    assert block.transform[0].weight.abs().max() > 0


def test_context_mask_is_drawn_for_relu() -> None:
    torch.manual_seed(0)
    weight = torch.stack([GlobalContext(200).mask.weight for _ in range(20)])
    assert float(weight.detach().std()) == pytest.approx((2 / 200) ** 0.5, rel=0.05)


def test_sides_have_their_own_parameters() -> None:
    level = FGD([(4, 4)]).levels[0]
    assert level["student"].mask.weight is not level["teacher"].mask.weight
    assert len(list(level.parameters())) == 2 * 8


def test_options_scale_their_terms() -> None:
    features = knowledge(2, (4, 7), 1), knowledge(2, (8, 7), 2)
    torch.manual_seed(0)
    method = FGD(CHANNELS)
    before = method(*features, SOME_BOXES, SIZE)
    for option, term in zip(("alpha", "beta", "gamma", "lam"), before, strict=True):
        setattr(method, option, 3 * getattr(method, option))
        after = method(*features, SOME_BOXES, SIZE)
        assert after[term].item() == pytest.approx(3 * before[term].item(), rel=1e-5)
        assert all(after[key] == before[key] for key in before if key != term)
        before = after


def test_boxes_weigh_alike_whatever_their_size() -> None:
    method = FGD([(4, 4)], standardise=False, temperature=1e9)  # even attention
    teacher = Knowledge((torch.zeros(1, 4, 12, 20),))
    student = Knowledge((torch.ones(1, 4, 12, 20),))
    small, large = boxes([(0, 9, 9, 12, 12)]), boxes([(0, 9, 9, 60, 40)])
    values = [method(student, teacher, t, SIZE)["foreground"].item() for t in (small, large)]
    assert values == pytest.approx([method.alpha * 4] * 2, rel=1e-5)


def test_compiles_without_a_graph_break() -> None:
    torch.manual_seed(0)
    method = FGD(CHANNELS)
    features = knowledge(2, (4, 7), 1), knowledge(2, (8, 7), 2)
    explained = torch._dynamo.explain(method)(*features, SOME_BOXES, SIZE)
    assert explained.graph_break_count == 0
