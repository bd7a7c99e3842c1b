"""The commands themselves."""

from __future__ import annotations

import json
import signal
from importlib.util import find_spec

import cv2
import pytest

from tests.deploy.conftest import SIZE
from tests.deploy.test_streams import Camera
from tutelage.deploy.prediction_writers import PictureWriter
from tutelage.deploy.sources import read_frames


def test_export_predict_val_bench(cli, graph, run, monkeypatch) -> None:
    monkeypatch.chdir(run.parent)
    answer = cli("export", "run", "--nms", "--conf", "0.1")
    assert answer.code == 0, answer.err
    first, second, third, fourth = answer.out.splitlines()
    assert first.startswith("run/best-nms.onnx  0.1 MB · 0.01 M parameters · float32 · NMS inside")
    assert second.startswith(" verified  max |Δ| ")
    assert second.endswith(f", at {SIZE}x{SIZE} by 1 and {SIZE + 16}x{SIZE} by 3")
    assert third == " next  tutelage predict run/best-nms.onnx photos/ --save out/"
    assert fourth == "       tutelage bench run run/best-nms.onnx"
    facts = json.loads(cli("export", "run", "--json").out)
    assert (facts["path"], facts["metadata"]["nms"]) == ("run/best.onnx", None)
    assert facts["difference"] < 1e-4

    pictures = "d/images/val"
    for model in ("run", "run/best.onnx"):
        answer = cli("predict", model, pictures, "--conf", "0.1", "--device", "cpu")
        assert answer.code == 0, answer.err
        assert answer.out.splitlines()[0].startswith("d/images/val/0.png  64x48  ")
        *_, last, advice = answer.out.splitlines()
        assert last.startswith("3 pictures in ")
        assert advice.startswith(" next  add  --save out/")
    answer = cli(
        "predict", "run", pictures, "--save", "out", "--save-txt", "txt", "--save-conf",
        "--save-json", "found.json", "--json", "--classes", "cell,1", "--conf-thres", "0.1",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    seen = [json.loads(line) for line in answer.out.splitlines()]
    count = sum(len(each["detections"]) for each in seen)
    assert count > 3
    assert len(json.loads((run.parent / "found.json").read_text())["annotations"]) == count
    lines = [(run.parent / "txt" / f"{i}.txt").read_text().splitlines() for i in range(3)]
    assert sum(map(len, lines)) == count
    assert all((run.parent / "out" / f"{i}.png").exists() for i in range(3))

    scores = [cli("val", model, "--json", "--device", "cpu") for model in ("run", "run/best.onnx")]
    assert [each.code for each in scores] == [0, 0], scores
    assert json.loads(scores[0].out)["AP"] == pytest.approx(json.loads(scores[1].out)["AP"])

    bench = ("bench", "run/best.onnx", "--repeats", "2", "--device", "cpu")
    answer = cli(*bench)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[1].startswith("run/best.onnx  onnx     cpu")
    [row] = json.loads(cli(*bench, "--json").out)
    assert row["runtime"] == "onnx"


def test_command_lines_of_yolov7_and_yolov5(cli, graph, run, monkeypatch) -> None:
    monkeypatch.chdir(run.parent)
    answer = cli(
        "export", "--weights", "run", "--img-size", f"{SIZE}", f"{SIZE}", "--grid", "--simplify",
        "--dynamic", "--int8", "--calibration", "2",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "--simplify has no effect here: every export is simplified." in answer.out
    answer = cli("export", "--weights", "run", "--include", "onnx", "--end2end")
    assert answer.code == 2
    assert "--include is not supported: --to takes one format at a time." in answer.err
    assert "--nms puts the suppression into the file" in answer.err
    answer = cli(
        "predict", "--weights", "run", "--source", "d/images/val", "--conf-thres", "0.1",
        "--classes", "0", "1", "--agnostic-nms", "--augment", "--nosave", "--device", "cpu",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.out.startswith("--nosave has no effect here: nothing is saved unless")
    assert "\n3 pictures in " in answer.out
    answer = cli("predict", "run", "d", "--view-img", "--project", "x")
    assert (answer.code, "2 flags cannot be used" in answer.err) == (2, True)


def test_integers_are_shown_beside_floats(cli, graph, run, monkeypatch) -> None:
    monkeypatch.chdir(run.parent)
    answer = cli("export", "run", "--int8", "--calibration", "2")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[0].startswith("run/best-int8.onnx  ")
    assert " verified of the floats  max" in answer.out
    assert "\n AP  floats .000  int8 .000\n" in answer.out


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["export", "none.pt"], 4, "none.pt does not exist"),
        (["export", "run", "--to", "pt2", "--nms"], 2, "--nms needs --to onnx"),
        (["export", "run", "--to", "tflite"], 2, "'tflite' is not one of"),
        (["predict", "run", "none.jpg"], 3, "none.jpg does not exist"),
        (["predict", "run", "d.yaml"], 3, "neither an image nor a video"),
        (["predict", "run", "d", "--classes", "cel"], 2, "Did you mean 'cell'?"),
        (["predict", "run.pt2", "d"], 4, "Refused to read run.pt2"),
        (["predict"], 2, "No model is given"),
        (["predict", "run"], 2, "No picture is given"),
        (["predict", "yolov7-tiny", "d"], 4, "it has no trained weights"),
        (["predict", "run", "d", "--half", "--device", "cpu"], 2, "--half needs a GPU"),
        (["predict", "run", "d", "--save", "d.yaml"], 2, "--save d.yaml: d.yaml is a file"),
        (["predict", "run", "d", "--save-json", "d"], 2, "--save-json d is a folder"),
        (["export", "run", "--data", "none.yaml"], 3, "none.yaml"),
        (["export", "run", "--half", "--int8"], 2, "exclude each other"),
        (["export", "yolov7-tinny"], 4, "yolov7-tinny does not exist"),
        (["export"], 2, "No model is given"),
        (["bench", "none.onnx"], 4, "none.onnx does not exist"),
        (["bench", "run", "none.pt"], 4, "none.pt does not exist"),
        (["bench", "run", "--half", "--device", "cpu"], 2, "--half in torch needs a GPU"),
        (["bench", "run", "--device", "cuda:9"], 2, "--device cuda:9: this machine has"),
        (["val", "none.onnx", "--data", "d.yaml"], 4, "none.onnx does not exist"),
    ],
)
def test_what_cannot_work(argv, code, message, cli, run, monkeypatch) -> None:
    monkeypatch.chdir(run.parent)
    answer = cli(*argv)
    assert (answer.code, message in answer.err) == (code, True), answer.err
    assert "Traceback" not in answer.err


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
def test_a_missing_extra_has_its_command_and_code_5(cli, run, monkeypatch) -> None:
    monkeypatch.chdir(run.parent)
    monkeypatch.setattr(
        "tutelage.optional_packages.find_spec",
        lambda name: None if name == "openvino" else name,
    )
    answer = cli("export", "run", "--to", "openvino")
    assert (answer.code, answer.err) == (
        5,
        "Error [E19]: OpenVINO is not installed:\n  pip install 'tutelage[openvino]'\n",
    )


