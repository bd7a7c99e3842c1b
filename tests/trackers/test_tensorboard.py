"""TensorBoard: what its own reader finds in the event files."""

import json
from importlib.util import find_spec

import pytest

from tests.trackers.small_events import events, follow, run_folder
from tutelage.run.events import Finished, Notice

pytestmark = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="needs pip install 'tutelage[tensorboard]'"
)


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def curve(found, name):
    return [(each.step, round(each.value, 4)) for each in found.Scalars(name)]


def test_the_event_files_read_back(tmp_path):
    folder = run_folder(tmp_path)
    out = follow(["tensorboard"], events(folder))
    assert [event.text for event in out if isinstance(event, Notice)] == ["Report"]
    found = read(folder)
    assert curve(found, "loss/box") == [(1, 0.5), (2, 1.5)]
    assert curve(found, "kd/fgd/relation") == [(1, 2.0), (2, 2.0)]
    assert curve(found, "step/loss/box") == [(1, 0.5), (11, 1.5)]
    assert curve(found, "val/AP") == [(1, 0.4), (2, 0.41)]
    assert curve(found, "kd_weight/fgd") == [(1, 0.75), (2, 0.75)]
    assert curve(found, "best/AP") == [(2, 0.41)]
    assert "val/APl" not in found.Tags()["scalars"]


def test_pictures_are_the_files_themselves(tmp_path):
    folder = run_folder(tmp_path)
    follow(["tensorboard"], events(folder))
    found = read(folder)
    assert [each.step for each in found.Images("samples/val_found")] == [1, 2]
    last = found.Images("samples/val_found")[-1]
    assert last.encoded_image_string == (folder / "samples/val_found.jpg").read_bytes()
    assert (last.width, last.height) == (32, 24)
    [report] = found.Tensors("report/text_summary")
    assert str(folder / "report.html").encode() in report.tensor_proto.string_val[0]


def test_settings_are_hyper_parameters_of_this_very_run(tmp_path):
    from tensorboard.plugins.hparams import plugin_data_pb2

    folder = run_folder(tmp_path)
    follow(["tensorboard"], events(folder))
    assert [path.name for path in (folder / "tensorboard").iterdir() if path.is_dir()] == []
    content = read(folder).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    values = data.session_start_info.hparams
    assert values["train.epochs"].number_value == 100
    assert values["model.autoanchor"].number_value == 1
    assert json.loads(values["distill.methods"].string_value)[0]["name"] == "auto"


def test_a_resumed_run_adds_to_its_files_and_a_new_one_replaces_them(tmp_path):
    folder = run_folder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        follow(["tensorboard"], events(folder, 2, stop=KeyboardInterrupt()))
    follow(["tensorboard"], events(folder, 3, first=1), resumed=True)
    assert curve(read(folder), "val/AP") == [(1, 0.4), (2, 0.41), (3, 0.42)]
    follow(["tensorboard"], events(folder, 1))
    assert curve(read(folder), "val/AP") == [(1, 0.4)]


def test_a_folder_that_cannot_be_written_costs_the_curves_alone(tmp_path):
    folder = run_folder(tmp_path)
    (folder / "tensorboard").write_text("a file is in the way")
    out = follow(["tensorboard"], events(folder))
    assert isinstance(out[-1], Finished)
    [warning] = [each for each in out if isinstance(each, Notice) and each.level == "warning"]
    assert "tensorboard" in warning.text
