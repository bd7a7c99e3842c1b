"""Fills the stores of a run ahead: asks its teachers about all views that it will show.

Any number of processes may fill the same stores: each claims one part after the other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tutelage.config.schema import Config
from tutelage.data.findings import code_of
from tutelage.data.loader import make_loader
from tutelage.errors import ConfigError, TeacherError
from tutelage.run.claimed_batches import CHUNK, ClaimedBatches, Work
from tutelage.run.events import Notice, Stage
from tutelage.run.interrupt import InterruptHandler
from tutelage.run.kd_weights import SHOWN, batches_with_boxes
from tutelage.run.out_of_memory import MemoryContext, explain_out_of_memory
from tutelage.run.preflight.before_training import judge_teachers
from tutelage.run.preflight.teacher_runtime import choose_runtimes
from tutelage.run.summary import data_warnings
from tutelage.setup.build import RunParts, build_run
from tutelage.setup.distillation import DistillationSetup
from tutelage.store.claims import Claims
from tutelage.teachers.stored import StoredTeachers
from tutelage.training.loop import multi_scale
from tutelage.training.schedule import Position

AUTO_BATCH = 16
EVERY = 1.0  # seconds between two reports, and two looks at what others have done


class TeachPlanned(NamedTuple):
    """Before the first question.

    Attributes:
        folders: Of the stores.
        views: Views of the images with labels, and of those without.
        images: Images with labels, and without.
        total: All pictures: views of images.
        present: Pictures about which everything is stored.
        bytes: About how much the stores will take in the end.
    """

    folders: tuple[str, ...]
    views: tuple[int, int]
    images: tuple[int, int]
    total: int
    present: int
    bytes: int


class TeachProgress(NamedTuple):
    """A report, about one per second.

    Attributes:
        present: Pictures about which everything is stored, by whichever process.
        total: All pictures.
        asked: Pictures about which this process has asked.
        seconds_left: Until all is stored, at the pace so far; None: not known yet.
    """

    present: int
    total: int
    asked: int
    seconds_left: float | None


class TeachFinished(NamedTuple):
    """The end.

    Attributes:
        asked: Pictures about which this process has asked.
        before: Pictures about which everything was stored before.
        elsewhere: Pictures about which other processes have asked meanwhile.
        unreadable: Pictures that could not be shown, since an image cannot be read.
        total: All pictures.
        bytes: Of the stores.
        folders: Of the stores.
        seconds: Of the whole command.
    """

    asked: int
    before: int
    elsewhere: int
    unreadable: int
    total: int
    bytes: int
    folders: tuple[str, ...]
    seconds: float


TeachEvent = Notice | Stage | TeachPlanned | TeachProgress | TeachFinished


def fill_stores(
    config: Config, *, origins: Mapping[str, str] | None = None, notices: Sequence[str] = ()
) -> Generator[TeachEvent, None, None]:
    """Ask the teachers about everything that a run of these settings will ask them.

    Args:
        config: All settings of the run.
        origins: Where each came from, for messages.
        notices: Lines to show first.

    Raises:
        UserError: Data, networks or settings cannot be used, nothing can be stored, no room.
        RunInterrupted: Ctrl-C or SIGTERM; what was answered is stored.
    """
    started = time.monotonic()
    yield from (Notice("info", text) for text in notices)
    config = _check(config)
    yield Stage("opening data and networks")
    context = MemoryContext(config)
    with explain_out_of_memory(context):
        parts = context.parts = build_run(config, origins, stores=True, trial=True)
        distillation, teachers = _stored_teachers(parts)
        yield from _notices(parts)
        work = Work(parts, teachers)
        before = work.present()
        asked = 0
        try:
            if before < work.total:
                shown = list(batches_with_boxes(parts, SHOWN))
                yield from choose_runtimes(parts, shown)
                yield from judge_teachers(parts, distillation, warn=True)
                size = parts.teaching.view_bytes * work.total
                yield TeachPlanned(work.folders, work.views, work.images, work.total, before, size)
                asked = yield from _ask_all(parts, teachers, work, before)
        finally:
            teachers.close()
        present = work.present()
        yield TeachFinished(
            asked=asked,
            before=before,
            elsewhere=max(present - before - asked, 0),
            unreadable=work.total - present,
            total=work.total,
            bytes=_size(work.folders),
            folders=work.folders,
            seconds=time.monotonic() - started,
        )


def _check(config: Config) -> Config:
    """Return the settings with a batch size; an error if nothing would be stored."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "tutelage teach is one process: it cannot be started by torchrun.",
            fix="Start it several times at once: they share the work. Each on a GPU of its own:  "
            "--device cuda:0  --device cuda:1",
            code="C35",
        )
    if not config.distill.teachers:
        raise ConfigError(
            "No teacher is given: there is nobody to ask.",
            fix="Add  --teacher-weights runs/teacher",
            code="C26",
        )
    if config.distill.store == "off":
        raise _nothing_stored("distill.store is off")
    if config.train.batch != "auto":
        return config
    if config.train.rect:
        raise ConfigError(
            "With --rect the batch size decides what the teacher sees, but it is auto.",
            fix="Give that of the run:  --batch-size 16",
            code="C30",
        )
    train = config.train.model_copy(update={"batch": AUTO_BATCH})
    return config.model_copy(update={"train": train})


