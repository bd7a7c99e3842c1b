"""What lies in examples/ runs as its head says."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from tutelage.demo import shipped_teacher

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
TINY = ["--data", "digits", "--cfg", "yolov7-tiny@0.125", "--img-size", "64", "--batch-size", "8"]


def run(command, **variables):
    """Run a command in the folder of the examples; return its exit status and what it wrote."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | variables
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command, cwd=EXAMPLES, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def train(*options, project, **variables):
    command = [sys.executable, "-m", "tutelage", "train", *TINY, "--epochs", "1", "--dry-run"]
    return run([*command, "--project", str(project), *options], **variables)


@pytest.mark.slow
def test_the_method_teaches(tmp_path):
    method = "method_in_one_file:BoxCosine:background=0.2"
    teacher = str(shipped_teacher())
    status, said = train("--teacher-weights", teacher, "--method", method, project=tmp_path)
    assert status == 0, said
    assert "BoxCosine × auto" in said
    assert "background 0.2" in said


def test_the_page_shows_the_method_as_it_is():
    page = (ROOT / "docs" / "writing-a-method.md").read_text()
    code = (EXAMPLES / "method_in_one_file.py").read_text()
    assert code in re.findall(r"```python\n(.*?)```", page, re.DOTALL)


@pytest.mark.slow
def test_the_teacher_teaches(tmp_path):
    torch.manual_seed(0)
    weights = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18().state_dict(), weights)
    options = ["--teacher-weights", "own_teacher:build", "--method", "cwd"]
    status, said = train(*options, project=tmp_path, OWN_TEACHER=str(weights))
    assert status == 0, said
    assert "57 → p3      8 → 128  ch   /8   connector 1×1" in said


def test_the_teacher_says_which_weights_it_wants(tmp_path):
    options = ["--teacher-weights", "own_teacher:build"]
    status, said = train(*options, project=tmp_path, OWN_TEACHER="")
    assert status == 4, said
    assert "OWN_TEACHER names no weights" in said


@pytest.mark.slow
def test_the_script_starts_its_processes(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    options = [*TINY, "--epochs", "1", "--dry-run", "--device", "cpu", "--project", str(tmp_path)]
    script = ["bash", "several_machines.sh", *options]
    status, said = run(script, MACHINES="1", GPUS="2", PORT=str(port))
    assert status == 0, said
    assert said.count("Dry run: everything was built") == 1
    assert "· 2 × " in said  # processes


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_notebook_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(EXAMPLES / "digits.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=500, resources=resources).execute()
    results = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    shown = "".join(each.get("text", "") for each in results)
    assert re.search(r"distilled (raised|changed) AP by .*95 % interval", shown), shown
    assert (tmp_path / "runs" / "distilled" / "report.html").exists()
