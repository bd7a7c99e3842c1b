"""D-FINE's loss: the library's terms, for every layer of the decoder."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from tutelage.losses.boxes import centre_size
from tutelage.losses.d_fine import TERMS, DFineCriterion, QueryOutputs
from tutelage.structures import Targets

pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("scipy", reason="needs SciPy")

from tests.models.tiny_d_fine import configuration, network

SIZE = (64, 96)
TARGETS = Targets(
    torch.tensor([0, 2, 0]),
    torch.tensor([1, 0, 2]),
    torch.tensor([[8.0, 8.0, 40.0, 32.0], [4.0, 20.0, 60.0, 60.0], [50.0, 10.0, 90.0, 50.0]]),
)
NONE = Targets(*(field[:0] for field in TARGETS))


def labels() -> list[dict[str, Tensor]]:
    """The boxes as the library wants them; the second image has none."""
    boxes = centre_size(TARGETS.xyxy) / torch.tensor([96, 64, 96, 64])
    rows = [TARGETS.image == image for image in range(3)]
    return [{"class_labels": TARGETS.label[each], "boxes": boxes[each]} for each in rows]


@cache
def library() -> tuple[Any, Any]:
    """The library's model in training, without denoising, and its output for three images."""
    model = network(num_denoising=0).train()
    torch.manual_seed(1)
    return model, model(pixel_values=torch.rand(3, 3, *SIZE), labels=labels())


def packed() -> tuple[Tensor, ...]:
    """What our head returns, made of the library's output: last, earlier, first, encoder."""
    out = library()[1]
    logits, boxes = out.intermediate_logits, out.intermediate_reference_points
    canvas = boxes.new_tensor([96.0, 64.0]).expand(3, 20, 2)

    def pack(layer: int) -> Tensor:
        places = (
            out.initial_reference_points[:, layer],
            out.intermediate_predicted_corners[:, layer],
        )
        return QueryOutputs(logits[:, layer + 1], boxes[:, layer + 1], canvas, *places).pack()

    nothing = canvas[..., :0]
    first = QueryOutputs(logits[:, 0], boxes[:, 0], canvas, nothing, nothing).pack()
    encoder = QueryOutputs(
        out.auxiliary_outputs[-1]["logits"],
        out.auxiliary_outputs[-1]["pred_boxes"],
        canvas,
        nothing,
        nothing,
    ).pack()
    raw = pack(2), pack(0), pack(1), first, encoder
    return tuple(each.detach().requires_grad_() for each in raw)


def test_terms_are_the_librarys() -> None:
    losses = library()[1].loss_dict
    criterion, raw = DFineCriterion(configuration()), packed()
    last = criterion(raw[:1], TARGETS, SIZE)
    both = criterion((raw[0], raw[-1]), TARGETS, SIZE)
    for term in ("vfl", "bbox", "giou"):
        torch.testing.assert_close(last[term], losses[f"loss_{term}"])
        torch.testing.assert_close(both[term] - last[term], losses[f"loss_{term}_aux_2"])
    assert not criterion.state_dict()


def test_every_layer_learns_classes_boxes_and_distributions() -> None:
    """The library's own model leaves out the classes of one layer, the distributions of another."""
    model, out = library()
    unused = torch.autograd.grad(out.loss, out.intermediate_logits, retain_graph=True)[0]
    assert [bool(layer.any()) for layer in unused.unbind(1)] == [True, True, False, True]
    raw = packed()
    terms = DFineCriterion(model.config)(raw, TARGETS, SIZE)
    assert tuple(terms) == TERMS
    gradients = torch.autograd.grad(sum(terms.values()), raw, retain_graph=True)
    for gradient in gradients:
        parts = QueryOutputs.unpack(gradient, 3)
        assert parts.logits.any()
        assert parts.box.any()
        assert not parts.canvas.any()
    fine = torch.autograd.grad(terms["fgl"], raw, allow_unused=True)
    for gradient in fine[:3]:
        assert QueryOutputs.unpack(gradient, 3).bins.any()


def test_without_boxes_all_classes_are_background() -> None:
    raw = packed()
    terms = DFineCriterion(configuration())(raw, NONE, SIZE)
    assert {name: bool(value) for name, value in terms.items()} == {
        "vfl": True, "bbox": False, "giou": False, "fgl": False, "ddf": True,
    }  # fmt: skip
    gradients = torch.autograd.grad(sum(terms.values()), raw)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_each_box_has_one_query() -> None:
    raw = packed()
    matches = DFineCriterion(configuration()).answers(raw, TARGETS)
    assert matches.shape == (3, 20)
    for image, expected in enumerate(([0, 2], [], [1])):
        found = matches[image]
        assert sorted(found[found >= 0].tolist()) == expected
    # The box of a query, to the pixel, with its class: the matcher cannot choose another.
    outputs = QueryOutputs.unpack(raw[0].detach().clone(), 3)
    outputs.box[2, 7] = labels()[2]["boxes"][0]
    outputs.logits[2, 7] = torch.tensor([9.0, -9.0, -9.0])
    assert DFineCriterion(configuration()).answers((outputs.pack(),), TARGETS)[2, 7] == 1
    assert (DFineCriterion(configuration()).answers(raw, NONE) == -1).all()
