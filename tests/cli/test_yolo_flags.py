from __future__ import annotations

import pytest

from tutelage.cli.app import app
from tutelage.cli.yolo_flags import COMMANDS, TRAIN, translate
from tutelage.config.describe import leaves
from tutelage.errors import ConfigError

# Every flag of the two families' training scripts, with values as people give them.
YOLOV7 = """
--weights yolov7.pt | --cfg cfg/training/yolov7.yaml | --data data/coco.yaml
--hyp data/hyp.scratch.p5.yaml | --epochs 300 | --batch-size 16 | --img-size 640 640 | --rect
--resume | --resume runs/train/exp | --nosave | --notest | --noautoanchor | --evolve
--bucket gs://b | --cache-images | --image-weights | --device 0 | --multi-scale | --single-cls
--adam | --sync-bn | --local_rank -1 | --workers 8 | --project runs/train | --entity me
--name exp | --exist-ok | --quad | --linear-lr | --label-smoothing 0.1 | --upload_dataset
--bbox_interval -1 | --save_period -1 | --artifact_alias latest | --freeze 0 | --freeze 0 1 2
--v5-metric | --log-imgs 16 | --log-artifacts
"""
YOLOV5 = """
--weights yolov5s.pt | --cfg '' | --data data/coco128.yaml | --hyp hyp.yaml | --epochs 100
--batch-size -1 | --imgsz 640 | --img 640 | --img-size 640 | --rect | --resume | --nosave
--noval | --noautoanchor | --noplots | --evolve 300 | --evolve_population data/hyps
--resume_evolve x | --bucket '' | --cache | --cache ram | --cache disk | --image-weights
--device cpu | --multi-scale | --single-cls | --optimizer AdamW | --sync-bn | --workers 8
--project runs/train | --name exp | --exist-ok | --quad | --cos-lr | --label-smoothing 0.0
--patience 100 | --freeze 10 | --save-period -1 | --seed 0 | --local_rank -1 | --entity me
--upload_dataset val | --bbox_interval -1 | --ndjson-console | --ndjson-file
"""
REFUSED = {"--evolve", "--evolve_population", "--resume_evolve", "--image-weights", "--quad"}


def command_lines(text: str) -> list[list[str]]:
    parts = [part for line in text.split("\n") for part in line.split(" | ") if part]
    return [["" if word == "''" else word for word in part.split(" ")] for part in parts]


def options_of(command: str) -> set[str]:
    import typer

    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    return {option for parameter in found.params for option in parameter.opts}


@pytest.mark.parametrize("argv", command_lines(YOLOV7 + YOLOV5), ids=" ".join)
def test_every_flag_of_both_families_is_taken_mapped_or_refused(argv: list[str]) -> None:
    flag = argv[0]
    assert flag in TRAIN
    given = argv[1:]
    refused = flag in REFUSED or given == ["gs://b"] or given == ["disk"]
    if refused:
        with pytest.raises(ConfigError, match=flag):
            translate(["train", flag, *given])
        return
    result = translate(["train", flag, *given, "--data", "after.yaml"])
    assert result.argv[0] == "train"
    assert result.argv[-2:] == ["--data", "after.yaml"]  # nothing that follows was swallowed
    known = TRAIN[flag]
    assert bool(result.notices) == (known.action == "ignore")
    assert bool(result.settings) == (known.action == "set")


def test_the_table_is_sound() -> None:
    for command, table in COMMANDS.items():
        options = options_of(command)
        for flag, known in table.items():
            if known.action == "keep":
                assert flag in options, flag
            else:
                assert flag not in options, flag  # one meaning only
            assert (known.action == "set") == (known.setting in leaves()), flag
            assert bool(known.reason) == (known.action in ("ignore", "refuse")), flag
            assert not known.harmless or known.action == "refuse", flag


@pytest.mark.parametrize(
    ("argv", "parsed"),
    [
        (["--img-size", "640", "640", "--epochs", "3"], ["--img-size", "640", "--epochs", "3"]),
        (["--img-size=640"], ["--img-size", "640"]),
        (["--freeze", "0", "1", "2"], ["--freeze", "0,1,2"]),
        (["--freeze", "10"], ["--freeze", "10"]),
        (["--resume"], ["--resume", ""]),
        (["--resume", "--epochs", "3"], ["--resume", "", "--epochs", "3"]),
        (["--resume", "runs/a"], ["--resume", "runs/a"]),
        (["--weights", "", "--cfg", "a.yaml"], ["--weights", "", "--cfg", "a.yaml"]),
        (["--batch-size", "-1"], ["--batch-size", "auto"]),
        (["--rect=yes"], ["--rect=yes"]),
        (["--unknown", "x"], ["--unknown", "x"]),
        (["--name", "a b=c"], ["--name", "a b=c"]),
        (["--name=--rect"], ["--name", "--rect"]),
        (["--epochs"], ["--epochs"]),
    ],
)
def test_what_typer_gets_to_parse(argv: list[str], parsed: list[str]) -> None:
    result = translate(["train", *argv])
    assert result.argv == ["train", *parsed]
    assert not result.notices


