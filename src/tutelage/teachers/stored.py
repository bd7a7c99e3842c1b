"""Teachers whose answers about the views of a data set are stored, and not asked for twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tutelage.data.enlarge import EnlargedViews
from tutelage.data.envelope import join, seal, split, unseal
from tutelage.store.folder import write_lock
from tutelage.store.records import RecordReader, RecordWriter
from tutelage.structures import Batch, Knowledge, Records, Replay
from tutelage.teachers.feature_records import FeatureFormat
from tutelage.teachers.native import NativeTeacher
from tutelage.teachers.recorded import RecordedTeacher, describe_teacher
from tutelage.teachers.response_records import ResponseFormat
from tutelage.teachers.scale import in_student_frame
from tutelage.teachers.teacher import Teacher
from tutelage.teachers.teachers import Teachers


def _without_weights(teacher: Teacher) -> nn.Module | None:
    """Free the weights of a network and return it as it is without them, on the meta device."""
    network = teacher.network if isinstance(teacher, NativeTeacher) else None
    return None if network is None else network.to("meta")


def flipped_images(images: Tensor, flips: Tensor) -> Tensor:
    """Return images ``(b, c, h, w)``, flipped left-right and up-down where ``(b, 2)`` says so."""
    for axis, flipped in zip((3, 2), flips.to(images.device).unbind(1), strict=True):
        images = torch.where(flipped[:, None, None, None], images.flip(axis), images)
    return images.contiguous(memory_format=torch.channels_last)


class ViewStore:
    """The records of one data set in one store: read, and appended while that is possible.

    Args:
        folder: The store's folder.
        images: Images of the data set.
        prepare: Makes the folder before the first record.
        budget: Bytes that this process may append.

    Attributes:
        reader: Reads the records.
        trouble: Why nothing more is written; empty while all is well.
    """

    def __init__(
        self, folder: Path, images: int, prepare: Callable[[], None], budget: float = float("inf")
    ) -> None:
        self.folder, self.images, self.reader = folder, images, RecordReader(folder, images)
        self._prepare, self._prepared = prepare, False
        self._lock = ExitStack()
        self._writer: RecordWriter | None = RecordWriter(folder)
        self._left, self.trouble = budget, ""

    def prepare(self) -> None:
        """Make the folder, and keep it from being removed.

        Raises:
            OSError: There is no room, or no permission to write.
        """
        if not self._prepared:
            self._prepare()
            self._lock.enter_context(write_lock(self.folder))
            self._prepared = True

    def append(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Store records by view and image; an error of the disk ends the writing, not the run."""
        if self._writer is None:
            return
        views, images, records = zip(*rows, strict=True)
        self._left -= sum(map(len, records))
        if self._left < 0:
            self._stop("distill.store_gib is used up")
            return
        try:
            self.prepare()
            self._writer.append(views, images, records)
        except OSError as error:
            self._stop(error.strerror or str(error))

    def close(self) -> None:
        """Finish writing."""
        self._lock.close()
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError):  # what is not on the disk is asked again
                writer.close()

    def _stop(self, trouble: str) -> None:
        self.trouble = trouble
        self.close()


@dataclass
class Memory:
    """What is stored of one teacher in a run: its predictions, or some of its maps.

    Attributes:
        teacher: The number of the teacher.
        format: How it is stored.
        labelled: The store of the training images.
        unlabelled: The store of the images without labels.
    """

    teacher: int
    format: ResponseFormat | FeatureFormat
    labelled: ViewStore
    unlabelled: ViewStore | None = None

    @property
    def stores(self) -> tuple[ViewStore, ...]:
        """Its stores."""
        return tuple(each for each in (self.labelled, self.unlabelled) if each is not None)

    def encode(self, knowledge: Knowledge, size: tuple[int, int], taps: Sequence[str]) -> Records:
        """Return what is stored of an answer, one record per image."""
        if isinstance(self.format, FeatureFormat):
            maps = tuple(knowledge.features[taps.index(tap.key)] for tap in self.format.taps)
            return self.format.encode(maps)
        if knowledge.predictions is None:
            raise ValueError("the teacher was not asked for predictions")
        return self.format.encode(knowledge.predictions, size)


@dataclass
class ReplayCost:
    """Since the last report: seconds of storing and reading, batches, those asked about, images."""

    seconds: float = 0.0
    batches: int = 0
    asked: int = 0
    asked_images: int = 0


