"""Some hundred damaged and poisoned files; benchmarks/fuzz_weights.py makes as many as you like."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.weights.fuzzing import Watch, seeds
from tests.weights.mutation import mutate
from tutelage.errors import WeightsError
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
    for number in range(300):
        rng = random.Random(number)
        source = rng.choice(files)
        path = tmp_path / f"evil{source.suffix}"
        kind = mutate(source, path, rng)
        try:
            with Watch(tmp_path):
                read_checkpoint(path)
            ends["read"] += 1
        except WeightsError as error:
            text = str(error)
            ends["refused" if "Nothing was executed" in text else "error"] += 1
            if len(text) > 3_000 or not text.isprintable():
                pytest.fail(f"round {number}, {kind}: {text!r}")
    assert ends["read"] > 20, ends
    assert ends["error"] > 100, ends
    assert ends["refused"] > 10, ends


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