@pytest.mark.parametrize(
    ("argv", "setting", "value", "origin"),
    [
        (["--adam"], "optim.name", "adam", "flag --adam"),
        (["--linear-lr"], "optim.schedule", "linear", "flag --linear-lr"),
        (["--cos-lr"], "optim.schedule", "cosine", "flag --cos-lr"),
        (["--label-smoothing", "0.1"], "loss.label_smoothing", "0.1", "flag --label-smoothing"),
        (["--label-smoothing=0.1"], "loss.label_smoothing", "0.1", "flag --label-smoothing"),
        (["--noautoanchor"], "model.autoanchor", False, "flag --noautoanchor"),
        (["--notest"], "train.validate_runs", False, "flag --notest"),
        (["--noval"], "train.validate_runs", False, "flag --noval"),
        (["--cache"], "train.cache_images", "ram", "flag --cache"),
        (["--cache", "ram"], "train.cache_images", "ram", "flag --cache"),
    ],
)
def test_flags_that_are_settings_here(
    argv: list[str], setting: str, value: object, origin: str
) -> None:
    assert translate(["train", *argv]).settings == {setting: (value, origin)}


def test_two_sizes_that_differ_are_told() -> None:
    result = translate(["train", "--img-size", "640", "1280"])
    assert result.argv == ["train", "--img-size", "640"]
    assert result.notices == [
        "--img-size 640 1280: training and evaluation have one size here: 640."
    ]


def test_flags_of_a_service_name_it_once() -> None:
    of_a_service = ["--upload_dataset", "--entity", "me", "--bbox_interval", "3"]
    of_a_service += ["--artifact_alias", "last"]
    found = translate(["train", *of_a_service, "--nosave"]).notices
    assert found[0] == (
        "--upload_dataset --entity --bbox_interval --artifact_alias have no effect here: nothing "
        "is sent to Weights & Biases; metrics.jsonl in the run folder has every value."
    )
    assert len(found) == 2
    assert found[1].startswith("--nosave has no effect here")
    with pytest.raises(ConfigError, match="nothing is sent to Google Cloud Storage"):
        translate(["train", "--bucket", "gs://b"])


@pytest.mark.parametrize("argv", [["--local_rank", "-1"], ["--bucket", ""], ["--bucket="]])
def test_defaults_given_by_hand_mean_nothing(argv: list[str]) -> None:
    assert translate(["train", *argv]).argv == ["train"]


def test_all_refusals_are_told_at_once_with_ours() -> None:
    with pytest.raises(ConfigError) as caught:
        translate(["train", "--quad", "--local_rank", "0", "--cache", "disk", "--label-smoothing"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 flags cannot be used:"
    assert "--quad is not supported: batches are not folded; use a larger --img-size." in lines[1]
    assert "torchrun" in lines[2]
    assert "--cache-images" in lines[3]
    assert "--label-smoothing needs a value" in lines[4]


def test_val_flags() -> None:
    result = translate(
        [
            "val",
            "--weights",
            "a.pt",
            "--img-size",
            "640",
            "--task",
            "test",
            "--verbose",
            "--max-det",
            "300",
        ]
    )
    assert result.argv == ["val", "--weights", "a.pt", "--img-size", "640", "--task", "test"]
    assert len(result.notices) == 1
    with pytest.raises(ConfigError, match="always 300 detections"):
        translate(["val", "--max-det", "100"])
    assert translate(["val", "--img-size", "640", "runs/a"]).argv == [
        "val",
        "--img-size",
        "640",
        "runs/a",
    ]
    assert translate(["val", "--save-json", "--half"]).argv == [
        "val",
        "--save-json",
        "predictions.json",
        "--half",
    ]
    assert translate(["val", "--save-json", "a.json"]).argv == ["val", "--save-json", "a.json"]


def test_other_commands_pass_as_they_are() -> None:
    assert translate(["layers", "--quad", "x"]).argv == ["layers", "--quad", "x"]
    assert translate([]).argv == []


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["train", "--noautoancor"], "--noautoanchor"),
        (["train", "--image-wieghts"], "--image-weights"),
        (["val", "--save-jsn"], "--save-json"),
        (["compare", "--linaer-lr"], "--linear-lr"),
        (["train", "--epoch", "1"], "--epochs"),
    ],
)
def test_a_misspelt_flag_of_theirs_gets_the_nearest(cli, argv, hint) -> None:
    answer = cli(*argv)
    assert answer.code == 2
    assert f"There is no option {argv[1]}.\n  Did you mean '{hint}'?" in answer.err


def test_no_command_is_told_flags_of_another(cli) -> None:
    assert "Did you mean" not in cli("val", "--noautoancor").err
