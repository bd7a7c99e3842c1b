"""How many views each image has, and where the teachers' answers about them are stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from tutelage.config.schema import Config
from tutelage.data.sampler import Views
from tutelage.distill import Method, Need
from tutelage.errors import ConfigError
from tutelage.setup.distillation import DistillationSetup
from tutelage.structures import Tap
from tutelage.teachers import Teacher
from tutelage.teachers.feature_records import FeatureFormat
from tutelage.teachers.recorded import RecordedTeacher
from tutelage.teachers.response_records import ResponseFormat
from tutelage.teachers.scale import in_student_frame

LEAST_VIEWS, EPOCHS_PER_VIEW = 4, 15
"""Of ``distill.views: auto``."""


class ViewPlan(NamedTuple):
    """The views of a run.

    Attributes:
        views: None: a new version of each image in every epoch.
        reason: Why there are none, for the plan.
    """

    views: Views | None
    reason: str = ""


def plan_views(config: Config, methods: Mapping[str, Method] | None) -> ViewPlan:
    """Return the views of a run.

    Args:
        config: All settings.
        methods: Its methods; None without a teacher.

    Raises:
        ConfigError: The settings contradict each other.
    """
    distill, epochs = config.distill, config.train.epochs
    if distill.views == "off" and distill.teacher_scale > 1 and methods is not None:
        raise ConfigError(
            "distill.teacher_scale draws each view once more, larger, but distill.views is off.",
            fix="Leave out one of the two.",
            code="C32",
        )
    if distill.views == "off":
        return ViewPlan(None, "distill.views is off")
    if distill.every > 1 and isinstance(distill.views, int) and methods is not None:
        raise ConfigError(
            f"distill.views={distill.views} asks the teacher once about each view, distill.every="
            f"{distill.every} leaves steps without it: together they only take teaching away.",
            fix="Leave out distill.every: the views save more.",
            code="C32",
        )
    mixed = config.train.multi_scale and distill.images is not None
    if distill.views == "auto":
        if methods is None:
            return ViewPlan(None)
        live = [name for name, method in methods.items() if never_stored(method)]
        if live and distill.teacher_scale == 1:
            return ViewPlan(None, f"{', '.join(live)} runs layers of the teacher in every step")
        if distill.every > 1:
            return ViewPlan(None, f"distill.every is {distill.every}")
        if mixed:
            return ViewPlan(None, "images without labels at changing sizes")
        return ViewPlan(Views(auto_views(epochs), distill.view_seed))
    if distill.views > epochs:
        raise ConfigError(
            f"distill.views={distill.views}, but the run has {epochs} epochs: none would recur.",
            fix=f"--set distill.views={max(epochs // 4, 1)}  or leave it out.",
            code="C32",
        )
    if mixed:
        raise ConfigError(
            "distill.views needs one size per view, but train.multi_scale gives each batch a size "
            "and images without labels share the batches of others.",
            fix="Drop --multi-scale, or  --set distill.views=off",
            code="C32",
        )
    return ViewPlan(Views(distill.views, distill.view_seed))


def auto_views(epochs: int) -> int:
    """Return the views that ``auto`` gives a run: more in a longer one, at about the same cost."""
    return min(max(LEAST_VIEWS, epochs // EPOCHS_PER_VIEW), epochs)


def taught_epochs(config: Config) -> int:
    """Return in how many epochs, from the first on, any method has a weight."""
    distill, epochs = config.distill, config.train.epochs
    stops = [distill.stop_epoch if m.stop_epoch is None else m.stop_epoch for m in distill.methods]
    return max((epochs if stop is None else stop for stop in stops), default=epochs)


def views_taught(config: Config, views: Views) -> list[int]:
    """Return the numbers of the views about which a run needs to know what its teachers say."""
    close_from = config.train.epochs - config.augment.close_mosaic
    closing = config.augment.close_mosaic > 0
    return sorted(
        {
            views.number(epoch, closed=closing and epoch >= close_from)
            for epoch in range(taught_epochs(config))
        }
    )


def never_stored(method: Method) -> bool:
    """Whether a method needs more of a teacher than can be stored."""
    return Need.PREDICTIONS in method.needs and method.from_store == "never"


class Formats(NamedTuple):
    """How the knowledge of the teachers is stored.

    Attributes:
        stored: The number of a teacher, and how a part of its knowledge is stored.
        online: Numbers of the teachers that are asked in every step.
    """

    stored: tuple[tuple[int, ResponseFormat | FeatureFormat], ...]
    online: tuple[int, ...]


def choose_formats(
    config: Config, distillation: DistillationSetup, device: torch.device
) -> Formats:
    """Return how what the methods read of each teacher is stored."""
    stored: list[tuple[int, ResponseFormat | FeatureFormat]] = []
    online: list[int] = []
    for number, predicts in distillation.teachers.all_wanted().items():
        methods = {
            name: method
            for name, method in distillation.methods.items()
            if distillation.bindings[name].teacher == number
        }
        taps = _feature_taps(distillation, methods)
        off = taps and config.distill.store_features == "off"
        if off or any(never_stored(method) for method in methods.values()):
            online.append(number)
            continue
        if predicts:
            dense = any(
                Need.PREDICTIONS in method.needs and method.from_store == "all"
                for method in methods.values()
            )
            distributions = any(Need.DISTRIBUTIONS in method.needs for method in methods.values())
            teacher = distillation.teachers.teachers[number]
            form = response_format(teacher, config, device)
            form = form._replace(
                dense=dense, box_raw=dense and form.box_raw, bins=form.bins if distributions else 0
            )
            stored.append((number, form))
        if taps and config.distill.store_features != "off":
            zoom, precision = config.distill.teacher_scale, config.distill.store_features
            stored.append((number, FeatureFormat(taps, precision, zoom)))
    return Formats(tuple(stored), tuple(online))


def choose_flips(config: Config, formats: Formats | None) -> bool:
    """Return whether the views are flipped anew in every epoch.

    What is stored has to be flipped with them. That is right for predictions alone: the maps of a
    mirrored image are not the mirrored maps (on a trained YOLOv7-tiny their cosine is 0.87).

    Args:
        config: All settings.
        formats: How the teachers' knowledge is stored; None: there is no teacher.

    Raises:
        ConfigError: That is asked for, but more than predictions is stored, or nothing.
    """
    setting, augment = config.distill.flips, config.augment
    if setting == "view" or not (augment.fliplr or augment.flipud):
        return False
    possible = formats is None or (
        not formats.online
        and all(isinstance(f, ResponseFormat) and not f.dense for _, f in formats.stored)
    )
    if setting == "fresh" and not possible:
        raise ConfigError(
            "distill.flips=fresh flips stored predictions with each view, but these methods need "
            "more than the teacher's detections.",
            fix="Leave it out: flips are a part of each view then.",
            code="C32",
        )
    return possible


def response_format(teacher: Teacher, config: Config, device: torch.device) -> ResponseFormat:
    """Return how all predictions of a teacher are stored; asks it about one grey image."""
    if isinstance(teacher, RecordedTeacher) and teacher.responses is not None:
        return teacher.responses
    size, zoom = config.train.image_size, config.distill.teacher_scale
    side = round(size * zoom)
    grey = torch.full((1, 3, side, side), 0.5, device=device)
    predictions = in_student_frame(teacher(grey, predictions=True), zoom).predictions
    if predictions is None:
        raise ValueError(f"{teacher.title} returned no predictions")
    return ResponseFormat.of(predictions, (size, size))


def _feature_taps(
    distillation: DistillationSetup, methods: Mapping[str, Method]
) -> tuple[Tap, ...]:
    """Return the layers of a teacher that methods of features compare, each once."""
    taps = [
        tap
        for name, method in methods.items()
        if Need.FEATURES in method.needs
        for tap in distillation.bindings[name].pairs.teacher
    ]
    return tuple(dict.fromkeys(taps))


def bytes_per_view(formats: Formats, size: int) -> int:
    """Return about how many bytes are stored per image and view."""
    return sum(
        form.length((size, size)) if isinstance(form, FeatureFormat) else form.typical_bytes(size)
        for _, form in formats.stored
    )
