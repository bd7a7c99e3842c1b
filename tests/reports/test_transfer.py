"""What was transferred: against the losses themselves and hand-made tables."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from tests.models.pico import PICO, WIDE
from tests.run.small_runs import make_data, make_teacher, run, settings
from tutelage.config import dump
from tutelage.config.schema import LossConfig
from tutelage.data import DatasetIndex, evaluation_loader, open_dataset
from tutelage.distill import candidate_matching
from tutelage.distill.methods import bckd, fgd
from tutelage.distill.response import comparable_predictions
from tutelage.distill.scores import candidate_scores, class_scores
from tutelage.errors import UserError
from tutelage.models.weight_file import read_checkpoint, restore
from tutelage.reports.chosen_images import CONF, choose_images, image_quality
from tutelage.reports.transfer import transferred
from tutelage.run.training import FIRST
from tutelage.structures import Knowledge
from tutelage.teachers import load_teacher
from tutelage.teachers.scale import in_student_frame

IMAGES = [5, 0, 2]  # not in the order of the index
LEVELS = [8, 4, 2]  # cells of a side of 64 px


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


def make_run(folder, data, methods, *, teacher=WIDE, first=False, **distill):
    """A run folder as it is after training: settings, an untrained student, a teacher."""
    folder.mkdir()
    make_teacher(folder / "best.safetensors", arch=str(PICO))
    if first:
        make_teacher(folder / FIRST, arch=str(PICO))
    given = {
        "teacher": teacher
        if isinstance(teacher, str)
        else make_teacher(folder.with_suffix(".safetensors"), arch=teacher),
        "methods": [{"name": name, **options} for name, options in methods.items()],
    }
    config = settings(data, folder.parent, distill=given | distill)
    (folder / "config.yaml").write_text(dump(config, {}))
    return folder


def narrow_teacher(folder):
    """A teacher of the student's widths."""
    return make_teacher(folder / "teacher.safetensors", arch=str(PICO))


def ask(folder, data, positions=IMAGES, size=64):
    """The batch, and what the network of a folder says of it, by hand."""
    index = open_dataset(data, "val").subset(positions)
    loader = evaluation_loader(index, image_size=size, batch=len(positions), workers=0)
    batch = next(iter(loader))
    network = restore(read_checkpoint(folder)).eval()
    criterion = network.head.criterion(LossConfig(), image_size=size)
    with torch.no_grad():
        raw, taps = network(batch.floating().images, ("3", "4", "5"))
    answers = partial(criterion.answers, raw)
    return batch, Knowledge(taps, network.decode(raw, (size, size)), answers=answers)


def recorded(monkeypatch, module, name):
    """Record what a function of a loss returns."""
    results, function = [], getattr(module, name)

    def record(*args, **options):
        results.append(function(*args, **options))
        return results[-1]

    monkeypatch.setattr(module, name, record)
    return results


def stacked(transfer, kind, number, field):
    """One field of all images, for one pair or level."""
    return np.stack([getattr(getattr(image, kind)[number], field) for image in transfer.images])


def test_run_without_teacher(tmp_path, data):
    (tmp_path / "config.yaml").write_text(dump(settings(data, tmp_path), {}))
    assert transferred(tmp_path, IMAGES) is None


def test_trained_run(tmp_path, data):
    """A real run of two methods, of which one compares features and one predictions."""
    teacher = make_teacher(tmp_path / "teacher.safetensors")
    methods = [{"name": "fgd"}, {"name": "bckd"}]
    distill = {"teacher": teacher, "methods": methods, "accept_teacher": True}
    run(settings(data, tmp_path / "runs", distill=distill))
    folder = next(tmp_path.glob("runs/*/config.yaml")).parent
    before = torch.random.get_rng_state()
    transfer = transferred(folder, IMAGES)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not transfer.skipped
    assert [image.position for image in transfer.images] == IMAGES
    for image in transfer.images:
        pairs = [(pair.method, pair.layers, pair.channels, pair.stride) for pair in image.attention]
        widths = [(16, 32), (16, 32), (32, 64)]
        assert pairs == [
            ("fgd", (row, row), width, stride)
            for row, width, stride in zip("345", widths, (8, 16, 32), strict=True)
        ]
        levels = [(level.method, level.level, level.stride) for level in image.disagreement]
        assert levels == [("bckd", 0, 8), ("bckd", 1, 16), ("bckd", 2, 32)]
        for cells, pair, level in zip(LEVELS, image.attention, image.disagreement, strict=True):
            maps = (pair.teacher, pair.best, pair.foreground, pair.background, level.best)
            assert {each.shape for each in maps} == {(cells, cells)}
            assert {each.dtype for each in maps} == {np.dtype(np.float32)}
            assert np.array_equal(pair.first, pair.best)  # one epoch: they are the same student
            assert np.array_equal(pair.first_difference, pair.best_difference)
            assert np.array_equal(level.first, level.best)
            assert pair.teacher_channels is pair.best_channels is None  # of other widths
            assert pair.teacher.mean() == pytest.approx(1, abs=1e-5)
            assert 0 < level.best.max() <= 1


