"""Records survive what happens to processes and disks, and what does not is left out."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.store import records as r
from tutelage.store import shard as s
from tutelage.store.records import RecordReader, RecordWriter

IMAGES = 5


def write(folder, *records):
    writer = RecordWriter(folder)
    for view, image, payload in records:
        writer.append([view], [image], [payload])
    writer.close()


def contents(folder, images=IMAGES, views=4):
    reader = RecordReader(folder, images)
    read = {(v, i): reader.read(v, i) for v in range(views) for i in range(images)}
    return {key: payload for key, payload in read.items() if payload is not None}


def file_of(folder, suffix):
    return sorted(folder.glob(f"*{suffix}"))[-1]


@given(
    st.dictionaries(
        st.tuples(st.sampled_from([0, 1, 70_000, 2**32 - 1]), st.integers(0, IMAGES - 1)),
        st.binary(max_size=40),
    ),
    st.integers(1, 4),
)
def test_what_is_written_is_read(tmp_path_factory, records, batch):
    folder = tmp_path_factory.mktemp("store")
    reader, writer = RecordReader(folder, IMAGES), RecordWriter(folder)
    keys = list(records)
    for start in range(0, len(keys), batch):
        part = keys[start : start + batch]
        writer.append([v for v, _ in part], [i for _, i in part], [records[key] for key in part])
    writer.close()
    assert reader.count() == 0
    reader.refresh()
    assert reader.count() == len(records)
    for view in (0, 1, 2, 70_000, 2**32 - 1):
        assert reader.present(view).tolist() == [(view, i) in records for i in range(IMAGES)]
        for image in range(IMAGES):
            assert reader.read(view, image) == records.get((view, image))


def test_no_record_no_file(tmp_path):
    writer = RecordWriter(tmp_path)
    writer.append([], [], [])
    writer.close()
    assert not list(tmp_path.iterdir())
    reader = RecordReader(tmp_path / "missing", IMAGES)
    reader.refresh()
    assert (reader.count(), reader.read(0, 0), reader.present(0).any()) == (0, None, False)


def test_images_beyond_the_data_are_left_out(tmp_path):
    write(tmp_path, (0, 1, b"a"), (0, IMAGES, b"b"))
    assert contents(tmp_path) == {(0, 1): b"a"}


def test_every_torn_end_is_left_out(tmp_path):
    records = [(0, 0, b"first"), (0, 1, b""), (1, 0, b"third record"), (1, 1, b"4")]
    write(tmp_path, *records)
    index, payloads = file_of(tmp_path, ".index"), file_of(tmp_path, ".records")
    whole, rows = payloads.read_bytes(), index.read_bytes()
    ends = np.cumsum([len(payload) for _, _, payload in records])
    for cut in range(len(rows) + 1):
        index.write_bytes(rows[:cut])
        kept = max(cut - s.HEADER_BYTES, 0) // s.ROW.itemsize
        expected = {(v, i): payload for v, i, payload in records[:kept]}
        assert contents(tmp_path) == expected, cut
        index.write_bytes(rows[:cut] + bytes(len(rows) - cut))  # the size reached the disk alone
        assert contents(tmp_path) == expected, cut
    index.write_bytes(rows)
    for cut in range(len(whole) + 1):
        payloads.write_bytes(whole[:cut])
        expected = {(v, i): p for (v, i, p), end in zip(records, ends, strict=True) if end <= cut}
        assert contents(tmp_path) == expected, cut
        assert RecordReader(tmp_path, IMAGES).count() == len(expected)
    payloads.unlink()
    assert contents(tmp_path) == {}


@given(st.data())
def test_every_flipped_bit_is_found(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    records = {(0, 0): b"first", (0, 1): b"second", (3, 4): b"third"}
    write(folder, *((*key, payload) for key, payload in records.items()))
    path = file_of(folder, data.draw(st.sampled_from([".records", ".index"])))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    found = contents(folder)
    assert found != records
    assert found.items() <= records.items()


def test_the_later_record_counts_and_a_damaged_one_never(tmp_path):
    write(tmp_path, (0, 0, b"one"), (0, 1, b"kept"), (0, 0, b"two"))
    first = file_of(tmp_path, ".records")
    assert contents(tmp_path) == {(0, 0): b"two", (0, 1): b"kept"}
    write(tmp_path, (0, 0, b"three"))
    second = file_of(tmp_path, ".records")
    assert contents(tmp_path)[0, 0] == b"three"
    assert RecordReader(tmp_path, IMAGES).count() == 2
    second.write_bytes(b"thrEe")
    assert contents(tmp_path)[0, 0] == b"two"
    first.write_bytes(b"onekepttwO")
    assert contents(tmp_path)[0, 0] == b"one"
    first.write_bytes(b"oNekepttwO")
    assert contents(tmp_path) == {(0, 1): b"kept"}
    write(tmp_path, (0, 0, b"four"))
    assert contents(tmp_path)[0, 0] == b"four"


def test_which_record_counts_does_not_depend_on_when_it_was_read(tmp_path):
    old, new = RecordWriter(tmp_path), RecordWriter(tmp_path)
    old.append([0], [0], [b"a"])
    new.append([0, 0, 0], [0, 1, 1], [b"b", b"damaged", b"c"])
    reader = RecordReader(tmp_path, IMAGES)
    old.append([0, 0], [0, 1], [b"d", b"e"])
    reader.refresh()
    assert [reader.read(0, image) for image in (0, 1)] == [b"b", b"c"]
    assert contents(tmp_path) == {(0, 0): b"b", (0, 1): b"c"}
    file_of(tmp_path, ".records").write_bytes(b"")
    assert [reader.read(0, image) for image in (0, 1)] == [b"d", b"e"]


def test_refresh_reads_what_is_new(tmp_path, monkeypatch):
    writers = RecordWriter(tmp_path), RecordWriter(tmp_path)
    reader = RecordReader(tmp_path, IMAGES)
    asked = []
    read_rows = s.read_rows
    monkeypatch.setattr(
        s, "read_rows", lambda index, start: asked.append(start) or read_rows(index, start)
    )
    for image in range(4):
        writers[image % 2].append([0], [image], [b"%d" % image])
        assert reader.read(0, image) is None
        reader.refresh()
        assert reader.read(0, image) == b"%d" % image
    assert asked == [0, 1, 0, 1, 1, 2, 1]
    assert reader.count() == 4


def test_a_row_that_is_half_written_is_read_once_it_is_whole(tmp_path):
    write(tmp_path, (0, 0, b"a"), (0, 1, b"b"))
    index = file_of(tmp_path, ".index")
    rows = index.read_bytes()
    for cut in range(len(rows)):
        index.write_bytes(rows[:cut] + bytes(cut % 3))
        reader = RecordReader(tmp_path, IMAGES)
        index.write_bytes(rows)
        reader.refresh()
        assert (reader.count(), reader.read(0, 1)) == (2, b"b")


def test_processes_open_files_of_their_own(tmp_path):
    write(tmp_path, (0, 0, b"a"))
    reader, writer = RecordReader(tmp_path, IMAGES), RecordWriter(tmp_path)
    assert reader.read(0, 0) == b"a"
    writer.append([0], [1], [b"parent"])
    pid = os.fork()
    if pid == 0:
        try:
            assert reader.read(0, 0) == b"a"
            assert reader._process == os.getpid()
            writer.append([0], [2], [b"child"])
            writer.close()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(list(tmp_path.glob("*.index"))) == 3  # that of the child, too
    writer.append([0], [3], [b"parent"])
    assert reader.read(0, 0) == b"a"
    assert contents(tmp_path)[0, 2] == b"child"
    copied_reader, copied_writer = pickle.loads(pickle.dumps((reader, writer)))
    assert copied_reader.read(0, 3) == b"parent"
    copied_writer.append([0], [4], [b"copy"])
    assert len(list(tmp_path.glob("*.index"))) == 4


KILLED = """
import sys
from pathlib import Path
from tutelage.store.records import RecordWriter
writer = RecordWriter(Path(sys.argv[1]))
print("ready", flush=True)
for step in range(10**9):
    images = range(step * 8, step * 8 + 8)
    writer.append([1] * 8, images, [b"%d" % i * 50 for i in images])
