"""Predictions of a teacher as records: what comes back, how long they are, what they change."""

from pathlib import Path

import pytest
import torch

import tutelage
from tutelage.config.schema import AugmentConfig, MethodConfig
from tutelage.data import open_splits, training_loader
from tutelage.distill import build_methods
from tutelage.structures import Knowledge, Predictions
from tutelage.teachers import load_teacher
from tutelage.teachers.response_records import LEAST, LIMIT_BYTES, MIN_SCORE, Grid, ResponseFormat

SHIPPED = Path(tutelage.__file__).parent / "demo_teacher.safetensors"
SIZE = (64, 96)  # height, width
GRIDS = ((8, 12), (4, 6), (2, 3))
ANCHORS = 3


def predictions(classes, *, images=3, objectness=True, cells=True, seed=0, shift=-4.0):
    """Random predictions of a head of three levels, most of them of nothing."""
    g = torch.Generator().manual_seed(seed)
    counts = torch.tensor([ANCHORS * h * w for h, w in GRIDS])
    n = int(counts.sum())
    low = torch.rand(images, n, 2, generator=g) * 60
    return Predictions(
        xyxy=torch.cat((low, low + 1 + torch.rand(images, n, 2, generator=g) * 40), -1),
        logits=torch.randn(images, n, classes, generator=g) * 3,
        objectness=torch.randn(images, n, generator=g) * 3 + shift if objectness else None,
        level=torch.repeat_interleave(torch.arange(3), counts),
        box_raw=torch.randn(images, n, 4, generator=g),
        grids=GRIDS if cells else None,
    )


def formats(p, *, dense):
    form = ResponseFormat.of(p, SIZE)
    return form if dense else form._replace(dense=False, box_raw=False)


@pytest.mark.parametrize("classes", [1, 2, 12, 80])
@pytest.mark.parametrize("objectness", [True, False])
def test_what_is_stored_comes_back(classes, objectness):
    p = predictions(classes, objectness=objectness)
    form = formats(p, dense=False)
    assert form.grids == (Grid(8, 3), Grid(16, 3), Grid(32, 3))
    records = form.encode(p, SIZE)
    q = form.decode(records, SIZE)
    score = (p.logits.amax(-1) if p.objectness is None else p.objectness).sigmoid()
    assert (q.known.sum(1) <= form.limit).all()
    assert torch.equal(q.known, score >= MIN_SCORE) or int(q.known.sum(1).max()) == form.limit
    kept = q.known
    assert (q.xyxy - p.xyxy)[kept].abs().max() <= max(SIZE) / 2**15 + 1e-6
    if objectness:
        assert (q.objectness.sigmoid() - p.objectness.sigmoid())[kept].abs().max() < 1e-3
    best = p.logits[kept].topk(min(3, classes), 1)
    error = q.logits[kept].gather(1, best.indices).sigmoid() - best.values.sigmoid()
    assert error.abs().max() < 1e-3
    if classes <= 12:
        assert (q.logits.sigmoid() - p.logits.sigmoid())[kept].abs().max() < 1e-3
    assert torch.equal(q.level, p.level)
    assert q.grids == p.grids
    assert (records.length <= LIMIT_BYTES).all()


def test_the_sum_of_the_other_classes_and_of_the_background_is_kept():
    p = predictions(80)
    form = formats(p, dense=False)
    q = form.decode(form.encode(p, SIZE), SIZE)
    ours, theirs = (x.logits[q.known].sigmoid().sum(1) for x in (q, p))
    assert torch.allclose(ours, theirs, rtol=2e-3)
    for level in range(3):
        rest = ~q.known & (p.level == level)
        ours, theirs = (x.objectness.sigmoid()[rest].sum() for x in (q, p))
        assert ours == pytest.approx(float(theirs), rel=5e-3)


def test_all_candidates_of_a_dense_record():
    p = predictions(20)
    form = formats(p, dense=True)
    q = form.decode(form.encode(p, SIZE), SIZE)
    assert q.known is None
    for ours, theirs in (
        (q.logits, p.logits),
        (q.objectness, p.objectness),
        (q.box_raw, p.box_raw),
    ):
        assert (ours - theirs).abs().max() < 1e-2
    assert (q.xyxy - p.xyxy).abs().max() < 1e-2


def test_candidates_that_belong_to_no_cells():
    p = predictions(4, objectness=False, cells=False, shift=0.0)._replace(box_raw=None)
    p = p._replace(logits=p.logits - 6)
    form = formats(p, dense=False)
    assert form.grids is None
    q = form.decode(form.encode(p, SIZE), SIZE)
    for image in range(3):
        scores = p.logits[image].amax(-1).sigmoid()
        kept = (scores >= MIN_SCORE).nonzero().flatten()
        assert int(q.known[image].sum()) == len(kept)
        found = q.logits[image][q.known[image]].amax(-1).sigmoid()
        assert torch.allclose(found, scores[kept], atol=1e-3)
    assert (q.logits[~q.known].sigmoid() < MIN_SCORE).all()


