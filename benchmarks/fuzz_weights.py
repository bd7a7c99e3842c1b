"""Does a damaged or hostile weight file ever do more than end in an error?

    python benchmarks/fuzz_weights.py --rounds 20000 [--seed 0] [--keep DIR]

Real files (a YOLOv7 checkpoint of the tests, and models of ours written as the published code
writes them: zip and legacy, halves, state dicts, our own two formats) are changed at random: bytes,
lengths, opcodes, values, names, zip members, bombs. Each is loaded, summarised, taken for a state
to resume and looked at for its preset, and must end in a model or in a WeightsError that can be
shown. An audit hook watches for anything that is run, imported, compiled, sent or written. A round
may take a minute of the processor and ten of the clock (a watchdog outside of Python ends a hang in
C), and its peak of memory (on Linux) may grow by 400 MiB and 20 times the file. A file that breaks
a rule is kept. Exit code 1 if there was one.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.weights.fuzzing import Watch, resume, seeds, visit  # noqa: E402
from tests.weights.mutation import mutate  # noqa: E402

SECONDS, WATCHDOG = 60, 600
GROWTH, TIMES = 400 << 20, 20
PEAK, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main() -> int:
    """Run, print what happened, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gib", type=float, default=8.0, help="limit of the address space")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    given = parser.parse_args()
    limit = int(given.gib * (1 << 30))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, _late)
    warnings.simplefilter("ignore")
    ends: collections.Counter[tuple[str, str]] = collections.Counter()
    failures, slowest, largest = 0, (0.0, ""), (0, "")
    with tempfile.TemporaryDirectory() as folder:
        files = seeds(Path(folder) / "seeds")
        room = Path(folder) / "room"
        room.mkdir()
        for path in files:
            visit(path)  # what reading needs is loaded now: a later import is the file's doing
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(given.rounds):
            rng = random.Random(f"{given.seed}/{number}")
            source = rng.choice(files)
            path = room / f"evil{source.suffix}"
            kind = mutate(source, path, rng)
            size = path.stat().st_size
            started, room_before = time.process_time(), _peak(reset=True)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: others may be busy
            faulthandler.dump_traceback_later(WATCHDOG, exit=True)
            try:
                with Watch(room):
                    end = visit(path)
                with Watch(room, loading=True):
                    resume(path)
                used = _peak() - room_before
                largest = max(largest, (used, f"{number} {kind} {source.name}"))
                if used > GROWTH + TIMES * size:
                    raise MemoryError(f"{used >> 20} MiB for a file of {size} bytes")
            except BaseException:
                end = "FAILED"
                failures += 1
                given.keep.mkdir(exist_ok=True)
                path.replace(given.keep / f"{given.seed}-{number}-{kind}{path.suffix}")
                traceback.print_exc()
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
            slowest = max(
                slowest, (time.process_time() - started, f"{number} {kind} {source.name}")
            )
            ends[kind, end] += 1
            path.unlink(missing_ok=True)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    for kind in sorted({kind for kind, _ in ends}):
        print(
            f"{kind:<16}", *(f"{end} {n:<6}" for (k, end), n in sorted(ends.items()) if k == kind)
        )
    totals = collections.Counter[str]()
    for (_, end), count in ends.items():
        totals[end] += count
    print(f"{given.rounds} rounds:", ", ".join(f"{end} {n}" for end, n in totals.most_common()))
    print(f"slowest round {slowest[0]:.1f} s of the processor ({slowest[1]})")
    print(f"memory grew by {grown / 1024:.0f} MiB; most in a round {largest[0] >> 20} MiB", end=" ")
    print(f"({largest[1]})")
    return 1 if failures else 0


def _peak(*, reset: bool = False) -> int:
    """The largest size of this process in bytes since the last reset; 0 where Linux is not."""
    if not RESET.exists():
        return 0
    if reset:
        RESET.write_text("5")
    found = next(line for line in PEAK.read_text().splitlines() if line.startswith("VmHWM"))
    return int(found.split()[1]) << 10


def _late(*_: object) -> None:
    raise TimeoutError(f"a round took more than {SECONDS} s of the processor")


if __name__ == "__main__":
    sys.exit(main())