def test_a_file_that_cannot_be_read_has_a_line_too(cli, run, monkeypatch) -> None:
    monkeypatch.chdir(run.parent)
    (run.parent / "d/images/val/bad.png").write_bytes(b"")
    options = ("--device", "cpu", "--save-txt", "txt", "--save-json", "found.json")
    answer = cli("predict", "run", "d/images/val", "--json", *options)
    assert answer.code == 0, answer.err
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert [row["path"].rpartition("/")[2] for row in rows] == [
        "0.png",
        "1.png",
        "2.png",
        "bad.png",
    ]
    assert rows[3]["error"] == "d/images/val/bad.png cannot be read: the file is empty"
    assert (rows[3]["detections"], rows[3]["width"]) == ([], None)
    assert "error" not in rows[0]
    assert sorted(each.name for each in (run.parent / "txt").iterdir()) == [
        "0.txt",
        "1.txt",
        "2.txt",
    ]
    assert len(json.loads((run.parent / "found.json").read_text())["images"]) == 3
    answer = cli("predict", "run", "d/images/val", "--device", "cpu")
    assert "\n3 pictures in " in answer.out
    assert " · 1 could not be read\n" in answer.out
    answer = cli("predict", "run", "d/images/val/bad.png", "--device", "cpu")
    assert (answer.code, "Nothing could be read" in answer.err) == (3, True)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_camera_is_recorded_until_it_is_stopped(cli, run, monkeypatch, sent) -> None:
    monkeypatch.chdir(run.parent)
    camera = Camera(10**9)
    monkeypatch.setattr(cv2, "VideoCapture", lambda target: camera)
    add, added = PictureWriter.add, []

    def stop_after_three(self, prediction) -> None:
        add(self, prediction)
        added.append(prediction.frame.number)
        if len(added) == 3:
            signal.raise_signal(sent)

    monkeypatch.setattr(PictureWriter, "add", stop_after_three)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    try:
        answer = cli("predict", "run", "0", "--save", "out", "--device", "cpu")
    finally:
        signal.signal(signal.SIGINT, before)
    assert answer.code == 130
    name = "Ctrl-C" if sent == signal.SIGINT else "SIGTERM"
    assert f"[R15] Stopped by {name}.\n" in answer.err
    first, *_, last = answer.out.splitlines()
    assert first == f"camera 0 frame {added[0]}  60x40  " + first.rpartition("  ")[2]
    assert last.startswith(("2 pictures in ", "3 pictures in "))
    assert camera.released.wait(60)
    [recording] = (run.parent / "out").iterdir()  # finished, no hidden rest
    monkeypatch.undo()
    frames = list(read_frames(recording))
    assert len(frames) == added[2] - added[0] + 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_export_that_is_stopped_leaves_nothing(cli, run, monkeypatch, sent) -> None:
    before = sorted(run.iterdir())
    monkeypatch.setattr(
        "tutelage.deploy.export.trace", lambda network, shape: signal.raise_signal(sent)
    )
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    try:
        answer = cli("export", str(run))
    finally:
        signal.signal(signal.SIGINT, handler)
    name = "Ctrl-C" if sent == signal.SIGINT else "SIGTERM"
    assert (answer.code, f"[R15] Stopped by {name}: nothing was written.\n" in answer.err) == (
        130,
        True,
    )
    assert sorted(run.iterdir()) == before


def test_a_password_is_printed_nowhere(cli, run, monkeypatch) -> None:
    monkeypatch.chdir(run.parent)
    camera = Camera(2)
    monkeypatch.setattr(cv2, "VideoCapture", lambda target: camera)
    secret = "rtsp://me:hunter2@cam.local/live?token=hunter2"
    for flags in ([], ["--json"]):
        camera.given = 0
        camera.released.clear()
        answer = cli(
            "predict", "run", secret, "--save-json", "found.json", "--device", "cpu", *flags
        )
        assert answer.code == 0, answer.err
        assert "rtsp://***@cam.local/live?***" in answer.out
        written = (run.parent / "found.json").read_text()
        assert "hunter2" not in answer.out + answer.err + written
    monkeypatch.setattr(camera, "isOpened", lambda: [][0])  # a bug of ours leaves a crash file
    answer = cli("predict", "run", secret, "--device", "cpu")
    crash = (run.parent / "tutelage-crash.txt").read_text()
    assert answer.code == 1
    assert "$ tutelage predict run 'rtsp://***@cam.local/live?***'" in crash
    assert "hunter2" not in crash + answer.out + answer.err