class StoredTeachers(Teachers):
    """Teachers that are asked only about what is not stored yet.

    An answer is always used in its stored form, also when the teacher has just given it: so a run
    that goes on with a half-full store continues to the same bits. If one image of a batch has no
    record, the teacher is asked about the whole batch, since rounding depends on the batch.

    Args:
        teachers: The teachers.
        memories: What is stored of them; a batch's records are in this order.
        online: Numbers of the teachers that are asked about every batch.
        first_unlabelled: Ids from this on are images without labels.
        enlarged: Draws the views larger for the teachers; None: they see the student's images.
    """

    def __init__(
        self,
        teachers: Teachers,
        memories: Sequence[Memory],
        online: Sequence[int] = (),
        first_unlabelled: int | None = None,
        enlarged: EnlargedViews | None = None,
    ) -> None:
        self.__dict__.update(vars(teachers))
        self._enlarged = enlarged
        self._asked = teachers
        self.memories, self.online = tuple(memories), frozenset(online)
        self._first_unlabelled = first_unlabelled
        self._cost = ReplayCost()
        self.released = False

    @property
    def troubles(self) -> dict[Path, str]:
        """Why nothing more is written, by the folder of the store."""
        stores = (store for memory in self.memories for store in memory.stores)
        return {store.folder: store.trouble for store in stores if store.trouble}

    def close(self) -> None:
        """Bring what was stored onto the disk."""
        for memory in self.memories:
            for store in memory.stores:
                store.close()

    def complete(self, pictures: Sequence[Mapping[int, NDArray[np.bool_]]]) -> bool:
        """Whether all answers about some pictures are stored.

        Args:
            pictures: By view, which images are shown, ``(n,)``: of the training images, and of
                those without labels.
        """
        stores = [store for memory in self.memories for store in memory.stores]
        if self.online or not stores:
            return False
        for store in stores:
            store.reader.refresh()
        return all(
            bool(store.reader.present(view)[mask].all())
            for memory in self.memories
            for store, masks in zip(memory.stores, pictures, strict=False)
            for view, mask in masks.items()
        )

    def release(self, load: Callable[[int], Teacher]) -> None:
        """Let go of the networks; ``load`` gets one by its number if an answer is lost."""
        resting = tuple(
            RecordedTeacher(
                describe_teacher(teacher, None),
                self.memories[0].labelled.folder,
                partial(load, number),
                _without_weights(teacher),
            )
            for number, teacher in enumerate(self.teachers)
        )
        self.teachers = self._asked.teachers = resting
        self.released = True

    def timed(self) -> StoredTeachers:
        """Return the same teachers, with the same stores, with a timer of their own."""
        return StoredTeachers(
            self._asked.timed(),
            self.memories,
            tuple(self.online),
            self._first_unlabelled,
            self._enlarged,
        )

    def seeing(self, enlarged: EnlargedViews) -> StoredTeachers:
        """Return the same teachers, which are shown enlarged views."""
        return StoredTeachers(
            self._asked, self.memories, tuple(self.online), self._first_unlabelled, enlarged
        )

    def _ask(self, batch: Batch, wanted: Mapping[int, bool]) -> tuple[Knowledge, ...]:
        """Ask the teachers; their answers are about the views, before the student's flips."""
        if batch.replay is not None and batch.replay.flips is not None:
            batch = batch._replace(images=flipped_images(batch.images, batch.replay.flips))
        if self._enlarged is None:
            return self._asked(batch, wanted)
        zoom = self._enlarged.zoom
        answers = self._asked(batch._replace(images=self._enlarged(batch)), wanted)
        return tuple(in_student_frame(answer, zoom) for answer in answers)

    def __call__(
        self, batch: Batch, wanted: Mapping[int, bool] | None = None
    ) -> tuple[Knowledge, ...]:
        """As :meth:`Teachers.__call__`; the knowledge of a stored teacher has no ``head``."""
        wanted = self.all_wanted() if wanted is None else wanted
        if batch.replay is None:
            return self._ask(batch, wanted)
        start, self._cost.batches = time.perf_counter(), self._cost.batches + 1
        needed = {
            number: memory
            for number, memory in enumerate(self.memories)
            if memory.teacher in wanted
            and memory.teacher not in self.online
            and (isinstance(memory.format, FeatureFormat) or wanted[memory.teacher])
        }
        records = {
            number: self._look_again(memory, batch, batch.replay, batch.replay.records[number])
            for number, memory in needed.items()
        }
        lacking = [number for number, each in records.items() if bool((each.length < 0).any())]
        ask = {each: wanted[each] for each in self.online if each in wanted}
        ask |= {each: wanted[each] for each in (needed[n].teacher for n in lacking)}
        answers: tuple[Knowledge, ...] = ()
        if ask:
            self._cost.seconds += time.perf_counter() - start
            self._cost.asked += 1
            self._cost.asked_images += len(batch.ids)
            answers = self._ask(batch, ask)
            start = time.perf_counter()
        for number in lacking:
            memory = needed[number]
            taps = [tap.key for tap in self.teachers[memory.teacher].taps]
            fresh = memory.encode(answers[memory.teacher], batch.image_size, taps)
            records[number] = self._keep(memory, batch, batch.replay, records[number], fresh)
        found = tuple(
            Knowledge(())
            if teacher not in wanted
            else answers[teacher]
            if teacher in self.online
            else self._read(
                teacher, batch, {n: r for n, r in records.items() if needed[n].teacher == teacher}
            )
            for teacher in range(len(self.teachers))
        )
        self._cost.seconds += time.perf_counter() - start
        return found

    @property
    def asked_share(self) -> float:
        """See :attr:`Teachers.asked_share`."""
        return self._cost.asked / self._cost.batches if self._cost.batches else 1.0

    @property
    def asked_images(self) -> int:
        """Images since the last :meth:`take_cost` about which a teacher was asked."""
        return self._cost.asked_images

    def take_cost(self) -> dict[str, float]:
        """Return the cost since the last call, see :meth:`Teachers.take_cost`.

        Returns:
            Also ``store_seconds`` of reading and writing, and ``asked``, the share of the batches
            about which a teacher was asked.
        """
        cost, replay, self._cost = self._asked.take_cost(), self._cost, ReplayCost()
        if not replay.batches:
            return cost
        return {
            **cost,
            "store_seconds": round(replay.seconds, 3),
            "asked": round(replay.asked / replay.batches, 4),
        }

    # --- records -------------------------------------------------------------------------------

    def _store_of(self, memory: Memory, image: int) -> tuple[ViewStore, int]:
        """Return the store of an image of a batch, and its number there."""
        first = self._first_unlabelled
        if first is None or image < first or memory.unlabelled is None:
            return memory.labelled, image
        return memory.unlabelled, image - first

    def _look_again(
        self, memory: Memory, batch: Batch, replay: Replay, records: Records
    ) -> Records:
        """Read what has been stored since the loader looked."""
        missing = (records.length < 0).nonzero().flatten().tolist()
        if not missing:
            return records
        for store in memory.stores:
            store.reader.refresh()
        thumbs, views, ids = (
            replay.thumbnail.cpu().numpy(),
            replay.view.tolist(),
            batch.ids.tolist(),
        )
        parts: list[bytes | memoryview | None] = list(split(records))
        for place in missing:
            if views[place] >= 0:
                store, image = self._store_of(memory, ids[place])
                record = store.reader.read(views[place], image)
                parts[place] = unseal(record, replay.canvas, thumbs[place])
        return join(parts)

    def _keep(
        self, memory: Memory, batch: Batch, replay: Replay, known: Records, fresh: Records
    ) -> Records:
        """Store the records that were not known; return those of all images."""
        views, ids = replay.view.tolist(), batch.ids.tolist()
        thumbs = replay.thumbnail.cpu().numpy()
        parts = list(split(known))
        new: dict[ViewStore, list[tuple[int, int, bytes]]] = {}
        for place, content in enumerate(split(fresh)):
            if parts[place] is not None or content is None:
                continue
            parts[place] = content
            if views[place] >= 0:
                store, image = self._store_of(memory, ids[place])
                record = seal(content, replay.canvas, thumbs[place])
                new.setdefault(store, []).append((views[place], image, record))
        for store, rows in new.items():
            store.append(rows)
        return join(parts)

    def _read(self, teacher: int, batch: Batch, records: Mapping[int, Records]) -> Knowledge:
        """Return the knowledge of a teacher from complete records."""
        device, predictions = batch.images.device, None
        maps: dict[str, Tensor] = {}
        for number, each in records.items():
            form = self.memories[number].format
            on_device = each._replace(content=each.content.to(device, non_blocking=True))
            if isinstance(form, FeatureFormat):
                found = form.decode(on_device, batch.image_size)
                maps |= dict(zip((tap.key for tap in form.taps), found, strict=True))
            else:
                flips = None if batch.replay is None else batch.replay.flips
                predictions = form.decode(on_device, batch.image_size, flips)
        absent = torch.empty(len(batch.ids), 0, 1, 1, device=device)  # no method reads it
        features = tuple(maps.get(tap.key, absent) for tap in self.teachers[teacher].taps)
        return Knowledge(features, predictions)
