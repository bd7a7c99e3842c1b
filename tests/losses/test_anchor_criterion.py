"""Tests of the detection loss: published numbers, invariances, empty and odd inputs."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses.loss_cases import (
    ANCHORS,
    BOXES,
    SIZE,
    TERMS,
    assert_terms,
    criterion,
    random_raw,
    random_targets,
    targets_of,
)
from tutelage.config.schema import LossConfig
from tutelage.losses import AnchorCriterion
from tutelage.structures import Targets

GOLDEN = Path(__file__).parents[1] / "golden" / "losses"


def wave(levels: int, size: int, classes: int) -> list[torch.Tensor]:
    """Return the raw outputs of the published loss vectors."""
    raw = []
    for level in range(levels):
        shape = (2, 3, size // (8 * 2**level), size // (8 * 2**level), 5 + classes)
        values = 2 * np.sin(0.37 * np.arange(np.prod(shape)) + level)
        raw.append(torch.tensor(values.reshape(shape), dtype=torch.float32, requires_grad=True))
    return raw


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ("yolov7-tiny", "v5"),
        ("yolov7-tiny", "ota"),
        ("yolov7", "v5"),
        ("yolov7", "ota"),
        ("yolov5s", "v5"),
    ],
)
def test_real_heads_give_the_published_terms_and_gradients(model, loss):
    with np.load(GOLDEN / f"{model}.npz") as golden:
        data = dict(golden)
    raw = [torch.tensor(data[f"train_raw_{level}"], requires_grad=True) for level in range(3)]
    hyp = json.loads(str(data["hyp_scaled"]))
    measure = criterion(model, assigner="ota" if loss == "ota" else "anchor", **hyp)
    terms = measure(raw, targets_of(data["targets"], 128), (128, 128))
    total = 2 * sum(terms.values())
    total.backward()
    items = torch.stack([terms[name] for name in TERMS]).detach().numpy()
    np.testing.assert_allclose(items, data[f"loss_{loss}_items"][:3], rtol=1e-4)
    np.testing.assert_allclose(total.item(), data[f"loss_{loss}_total"][0], rtol=1e-4)
    for level, tensor in enumerate(raw):
        expected = data[f"loss_{loss}_grad_{level}"]
        np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("assigner", "case", "total", "expected", "gradients"),
    [
        (
            "anchor",
            {},
            8.789564,
            (0.14288391, 3.46094227, 0.79095566),
            (3.071183, 1.0029197, 0.6052738),
        ),
        ("anchor", {"classes": 1}, 7.195487, (0.13838944, 3.45935392, 0), None),
        ("anchor", {"label_smoothing": 0.1}, 8.788521, (0.14288391, 3.46094227, 0.7904343), None),
        ("anchor", {"fl_gamma": 1.5}, 4.106854, (0.14288391, 1.63357306, 0.27697018), None),
        ("anchor", {"boxes": ()}, 6.933699, (0, 3.46684933, 0), None),
        ("anchor", {"anchors": "yolov7-w6"}, 8.697271, (0.13106696, 3.40802526, 0.80954349), None),
        (
            "ota",
            {},
            8.126076,
            (0.07333038, 3.4665215, 0.52318579),
            (3.1413107, 0.9929836, 0.2805101),
        ),
        ("ota", {"classes": 1}, 7.052469, (0.06137462, 3.46485972, 0), None),
        ("ota", {"boxes": ()}, 6.933699, (0, 3.46684933, 0), None),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_waves_give_the_published_terms(assigner, case, total, expected, gradients):
    options = {"anchors": "yolov7", "classes": 3, "boxes": BOXES, **case}
    size = 256 if options["anchors"] == "yolov7-w6" else 128
    raw = wave(len(ANCHORS[options["anchors"]]), size, options["classes"])
    targets = targets_of(options.pop("boxes"), size)
    if options["classes"] == 1:
        targets = targets._replace(label=torch.zeros_like(targets.label))
    measure = criterion(options.pop("anchors"), assigner=assigner, **options)
    terms = measure(raw, targets, (size, size))
    torch.testing.assert_close(
        torch.stack([terms[name] for name in TERMS]), torch.tensor(expected), rtol=1e-5, atol=1e-8
    )
    loss = 2 * sum(terms.values())
    assert loss.item() == pytest.approx(total, rel=1e-6)
    loss.backward()
    if gradients:
        assert [tensor.grad.abs().sum().item() for tensor in raw] == pytest.approx(
            gradients, rel=1e-5
        )


@pytest.mark.parametrize("assigner", ["anchor", "ota"])
def test_a_prediction_answers_for_the_last_box_that_it_is_matched_with(assigner):
    raw, targets = wave(3, 128, 3), targets_of(BOXES, 128)
    measure = criterion("yolov7", assigner=assigner)
    found, matches = measure.answers(raw, targets), measure.match(raw, targets)
    expected = [torch.full(level.shape[:4], -1) for level in raw]
    for level, image, anchor, row, column, target in zip(*matches[:6], strict=True):
        expected[level][image, anchor, row, column] = target
    assert torch.equal(found, torch.cat([level.flatten(1) for level in expected], 1))
    assert not (found >= 0).all()
    nothing = measure.answers(raw, targets_of([], 128))
    assert (nothing == -1).all()
    assert nothing.shape == found.shape


def test_waves_give_the_published_matches():
    raw, targets = wave(3, 128, 3), targets_of(BOXES, 128)
    assert criterion("yolov7", assigner="anchor").match(raw, targets).counts == (43, 24, 5)
    four = criterion("yolov7-w6", assigner="anchor").match(wave(4, 256, 3), targets_of(BOXES, 256))
    assert four.counts == (39, 33, 10, 0)
    matches = criterion("yolov7", assigner="ota").match(raw, targets)
    found = torch.stack(
        (
            *(matches.level, matches.image, matches.anchor, matches.row),
            matches.column,
            targets.label[matches.target],
        ),
        dim=1,
    )
    assert matches.counts == (3, 3, 0)
    assert {tuple(row) for row in found.tolist()} == {
        (0, 0, 0, 8, 8, 1),
        (0, 0, 1, 8, 7, 1),
        (0, 1, 0, 15, 15, 1),
        (1, 0, 0, 3, 4, 1),
        (1, 0, 0, 1, 1, 0),
        (1, 1, 0, 0, 6, 2),
    }


def batch(seed: int, images: int = 3, boxes: int = 12, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return random_raw(generator, images, SIZE, dtype=dtype), random_targets(
        generator, images, boxes, SIZE
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(["anchor", "ota"]))
def test_order_of_images_does_not_matter(seed, assigner):
    raw, targets = batch(seed)
    order = torch.randperm(3, generator=torch.Generator().manual_seed(seed))
    moved = targets._replace(image=order.argsort()[targets.image])
    measure = criterion(assigner=assigner)
    assert_terms(measure([level[order] for level in raw], moved, SIZE), measure(raw, targets, SIZE))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(["anchor", "ota"]))
def test_order_of_boxes_does_not_matter(seed, assigner):
    """But for objectness without SimOTA: there the last of several boxes in a cell counts."""
    raw, targets = batch(seed, boxes=20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
    moved = Targets(*(field[order] for field in targets))
    measure = criterion(assigner=assigner)
    names = TERMS if assigner == "ota" else ("box", "cls")
    assert_terms(measure(raw, moved, SIZE), measure(raw, targets, SIZE), names)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(["anchor", "ota"]), st.integers(0, 15))
def test_a_batch_seen_twice_has_the_same_terms(seed, assigner, boxes):
    raw, targets = batch(seed, boxes=boxes)
    twice = Targets(
        torch.cat((targets.image, targets.image + 3)),
        targets.label.repeat(2),
        targets.xyxy.repeat(2, 1),
    )
    measure = criterion(assigner=assigner)
    assert_terms(
        measure([torch.cat((level, level)) for level in raw], twice, SIZE),
        measure(raw, targets, SIZE),
    )


@pytest.mark.parametrize("assigner", ["anchor", "ota"])
def test_the_same_input_gives_the_same_bits(assigner):
    results = []
    for _ in range(3):
        raw, targets = batch(5, boxes=60, dtype=torch.float32)
        sum(criterion(assigner=assigner)(raw, targets, SIZE).values()).backward()
        results.append(torch.cat([level.grad.flatten() for level in raw]))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


NOTHING = Targets(
    torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), torch.empty(0, 4)
)
SPECK = Targets(torch.tensor([1]), torch.tensor([0]), torch.tensor([[10.0, 10.0, 10.5, 10.5]]))


@pytest.mark.parametrize("assigner", ["anchor", "ota"])
@pytest.mark.parametrize("targets", [NOTHING, SPECK], ids=["no boxes", "no anchor fits"])
def test_without_matches_only_objectness_is_trained_and_every_term_has_a_graph(assigner, targets):
    raw, _ = batch(0)
    terms = criterion(assigner=assigner)(raw, targets, SIZE)
    assert terms["box"] == 0
    assert terms["cls"] == 0
    assert terms["obj"] > 0
    for name in ("box", "cls"):
        for gradient in torch.autograd.grad(terms[name], raw, retain_graph=True):
            assert not gradient.any()
    for gradient in torch.autograd.grad(terms["obj"], raw):
        assert gradient[..., 4].all()
        assert not gradient[..., :4].any()
        assert not gradient[..., 5:].any()


@pytest.mark.parametrize("assigner", ["anchor", "ota"])
def test_an_image_without_boxes_only_adds_to_objectness(assigner):
    raw, targets = batch(1)
    more = [torch.cat((level, torch.randn_like(level[:1]))) for level in raw]
    measure = criterion(assigner=assigner)
    terms, expected = measure(more, targets, SIZE), measure(raw, targets, SIZE)
    assert_terms(terms, expected, ("box", "cls"))
    assert terms["obj"] != expected["obj"]


@pytest.mark.parametrize("assigner", ["anchor", "ota"])
@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_saturated_logits_stay_finite(assigner, logit):
    raw, targets = batch(2, dtype=torch.float32)
    raw = [torch.full_like(level, logit).requires_grad_() for level in raw]
    measure = criterion(assigner=assigner, fl_gamma=0.5)
    assert len(measure.match(raw, targets).level) > 0
    terms = measure(raw, targets, SIZE)
    sum(terms.values()).backward()
    assert all(term.isfinite() for term in terms.values())
    assert all(level.grad.isfinite().all() for level in raw)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised(dtype):
    raw, targets = batch(3)
    low = [level.detach().to(dtype).requires_grad_() for level in raw]
    exact = [level.detach().float() for level in low]
    measure = criterion()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = measure(low, targets, SIZE)
    for name, expected in measure(exact, targets, SIZE).items():
        assert terms[name].dtype == torch.float32
        assert torch.equal(terms[name], expected)
    sum(terms.values()).backward()
    assert low[0].grad.dtype == dtype


def test_double_precision_stays():
    raw, targets = batch(4)
    terms = criterion()(raw, targets, SIZE)
    assert all(term.dtype == torch.float64 for term in terms.values())


@pytest.mark.parametrize(("name", "term"), [("cls_pw", "cls"), ("obj_pw", "obj")])
def test_positive_weight_multiplies_the_positive_part(name, term):
    """The loss is linear in the weight, and only one term depends on it."""
    raw, targets = batch(6)
    one, two, three = (
        criterion(**{name: weight})(raw, targets, SIZE) for weight in (1.0, 2.0, 3.0)
    )
    assert two[term] > one[term]
    torch.testing.assert_close(three[term] - two[term], two[term] - one[term])
    assert_terms(two, one, set(TERMS) - {term})


@pytest.mark.parametrize(
    ("scaling", "anchors", "classes", "image_size", "expected"),
    [
        ("reference", "yolov7", 80, 640, {"box": 0.05, "obj": 0.7, "cls": 0.3}),
        ("reference", "yolov7", 3, 320, {"box": 0.05, "obj": 0.175, "cls": 0.01125}),
        ("reference", "yolov7-w6", 40, 1280, {"box": 0.0375, "obj": 2.1, "cls": 0.1125}),
        ("auto", "yolov7", 80, 640, {"box": 0.05, "obj": 0.7, "cls": 0.3}),
        ("auto", "yolov7", 10, 320, {"box": 0.05, "obj": 0.7, "cls": 0.3}),
        ("auto", "yolov7", 3, 320, {"box": 0.05, "obj": 0.7, "cls": 0.027}),
        ("auto", "yolov7-w6", 160, 1280, {"box": 0.0375, "obj": 2.1, "cls": 0.45}),
        ("none", "yolov7-w6", 160, 1280, {"box": 0.05, "obj": 0.7, "cls": 0.3}),
    ],
)
def test_gains_follow_levels_classes_and_image_size(
    scaling, anchors, classes, image_size, expected
):
    measure = criterion(anchors, classes=classes, image_size=image_size, scaling=scaling)
    assert measure.gains == pytest.approx(expected)


def test_the_plan_tells_the_gains_and_what_they_usually_are():
    small = criterion(classes=3, image_size=320, scaling="auto")
    text = "box 0.05 · obj 0.7 · cls 0.027 (loss.scaling auto, 320 px, 3 classes"
    assert small.describe() == f"{text}; YOLOv7's code: obj 0.175, cls 0.0112)"
    one = criterion(classes=1, image_size=640, scaling="auto").describe()
    assert one == "box 0.05 · obj 0.7 (loss.scaling auto, 640 px, 1 class)"
    usual = criterion(classes=80, image_size=640, scaling="auto")
    assert usual.describe().endswith("(loss.scaling auto, 640 px, 80 classes)")


def test_gains_multiply_their_terms():
    raw, targets = batch(7)
    plain = criterion(box=1, obj=1, cls=1)(raw, targets, SIZE)
    scaled = criterion(box=2, obj=3, cls=4)(raw, targets, SIZE)
    assert_terms(
        scaled, {"box": 2 * plain["box"], "obj": 3 * plain["obj"], "cls": 4 * plain["cls"]}
    )


def test_it_adds_nothing_to_a_checkpoint_and_can_be_copied():
    measure = criterion()
    assert not measure.state_dict()
    assert not list(measure.parameters())
    raw, targets = batch(8)
    assert_terms(copy.deepcopy(measure)(raw, targets, SIZE), measure(raw, targets, SIZE))


def test_a_head_of_another_shape_is_refused():
    raw, targets = batch(9)
    with pytest.raises(ValueError, match="expected raw outputs"):
        criterion()(raw + raw, targets, SIZE)
    with pytest.raises(ValueError, match="expected raw outputs"):
        criterion(classes=4)(raw, targets, SIZE)
    with pytest.raises(ValueError, match="for an image of 96 x 64"):
        criterion()(raw, targets, (96, 64))


def test_anchors_that_do_not_fit_the_strides_are_refused():
    with pytest.raises(ValueError, match="for 2 strides"):
        AnchorCriterion(
            anchors=torch.ones(3, 3, 2),
            strides=(8, 16),
            classes=3,
            config=LossConfig(),
            assigner="ota",
            image_size=640,
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("assigner", ["anchor", "ota"])
def test_a_gpu_gives_the_terms_of_the_cpu(assigner):
    raw, targets = batch(10, boxes=40)
    measure = criterion(assigner=assigner)
    expected = measure(raw, targets, SIZE)
    terms = measure.cuda()([level.cuda() for level in raw], targets.to("cuda"), SIZE)
    assert_terms({name: term.cpu() for name, term in terms.items()}, expected)
