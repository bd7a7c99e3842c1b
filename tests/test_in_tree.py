"""A new file inside the package imports what it would import outside of it: the public names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
METHOD = (ROOT / "examples/method_in_one_file.py").read_text()
CHILD = "from tutelage.distill.methods.fgd import FGD\n\n\nclass Child(FGD):\n    pass\n"
# A new file, what it holds, and which file of the package imports it, before its neighbours.
FILES = {
    "distill/methods/a_child.py": (CHILD, "distill/methods/__init__.py"),
    "distill/methods/a_method.py": (METHOD, "distill/methods/__init__.py"),
    "models/heads/a_head.py": (
        "from tutelage.losses import Criterion\nfrom tutelage.models.heads import Head\n",
        "models/heads/__init__.py",
    ),
    "losses/a_loss.py": ("from tutelage.losses import Criterion\n", "losses/__init__.py"),
    "teachers/a_teacher.py": (
        "from tutelage.teachers import FeatureTeacher, NativeTeacher, Teacher\n",
        "teachers/load.py",
    ),
    "data/formats/a_format.py": (
        "from tutelage.data import DatasetIndex, Finding, read_image\n",
        "data/formats/__init__.py",
    ),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with these files."""
    tree = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    package = shutil.copytree(ROOT / "src/tutelage", tree / "tutelage", ignore=ignored)
    for name, (text, register) in FILES.items():
        (package / name).write_text(text)
        room = name.rpartition("/")[0].replace("/", ".")
        lines = (package / register).read_text().splitlines(keepends=True)
        neighbours = rf"from tutelage\.{room}\.(?!head |criterion )"  # two that stand apart, above
        first = next(number for number, line in enumerate(lines) if re.match(neighbours, line))
        lines.insert(first, f"import tutelage.{room}.{Path(name).stem}\n")
        (package / register).write_text("".join(lines))
    with (package / "distill/methods/__init__.py").open("a") as methods:
        methods.write("from tutelage.distill.methods.a_method import BoxCosine\n")
        methods.write("from tutelage.distill.methods.a_child import Child\n")
        methods.write("METHODS |= {'mine': BoxCosine, 'child': Child}\n")
    return tree


def python(tree: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree, env=env)


def test_the_method_of_the_examples_stands_beside_the_others(tree: Path) -> None:
    done = python(tree, "-m", "tutelage", "methods", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["mine"]["options"] == {"background": 0.5}
    assert rows["child"]["options"] == rows["fgd"]["options"]


def test_a_new_file_may_be_the_first_of_its_room(tree: Path) -> None:
    rooms = ("tutelage.data", "tutelage.losses", "tutelage.models", "tutelage.teachers")
    done = python(tree, "-c", f"import {', '.join(rooms)}, sys; print(*sys.modules, sep='\\n')")
    assert done.returncode == 0, done.stderr
    ours = [name for name in FILES if not name.startswith("distill/")]
    assert {f"tutelage.{name[:-3].replace('/', '.')}" for name in ours} <= {*done.stdout.split()}
