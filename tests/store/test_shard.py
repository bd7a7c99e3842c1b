import zlib

import numpy as np
import pytest

from tutelage.errors import TeacherError
from tutelage.store import shard as s
from tutelage.store.records import RecordReader, RecordWriter


def test_row_checksums_are_those_of_zlib():
    bytes_ = np.random.default_rng(0).integers(0, 256, (50, s.ROW.itemsize), np.uint8)
    rows = bytes_.reshape(-1).view(s.ROW)
    assert s.row_checksums(rows).tolist() == [zlib.crc32(row.tobytes()[:-4]) for row in bytes_]
    assert s.row_checksums(np.zeros(1, s.ROW)) != 0  # zeros, as a power failure leaves, are no row


def test_names_sort_by_time():
    names = [s.new_name() for _ in range(20)]
    assert names == sorted(names)
    assert len(set(names)) == 20


def written(folder):
    writer = RecordWriter(folder)
    writer.append([0, 0, 1], [0, 1, 0], [b"zero", b"", b"other"])
    writer.close()
    return next(folder.glob("*.index"))


def test_a_later_format_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(s, "VERSION", 2)
    index = written(tmp_path)
    assert RecordReader(tmp_path, 2).count() == 3
    monkeypatch.setattr(s, "VERSION", 1)
    with pytest.raises(TeacherError, match=rf"{index.name} .* format is 2, this version knows 1"):
        RecordReader(tmp_path, 2)


@pytest.mark.parametrize("place", range(s.HEADER_BYTES))
def test_a_damaged_header_is_not_taken_for_a_later_version(tmp_path, place):
    index = written(tmp_path)
    content = bytearray(index.read_bytes())
    content[place] ^= 0x10
    index.write_bytes(content)
    assert RecordReader(tmp_path, 2).count() == 0


def test_damaged_rows_are_counted_and_those_at_the_end_read_again(tmp_path):
    index = written(tmp_path)
    whole = index.read_bytes()
    rows, end, damaged = s.read_rows(index, 0)
    assert (rows["image"].tolist(), end, damaged) == ([0, 1, 0], 3, 0)
    middle = bytearray(whole)
    middle[s.HEADER_BYTES + s.ROW.itemsize] ^= 1
    index.write_bytes(middle)
    rows, end, damaged = s.read_rows(index, 0)
    assert (rows["view"].tolist(), end, damaged) == ([0, 1], 3, 1)
    index.write_bytes(whole[: -s.ROW.itemsize] + bytes(s.ROW.itemsize))
    assert s.read_rows(index, 0)[1:] == (2, 0)
    index.write_bytes(whole)
    assert s.read_rows(index, 2)[0]["view"].tolist() == [1]
