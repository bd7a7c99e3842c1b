"""SIGKILL at random moments loses nothing (`benchmarks/kill_runs.py` does it more often)."""

import random

from tests.run.killed_processes import distilled, kill_often


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    options = distilled(tmp_path, epochs=8)
    found = kill_often(tmp_path, options, kills=3, seconds=1.5, rng=random.Random(3))
    assert found.kills == 3
    assert found.differences == []
