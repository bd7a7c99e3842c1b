"""Kill distilled runs with SIGKILL at random moments and prove that nothing is lost.

Runs of several kinds take turns: two teachers averaged or picked, measured weights, random masks,
images without labels, mixup, several sizes, early stopping; 0 to 2 loader processes, changing with
every attempt. Each run has to end with the same bits, scores and metrics as one that nobody killed:

    python benchmarks/kill_runs.py --kills 50
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # tests is no installed package
from tests.run.killed_processes import KINDS, distilled, kill_often

EPOCHS = 12
EACH = 6  # kills of a run at most


def main() -> None:
    """Kill until there were enough kills; fail at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=4.0, help="longest life of an attempt")
    given = parser.parse_args()
    rng, kills, runs, within = random.Random(given.seed), 0, 0, 0
    while kills < given.kills:
        kind = list(KINDS)[runs % len(KINDS)]
        with tempfile.TemporaryDirectory() as folder:
            found = kill_often(
                Path(folder),
                distilled(Path(folder), EPOCHS, seed=runs, kind=kind),
                kills=min(given.kills - kills, EACH),
                seconds=given.seconds,
                rng=rng,
            )
        kills, runs, within = kills + found.kills, runs + 1, within + found.within
        lost = ", ".join(found.differences) or "nothing"
        print(f"{kind}: {found.kills} kills, lost: {lost}", flush=True)
        if found.differences:
            raise SystemExit(1)
    print(f"{kills} kills in {runs} runs, {within} saves within an epoch taken up, nothing lost")


if __name__ == "__main__":
    main()
