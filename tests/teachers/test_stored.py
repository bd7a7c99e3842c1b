"""Teachers that are asked once about each view."""

import errno

import numpy as np
import pytest
import torch

from tests.data.write_dataset import make_scenes
from tutelage.config.schema import AugmentConfig
from tutelage.data import open_splits, training_loader
from tutelage.data.envelope import join, split
from tutelage.data.loader import Stores, collate
from tutelage.data.sampler import SampleKey, Views
from tutelage.errors import TeacherError
from tutelage.store import make_store, shard
from tutelage.store import records as record_files
from tutelage.store.folder import remove_store
from tutelage.structures import Knowledge, Predictions, Tap
from tutelage.teachers import Teachers
from tutelage.teachers.feature_records import FeatureFormat
from tutelage.teachers.response_records import ResponseFormat
from tutelage.teachers.stored import Memory, StoredTeachers, ViewStore, flipped_images

TAP = Tap("p4", 2, 16)
IMAGES, VIEWS = 10, 2


class FakeTeacher:
    """Its answers depend on the pixels alone."""

    title, names, taps, stride, record = "fake", ("0", "1"), (TAP,), 32, {"source": "fake"}

    def __init__(self):
        self.asked = []

    def __call__(self, images, *, predictions=False):
        self.asked.append(len(images))
        means = torch.nn.functional.avg_pool2d(images, 16)
        n = means[0, 0].numel()
        if not predictions:
            return Knowledge((means[:, :2],))
        found = Predictions(
            xyxy=torch.cat((means[:, :2], means[:, 1:] + 1), 1).flatten(2).transpose(1, 2) * 20,
            logits=means[:, :2].flatten(2).transpose(1, 2),
            objectness=means[:, 0].flatten(1) * 4 - 2,
            level=torch.zeros(n, dtype=torch.int64),
            grids=(tuple(means.shape[-2:]),),
        )
        return Knowledge((means[:, :2],), found, head=lambda features: found)

    def state(self):
        return iter(())


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = make_scenes(tmp_path_factory.mktemp("scenes"), IMAGES)
    return open_splits(str(folder), "train", "val")[0]


@pytest.fixture
def stored(tmp_path, index):
    """Return a function that makes teachers on the stores of a folder, and their loader."""

    def make(
        folder=tmp_path, *, budget=1e9, views=VIEWS, online=(), image_size=64, flips=False, seed=0
    ):
        teacher = FakeTeacher()
        form = ResponseFormat.of(
            teacher(torch.zeros(1, 3, 64, 64), predictions=True).predictions, (64, 64)
        )
        teacher.asked.clear()

        def store(name):
            return ViewStore(
                folder / name, len(index), lambda: (folder / name).mkdir(exist_ok=True), budget
            )

        if flips:
            form = form._replace(dense=False)
        memories = [Memory(0, form, store("responses"))]
        if not flips:
            memories.append(Memory(0, FeatureFormat((TAP,)), store("features")))
        loader = training_loader(
            index, image_size=image_size, batch=4, seed=seed, workers=0, cache=False, cache_gib=1.0,
            augment=AugmentConfig(flipud=0.5), views=Views(views, flips=flips),
            stores=Stores(tuple(each.labelled.reader for each in memories)),
        )  # fmt: skip
        return StoredTeachers(Teachers([teacher], [True]), memories, online), loader, teacher

    return make


def epoch(teachers, loader, number):
    loader.batch_sampler.set_epoch(number)
    return [teachers(batch.floating())[0] for batch in loader]


def equal(one, other):
    pairs = zip(one, other, strict=True)
    return all(
        torch.equal(a.features[0], b.features[0])
        and torch.equal(a.predictions.xyxy, b.predictions.xyxy)
        and torch.equal(a.predictions.logits, b.predictions.logits)
        for a, b in pairs
    )


def complete(teachers, loader, *views, images=slice(None)):
    mask = np.zeros(len(loader.dataset), bool)
    mask[images] = True
    return teachers.complete([dict.fromkeys(views, mask)])


def test_each_view_is_asked_about_once(stored):
    teachers, loader, teacher = stored()
    first = epoch(teachers, loader, 0)
    assert sum(teacher.asked) == len(loader.dataset)
    epoch(teachers, loader, 1)
    assert sum(teacher.asked) == VIEWS * len(loader.dataset)
    again = epoch(teachers, loader, 2)
    assert sum(teacher.asked) == VIEWS * len(loader.dataset)
    assert len(again) == len(first)
    assert complete(teachers, loader, *range(VIEWS))
    assert not complete(teachers, loader, VIEWS)
    assert complete(teachers, loader, VIEWS, images=slice(0))  # none of these is shown