def test_canvas_is_what_the_networks_see(tmp_path, data):
    folder = make_run(tmp_path / "run", data, {"fgd": {}})
    transfer = transferred(folder, IMAGES)
    batch, _ = ask(folder, data)
    assert transfer.names == ("cat", "dog")
    for number, image in enumerate(transfer.images):
        mine = batch.targets.image == number
        assert image.canvas.dtype == np.uint8
        assert np.array_equal(image.canvas, batch.images[number].permute(1, 2, 0).numpy())
        assert np.array_equal(image.boxes, batch.targets.xyxy[mine].numpy())
        assert np.array_equal(image.labels, batch.targets.label[mine].numpy())
        assert len(image.boxes)


@pytest.mark.parametrize(("standardise", "temperature"), [(True, 0.3), (False, 0.005)])
def test_fgd_shows_what_its_loss_compares(tmp_path, data, monkeypatch, standardise, temperature):
    """Between equal widths masks and attention are those that the loss computes."""
    options = {"standardise": standardise, "temperature": temperature}
    folder = make_run(tmp_path / "run", data, {"fgd": options}, teacher=narrow_teacher(tmp_path))
    transfer = transferred(folder, IMAGES)
    batch, student = ask(folder, data)
    _, teacher = ask(tmp_path / "teacher.safetensors", data)
    masks = recorded(monkeypatch, fgd, "object_masks")
    attentions = recorded(monkeypatch, fgd, "attention")
    method = fgd.FGD([(16, 16), (16, 16), (32, 32)], **options)
    method(student, teacher, batch.targets, (64, 64))
    for number in range(3):
        foreground, background = masks[number]
        assert foreground.sum() > 0
        shown = stacked(transfer, "attention", number, "foreground")
        assert np.array_equal(shown, foreground[:, 0])
        shown = stacked(transfer, "attention", number, "background")
        assert np.array_equal(shown, background[:, 0])
        for side, (spatial, channels) in zip(
            ("best", "teacher"), attentions[2 * number : 2 * number + 2], strict=True
        ):
            # the teacher is folded: equal but for rounding
            close = {"rtol": 1e-6 if side == "best" else 2e-3}
            shown = stacked(transfer, "attention", number, side)
            np.testing.assert_allclose(shown, spatial[:, 0], **close)
            shown = stacked(transfer, "attention", number, f"{side}_channels")
            np.testing.assert_allclose(shown, channels[..., 0, 0], **close)
        assert stacked(transfer, "attention", number, "best_difference").mean() > 0.01


def test_bckd_shows_how_its_loss_weighs_boxes(tmp_path, data, monkeypatch):
    folder = make_run(tmp_path / "run", data, {"bckd": {}})
    transfer = transferred(folder, IMAGES)
    batch, student = ask(folder, data)
    _, teacher = ask(folder.with_suffix(".safetensors"), data)
    weights = recorded(monkeypatch, bckd, "disagreement")
    bckd.BCKD([])(student, teacher, batch.targets, (64, 64))
    start = 0
    for level, cells in enumerate(LEVELS):
        stop = start + 3 * cells**2
        candidates = weights[0][:, start:stop].reshape(3, 3, cells, cells)  # image, anchor, y, x
        shown = stacked(transfer, "disagreement", level, "best")
        np.testing.assert_allclose(shown, candidates.amax(1), atol=1e-5)
        start = stop
    assert start == weights[0].shape[1]


def test_student_that_is_the_teacher(tmp_path, data):
    """Nothing is apart: no attention, no score, no box."""
    folder = make_run(tmp_path / "run", data, {"fgd": {}, "bckd": {}, "box": {}})
    teacher = tmp_path / "run.safetensors"
    shutil.copy(folder / "best.safetensors", teacher)
    transfer = transferred(folder, IMAGES)
    for image in transfer.images:
        assert [each.method for each in image.disagreement] == ["bckd"] * 3 + ["box"] * 3
        assert all(each.best.max() < 1e-4 for each in image.disagreement)
        assert all(each.best_difference.max() < 0.02 for each in image.attention)
        assert all(each.best.std() > 0.02 for each in image.attention)


