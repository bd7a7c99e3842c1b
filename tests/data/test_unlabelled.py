"""Labelled images and images without labels in one loader."""

import pytest
import torch

from tests.data.write_dataset import make_scenes
from tutelage.config.schema import AugmentConfig
from tutelage.data import open_dataset, open_images, training_loader
from tutelage.data.unlabelled import MixedBatches
from tutelage.errors import DataError

PLAIN = AugmentConfig(mosaic=0.5)


@pytest.fixture
def both(tmp_path):
    index = open_dataset(make_scenes(tmp_path / "a", 5, ((64, 48),)), "train")
    make_scenes(tmp_path / "b", 3, ((48, 64),))
    return index, open_images(tmp_path / "b", index.names)


def loader(index, others, **options):
    return training_loader(
        index,
        image_size=64,
        batch=2,
        augment=PLAIN,
        seed=0,
        workers=0,
        cache=False,
        cache_gib=1.0,
        unlabelled=others,
        extra=1,
        **options,
    )


def test_labels_of_the_folder_are_not_used(both):
    _, others = both
    assert len(others) > 0
    assert len(others.boxes) == 0
    assert others.names == both[0].names


def test_every_batch_has_some_and_every_labelled_image_comes_once(both):
    index, others = both
    made = loader(index, others)
    n = len(index)
    seen = []
    for batch in made:
        known = batch.ids < n
        assert known.tolist() == sorted(known.tolist(), reverse=True)  # labelled ones first
        assert int((~known).sum()) == 1
        assert set(batch.targets.image.tolist()) <= set(torch.where(known)[0].tolist())
        seen += batch.ids[known].tolist()
    assert sorted(seen) == list(range(n))
    assert len(made) == -(-n // 2)


def test_epochs_differ_and_repeat(both):
    index, others = both

    def ids(epoch):
        made = loader(index, others)
        made.batch_sampler.set_epoch(epoch)
        return [batch.ids.tolist() for batch in made]

    assert ids(0) == ids(0)
    assert ids(0) != ids(1)


def test_few_images_go_round_augmented_anew():
    keys = [key for batch in MixedBatches(8, 2, batch=4, extra=3) for key in batch]
    extra = [key for key in keys if key.index >= 8]
    assert len(keys) == 14
    assert len(MixedBatches(8, 2, batch=4, extra=3)) == 2
    assert sorted(key.index for key in extra) == [8, 8, 8, 9, 9, 9]
    assert len(set(extra)) == 6
    after = MixedBatches(8, 2, batch=4, extra=3)
    after.set_epoch(1)
    assert not set(extra) & {key for batch in after for key in batch if key.index >= 8}


def test_a_folder_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="is no folder of images"):
        open_images(tmp_path / "none", ["a"])
    with pytest.raises(DataError, match="holds no image"):
        open_images(tmp_path, ["a"])
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="None of the 1 images"):
        open_images(tmp_path, ["a"])


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_a_batch(processes):
    """Labelled images stay before the others in each part, also in the last, shorter batch."""
    whole = list(MixedBatches(10, 3, batch=4, extra=3))
    parts = [
        list(MixedBatches(10, 3, batch=4, extra=3, share=(mine, processes)))
        for mine in range(processes)
    ]
    for number, batch in enumerate(whole):
        together = [key for part in parts for key in part[number]]
        assert {key.index for key in together} == {key.index for key in batch}
        extra = [key for key in together if key.index >= 10]
        assert sorted(extra, key=str) == sorted(batch[-3:], key=str)
        for part in parts:
            known = [key.index < 10 for key in part[number]]
            assert known == sorted(known, reverse=True)
            assert known[0]
