"""What a teacher said, on disk: records by view and image, in shards that processes append to."""

from tutelage.store.records import RecordReader, RecordWriter

__all__ = ["RecordReader", "RecordWriter"]