def test_first_epoch(tmp_path, data):
    """The first student has maps of its own, of the same kind as the best one's."""
    methods = {"fgd": {}, "bckd": {}}
    folder = make_run(tmp_path / "run", data, methods, teacher=narrow_teacher(tmp_path), first=True)
    transfer = transferred(folder, IMAGES)
    shutil.copy(folder / FIRST, folder / "best.safetensors")
    swapped = transferred(folder, IMAGES)
    for image, other in zip(transfer.images, swapped.images, strict=True):
        for mine, best in zip(image.attention, other.attention, strict=True):
            assert np.array_equal(mine.first, best.best)
            assert np.array_equal(mine.first_channels, best.best_channels)
            assert np.array_equal(mine.first_difference, best.best_difference)
            assert not np.allclose(mine.first, mine.best)
        for mine, best in zip(image.disagreement, other.disagreement, strict=True):
            assert np.array_equal(mine.first, best.best)
            assert not np.allclose(mine.first, mine.best)


def test_box_and_methods_without_pictures(tmp_path, data):
    """Boxes are compared as that method does; what has no map is named."""
    folder = make_run(tmp_path / "run", data, {"box": {"overlap": "log_iou"}, "ld": {}, "cwd": {}})
    transfer = transferred(folder, IMAGES)
    assert transfer.skipped == (
        "ld: it compares distributions over the positions of sides, not scores",
    )
    assert [pair.method for pair in transfer.images[0].attention] == ["cwd"] * 3
    assert transfer.images[0].attention[0].foreground is None
    assert "boxes" in transfer.images[0].disagreement[0].quantity
    _, student = ask(folder, data)
    _, teacher = ask(folder.with_suffix(".safetensors"), data)
    scores = candidate_scores(teacher.predictions)
    for number, image in enumerate(transfer.images):
        boxes = student.predictions.xyxy[number], teacher.predictions.xyxy[number]
        apart = scores[number] * -box_iou(*boxes).diag().log()
        finest = apart[: 3 * 8 * 8].reshape(3, 8, 8).amax(0)
        np.testing.assert_allclose(image.disagreement[0].best, finest, atol=1e-5)


def test_teacher_that_sees_larger_images(tmp_path, data, monkeypatch):
    """Its maps are those of the images at twice the size; its detections are matched."""
    monkeypatch.setattr(candidate_matching, "MIN_SCORE", 0.0)  # an untrained teacher is not sure
    folder = make_run(
        tmp_path / "run",
        data,
        {"fgd": {}, "bckd": {}},
        teacher=narrow_teacher(tmp_path),
        teacher_scale=2.0,
        resize=True,
    )
    transfer = transferred(folder, IMAGES)
    large, _ = ask(folder, data, size=128)
    teacher = load_teacher(str(tmp_path / "teacher.safetensors"), torch.device("cpu"))
    taught = teacher(large.floating().images, predictions=True)
    spatial, _ = fgd.attention(fgd.standardise(taught.features[1]), 0.5)  # stride 16 / 2
    shown = stacked(transfer, "attention", 0, "teacher")
    np.testing.assert_allclose(shown, spatial[:, 0], rtol=1e-5)
    assert transfer.images[0].attention[0].layers == ("3", "4")
    assert transfer.images[0].attention[0].best.shape == (8, 8)
    _, student = ask(folder, data)
    known = comparable_predictions(student, in_student_frame(taught, 2.0))
    apart = bckd.disagreement(*map(class_scores, known))[:, : 3 * 8 * 8]
    shown = stacked(transfer, "disagreement", 0, "best")
    np.testing.assert_allclose(shown, apart.reshape(3, 3, 8, 8).amax(1), rtol=1e-5)
    assert (known[1].logits[..., 0] > candidate_matching.BACKGROUND_LOGIT).sum() > 0


def test_files_that_are_gone(tmp_path, data):
    folder = make_run(tmp_path / "run", data, {"fgd": {}})
    folder.with_suffix(".safetensors").rename(tmp_path / "elsewhere.safetensors")
    with pytest.raises(UserError, match=r"run\.safetensors"):
        transferred(folder, IMAGES)
    (folder / "best.safetensors").unlink()
    with pytest.raises(UserError, match=r"best\.safetensors"):
        transferred(folder, IMAGES)


