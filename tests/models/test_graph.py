"""Running a graph: taps, early exit, memory, keys."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from torch import Tensor

from tests.models.forward_passes import rows_run
from tests.models.repeatable_weights import fill_normal
from tutelage.errors import ConfigError
from tutelage.models import GraphDetector, build
from tutelage.structures import Output, Tap

SMALL = ["yolov7-tiny@0.25", "yolov7@0.125", "yolov5s@0.25"]
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module", params=SMALL)
def filled(request: pytest.FixtureRequest) -> GraphDetector:
    detector = build(request.param, ["a", "b"])
    fill_normal(detector)
    return detector.eval()


def every_row(detector: GraphDetector) -> list[str]:
    return [layer.key for layer in detector.layers[:-1]]


@torch.no_grad()
def test_taps_come_in_the_order_asked_for(filled: GraphDetector) -> None:
    p3, p4, p5 = filled.levels.values()
    plain = filled(IMAGES)
    assert isinstance(plain, Output)
    assert plain.taps == ()
    output = filled(IMAGES, (p5, p3, p4, p3))
    in_order = filled(IMAGES, (p3, p4, p5)).taps
    for found, place in zip(output.taps, (2, 0, 1, 0), strict=True):
        assert torch.equal(found, in_order[place])
    for mine, others in zip(output.raw, plain.raw, strict=True):
        assert torch.equal(mine, others)


@torch.no_grad()
def test_early_exit_runs_no_further_layer(filled: GraphDetector) -> None:
    keys = list(filled.levels.values())
    last = max(map(int, keys))
    with rows_run(filled) as run:
        output = filled(IMAGES, keys[::-1], head=False)
    assert run == list(range(last + 1))
    assert output.raw is None
    with rows_run(filled) as run:
        filled(IMAGES, keys)
    assert run == list(range(len(filled.layers)))
    full = filled(IMAGES, keys[::-1]).taps
    for early, late in zip(output.taps, full, strict=True):
        assert torch.equal(early, late)
    with rows_run(filled) as run:
        assert filled(IMAGES, head=False) == Output(None, ())
    assert run == []


@pytest.mark.parametrize("mode", ["train", "eval", "fused", "fused with gradients"])
def test_no_layer_writes_over_a_tapped_map(filled: GraphDetector, mode: str) -> None:
    """At the end of a run each map is still what its layer returned."""
    detector = filled.fused() if "fused" in mode else copy.deepcopy(filled)
    detector.train(mode == "train")
    returned: list[Tensor] = []
    for layer in list(detector.model)[:-1]:
        layer.register_forward_hook(lambda _, __, out: returned.append(out.detach().clone()))
    images = IMAGES.clone().requires_grad_("gradients" in mode)
    with torch.set_grad_enabled(mode == "train" or "gradients" in mode):
        taps = detector(images, every_row(detector)).taps
    for key, tap, original in zip(every_row(detector), taps, returned, strict=True):
        assert torch.equal(tap, original), key
    assert torch.equal(images, IMAGES)


def test_gradients_pass_through_tapped_maps(filled: GraphDetector) -> None:
    detector = copy.deepcopy(filled).train()
    output = detector(IMAGES, list(detector.levels))
    loss = sum(x.square().mean() for x in (*output.taps, *output.raw))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())


def test_gradients_at_a_tap_need_no_parameters_before_it(filled: GraphDetector) -> None:
    detector = copy.deepcopy(filled)
    rows, last = [*detector.model], len(detector.model) - 2
    for number in (0, 5, last // 2, last):
        before = detector.parameters_before([str(last), str(number)])
        earlier = [p for row in rows[:number] for p in row.parameters()]
        own = [*rows[number].parameters()]
        assert list(map(id, before)) == (list(map(id, earlier)) if own else [])
        for parameter in before:
            parameter.requires_grad_(False)
        assert detector(IMAGES, [str(number)]).taps[0].requires_grad
        detector.requires_grad_(True)


@torch.no_grad()
def test_maps_are_dropped_after_their_last_use(filled: GraphDetector) -> None:
    alive: dict[int, weakref.ref[Tensor]] = {}
    held: list[set[int]] = []

    def note(row: int, output: Tensor) -> None:
        held.append({each for each, ref in alive.items() if ref() is not None})
        alive[row] = weakref.ref(output)

    handles = [
        layer.register_forward_hook(lambda _, __, out, row=row: note(row, out))
        for row, layer in enumerate(filled.model)
        if row < len(filled.layers) - 1
    ]
    filled(IMAGES)
    for handle in handles:
        handle.remove()
    sources = [[int(key) for key in layer.sources if key != "image"] for layer in filled.layers]
    for row, rows in enumerate(held):
        needed = {source for later in sources[row:] for source in later if source < row}
        assert rows == needed, row


@torch.no_grad()
def test_keys_are_rows_or_levels(filled: GraphDetector) -> None:
    p3 = filled.levels["p3"]
    maps = [filled(IMAGES, [key], head=False).taps[0] for key in ("p3", p3, int(p3))]
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])
    assert filled.tap(["p3"]) == filled.tap([p3]) == filled.tap([int(p3)])


@torch.no_grad()
def test_taps_say_what_the_maps_are(filled: GraphDetector) -> None:
    taps = filled.tap(every_row(filled))
    for tap, feature in zip(taps, filled(IMAGES, every_row(filled)).taps, strict=True):
        assert feature.shape == (2, tap.channels, 64 // tap.stride, 64 // tap.stride)


def test_taps_of_yolov7() -> None:
    with torch.device("meta"):
        detector = build("yolov7", ["a"])
    assert detector.tap(["101", "p3", 88]) == (
        Tap("101", 512, 32),
        Tap("75", 128, 8),
        Tap("88", 256, 16),
    )


@pytest.mark.parametrize("way", ["tap", "forward", "forward_once"])
def test_layers_that_do_not_exist(way: str) -> None:
    detector = build("yolov7-tiny@0.25", ["a"])
    calls = {
        "tap": lambda: detector.tap(["57", "101", "p7"]),
        "forward": lambda: detector(IMAGES, ["57", "101", "p7"]),
        "forward_once": lambda: detector.forward_once(IMAGES, extra_features=[57, 101, "p7"]),
    }
    with rows_run(detector) as run, pytest.raises(ConfigError) as caught:
        calls[way]()
    assert caught.value.what == "yolov7-tiny@0.25 has layers 0…76 before its head, not 101, p7."
    assert "p3 p4 p5 of yolov7-tiny@0.25 are 57, 65, 73." in caught.value.fix
    assert "tutelage layers yolov7-tiny@0.25" in caught.value.fix
    assert run == []


def test_the_head_cannot_be_tapped() -> None:
    with torch.device("meta"):
        detector = build("yolov7-tiny", ["a"])
    with pytest.raises(ConfigError, match="layer 77 of yolov7-tiny is its head"):
        detector.tap(["77"])


def test_building_leaves_buffers_alone_and_repeats() -> None:
    torch.manual_seed(0)
    first = build("yolov7-tiny@0.25", ["a"])
    torch.manual_seed(0)
    second = build("yolov7-tiny@0.25", ["a"])
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
        if key.endswith("running_var"):
            assert (value == 1).all()
        if key.endswith("num_batches_tracked"):
            assert value == 0
    assert first.training


def test_names_must_match_the_classes() -> None:
    with torch.device("meta"):
        detector = build("yolov7-tiny@0.25", ["WBC", "RBC"])
    assert detector.names == ("WBC", "RBC")
    assert detector.arch["nc"] == 2
    assert detector.layers[-1].channels == 3 * 7


def test_setting_anchors_moves_the_boxes() -> None:
    detector = build("yolov5s@0.25", ["a"]).eval()
    raw = detector(IMAGES).raw
    before = detector.decode(raw, (64, 64)).xyxy
    detector.load_training_state({"anchors": (detector.head.anchor_sizes * 2).tolist()})
    after = detector.decode(raw, (64, 64)).xyxy
    torch.testing.assert_close(
        after[..., 2:] - after[..., :2], 2 * (before[..., 2:] - before[..., :2])
    )


@torch.no_grad()
def test_channels_last_stays_channels_last(filled: GraphDetector) -> None:
    detector = filled.fused()
    taps = detector(IMAGES.contiguous(memory_format=torch.channels_last), every_row(detector)).taps
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in taps)


@torch.no_grad()
def test_the_graph_compiles_whole() -> None:
    detector = build("yolov5n", ["a"]).eval()
    compiled = torch.compile(detector, fullgraph=True, backend="eager")
    found, expected = compiled(IMAGES, ("p3", "p5")), detector(IMAGES, ("p3", "p5"))
    for mine, others in zip(
        (*found.raw, *found.taps), (*expected.raw, *expected.taps), strict=True
    ):
        torch.testing.assert_close(mine, others)