def test_a_fresh_answer_has_the_bits_of_a_stored_one(stored):
    teachers, loader, _ = stored()
    fresh = epoch(teachers, loader, 0)
    other, loader, teacher = stored()  # as another process, or the same run after a kill
    assert equal(epoch(other, loader, 0), fresh)
    assert not teacher.asked


def test_answers_of_other_processes_count(stored):
    teachers, loader, _ = stored()
    assert not complete(teachers, loader, 0)
    epoch(*stored()[:2], 0)
    assert complete(teachers, loader, 0)


def test_the_share_of_the_batches_about_which_it_is_asked(stored):
    teachers, loader, _ = stored()
    epoch(teachers, loader, 0)
    assert (teachers.asked_share, teachers.take_cost()["asked"]) == (1, 1)
    epoch(teachers, loader, 0)
    assert (teachers.asked_share, teachers.take_cost()["asked"]) == (0, 0)


def test_a_store_that_is_written_to_is_not_removed(tmp_path):
    folder = make_store(tmp_path, "t", "responses", {}).path
    store = ViewStore(folder, 1, lambda: None)
    store.append([(0, 0, b"said")])
    with pytest.raises(TeacherError, match="Another process is writing"):
        remove_store(folder)
    store.close()
    assert remove_store(folder) == []


def test_a_batch_is_asked_about_as_a_whole(stored):
    teachers, loader, teacher = stored()
    loader.batch_sampler.set_epoch(0)
    batches = list(loader)
    teachers(batches[0].floating())
    mixed = batches[1]._replace(
        images=torch.cat((batches[0].images[:2], batches[1].images[2:])),
        ids=torch.cat((batches[0].ids[:2], batches[1].ids[2:])),
        replay=batches[1].replay._replace(
            thumbnail=torch.cat((batches[0].replay.thumbnail[:2], batches[1].replay.thumbnail[2:]))
        ),
    )
    teachers(mixed.floating())
    assert teacher.asked == [4, 4]
    for memory in teachers.memories:
        memory.labelled.reader.refresh()
        assert memory.labelled.reader.count() == 6
        (path,) = memory.labelled.folder.glob("*.index")
        assert len(shard.read_rows(path, 0)[0]) == 6  # nothing is written twice


def test_an_image_in_the_place_of_another_is_no_view(stored):
    teachers, loader, teacher = stored()
    epoch(teachers, loader, 0)
    loader.batch_sampler.set_epoch(0)
    batch, before = next(iter(loader)), len(teacher.asked)
    view = batch.replay.view.clone()
    view[0] = -1  # as of an image that is shown for one that cannot be read
    lacking = tuple(join([None, *list(split(records))[1:]]) for records in batch.replay.records)
    batch = batch._replace(replay=batch.replay._replace(view=view, records=lacking))
    teachers(batch.floating())
    assert len(teacher.asked) == before + 1
    for memory in teachers.memories:
        (path,) = memory.labelled.folder.glob("*.index")
        assert len(shard.read_rows(path, 0)[0]) == IMAGES


def test_other_pixels_are_asked_about(stored):
    teachers, loader, _ = stored()
    epoch(teachers, loader, 0)
    other, loader, teacher = stored()
    loader.batch_sampler.set_epoch(0)
    batch = next(iter(loader))
    darker = batch.replay.thumbnail // 2
    empty = tuple(each._replace(length=torch.full((4,), -1)) for each in batch.replay.records)
    other(batch._replace(replay=batch.replay._replace(thumbnail=darker, records=empty)).floating())
    assert teacher.asked == [4]


def test_a_flipped_bit_is_asked_about_again(stored, tmp_path):
    teachers, loader, _ = stored()
    fresh = epoch(teachers, loader, 0)
    teachers.close()
    (path,) = (tmp_path / "responses").glob("*.records")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    other, loader, teacher = stored()
    assert equal(epoch(other, loader, 0), fresh)
    assert teacher.asked == [4]
    assert equal(epoch(other, loader, 0), fresh)
    assert teacher.asked == [4]  # the new record counts


def test_a_full_disk_ends_in_asking(stored, monkeypatch):
    teachers, loader, teacher = stored()
    expected = epoch(*stored()[:2], 1)

    def full(self, *args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record_files.RecordWriter, "append", full)
    fresh = epoch(teachers, loader, 0)
    assert len(teachers.troubles) == 2
    assert set(teachers.troubles.values()) == {"No space left on device"}
    before = len(teacher.asked)
    assert equal(epoch(teachers, loader, 0), fresh)
    assert len(teacher.asked) > before
    assert equal(epoch(teachers, loader, 1), expected)


def test_a_budget_ends_the_writing(stored):
    teachers, loader, _ = stored(budget=1500)
    epoch(teachers, loader, 0)
    assert "store_gib" in "".join(teachers.troubles.values())
    assert not complete(teachers, loader, 0)


