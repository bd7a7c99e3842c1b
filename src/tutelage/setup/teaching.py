"""The views of a run, and the stores of what its teachers say about them."""

from __future__ import annotations

import os
from typing import NamedTuple

from accelerate import Accelerator

from tutelage.config.schema import Config, DistillConfig
from tutelage.data import DatasetIndex
from tutelage.data.dataset import DetectionDataset
from tutelage.data.enlarge import EnlargedViews
from tutelage.data.loader import Stores
from tutelage.data.sampler import Views
from tutelage.data.unlabelled import MixedDataset
from tutelage.setup.distillation import DistillationSetup
from tutelage.setup.distributed import from_main_process
from tutelage.setup.stores import bytes_lacking, fit_views, open_stores, store_root
from tutelage.setup.views import Formats, bytes_per_view, choose_flips, choose_formats, plan_views
from tutelage.teachers.stored import StoredTeachers

Images = tuple[DatasetIndex, DatasetIndex | None]
"""The training images, and those without labels."""


class Teaching(NamedTuple):
    """When the teachers of a run are asked.

    Attributes:
        distillation: The teachers with their stores; None without a teacher.
        views: The views of the images; None: a new version in every epoch.
        formats: What is stored of the teachers.
        readers: Of the stores, for the loader.
        view_bytes: About how much is stored per image and view.
        reason: Why there are no views, or fewer than wanted; empty if nothing is in the way.
        notes: What was found in the folder of the stores.
    """

    distillation: DistillationSetup | None
    views: Views | None
    formats: Formats = Formats((), ())
    readers: Stores = Stores()
    view_bytes: int = 0
    reason: str = ""
    notes: tuple[str, ...] = ()

    def enlarge(
        self, config: Config, dataset: DetectionDataset | MixedDataset
    ) -> DistillationSetup | None:
        """Return the teachers, which see larger views of the data set if the settings say so."""
        zoom = config.distill.teacher_scale
        if self.distillation is None or zoom == 1:
            return self.distillation
        teachers = self.distillation.teachers
        if not isinstance(teachers, StoredTeachers):
            every = tuple(range(len(teachers.teachers)))
            teachers = StoredTeachers(teachers, (), every)
        larger = EnlargedViews(dataset, zoom, threads=os.cpu_count() or 1)
        return self.distillation._replace(teachers=teachers.seeing(larger))


def plan_teaching(
    config: Config,
    distillation: DistillationSetup | None,
    images: Images,
    accelerator: Accelerator,
    *,
    stores: bool,
    view_count: int | None,
    flips: bool | None = None,
) -> Teaching:
    """Choose the views, and open the stores.

    Args:
        config: All settings.
        distillation: The teachers; None without.
        images: What they are shown.
        accelerator: Joins the processes.
        stores: Read and write stores.
        view_count: The views per image of a resumed run, 0 for none; None: choose.
        flips: Whether a resumed run flips its views anew; None: choose.

    Raises:
        ConfigError: The settings contradict each other, or there is no room.
        TeacherError: A store cannot be used.
    """
    methods = distillation.methods if distillation else None
    views, reason = plan_views(config, methods)
    if view_count is not None:
        views = Views(view_count, config.distill.view_seed) if view_count else None
    if views is not None and distillation is None:
        views = views._replace(flips=choose_flips(config, None) if flips is None else flips)
    if views is None or distillation is None or not stores:
        return Teaching(distillation, views, reason=reason)
    formats = choose_formats(config, distillation, accelerator.device)
    if store_root(config) is None:
        formats = Formats((), tuple(range(len(distillation.records))))
    views = views._replace(flips=choose_flips(config, formats) if flips is None else flips)
    size = bytes_per_view(formats, config.train.image_size)
    if view_count is None:
        wanted = views
        lacking = bytes_lacking(config, distillation, formats, images, views.flips)
        # once for all processes: others may fill the disk or the stores meanwhile
        views, reason = from_main_process(accelerator, lambda: fit_views(config, wanted, lacking))
    if views is None:
        return Teaching(distillation, views, reason=reason)
    with accelerator.local_main_process_first():
        opened = open_stores(config, distillation, formats, views, images)
    return Teaching(
        distillation._replace(teachers=opened.teachers),
        views,
        formats,
        opened.readers,
        size,
        reason,
        opened.notes,
    )


def without_effect(config: Config) -> list[str]:
    """Tell which settings of teaching have no effect, as there is no teacher."""
    distill = config.distill
    if distill.teacher:
        return []
    without = "without --teacher-weights"
    notes = []
    if distill.student_kd_layers or distill.teacher_kd_layers:
        notes.append(f"student_kd_layers/teacher_kd_layers have no effect {without}")
    if distill.methods != DistillConfig().methods:
        notes.append(f"distill.methods (--method) has no effect {without}")
    if distill.images is not None:
        notes.append(f"distill.images has no effect {without}")
    if distill.every > 1:
        notes.append(f"distill.every has no effect {without}")
    if distill.teacher_runtime != "torch":
        notes.append(f"distill.teacher_runtime has no effect {without}")
    return notes