def test_an_image_in_which_the_teacher_sees_nothing():
    p = predictions(2)
    p.objectness[1] = -20
    form = formats(p, dense=False)
    records = form.encode(p, SIZE)
    assert records.length[1] < records.length[0]
    q = form.decode(records, SIZE)
    assert int(q.known[1].sum()) == LEAST
    assert (q.objectness[1].sigmoid() < 1e-5).all()
    assert int(q.known[2].sum()) > LEAST


def test_more_candidates_than_65536():
    n = 70_000
    p = Predictions(
        xyxy=torch.tensor([[1.0, 2, 3, 4]]).repeat(n, 1)[None],
        logits=torch.full((1, n, 1), 2.0),
        objectness=torch.full((1, n), -9.0),
        level=torch.zeros(n, dtype=torch.int64),
        grids=((200, 350),),
    )
    p.objectness[0, 69_999] = 3.0
    p.objectness[0, 40_000] = 2.5
    p.objectness[0, 5] = 2.0
    form = ResponseFormat.of(p, (1600, 2800))._replace(dense=False, box_raw=False)
    assert form.wide
    q = form.decode(form.encode(p, (1600, 2800)), (1600, 2800))
    found = (q.objectness[0].sigmoid() > 0.5).nonzero().flatten().tolist()
    assert found == [5, 40_000, 69_999]
    assert q.known[0][found].all()


def test_candidates_above_32767_without_a_second_word():
    n = 40_000
    p = Predictions(
        xyxy=torch.ones(1, n, 4),
        logits=torch.full((1, n, 1), 2.0),
        objectness=torch.full((1, n), -9.0),
        level=torch.zeros(n, dtype=torch.int64),
        grids=((200, 200),),
    )
    p.objectness[0, [7, 39_999]] = 2.0
    form = ResponseFormat.of(p, (1600, 1600))._replace(dense=False)
    assert not form.wide
    q = form.decode(form.encode(p, (1600, 1600)), (1600, 1600))
    assert (q.objectness[0].sigmoid() > 0.5).nonzero().flatten().tolist() == [7, 39_999]


def test_numbers_beyond_their_range_end_at_it():
    p = predictions(2)
    p.objectness[0, :2] = torch.tensor([1e9, 8.0])
    p.logits[0, 0] = torch.tensor([float("inf"), -float("inf")])
    p.xyxy[0, 0] = torch.tensor([-1e6, -200.0, 1e6, 200.0])  # of a canvas of 96
    form = formats(p, dense=False)
    q = form.decode(form.encode(p, SIZE), SIZE)
    assert q.xyxy[0, 0].tolist() == pytest.approx([-192, -192, 192, 192], abs=0.01)
    assert q.logits[0, 0].sigmoid().tolist() == [1, 0]
    for values in (q.objectness, q.logits, q.xyxy):
        assert values.isfinite().all()


@pytest.mark.parametrize("classes", [2, 80])
def test_background_has_the_mean_classes_of_what_it_stands_for(classes):
    p = predictions(classes)
    form = formats(p, dense=False)
    q = form.decode(form.encode(p, SIZE), SIZE)
    for image in range(3):
        rest = ~q.known[image]
        weight = p.objectness[image, rest].sigmoid()[:, None]
        mean = (weight * p.logits[image, rest].sigmoid()).sum(0) / weight.sum()
        assert torch.allclose(
            q.logits[image, rest].sigmoid(), mean.expand(rest.sum(), -1), rtol=5e-3
        )


def test_candidates_that_are_not_the_cells_of_the_canvas():
    p = predictions(2)
    other = p._replace(grids=(*GRIDS[:2], (1, 6)))
    fewer = [None if x is None else x[:, :-1] for x in p[:3]]
    fewer = Predictions(*fewer, level=p.level[:-1], grids=GRIDS)
    assert ResponseFormat.of(p, SIZE).grids is not None
    assert ResponseFormat.of(other, SIZE).grids is None
    assert ResponseFormat.of(fewer, SIZE).grids is None


@pytest.fixture(scope="module")
def taught():
    """The demo teacher on two batches of digits, and random predictions of a student."""
    train, _ = open_splits("digits", "train", "val")
    loader = training_loader(
        train, image_size=128, batch=8, seed=0, workers=0, cache=False, cache_gib=1,
        augment=AugmentConfig(mosaic=0, fliplr=0),
    )  # fmt: skip
    teacher = load_teacher(str(SHIPPED), torch.device("cpu"))
    batch = next(iter(loader)).floating()
    return batch, teacher(batch.images, predictions=True).predictions