# --- which images ---------------------------------------------------------------------------------


def make_index(counts):
    """Images of 400 px with so many objects of one class in a row."""
    column = np.concatenate([np.arange(count) for count in counts])
    corner = np.stack([column * 30.0, np.full(len(column), 40.0)], 1)
    return DatasetIndex.from_columns(
        names=("thing", "absent"),
        root=Path("/nowhere"),
        source="made up",
        split="val",
        paths=[Path(f"/nowhere/{number}.png") for number in range(len(counts))],
        sizes=np.full((len(counts), 2), 400, np.int32),
        file_sizes=np.zeros(len(counts), np.int64),
        boxes=np.concatenate([corner, corner + 20], 1).astype(np.float32),
        labels=np.zeros(len(column), np.int64),
        counts=np.array(counts),
    )


def detections(index, found, false=(), score=0.9):
    """The first objects of each image, and so many false ones."""
    rows = []
    for image, (item, count) in enumerate(zip(index, found, strict=True)):
        rows += [[image, x, y, 20, 20, score, 0] for x, y, *_ in item.xyxy[:count].tolist()]
    for image, count in enumerate(false):
        rows += [[image, 40 * n, 200, 20, 20, score, 0] for n in range(count)]
    return np.array(rows, np.float64).reshape(-1, 7)


def test_quality_is_f1_of_each_image():
    index = make_index([4, 2, 0, 0, 1])
    table = detections(index, [3, 2, 0, 0, 0], false=[1, 0, 0, 2, 0])
    weak = detections(index, [4, 0, 0, 0, 1], score=CONF)  # not above the threshold
    quality = image_quality(index, np.concatenate([table, weak]))
    assert quality.tolist() == [2 * 3 / (4 + 4), 1, 1, 0, 0]
    shifted = table.copy()
    shifted[:, 1] += 4  # IoU 16 / 24
    assert np.array_equal(image_quality(index, shifted), quality)
    shifted[:, 1] += 4  # IoU 12 / 28
    assert image_quality(index, shifted).tolist() == [0, 0, 1, 0, 0]
    assert image_quality(index, np.zeros((0, 7))).tolist() == [0, 0, 1, 1, 0]


def test_six_images_by_the_rule():
    index = make_index([4, 4, 4, 4, 4, 4, 9, 1])
    before = detections(index, [0, 4, 2, 2, 2, 2, 9, 1])
    after = detections(index, [4, 0, 3, 2, 1, 2, 8, 1])
    chosen = choose_images(index, after, before)
    assert [(each.position, each.reason) for each in chosen] == [
        (0, "largest gain"),
        (1, "largest loss"),
        (3, "in the middle"),
        (5, "in the middle"),
        (6, "most objects"),
        (7, "fewest objects"),
    ]
    assert (chosen[0].quality, chosen[0].baseline_quality) == (1, 0)
    assert (chosen[1].quality, chosen[1].baseline_quality) == (0, 1)


def test_six_images_of_a_run_alone():
    index = make_index([4, 4, 4, 4, 4, 4, 9, 1])
    chosen = choose_images(index, detections(index, [3, 4, 0, 2, 1, 2, 6, 0]))
    assert [(each.position, each.reason) for each in chosen] == [
        (1, "best found"),
        (2, "worst found"),
        (3, "in the middle"),
        (5, "in the middle"),
        (6, "most objects"),
        (7, "fewest objects"),
    ]
    assert {each.baseline_quality for each in chosen} == {None}


@pytest.mark.parametrize("count", range(7))
def test_few_images_are_all_chosen(count):
    """Equal images: by position, each once, whatever they would also be."""
    index = make_index([2] * count) if count else make_index([2]).subset([])
    table = detections(index, [1] * count)
    chosen = choose_images(index, table, table)
    assert sorted(each.position for each in chosen) == list(range(count))
    assert [each.reason for each in chosen[:2]] == ["unchanged"] * min(count, 2)


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        ([0, 0, 0], [2, 1, 1], ["largest gain", "smallest gain", "in the middle"]),
        ([2, 2, 2], [1, 0, 0], ["smallest loss", "largest loss", "in the middle"]),
    ],
)
def test_reasons_are_true(before, after, reasons):
    """Nothing is called a gain that is a loss."""
    index = make_index([2, 2, 2])
    chosen = choose_images(index, detections(index, after), detections(index, before))
    assert [each.reason for each in chosen] == reasons