def test_what_needs_the_teacher_itself_is_always_asked(stored, tmp_path):
    epoch(*stored()[:2], 0)  # all answers are there
    teachers, loader, teacher = stored(online=(0,))
    for number in (0, 0):
        found = epoch(teachers, loader, number)
        assert all(each.head is not None for each in found)
    assert sum(teacher.asked) == 2 * len(loader.dataset)
    assert not complete(teachers, loader, 0)
    (tmp_path / "empty").mkdir()
    teachers, loader, _ = stored(tmp_path / "empty", online=(0,))
    epoch(teachers, loader, 0)
    assert not list((tmp_path / "empty").iterdir())  # nothing of it is stored


def test_only_what_is_wanted(stored):
    teachers, loader, teacher = stored()
    batch = next(iter(loader)).floating()
    (found,) = teachers(batch, {0: False})
    assert found.predictions is None
    assert teachers(batch, {}) == (Knowledge(()),)
    assert len(teacher.asked) == 1
    assert teachers.memories[0].labelled.reader.count() == 0


def test_without_views_it_is_a_plain_teacher(stored):
    teachers, loader, _ = stored()
    batch = next(iter(loader)).floating()._replace(replay=None)
    assert teachers(batch)[0].head is not None


def test_a_released_teacher_is_loaded_if_an_answer_is_lost(stored, tmp_path):
    teachers, loader, teacher = stored()
    fresh = epoch(teachers, loader, 0)
    loaded = []
    teachers.release(lambda number: loaded.append(number) or teacher)
    assert equal(epoch(teachers, loader, 0), fresh)
    assert not loaded
    (path,) = (tmp_path / "features").glob("*.records")
    path.write_bytes(b"")
    other, loader, _ = stored()
    other.release(lambda number: loaded.append(number) or teacher)
    assert equal(epoch(other, loader, 0), fresh)
    assert loaded == [0]


def test_images_without_labels_have_a_store_of_their_own(stored, tmp_path, index):
    teachers, loader, teacher = stored()
    first = 4  # as if the images from 4 on had no labels
    more = [
        ViewStore(tmp_path / f"more{n}", len(index), (tmp_path / f"more{n}").mkdir)
        for n in range(2)
    ]
    for memory, store in zip(teachers.memories, more, strict=True):
        memory.unlabelled = store
    split = StoredTeachers(Teachers([teacher], [True]), teachers.memories, (), first)
    epoch(split, loader, 0)
    rest = len(index) - first
    for memory in teachers.memories:
        for store, count in zip(memory.stores, (first, rest), strict=True):
            store.reader.refresh()
            present = store.reader.present(0).tolist()
            assert present == [True] * count + [False] * (len(index) - count)


def test_flips_need_no_other_answers(stored, tmp_path):
    teachers, loader, teacher = stored(flips=True)
    answers = {}
    for number in range(2 * VIEWS):
        loader.batch_sampler.set_epoch(number)
        for batch in loader:
            (found,) = teachers(batch.floating(), {0: True})
            asked = FakeTeacher()(batch.floating().images, predictions=True).predictions
            torch.testing.assert_close(  # flipped with the picture, this teacher's answers are
                found.predictions.objectness, asked.objectness, atol=2e-2, rtol=0
            )
            for place, image in enumerate(batch.ids.tolist()):
                flips = batch.replay.flips
                flip = (False, False) if flips is None else tuple(flips[place].tolist())
                score = found.predictions.objectness[place].view(4, 4)
                axes = [axis for axis, flipped in zip((1, 0), flip, strict=True) if flipped]
                answers.setdefault((image, number % VIEWS), {})[flip] = score.flip(axes)
    assert sum(teacher.asked) == VIEWS * IMAGES
    assert len({flip for each in answers.values() for flip in each}) == 4
    assert any(len(each) > 1 for each in answers.values())
    for each in answers.values():  # the answers about a view are those of all its flips
        first, *others = each.values()
        assert all(torch.equal(first, other) for other in others)
    other, loader, teacher = stored(flips=True, seed=5)  # other flips, the same views
    for batch in loader:
        other(batch.floating(), {0: True})
    assert not teacher.asked


def test_teachers_are_asked_about_views_without_flips(stored):
    flipping, straight = (stored(flips=True)[1].dataset for _ in range(2))
    straight.views = straight.views._replace(flips=False)
    key = SampleKey(1, 3)
    assert any(flipping[SampleKey(e, i)].flips != (False, False) for e in (0, 2) for i in range(9))
    batches = [collate([dataset[key]]).floating() for dataset in (flipping, straight)]
    flips = torch.tensor([flipping[key].flips])
    assert torch.equal(flipped_images(batches[0].images, flips), batches[1].images)
