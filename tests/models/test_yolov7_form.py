"""The calls of YOLOv7's code: forward_once, extra_features, profile, augment."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.models.forward_passes import rows_run
from tests.models.repeatable_weights import fill_normal
from tutelage.models import GraphDetector, build, cost
from tutelage.models.profile import LayerCost
from tutelage.models.tta import augmented
from tutelage.structures import Output

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module", params=["yolov7@0.125", "yolov5s@0.25"])
def detector(request: pytest.FixtureRequest) -> GraphDetector:
    found = build(request.param, ["a", "b"])
    fill_normal(found)
    return found


def layers(detector: GraphDetector) -> list[int]:
    """What hyp files call teacher_kd_layers."""
    return [int(key) for key in detector.levels.values()]


@pytest.mark.parametrize("way", ["forward", "forward_once"])
def test_in_training_features_come_beside_the_output(detector: GraphDetector, way: str) -> None:
    detector.train()
    run = detector if way == "forward" else detector.forward_once
    with rows_run(detector) as rows:
        output, features = run(IMAGES, extra_features=layers(detector))
    assert rows == list(range(len(detector.layers)))
    assert [x.shape for x in output] == [(2, 3, n, n, 7) for n in (8, 4, 2)]
    assert [x.shape[1] for x in features] == [
        tap.channels for tap in detector.tap(layers(detector))
    ]
    sum(x.mean() for x in (*output, *features)).backward()


@pytest.mark.parametrize("way", ["forward", "forward_once"])
@torch.no_grad()
def test_in_evaluation_it_stops_at_the_last_feature(detector: GraphDetector, way: str) -> None:
    detector.eval()
    run = detector if way == "forward" else detector.forward_once
    with rows_run(detector) as rows:
        last, features = run(IMAGES, extra_features=layers(detector))
    assert rows == list(range(max(layers(detector)) + 1))
    assert last is features[-1]
    for found, expected in zip(features, detector(IMAGES, layers(detector)).taps, strict=True):
        assert torch.equal(found, expected)


@torch.no_grad()
def test_features_come_in_graph_order_once(detector: GraphDetector) -> None:
    detector.eval()
    p3, p4, _ = layers(detector)
    _, features = detector(IMAGES, extra_features=[str(p4), p3, "p4"])
    assert [x.shape[-1] for x in features] == [8, 4]


@torch.no_grad()
def test_without_options_it_is_an_output(detector: GraphDetector) -> None:
    detector.eval()
    plain = detector.forward_once(IMAGES)
    assert isinstance(plain, Output)
    for mine, others in zip(plain.raw, detector(IMAGES).raw, strict=True):
        assert torch.equal(mine, others)


@torch.no_grad()
def test_a_profile_is_returned(detector: GraphDetector, capsys: pytest.CaptureFixture[str]) -> None:
    detector.eval()
    (decoded, raw), table = detector(IMAGES[:1], profile=True)
    assert decoded.shape == (1, 252, 7)
    assert len(raw) == 3
    assert all(isinstance(row, LayerCost) for row in table)
    assert [row.key for row in table] == [layer.key for layer in detector.layers]
    whole = cost(detector, 64)
    assert sum(row.parameters for row in table) == whole.parameters
    assert sum(row.gflops for row in table) == pytest.approx(whole.gflops)
    assert all(row.milliseconds > 0 for row in table)
    last, features, short = detector.forward_once(IMAGES, True, ["p3"])
    assert last is features[0]
    assert short[-1].key == detector.levels["p3"]
    output, long = detector.train()(IMAGES, profile=True)
    assert len(output) == 3
    assert len(long) == len(detector.layers)
    assert capsys.readouterr().out == ""


def test_options_that_contradict_each_other(detector: GraphDetector) -> None:
    with pytest.raises(ValueError, match="not both"):
        detector(IMAGES, ["p3"], extra_features=["p3"])
    with pytest.raises(ValueError, match="augment=True"):
        detector(IMAGES, augment=True, profile=True)


@pytest.mark.parametrize("arch", ["yolov7-w6@0.125", "yolov5n6"])
@torch.no_grad()
def test_four_levels(arch: str) -> None:
    detector = build(arch, ["a", "b"])
    fill_normal(detector)
    detector.eval()
    (plain, raw), table = detector(IMAGES, profile=True)
    assert [x.shape[-2] for x in raw] == [8, 4, 2, 1]
    assert plain.shape == (2, 255, 7)
    run = [each for each in detector.layers if int(each.key) not in detector.auxiliary]
    assert [cost.key for cost in table] == [each.key for each in run]
    decoded, _ = detector(IMAGES, augment=True)
    if detector.family == "yolov7":  # all views are 64 x 64 after padding
        assert torch.equal(decoded[:, :255], plain)
        assert decoded.shape == (2, 765, 7)
    else:  # without the coarsest level of the first and the finest of the last
        assert torch.equal(decoded[:, :252], plain[:, :252])
        assert decoded.shape == (2, 252 + 255 + 63, 7)
    last, features = detector(IMAGES, extra_features=layers(detector))
    assert [x.shape[-1] for x in features] == [8, 4, 2, 1]
    assert last is features[-1]


@torch.no_grad()
def test_augmentation_joins_three_views(detector: GraphDetector) -> None:
    detector.eval()
    decoded, nothing = detector(IMAGES, augment=True)
    assert nothing is None
    (plain, _), _ = detector(IMAGES, profile=True)
    views: list[Tensor] = []
    hook = detector.model[0].register_forward_pre_hook(lambda _, args: views.append(args[0]))
    assert torch.equal(detector(IMAGES, augment=True)[0], decoded)
    hook.remove()
    assert torch.equal(views[0], IMAGES)
    (mirrored, _), _ = detector(views[1], profile=True)
    mirrored = torch.cat((mirrored[..., :4] / 0.83, mirrored[..., 4:]), -1)
    mirrored[..., 0] = 64 - mirrored[..., 0]
    if detector.family == "yolov7":  # 252 rows per view, all views are 64 x 64 after padding
        assert decoded.shape == (2, 756, 7)
        assert torch.equal(decoded[:, :252], plain)
        torch.testing.assert_close(decoded[:, 252:504], mirrored)
    else:  # without the coarsest level of the first and the finest of the last
        assert decoded.shape == (2, 240 + 252 + 60, 7)
        assert torch.equal(decoded[:, :240], plain[:, :240])
        torch.testing.assert_close(decoded[:, 240:492], mirrored)


def brightest(images: Tensor) -> Tensor:
    """A detector whose one box sits on the brightest pixel and spans the image."""
    _, _, h, w = images.shape
    place = images.mean(1).flatten(1).argmax(1)
    x, y = place % w + 0.5, place // w + 0.5
    size = torch.ones_like(x)
    return torch.stack((x, y, w * size, h * size, size), -1).view(-1, 1, 5)


def test_augmented_boxes_return_to_the_image() -> None:
    images = torch.zeros(1, 3, 96, 160)
    images[..., 18:23, 118:123] = torch.tensor([0.6, 0.8, 1, 0.8, 0.6]).view(1, 5) * 1.0
    images[..., 20, 120] = 2
    seen: list[Tensor] = []

    def predict(view: Tensor) -> Tensor:
        seen.append(view)
        return brightest(view)

    rows = augmented(predict, images, (8, 16, 32), trim=False)
    assert rows.shape == (1, 3, 5)
    assert (rows[0, :, :2] - torch.tensor([120.5, 20.5])).abs().max() < 1.5
    assert [tuple(view.shape[-2:]) for view in seen] == [(96, 160), (96, 160), (96, 128)]
    assert rows[0, :, 2].tolist() == pytest.approx([160, 160 / 0.83, 128 / 0.67])
    assert seen[0] is images
    grey = seen[1][..., int(96 * 0.83) :, :]  # below the shrunken image
    assert torch.equal(grey, torch.full_like(grey, 0.447))
    assert seen[1].flatten(1).argmax() % 160 < 60  # mirrored
