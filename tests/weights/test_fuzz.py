"""Some hundred damaged and poisoned files; benchmarks/fuzz_weights.py makes as many as you like."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.weights.fuzzing import Watch, resume, seeds, visit
from tests.weights.mutation import mutate
from tutelage.models import read_checkpoint


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small files of every kind."""
    found = seeds(tmp_path_factory.mktemp("seeds") / "files")
    return [path for path in found if path.stat().st_size < 500_000]


def test_the_files_are_sound(files: list[Path]) -> None:
    names = {path.name for path in files if path.name not in ("last.pt", "state.pt")}
    assert {"legacy.pt", "graph.pt", "protocol4.pt", "best.safetensors"} <= names
    for path in files:
        if path.name in names:
            assert read_checkpoint(path).state


def test_every_damage_ends_in_a_checkpoint_or_an_error(files: list[Path], tmp_path: Path) -> None:
    ends = Counter[str]()
    for path in files:
        visit(path)  # so that all that reading needs is loaded
    for number in range(200):
        rng = random.Random(number)
        source = rng.choice(files)
        path = tmp_path / f"evil{source.suffix}"
        kind = mutate(source, path, rng)
        try:
            with Watch(tmp_path):
                ends[visit(path)] += 1
            with Watch(tmp_path, loading=True):
                resume(path)
        except AssertionError as error:
            pytest.fail(f"round {number}, {kind}: {error}")
    assert ends["model"] > 15, ends
    assert ends["error"] > 80, ends
    assert ends["refused by name"] > 5, ends


def test_the_watch_sees_what_is_run(tmp_path: Path) -> None:
    import pickle
    import subprocess
    import sys

    looked_up = pytest.raises(AssertionError, match=r"something was run: .*pickle.find_class")
    with looked_up, Watch(tmp_path):
        pickle.loads(b"ccollections\nOrderedDict\n.")
    with pytest.raises(AssertionError, match=r"subprocess\.Popen"), Watch(tmp_path):
        subprocess.run([sys.executable, "--version"], check=True, capture_output=True)
    with pytest.raises(AssertionError, match="something was written"), Watch(tmp_path):
        (tmp_path / "proof").touch()
    with pytest.raises(AssertionError, match=r"run: .*open"), Watch(tmp_path):
        (tmp_path.parent / "beside").write_text("x")
    with pytest.raises(AssertionError, match=r"run: .*exec"), Watch(tmp_path):
        exec("1")
