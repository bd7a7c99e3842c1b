"""Peak memory of whole distilled runs against a plain one.

    python benchmarks/memory.py [--image-size 320] [--epochs 2] [--precision bf16]

yolov7 teaches yolov7-tiny (batch 8, random weights) on 64 of the built-in digit scenes. Each run is
a process of its own, its figure the largest resident set: a plain run, one that asks the teacher
in every epoch, one that fills a store, and one that finds it full. Equal runs differ by some per
cent: plain ones and those on a full store are medians of ``--repeats``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median


def prepare(folder: Path, size: int) -> None:
    """Write the scenes and the teacher; print where they are.

    Linux counts the peak of the process that starts another one as the peak of that one, too: this
    runs in a process of its own.
    """
    from stored_teaching import write_teacher

    from tutelage.data.digits import SceneSettings, build

    print(build(folder, scenes=SceneSettings(size=size, train=64, val=16, test=16)))
    print(write_teacher(folder / "teacher.safetensors"))


def peak_mib(arguments: list[str]) -> float:
    """Run the command line in a process of its own and return its peak in MiB."""
    command = [sys.executable, "-m", "tutelage", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["bckd", "cwd"])
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.prepare:
        prepare(args.prepare, args.image_size)
        return
    with tempfile.TemporaryDirectory() as name:
        size = ["--image-size", str(args.image_size)]
        command = [sys.executable, __file__, "--prepare", name, *size]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        data, teacher = done.stdout.splitlines()[-2:]
        run = ["train", "--data", data, "--cfg", "yolov7-tiny", "--project", name]
        run += ["--img", str(args.image_size), "--batch", "8", "--epochs", str(args.epochs)]
        run += ["--precision", args.precision]
        peaks = [peak_mib([*run, "--name", "plain"]) for _ in range(args.repeats)]
        plain = median(peaks)
        print(f"plain {plain:.0f} MiB ({', '.join(f'{peak:.0f}' for peak in peaks)})", flush=True)
        for method in args.methods:
            taught = [*run, "--teacher-weights", teacher, "--method", method]
            taught += ["--set", "distill.accept_teacher=true", "--set", "distill.views=2"]
            for form, repeats, more in (
                ("asks in every epoch", 1, ["--set", "distill.store=off"]),
                ("fills its store", 1, []),
                ("finds it full", args.repeats, []),
            ):
                peaks = [peak_mib([*taught, "--name", method, *more]) for _ in range(repeats)]
                peak = median(peaks)
                listed = ", ".join(f"{each:.0f}" for each in peaks)
                print(
                    f"{method}, {form}: {peak:.0f} MiB ({listed}), {peak / plain:.2f} × plain",
                    flush=True,
                )


if __name__ == "__main__":
    main()
