"""Does anything in a data set, a run folder or a settings file do more than end in an error?

    python benchmarks/fuzz.py                                   # every target, 20,000 rounds each
    python benchmarks/fuzz.py --target coco --target voc --rounds 50000 --seed 7
    python benchmarks/fuzz.py --target coco --only 4711         # one round again

Sound files are changed at random: bytes, numbers, values, types, names, sizes, headers, nesting,
encodings, bombs. Each round must end in a result or in a message with its exit code, as the command
line shows them: no traceback, nothing run, looked up in a network or written elsewhere, no message
that steers a terminal, 20 s of the processor and 2 GiB at most. A data set that opens is checked,
drawn (--html), copied (--fix), and the copy checked again. What breaks the rule is kept. Exit code
1 if anything did. Weight files: ``fuzz_weights.py``.

With ``--guided`` (--target labels, voc, data or coco), atheris (pip install atheris) chooses the
bytes by what they reach in the code: for the parsers alone, thousands a second.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def main() -> int:
    """Run, print what happened, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", action="append", help="one of several; default: all")
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this round alone")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="limit of each target")
    parser.add_argument("--gib", type=float, default=12.0, help="limit of the address space")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--guided", action="store_true", help="let atheris choose the bytes")
    given = parser.parse_args()
    limit = int(given.gib * (1 << 30))
    if not given.guided:  # its instruments need room of their own
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    keep = given.keep.absolute()
    failures = 0
    memory = Path("/dev/shm")  # what is written there is never synchronised
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        os.environ["TUTELAGE_CACHE"] = f"{place}/cache"
        os.chdir(place)
        from tests.fuzz.targets import TARGETS

        if given.guided:
            from tests.fuzz.guided import guided

            guided(given.target[0], Path(place), given.rounds)
        for name in given.target or TARGETS:
            failures += fuzz(name, Path(place), given, keep)
    return 1 if failures else 0


def fuzz(name: str, place: Path, given: argparse.Namespace, keep: Path) -> int:
    """Fuzz one target, print how the rounds ended, and return the number of failures."""
    from tests.fuzz.targets import made
    from tests.fuzz.watch import Watch

    target = made(name, place / name)
    target.round(random.Random(0))  # imports what the first use imports
    ends, kinds = collections.Counter[str](), collections.Counter[str]()
    slowest, began, number = (0.0, 0), time.monotonic(), 0
    rounds = [given.only] if given.only is not None else range(given.rounds)
    before = None
    for number in rounds:
        if time.monotonic() - began > 60 * given.minutes:
            break
        rng = random.Random(f"{name}/{given.seed}/{number}")
        started = time.process_time()
        try:
            with Watch(place):
                end = target.round(rng)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            end, kind = "FAILED", _kind(error)
            kinds[kind] += 1
            if kinds[kind] <= 3 or given.only is not None:
                print(f"--- {name} round {number}", flush=True)
                for line in traceback.format_exc(limit=-12).splitlines():
                    print(line[:300])
                _keep(target.file, keep / f"{name}-{given.seed}-{number}")
        ends[end] += 1
        slowest = max(slowest, (time.process_time() - started, number))
        if number == 200:
            before = _peak()
        if number and number % 5_000 == 0:
            print(f"{name} {number} …", flush=True)
    print(f"{name}: {ends.total()} rounds: " + ", ".join(f"{e} {n}" for e, n in ends.most_common()))
    print(
        f"  slowest {slowest[0]:.1f} s of the processor (round {slowest[1]}); memory grew by "
        f"{_peak() - (before or _peak()):.0f} MiB after the first 200; "
        f"{ends['FAILED']} failures of {len(kinds)} kinds {dict(kinds) or ''}",
        flush=True,
    )
    shutil.rmtree(place / name, ignore_errors=True)
    return ends["FAILED"]


def _kind(error: BaseException) -> str:
    """Return what tells a fault from another: its type, and where in our code it arose."""
    error = error.__cause__ or error if type(error).__name__ == "RunError" else error
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "tutelage" in f.filename]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__} {where or str(error)[:60]}"


def _keep(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, to, dirs_exist_ok=True)
    else:
        shutil.copy(source, to.with_name(to.name + source.suffix))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