"""


def test_a_writer_that_is_killed(tmp_path):
    for _ in range(3):
        command = [sys.executable, "-c", KILLED, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
    reader = RecordReader(tmp_path, 1_000_000)
    images = np.flatnonzero(reader.present(1))
    assert len(images)
    for image in images.tolist():
        assert reader.read(1, image) == b"%d" % image * 50


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    write(tmp_path, (0, 0, b"a"))
    real = os.open

    def read_only(path, flags, *more):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", read_only)
    assert contents(tmp_path) == {(0, 0): b"a"}
    writer = RecordWriter(tmp_path)
    with pytest.raises(PermissionError):
        writer.append([0], [1], [b"b"])
    writer.close()
    monkeypatch.undo()
    writer.append([0], [1], [b"b"])
    assert contents(tmp_path) == {(0, 0): b"a", (0, 1): b"b"}


class FullDisk:
    """Takes ``room`` bytes, then reports that there is no more."""

    def __init__(self, room):
        self.room, self.real = room, os.write

    def __call__(self, handle, data):
        taken = min(self.room, len(data))
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= taken
        return self.real(handle, data[:taken])


def batch(first):
    return [2, 2], [first, first + 1], [b"payload %d" % first, b"%d" % (first + 1)]


BATCH_BYTES = sum(map(len, batch(0)[2])) + 2 * s.ROW.itemsize


def fill_disk(folder, disk, *, again):
    """Append three batches to a disk that fills up within the first two."""
    writer, stored, images = RecordWriter(folder), 0, 6
    while disk.room >= BATCH_BYTES + s.HEADER_BYTES * (not stored):
        writer.append(*batch(stored))
        stored += 2
    with pytest.raises(OSError, match="No space left"):
        writer.append(*batch(stored))
    every = {(2, i): p for first in (0, 2, 4) for i, p in zip(*batch(first)[1:], strict=True)}
    found = contents(folder, images)
    assert found.items() <= every.items()
    assert len(found) >= stored
    if again:
        disk.room = 20
        with pytest.raises(OSError, match="No space left"):
            writer.append(*batch(4))
        assert found.items() <= contents(folder, images).items() <= every.items()
    disk.room = 10_000
    for first in range(stored, 6, 2):
        writer.append(*batch(first))
    writer.close()
    assert contents(folder, images) == every
    assert RecordReader(folder, images).damaged_rows == 0
    assert min(path.stat().st_size for path in folder.glob("*.index")) > s.HEADER_BYTES


@pytest.mark.parametrize("again", [False, True], ids=["then room", "full again"])
def test_a_disk_that_fills_up(tmp_path, monkeypatch, again):
    disk = FullDisk(0)
    monkeypatch.setattr(os, "write", disk)
    for room in range(s.HEADER_BYTES + 2 * BATCH_BYTES):
        disk.room = room
        folder = tmp_path / str(room)
        folder.mkdir()
        fill_disk(folder, disk, again=again)


def test_payloads_that_have_no_row_leave_no_bytes(tmp_path, monkeypatch):
    write(tmp_path, (0, 0, b"a"))
    monkeypatch.setattr(os, "write", FullDisk(s.HEADER_BYTES + 5))
    writer = RecordWriter(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        writer.append([0], [1], [b"too long"])
    writer.close()
    assert file_of(tmp_path, ".records").read_bytes() == b""


def test_few_files_are_open(tmp_path, monkeypatch):
    monkeypatch.setattr(r, "OPEN_FILES", 2)
    for image in range(4):
        write(tmp_path, (0, image, b"%d" % image))
    reader = RecordReader(tmp_path, IMAGES)
    for image in (0, 1, 2, 3, 0, 3):
        assert reader.read(0, image) == b"%d" % image
        assert len(reader._handles) <= 2
    reader.close()
    assert reader.read(0, 1) == b"1"


def test_a_hundred_thousand_records(tmp_path):
    images = 50_000
    writer = RecordWriter(tmp_path)
    for view in (0, 1):
        for start in range(0, images, 5_000):
            part = range(start, start + 5_000)
            writer.append([view] * 5_000, part, [b"%d.%d" % (view, image) for image in part])
    writer.close()
    reader = RecordReader(tmp_path, images)
    assert reader.count() == 100_000
    for view, image in ((0, 0), (1, 49_999), (1, 123)):
        assert reader.read(view, image) == b"%d.%d" % (view, image)