@pytest.mark.parametrize(("method", "bound"), [("bckd", 0.02), ("box", 0.02), ("logits", 0.06)])
@pytest.mark.parametrize("trained", [False, True])
def test_how_far_a_loss_from_the_store_is_off(taught, method, bound, trained):
    batch, t = taught
    size = batch.image_size
    form = ResponseFormat.of(t, size)._replace(dense=False, box_raw=False)
    stored = form.decode(form.encode(t, size), size)
    g = torch.Generator().manual_seed(0)
    noise = [torch.randn(x.shape, generator=g) for x in (t.xyxy, t.logits, t.objectness)]
    if trained:
        s = (t.xyxy + noise[0], t.logits + noise[1], t.objectness + noise[2])
    else:
        s = (t.xyxy + 8 * noise[0], 0.1 * noise[1] - 2, 0.1 * noise[2] - 5)
    student = Knowledge((), Predictions(*s, level=t.level, grids=t.grids))
    (loss,) = build_methods([MethodConfig(name=method)], [[(1, 1)]]).values()
    totals = [
        float(sum(loss(student, Knowledge((), seen), batch.targets, size).values()))
        for seen in (t, stored)
    ]
    assert totals[1] == pytest.approx(totals[0], rel=bound)


def mirrored(p, left_right, up_down):
    """Flip dense predictions cell by cell."""
    height, width = SIZE
    x1, y1, x2, y2 = p.xyxy.unbind(-1)
    if left_right:
        x1, x2 = width - x2, width - x1
    if up_down:
        y1, y2 = height - y2, height - y1

    def cells(x):
        parts = x.split(torch.bincount(p.level).tolist(), 1)
        maps = [part.unflatten(1, (-1, *grid)) for part, grid in zip(parts, GRIDS, strict=True)]
        axes = [3] * left_right + [2] * up_down
        return torch.cat([each.flip(axes).flatten(1, 3) for each in maps], 1)

    boxes = cells(torch.stack((x1, y1, x2, y2), -1))
    return boxes, cells(p.logits), cells(p.objectness), cells(p.known)


@pytest.mark.parametrize("classes", [2, 80])
def test_flips_of_what_is_stored(classes):
    p = predictions(classes, images=4)
    form = formats(p, dense=False)
    records, flips = form.encode(p, SIZE), [(0, 0), (1, 0), (0, 1), (1, 1)]
    found = form.decode(records, SIZE, torch.tensor(flips).bool())
    plain = form.decode(records, SIZE)
    for image, (left_right, up_down) in enumerate(flips):
        boxes, logits, objectness, known = mirrored(plain, left_right, up_down)
        assert torch.equal(found.known[image], known[image])
        assert torch.equal(found.logits[image], logits[image])
        assert torch.equal(found.objectness[image], objectness[image])
        seen = known[image]
        assert torch.equal(found.xyxy[image][seen], boxes[image][seen])
        assert not found.xyxy[image][~seen].any()


@pytest.mark.parametrize("classes", [2, 80])
@pytest.mark.parametrize("dense", [False, True])
def test_distributions_over_the_sides_of_boxes(classes, dense):
    p = predictions(classes, images=4, objectness=False)
    bins = torch.randn(*p.logits.shape[:2], 4, 16, generator=torch.Generator().manual_seed(1)) * 9
    p = p._replace(bins=bins, box_raw=None)
    form = formats(p, dense=dense)
    plain = form.decode(form.encode(p, SIZE), SIZE)
    kept = torch.ones_like(p.logits[..., 0], dtype=torch.bool) if dense else plain.known
    assert kept.any()
    torch.testing.assert_close(plain.bins[kept], bins[kept], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        plain.logits[kept].amax(-1), p.logits[kept].amax(-1), rtol=1e-3, atol=1e-3
    )
    flips = torch.tensor([(0, 0), (1, 0), (0, 1), (1, 1)]).bool()
    found = form.decode(form.encode(p, SIZE), SIZE, flips)
    for image, sides in enumerate([(0, 1, 2, 3), (2, 1, 0, 3), (0, 3, 2, 1), (2, 3, 0, 1)]):
        axes = [axis for axis, turned in zip((3, 2), flips[image], strict=True) if turned]
        levels = plain.bins[image, :, list(sides)].split(torch.bincount(p.level).tolist())
        cells = [x.unflatten(0, (-1, *grid)) for x, grid in zip(levels, GRIDS, strict=True)]
        mirrored_bins = torch.cat([x.flip([a - 1 for a in axes]).flatten(0, 2) for x in cells])
        assert torch.equal(found.bins[image], mirrored_bins)


def test_flips_of_candidates_without_cells():
    p = predictions(2, images=2, cells=False)
    form = formats(p, dense=False)
    records = form.encode(p, SIZE)
    found = form.decode(records, SIZE, torch.tensor([[True, False], [False, True]]))
    boxes = form.decode(records, SIZE).xyxy
    x1, y1, x2, y2 = boxes.unbind(-1)
    across = torch.stack((SIZE[1] - x2, y1, SIZE[1] - x1, y2), -1)
    down = torch.stack((x1, SIZE[0] - y2, x2, SIZE[0] - y1), -1)
    assert torch.equal(found.xyxy[0][found.known[0]], across[0][found.known[0]])
    assert torch.equal(found.xyxy[1][found.known[1]], down[1][found.known[1]])


def test_raw_boxes_are_not_flipped():
    p = predictions(2)
    form = formats(p, dense=True)
    with pytest.raises(ValueError, match="raw"):
        form.decode(form.encode(p, SIZE), SIZE, torch.ones(3, 2, dtype=torch.bool))
