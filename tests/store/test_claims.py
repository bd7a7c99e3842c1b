"""Claims are kept apart between processes, and end with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tutelage.store.claims import Claims
from tutelage.store.folder import make_store, remove_store

OTHER = """
import sys
from pathlib import Path
from tutelage.store.claims import Claims
claims = Claims(Path(sys.argv[1]))
print([claims.take(part) for part in map(int, sys.argv[2:])], flush=True)
sys.stdin.read()
"""


def start(folder: Path, *parts: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", OTHER, str(folder), *map(str, parts)]
    return subprocess.Popen(words, stdin=-1, stdout=-1, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_a_part_belongs_to_one_process_until_it_ends(tmp_path) -> None:
    far = 1 << 61
    with start(tmp_path, 3, far) as other, Claims(tmp_path) as claims:
        assert other.stdout is not None
        assert other.stdout.readline() == "[True, True]\n"
        assert [claims.take(part) for part in (2, 3, 4, far)] == [True, False, True, False]
        with start(tmp_path, 2, 4, 5) as third:
            assert third.communicate("")[0] == "[False, False, True]\n"
        claims.release(2)
        with start(tmp_path, 2, 4) as third:
            assert third.communicate("")[0] == "[True, False]\n"
        other.kill()
        other.wait()
        assert claims.take(3)


def test_without_locks_everything_is_granted(tmp_path) -> None:
    with Claims(tmp_path / "missing") as claims:
        assert claims.take(1)
        claims.release(1)


def test_a_store_is_removed_with_its_claims(tmp_path) -> None:
    path = make_store(tmp_path, "t", "responses", {"images": 3}).path
    with Claims(path) as claims:
        claims.take(0)
    assert remove_store(path) == []
    assert not path.exists()
