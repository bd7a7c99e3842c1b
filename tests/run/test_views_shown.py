"""Which views a run shows."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.data.write_dataset import make_scenes
from tests.run.small_runs import make_data, make_teacher, settings
from tutelage.run.stored_answers import unlabelled_views_shown, views_shown
from tutelage.setup.build import build_run


@pytest.mark.parametrize("ratio", [0.4, 2.0])
def test_they_are_those_of_the_batches(tmp_path, ratio) -> None:
    make_scenes(tmp_path / "more", 5)
    teacher = make_teacher(tmp_path / "t.safetensors")
    config = settings(
        make_data(tmp_path / "data"),
        tmp_path,
        distill={
            "teacher": teacher,
            "images": str(tmp_path / "more"),
            "images_ratio": ratio,
            "views": 2,
        },
        train={"epochs": 7},
        augment={"close_mosaic": 2},
    )
    parts = build_run(config, keep_threads=True)
    dataset, first = parts.loader.dataset, len(parts.train)
    shown = defaultdict(set)
    for epoch in range(7):
        parts.loader.batch_sampler.set_epoch(epoch)
        for batch in parts.loader.batch_sampler:
            for key in batch:
                part = dataset.labelled if key.index < first else dataset.unlabelled
                shown[key.index < first].add(
                    part.views.number(key.epoch, closed=key.epoch >= part.close_from)
                )
    assert views_shown(parts) == sorted(shown[True])
    assert unlabelled_views_shown(parts) == sorted(shown[False])