def _nothing_stored(why: str) -> ConfigError:
    return ConfigError(
        f"A run of these settings stores nothing of its teacher: {why}.",
        fix="tutelage explain C34  says what can be stored.",
        code="C34",
    )


def _stored_teachers(parts: RunParts) -> tuple[DistillationSetup, StoredTeachers]:
    """Return the teachers of a run; an error if nothing is stored of any."""
    distillation, teaching = parts.distillation, parts.teaching
    if distillation is None or teaching.views is None:
        raise _nothing_stored(teaching.reason or "no view recurs")
    teachers = distillation.teachers
    if not isinstance(teachers, StoredTeachers) or not teachers.memories:
        raise _nothing_stored(f"{_asked_always(parts)} cannot be stored")
    return distillation, teachers


def _asked_always(parts: RunParts) -> str:
    """Return the teachers that a run asks in every step, with their methods."""
    if parts.distillation is None:
        return ""
    bindings, online = parts.distillation.bindings, parts.teaching.formats.online
    texts = []
    for number in online:
        methods = [name for name, binding in bindings.items() if binding.teacher == number]
        source = parts.distillation.records[number]["source"]
        texts.append(f"what {', '.join(methods)} reads of {source}")
    return "; ".join(texts)


def _notices(parts: RunParts) -> Iterator[Notice]:
    yield from (Notice("warning", each.message, code_of(each)) for each in data_warnings(parts))
    told = dict.fromkeys((*parts.notices, *parts.teaching.notes))
    yield from (Notice("info", text) for text in told)
    if parts.teaching.reason:
        yield Notice("info", f"fewer views than wanted: {parts.teaching.reason}")
    if parts.teaching.formats.online:
        text = f"Not stored, and asked for in every step of a run: {_asked_always(parts)}."
        yield Notice("warning", text, "T50")


def _ask_all(
    parts: RunParts, teachers: StoredTeachers, work: Work, before: int
) -> Generator[TeachEvent, None, int]:
    """Ask until everything is stored; return about how many pictures this process has asked."""
    device, train = parts.accelerator.device, parts.config.train
    wanted = {n: p for n, p in teachers.all_wanted().items() if n not in teachers.online}
    resize = None
    if train.multi_scale:
        view_seed = parts.config.distill.view_seed
        resize = multi_scale(train.image_size, parts.stride, parts.schedule.seed, view_seed)
    _make_folders(teachers)
    asked, begun, told, waiting = 0, time.monotonic(), 0.0, False
    with (
        InterruptHandler(parts.accelerator) as interrupt,
        Claims(teachers.memories[0].labelled.folder) as claims,
    ):
        batches = ClaimedBatches(work, claims, min(train.images, CHUNK))
        loader = make_loader(parts.loader.dataset, batches, workers=parts.workers)
        while batches.parts:
            found = False
            for raw in loader:
                found, waiting = True, False
                batch = raw.to(device).floating()
                teachers(batch if resize is None else resize(batch, 0), wanted)
                asked += int((raw.replay.view >= 0).sum())
                batches.batch_done()
                if teachers.troubles:
                    raise _no_room(*next(iter(teachers.troubles.items())))
                if time.monotonic() - told >= EVERY:
                    told = time.monotonic()
                    yield _progress(work, before, asked, told - begun)
                if interrupt.decide(due=False).stop:
                    raise interrupt.interrupted(Position())
            if not found and batches.parts:
                if not waiting:
                    yield Stage("waiting for what other processes are asking")
                waiting = True
                time.sleep(EVERY)
            if interrupt.decide(due=False).stop:
                raise interrupt.interrupted(Position())
    yield _progress(work, before, asked, time.monotonic() - begun)
    return asked


def _make_folders(teachers: StoredTeachers) -> None:
    for store in (each for memory in teachers.memories for each in memory.stores):
        try:
            store.prepare()
        except OSError as error:
            raise _no_room(store.folder, error.strerror or str(error)) from error


def _no_room(folder: Path, trouble: str) -> TeacherError:
    return TeacherError(
        f"Nothing more can be stored in {folder}: {trouble}.",
        fix="What was answered is stored. Make room (tutelage store list), or raise "
        "distill.store_gib; the same command goes on.",
        code="T49",
    )


def _progress(work: Work, before: int, asked: int, seconds: float) -> TeachProgress:
    present = work.present()
    new = present - before
    left = seconds * (work.total - present) / new if new > 0 else None
    return TeachProgress(present, work.total, asked, left)


def _size(folders: Sequence[str]) -> int:
    files = (file for folder in folders for file in Path(folder).iterdir())
    return sum(file.stat().st_size for file in files)
