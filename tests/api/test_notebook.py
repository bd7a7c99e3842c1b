"""In the kernel of a notebook: the live bar, the pictures of a run, the stop button."""

from __future__ import annotations

import re
import time

import pytest

from tests.run.small_runs import make_data

pytest.importorskip("ipykernel", reason="needs ipykernel")
manager = pytest.importorskip("jupyter_client.manager", reason="needs jupyter_client")

TRAIN = """
import tutelage
run = tutelage.train({data!r}, cfg="yolov7-tiny@0.125", epochs={epochs}, batch_size=4, img_size=64,
                     device="cpu", workers=0, name={name!r})
"""


@pytest.fixture
def kernel(tmp_path):
    """A kernel in an empty folder, with its client."""
    started, client = manager.start_new_kernel(cwd=str(tmp_path))
    yield started, client
    client.stop_channels()
    started.shutdown_kernel(now=True)


def execute(client, code, on_message=lambda _: None, *, limit=240.0):
    """Execute a cell; return its outputs."""
    sent, outputs, until = client.execute(code), [], time.monotonic() + limit
    while time.monotonic() < until:
        message = client.get_iopub_msg(timeout=limit)
        if message["parent_header"].get("msg_id") != sent:
            continue
        if message["header"]["msg_type"] == "status":
            if message["content"]["execution_state"] == "idle":
                return outputs
            continue
        outputs.append(message)
        on_message(message)
    raise TimeoutError(code)


def of_kind(outputs, kind):
    return [each["content"] for each in outputs if each["header"]["msg_type"] == kind]


@pytest.mark.slow
def test_a_run_in_a_notebook(kernel, tmp_path) -> None:
    _, client = kernel
    data = make_data(tmp_path)
    outputs = execute(client, TRAIN.format(data=data, epochs=2, name="seen"))
    assert not of_kind(outputs, "error")
    assert not of_kind(outputs, "stream")
    first, *more = of_kind(outputs, "display_data") + of_kind(outputs, "update_display_data")
    assert "tutelage" in first["data"]["text/html"]
    assert any("<progress" in each["data"]["text/html"] for each in more)
    last = more[-1]["data"]["text/html"]
    assert "best" in last or "no object" in last
    assert last.count("<tr>") == 3
    [shown] = of_kind(execute(client, "run"), "execute_result")
    assert "<svg" in shown["data"]["text/html"]
    figures = execute(client, "run.plot()")
    pictures = of_kind(figures, "display_data") + of_kind(figures, "execute_result")
    assert any("image/png" in each["data"] for each in pictures)
    [table] = of_kind(execute(client, "run.metrics"), "execute_result")
    assert "<table>" in table["data"]["text/html"]


@pytest.mark.slow
def test_the_stop_button_saves(kernel, tmp_path) -> None:
    started, client = kernel
    data, pressed = make_data(tmp_path), []

    def press(message) -> None:
        html = message["content"].get("data", {}).get("text/html", "")
        if not pressed and re.search(r"epoch [3-9]/", html):
            pressed.append(html)
            started.interrupt_kernel()

    outputs = execute(client, TRAIN.format(data=data, epochs=400, name="stopped"), press)
    [error] = of_kind(outputs, "error")
    assert error["ename"] == "RunInterrupted"
    assert "saved after epoch" in error["evalue"]
    assert (tmp_path / "runs" / "stopped" / "last.pt").exists()
    code = "print(len(tutelage.Run('runs/stopped').metrics) >= 2)"  # the kernel lives on
    assert of_kind(execute(client, code), "stream")[0]["text"].strip() == "True"
