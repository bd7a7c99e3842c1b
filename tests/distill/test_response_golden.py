"""Methods that compare predictions against numbers of published code or published formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.distill.fake_networks import NO_BOXES, SIZE
from tests.distill.golden import load, same, same_gradients
from tutelage.distill.iou_loss import overlap_loss
from tutelage.distill.methods.bckd import box_loss, class_loss, disagreement
from tutelage.distill.methods.frs import FRS
from tutelage.distill.methods.ld import softmax_divergence, valuable_region
from tutelage.distill.methods.logits import ClassLogits
from tutelage.distill.methods.objectness import ObjectnessScaled
from tutelage.distill.methods.sl2 import ScoreWeightedL2
from tutelage.distill.scores import score_maps
from tutelage.structures import Knowledge, Predictions


def dense(logits: list[Tensor], **fields: Tensor) -> Predictions:
    """Make predictions of one anchor per cell from class maps ``(b, k, h, w)``."""
    flat = torch.cat([x.flatten(2).transpose(1, 2) for x in logits], 1)
    counts = torch.tensor([x[0, 0].numel() for x in logits])
    level = torch.arange(len(logits)).repeat_interleave(counts)
    boxes = flat.new_zeros(*flat.shape[:2], 4)
    return Predictions(boxes, flat, fields.get("objectness"), level, fields.get("box_raw"))


def test_objectness_scaled() -> None:
    case = load("objectness_scaled_l2")
    level = torch.zeros(30, dtype=torch.int64)
    student, teacher = (
        Knowledge(
            (),
            Predictions(
                case[f"in__{who}_box_raw"].detach(),
                case[f"in__{who}_cls_logit"],
                case[f"in__{who}_obj_logit"],
                level,
                case[f"in__{who}_box_raw"],
            ),
        )
        for who in ("student", "teacher")
    )
    terms = ObjectnessScaled(())(student, teacher, NO_BOXES, SIZE)
    for term, theirs in {"objectness": "obj", "class": "cls", "box": "box"}.items():
        same(terms[term], case[f"out__{theirs}"])
    total = torch.stack(list(terms.values())).sum()
    same(total, case["out__total"])
    same_gradients(total, case, "box_raw", "obj_logit", "cls_logit")


def test_overlap() -> None:
    case = load("box_iou_giou")
    s, t = case["in__student_boxes"], case["in__teacher_boxes"]
    loss = overlap_loss(s, t, "giou")
    same(loss, case["out__giou_loss"])
    (gradient,) = torch.autograd.grad(loss.sum(), s)
    same(gradient, case["grad__student_boxes_of_giou_sum"])
    same(overlap_loss(s, t, "iou"), case["out__iou_loss_linear"])
    same(overlap_loss(s, t, "log_iou"), case["out__iou_loss_log"])


@pytest.mark.parametrize("temperature", [1, 4])
def test_softmax_over_classes(temperature: int) -> None:
    case = load(f"kl_logits_tau{temperature}")
    student, teacher = (
        Knowledge((), dense([case[f"in__{who}"]])) for who in ("student", "teacher")
    )
    terms = ClassLogits((), temperature=float(temperature), form="softmax")(
        student, teacher, NO_BOXES, SIZE
    )
    same(terms["class"], case["out__loss"])
    (gradient,) = torch.autograd.grad(terms["class"], case["in__student"])
    same(gradient, case["grad__student"])


def test_bckd_classes() -> None:
    case = load("bckd")
    s, t, use = (case[f"in__{n}"] for n in ("student_logits", "teacher_logits", "label_weight"))
    factor = case["cfg__avg_factor"] + 2.0**-23
    losses = class_loss(s, t, float(case["cfg__beta"])) * use[..., None]
    loss = losses.sum() / factor * case["cfg__cls_loss_weight"]
    same(loss, case["out__cls_loss"])
    same_gradients(loss, case, "logits")


def test_bckd_boxes() -> None:
    case = load("bckd")
    boxes = {}
    for who in ("student", "teacher"):
        bins = case[f"in__{who}_dfl"]
        near, far = (bins.softmax(-1) @ torch.arange(17.0).double()).split(2, -1)
        boxes[who] = torch.cat((case["in__centre"] - near, case["in__centre"] + far), -1)
        same(boxes[who], case[f"mid__{who}_boxes"])
    weight = disagreement(
        case["in__student_logits"].sigmoid(), case["in__teacher_logits"].sigmoid()
    )
    assert not weight.requires_grad
    weight = weight * case["in__label_weight"]
    same(weight, case["mid__box_weight"])
    factor = case["cfg__avg_factor"] + 2.0**-23
    loss = box_loss(boxes["student"], boxes["teacher"], weight, factor)
    loss = loss * case["cfg__box_loss_weight"]
    same(loss, case["out__box_loss"])
    same_gradients(loss, case, "dfl")


@pytest.mark.parametrize(
    ("name", "field"),
    [("ld_gfl17", "dfl"), ("ld_yolo16_T1", "dfl"), ("ld_class_kd", "logits")],
)
def test_localisation(name: str, field: str) -> None:
    case = load(name)
    s, t = case[f"in__student_{field}"], case[f"in__teacher_{field}"]
    rows = softmax_divergence(s, t, float(case["cfg__T"]))
    if field == "dfl":
        same(rows, case["out__row_kl_mean_over_bins"])
    weight = case["in__weight"].view(-1, *[1] * (rows.dim() - 1))
    loss = case["cfg__loss_weight"] * (weight * rows).sum() / case["cfg__avg_factor"]
    same(loss, case["out__loss"])
    same_gradients(loss, case, field)


def test_valuable_region() -> None:
    case = load("ld_vlr")
    anchors, boxes = case["in__anchors"].double(), case["in__gt"].double()
    counts, nearest = case["in__num_level"].tolist(), int(case["cfg__topk"])
    weights = valuable_region(anchors, counts, boxes, nearest=nearest)
    same(weights, case["out__vlr_weight_true_diou"], rtol=1e-6)


def test_feature_richness() -> None:
    case = load("frs")
    student, teacher = (
        Knowledge(
            tuple(case[f"in__{who}_{i}"] for i in range(2)),
            dense([case[f"in__{who}_logits_{i}"] for i in range(2)]),
        )
        for who in ("student", "teacher")
    )
    weights = {"feature": "feat", "classes": "cls"}
    options = {ours: float(case[f"cfg__{theirs}_weight"]) for ours, theirs in weights.items()}
    method = FRS([(4, 6), (4, 6)], **options).double()
    method.load_state_dict(
        {
            f"connectors.{i}.{part}": case[f"p__adapt{i}_{part}"]
            for i in range(2)
            for part in ("weight", "bias")
        }
    )
    terms = method(student, teacher, NO_BOXES, SIZE)
    same(terms["feature"], options["feature"] * case["out__feat_loss_unweighted"])
    same(terms["class"], options["classes"] * case["out__cls_loss_unweighted"])
    total = terms["feature"] + terms["class"]
    same(total, case["out__total"])
    same_gradients(total, case, "0", "1", "logits_0", "logits_1")


def test_score_weighted_l2() -> None:
    case = load("sl2_three_levels")
    grids = [(int(h), int(w)) for h, w in case["in__level_hw"]]
    flat = (case["in__scores_one2many"] + case["in__scores_one2one"]) / 2
    levels = flat.split([h * w for h, w in grids], 2)
    maps = [x.unflatten(2, grid) for x, grid in zip(levels, grids, strict=True)]
    predictions = dense(maps)
    for i, score in enumerate(score_maps(predictions, grids)):
        same(score.flatten(1), case[f"mid__score_{i}"])
    features = {
        who: tuple(case[f"in__{who}_{i}"] for i in range(3)) for who in ("student", "teacher")
    }
    widths = [(s.shape[1], t.shape[1]) for s, t in zip(*features.values(), strict=True)]
    method = ScoreWeightedL2(widths, scale=float(case["cfg__dis"])).double()
    method.load_state_dict(
        {
            f"connectors.{i}.{2 * (layer - 1)}.{part}": case[f"p__proj{i}_conv{layer}_{part}"]
            for i in range(3)
            for layer in (1, 2)
            for part in ("weight", "bias")
        }
    )
    student, teacher = Knowledge(features["student"]), Knowledge(features["teacher"], predictions)
    terms = method(student, teacher, NO_BOXES, SIZE)
    same(terms["feature"], case["out__loss_item"])
    total = len(flat) * terms["feature"]
    same(total, case["out__loss_times_batch"])
    same_gradients(total, case, "0", "1", "2")
