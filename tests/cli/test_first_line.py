"""The first line of a long command is the version, before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import io, sys
from tutelage.cli.app import run

class FirstLine(io.StringIO):
    class End(BaseException):
        pass

    def write(self, text):
        super().write(text)
        if "\\n" in self.getvalue():
            heavy = [name for name in ("torch", "torchvision", "cv2") if name in sys.modules]
            print(self.getvalue().strip(), heavy, file=sys.__stdout__, flush=True)
            raise self.End

sys.stdout = FirstLine()
try:
    run(sys.argv[1:])
except FirstLine.End:
    pass
"""
GIVEN = ("--data", "d.yaml")


@pytest.mark.parametrize(
    "argv",
    [
        ("train", *GIVEN, "--teacher-weights", "t.pt"),
        ("train", *GIVEN, "--devices", "2"),
        ("compare", *GIVEN, "--teacher-weights", "t.pt"),
        ("doctor", *GIVEN, "--teacher", "t.pt"),
        ("demo",),
    ],
    ids=["train", "train --devices", "compare", "doctor", "demo"],
)
def test_it_is_the_version(argv: tuple[str, ...]) -> None:
    from tutelage import __version__

    command = [sys.executable, "-c", PROGRAM, *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == f"tutelage {__version__} []\n", done.stderr
