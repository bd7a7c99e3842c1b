"""MLflow: a server on loopback with SQLite, and the file that it uses without a server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec

import pytest

from tests.trackers.small_events import Clock, config, events, follow, run_folder
from tutelage.run.events import Evaluated, Finished, Notice
from tutelage.trackers import with_trackers
from tutelage.trackers.backends import make_trackers

pytestmark = pytest.mark.skipif(  # not imported: our own code must be the first to do so
    find_spec("mlflow") is None, reason="needs pip install 'tutelage[mlflow]'"
)
LIFE = 240  # seconds after which a server ends by itself
STARTS = 120  # seconds that it may take to start


class Server:
    """An MLflow server on loopback that ends with the test, or by itself."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = ["timeout", str(LIFE), sys.executable, "-m", "mlflow", "server"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        self._log = (folder / "server.log").open("w")
        self._process = subprocess.Popen(
            command, cwd=folder, stdout=self._log, stderr=self._log, start_new_session=True
        )
        self._wait(folder)

    def _wait(self, folder):
        deadline = time.monotonic() + STARTS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        self.stop()
        pytest.fail("no MLflow server: " + (folder / "server.log").read_text()[-2000:])

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.stop()


@pytest.fixture
def client(server, monkeypatch):
    make_trackers(["mlflow"])
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    return MlflowClient(server.address)


def runs(client, experiment="tutelage"):
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id]) if found else []


def curve(client, run, name):
    return sorted((each.step, each.value) for each in client.get_metric_history(run, name))


def test_a_run_on_a_server(tmp_path, client):
    out = follow(["mlflow"], events(run_folder(tmp_path, "fgd-s0")), group="compare-d")
    assert [event.text for event in out if isinstance(event, Notice)] == ["Report"]
    [run] = [each for each in runs(client) if each.info.run_name == "fgd-s0"]
    key = run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "100"
    assert run.data.params["data"] == "d.yaml"
    assert curve(client, key, "loss/box") == [(1, 0.5), (2, 1.5)]
    assert curve(client, key, "step/kd/fgd/relation") == [(1, 2.0), (11, 2.0)]
    assert curve(client, key, "val/AP") == [(1, 0.4), (2, 0.41)]
    assert run.data.metrics["best/AP"] == 0.41
    files = {each.path for each in client.list_artifacts(key)}
    assert files == {"samples", "report.html"}
    pictures = {each.path for each in client.list_artifacts(key, "samples")}
    assert {"samples/train_batch0-1.jpg", "samples/val_found-2.jpg"} <= pictures
    # nothing that was not asked for: no user, script, commit
    assert run.data.tags == {"group": "compare-d", "mlflow.runName": "fgd-s0"}
    assert run.info.user_id in ("", "unknown")


def test_a_stopped_run_goes_on_in_the_same_run(tmp_path, client):
    folder = run_folder(tmp_path, "stopped")
    with pytest.raises(KeyboardInterrupt):
        follow(["mlflow"], events(folder, stop=KeyboardInterrupt()))
    [run] = [each for each in runs(client) if each.info.run_name == "stopped"]
    assert run.info.status == "KILLED"
    follow(["mlflow"], events(folder, 3, first=1), resumed=True)
    [after] = [each for each in runs(client) if each.info.run_name == "stopped"]
    assert (after.info.run_id, after.info.status) == (run.info.run_id, "FINISHED")
    assert curve(client, run.info.run_id, "val/AP") == [(1, 0.4), (2, 0.41), (3, 0.42)]


def test_the_users_experiment_and_long_values(tmp_path, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of the user")
    make_trackers(["mlflow"])
    sizes = []
    monkeypatch.setattr("tutelage.trackers.mlflow.MAX_PARAMS_TAGS_PER_BATCH", 40)
    send = type(client).log_batch

    def log_batch(self, run, metrics=(), params=(), **more):
        sizes.append(len(params))
        return send(self, run, metrics, params, **more)

    monkeypatch.setattr("mlflow.MlflowClient.log_batch", log_batch)
    folder = run_folder(tmp_path)
    text = (folder / "config.yaml").read_text()
    long = text.replace("data: d.yaml", f"data: {'x' * 7000}")
    assert long != text
    (folder / "config.yaml").write_text(long)
    out = follow(["mlflow"], events(folder))
    assert [event.text for event in out if isinstance(event, Notice)] == ["Report"]
    [run] = runs(client, "of the user")
    assert run.data.params["data"] == "x" * 6000
    assert len(run.data.params) > 90
    assert max(sizes) == 40


def test_names_that_mlflow_does_not_allow():
    make_trackers(["mlflow"])
    from tutelage.trackers.mlflow import _name

    assert _name("kd/my_kd:Mine/a=b,c") == "kd/my_kd:Mine/a_b_c"
    assert len(_name("x" * 300)) == 250


def test_a_server_that_goes_away_in_the_middle(tmp_path, monkeypatch):
    """The run ends as it would have; the server's part of it is what came before."""
    home = tmp_path / "server"
    home.mkdir()
    server = Server(home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    out = []
    try:
        source = events(run_folder(tmp_path), 3)
        for event in with_trackers(source, config("mlflow"), now=Clock()):
            out.append(event)
            if isinstance(event, Evaluated) and event.epoch == 0:
                server.stop()
    finally:
        server.stop()
    assert isinstance(out[-1], Finished)
    assert sum(isinstance(event, Evaluated) for event in out) == 3
    warnings = [each for each in out if isinstance(each, Notice) and each.level == "warning"]
    [warning] = warnings
    assert "mlflow does not get all of this run" in warning.text
    assert "refused" in warning.text


def test_without_a_server_the_file_of_mlflow_itself(tmp_path, monkeypatch):
    make_trackers(["mlflow"])
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = run_folder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        follow(["mlflow"], events(folder, stop=KeyboardInterrupt()))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    out = follow(["mlflow"], events(folder, first=1), resumed=True)
    assert [event.text for event in out if isinstance(event, Notice)] == ["Report"]
    assert list(elsewhere.iterdir()) == []
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    [run] = runs(client)
    assert run.info.status == "FINISHED"
    assert curve(client, run.info.run_id, "val/AP") == [(1, 0.4), (2, 0.41)]


def test_the_telemetry_of_the_package_is_off():
    """In a process of its own: MLflow decides at its import, and never sends from a test."""
    code = "from tutelage.trackers.backends import make_trackers; make_trackers(['mlflow']);"
    code += "from mlflow.telemetry import get_telemetry_client as client; print(client())"
    silent = ("PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS", "MLFLOW_DISABLE_TELEMETRY")
    environment = {name: value for name, value in os.environ.items() if name not in silent}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "None"
