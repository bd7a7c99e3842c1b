"""What a teacher said, on disk: records by view and image, in shards that processes append to."""

from tutelage.store.folder import Store, free_bytes, make_store, open_store, write_lock
from tutelage.store.records import RecordReader, RecordWriter
from tutelage.store.search import find_store

__all__ = [
    "RecordReader",
    "RecordWriter",
    "Store",
    "find_store",
    "free_bytes",
    "make_store",
    "open_store",
    "write_lock",
]
