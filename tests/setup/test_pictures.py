"""Which views of which images a run shows its teachers."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from tests.data.write_dataset import make_scenes
from tests.run.small_runs import make_data, make_teacher, settings
from tutelage.config.schema import Config
from tutelage.data.sampler import Views
from tutelage.setup.build import build_run
from tutelage.setup.pictures import pictures_shown

EPOCHS = 7


@pytest.mark.parametrize(("ratio", "stop"), [(0.13, None), (2.0, None), (0.4, 3)])
def test_they_are_those_of_the_batches(tmp_path, ratio, stop) -> None:
    make_scenes(tmp_path / "more", 5)
    config = settings(
        make_data(tmp_path / "data"),
        tmp_path,
        distill={
            "teacher": make_teacher(tmp_path / "t.safetensors"),
            "images": str(tmp_path / "more"),
            "images_ratio": ratio,
            "views": 2,
            "stop_epoch": stop,
            "warmup_epochs": 0,
        },
        train={"epochs": EPOCHS, "batch": 8, "seed": 3},
        augment={"close_mosaic": 2},
    )
    parts = build_run(config, keep_threads=True)
    dataset, first = parts.loader.dataset, len(parts.train)
    shown = defaultdict(set)
    for epoch in range(stop or EPOCHS):
        parts.loader.batch_sampler.set_epoch(epoch)
        for batch in parts.loader.batch_sampler:
            for key in batch:
                part = dataset.labelled if key.index < first else dataset.unlabelled
                view = part.views.number(key.epoch, closed=key.epoch >= part.close_from)
                shown[key.index < first].add((view, key.index - first * (key.index >= first)))
    pictures = pictures_shown(config, parts.teaching.views, (first, 5))
    for part, masks in ((True, pictures.labelled), (False, pictures.unlabelled)):
        found = {(view, int(i)) for view, mask in masks.items() for i in np.flatnonzero(mask)}
        assert found == shown[part]
        assert list(masks) == sorted(masks)
    assert pictures.total == len(shown[True]) + len(shown[False])
    if ratio == 0.13:  # one image in each epoch
        assert len(shown[False]) < 5 * len(pictures.unlabelled)


def test_teaching_that_stops_early() -> None:
    def views(**distill):
        config = Config.model_validate(
            {
                "train": {"epochs": 40, "batch": 4},
                "augment": {"close_mosaic": 10},
                "distill": {"teacher": "t", **distill},
            }
        )
        return [view & 0xFFFF for view in pictures_shown(config, Views(4), (8, 0)).labelled]

    assert views() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert views(stop_epoch=30) == [0, 1, 2, 3]
    assert views(stop_epoch=2) == [0, 1]
    methods = [{"name": "fgd", "stop_epoch": 3}, {"name": "cwd"}]
    assert views(stop_epoch=1, methods=methods) == [0, 1, 2]
    assert pictures_shown(Config(), None, (8, 0)).total == 0
