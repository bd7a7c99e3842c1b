"""Opens the stores of a run: which answers of which teacher about which images they hold."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.config.schema import Config
from tutelage.data import DatasetIndex
from tutelage.data.loader import Stores
from tutelage.data.sampler import Views
from tutelage.errors import ConfigError
from tutelage.files import atomic_write_text
from tutelage.sanitise import json_values
from tutelage.setup.distillation import DistillationSetup
from tutelage.setup.pictures import pictures_shown
from tutelage.setup.views import Formats, bytes_per_view
from tutelage.store.folder import free_bytes, is_store, make_store, open_store, store_path
from tutelage.store.records import RecordReader
from tutelage.store.search import find_store
from tutelage.teachers.feature_records import FeatureFormat
from tutelage.teachers.recorded import FILE as TEACHER
from tutelage.teachers.recorded import describe_teacher
from tutelage.teachers.response_records import ResponseFormat
from tutelage.teachers.stored import Memory, StoredTeachers, ViewStore
from tutelage.teachers.teacher import Teacher, teacher_identity

FOLDER = "store"  # in the run's project
_GIB = 2**30


class OpenedStores(NamedTuple):
    """The stores of a run.

    Attributes:
        teachers: The teachers with their stores.
        readers: For the loader.
        notes: What was found, for the log.
    """

    teachers: StoredTeachers
    readers: Stores
    notes: tuple[str, ...]


def store_root(config: Config) -> Path | None:
    """Return the folder of all stores; None: nothing is stored."""
    if config.distill.store == "off":
        return None
    if config.distill.store is None:
        for source in config.distill.teachers:
            if is_store(Path(source)):  # the teacher is a store: its answers are there
                return Path(source).absolute().parent
    return Path(config.distill.store or Path(config.run.project) / FOLDER)


def fit_views(
    config: Config, views: Views, lacking: Callable[[Views], int]
) -> tuple[Views | None, str]:
    """Return the views of which the answers fit into the budget and on the disk, and why.

    Args:
        config: All settings.
        views: The wanted views.
        lacking: Bytes of the answers about some views that are not stored yet.

    Raises:
        ConfigError: A number of views that was asked for does not fit.
    """
    root = store_root(config)
    if root is None:
        return views, ""
    if root.exists() and not root.is_dir():
        raise ConfigError(
            f"distill.store: {root} is a file, not a folder.",
            fix="Name a folder:  --set distill.store=FOLDER  or store nothing: distill.store=off",
            code="C33",
        )
    budget, free = config.distill.store_gib * _GIB, free_bytes(root)
    room = min(budget, free)
    size = lacking(views)
    if size <= room:
        return views, ""
    need = f"{views.per_image} views need about {size / _GIB:.2g} GiB of answers"
    what = f"{need}, but " + (
        f"distill.store_gib is {budget / _GIB:g}"
        if budget <= free
        else f"{free / _GIB:.2g} GiB are free at {root}"
    )
    fewer = range(1, views.per_image)
    fitting = bisect_right(fewer, room, key=lambda n: lacking(views._replace(per_image=n)))
    if config.distill.views != "auto":
        less = f"--set distill.views={fitting}  or more room:  " if fitting else ""
        raise ConfigError(
            f"{what}.", fix=f"{less}--set distill.store_gib=… distill.store=FOLDER", code="C33"
        )
    return (views._replace(per_image=fitting) if fitting else None), what


def bytes_lacking(
    config: Config,
    distillation: DistillationSetup,
    formats: Formats,
    images: tuple[DatasetIndex, DatasetIndex | None],
    flips: bool,
) -> Callable[[Views], int]:
    """Return a function from views to about how many bytes of their answers are not stored.

    ``flips`` is :attr:`Views.flips`, the rest is as in :func:`open_stores`.
    """
    root, size = store_root(config), config.train.image_size
    held: list[tuple[int, RecordReader, int]] = []
    for stored in formats.stored if root is not None else ():
        number, form = stored
        teacher = distillation.teachers.teachers[number]
        for extra, index in enumerate(images):
            if index is not None and root is not None:
                seed = config.distill.view_seed + extra
                description = describe_store(config, teacher, form, index, seed, flips)
                path = store_path(root, teacher.title, kind(form), description)
                each = bytes_per_view(Formats((stored,), ()), size)
                held.append((extra, RecordReader(path, len(index)), each))
    labelled, unlabelled = (0 if index is None else len(index) for index in images)

    def lacking(views: Views) -> int:
        pictures = pictures_shown(config, views, (labelled, unlabelled))
        return sum(
            each * int((mask & ~reader.present(view)).sum())
            for extra, reader, each in held
            for view, mask in pictures[extra].items()
        )

    return lacking


def open_stores(
    config: Config,
    distillation: DistillationSetup,
    formats: Formats,
    views: Views,
    images: tuple[DatasetIndex, DatasetIndex | None],
) -> OpenedStores:
    """Open or create the stores of a run.

    Raises:
        ConfigError: The folder cannot be made.
        TeacherError: A store is damaged, or a later version wrote it.
    """
    root = store_root(config)
    memories: list[Memory] = []
    notes: list[str] = []
    for number, form in formats.stored if root is not None else ():
        teacher = distillation.teachers.teachers[number]
        stores: list[ViewStore | None] = []
        for extra, index in enumerate(images):
            if index is None or root is None:
                stores.append(None)
                continue
            seed = views.seed + extra
            description = describe_store(config, teacher, form, index, seed, views.flips)
            path = store_path(root, teacher.title, kind(form), description)
            if is_store(path):
                open_store(path)
            elif reason := find_store(root, description).reason():
                notes.append(reason)
            make = partial(_make, root, description, teacher, form)
            stores.append(ViewStore(path, len(index), make, config.distill.store_gib * _GIB))
        labelled, other = stores
        if labelled is not None:
            memories.append(Memory(number, form, labelled, other))
    online = formats.online if root is not None else tuple(range(len(distillation.records)))
    return OpenedStores(
        StoredTeachers(
            distillation.teachers, memories, online, None if images[1] is None else len(images[0])
        ),
        Stores(
            tuple(each.labelled.reader for each in memories),
            tuple(each.unlabelled.reader for each in memories if each.unlabelled is not None),
        ),
        tuple(notes),
    )


def _make(
    root: Path,
    description: dict[str, Any],
    teacher: Teacher,
    form: ResponseFormat | FeatureFormat,
) -> None:
    """Make the folder of a store, unless it is there."""
    store = make_store(root, teacher.title, kind(form), description)
    if not (store.path / TEACHER).exists():
        responses = None if isinstance(form, FeatureFormat) else form
        about = describe_teacher(teacher, responses)
        atomic_write_text(store.path / TEACHER, json.dumps(json_values(about), indent=1))


def kind(form: ResponseFormat | FeatureFormat) -> str:
    """Return what a store holds, for the name of its folder."""
    return "features" if isinstance(form, FeatureFormat) else "responses"


def describe_store(
    config: Config,
    teacher: Teacher,
    form: ResponseFormat | FeatureFormat,
    index: DatasetIndex,
    seed: int,
    flips: bool,
) -> dict[str, Any]:
    """Return all that an answer depends on, as flat values for JSON.

    ``flips`` is :attr:`Views.flips`: the views themselves are not flipped then.
    """
    train = config.train
    runtime = config.distill.teacher_runtime
    canvas = f"rect, batches of {train.images}" if train.rect else "square"
    augment = {f"augment.{key}": value for key, value in config.augment.model_dump().items()}
    augment.pop("augment.close_mosaic")  # views without mosaic have numbers of their own
    if flips:
        augment |= {"augment.fliplr": 0.0, "augment.flipud": 0.0}
    return {
        "teacher": teacher_identity(teacher.record),
        "data": index.images_fingerprint,
        "images": len(index),
        "image_size": train.image_size,
        "canvas": canvas,
        "multi_scale": train.multi_scale,
        "view_seed": seed,
        "teacher_scale": config.distill.teacher_scale,
        **({"runtime": runtime} if runtime not in ("auto", "torch") else {}),
        **augment,
        **form.describe(),
    }
