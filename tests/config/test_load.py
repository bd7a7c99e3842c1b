from __future__ import annotations

import subprocess
import sys

import pytest

from tutelage.config.load import changes, describe_changes, load_config
from tutelage.errors import ConfigError

RUN = """\
data: bccd.yaml
model: {arch: yolov7-tiny, weights: w.pt}
train:
  epochs: 30
  device: 0
optim:
  lr: 1e-3
distill:
  teacher: t.pt
  student_kd_layers: [57, 65, 73]
  methods:
  - name: fgd
    weight: 1.5
    alpha: 0.002
"""


NUMBERS = "distill: {classes: {1: 2, a: 0}}"


@pytest.fixture
def run(tmp_path):
    def write(text: str = RUN) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return str(path)

    return write


def faults(**layers) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(**layers)
    return str(caught.value)


def test_later_layers_win_and_each_leaf_knows_its_layer(run, tmp_path) -> None:
    hyp = tmp_path / "hyp.yaml"
    hyp.write_text("lr0: 0.02\nlrf: 0.3\nmosaic: 0.5\n")
    resolved = load_config(
        config_file=run(),
        hyp=hyp,
        flags={"train.epochs": (50, "flag --epochs"), "optim.lrf": (0.4, "flag --lrf")},
        sets=["optim.lrf=0.5", "distill.methods.0.alpha=1e-6"],
    )
    config, origins = resolved.config, resolved.origins
    assert (config.optim.momentum, origins["optim.momentum"]) == (0.937, "preset v7-custom")
    assert (config.train.batch, origins["train.batch"]) == (16, "default")
    assert (config.data, origins["data"]) == ("bccd.yaml", "run.yaml:1")
    assert (config.optim.lr, origins["optim.lr"]) == (0.02, "hyp.yaml:1, lr0")
    assert (config.train.epochs, origins["train.epochs"]) == (50, "flag --epochs")
    assert (config.optim.lrf, origins["optim.lrf"]) == (0.5, "--set")
    assert config.augment.mosaic == 0.5
    method = config.distill.methods[0]
    assert (method.name, method.weight, method.options) == ("fgd", 1.5, {"alpha": 1e-6})
    assert origins["distill.methods.0.weight"] == "run.yaml:13"
    assert origins["distill.methods.0.alpha"] == "--set"
    assert config.preset == "v7-custom"
    assert origins["preset"] == "default for yolov7-tiny with weights"


def test_natural_spellings(run) -> None:
    resolved = load_config(
        config_file=run(),
        flags={
            "distill.teacher_kd_layers": ("75,88,101", "flag --teacher-kd-layers"),
            "train.freeze": ("0,1,2", "flag --freeze"),
            "optim.name": ("SGD", "flag --optimizer"),
            "model.weights": ("", "flag --weights"),
        },
        sets=[
            "distill.stop_epoch=none",
            "run.name=007",
            "train.rect=yes",
            "train.workers=2",
            "train.cache_images=none",
        ],
    )
    config = resolved.config
    assert config.train.device == "cuda:0"
    assert config.distill.student_kd_layers == ("57", "65", "73")
    assert config.distill.teacher_kd_layers == ("75", "88", "101")
    assert config.train.freeze == (0, 1, 2)
    assert config.optim.name == "sgd"
    assert config.model.weights is None
    assert config.preset == "v7-tiny"  # empty weights are none
    assert config.distill.stop_epoch is None
    assert config.run.name == "007"
    assert config.train.rect
    assert config.train.workers == 2
    assert config.train.cache_images == "none"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[c, a]", ("c", "a")),
        ("[traffic light, car]", ("traffic light", "car")),
        ("traffic light, car", ("traffic light", "car")),
        ("[1, 2]", ("1", "2")),
        ("3", ("3",)),
        ("[]", ()),
    ],
)
def test_classes_of_the_data(run, value: str, expected: tuple[str, ...]) -> None:
    for name in ("data.classes", "train.classes"):
        resolved = load_config(sets=[f"{name}={value}"])
        assert resolved.config.train.classes == expected
        assert resolved.origins["train.classes"] == "--set"
    document = run(f"data: d.yaml\ndata.classes: {value}\n")
    config = load_config(config_file=document).config
    assert (config.data, config.train.classes) == ("d.yaml", expected)


def test_class_names_that_are_numbers_can_be_mapped(run) -> None:
    for layers in ({"sets": ["distill.classes={1: 2, a: 0}"]}, {"config_file": run(NUMBERS)}):
        assert load_config(**layers).config.distill.classes == {"1": "2", "a": "0"}


def test_a_replaced_list_forgets_the_origins_of_its_parts(run) -> None:
    method = {"name": "cwd", "weight": 5}
    resolved = load_config(
        config_file=run(), flags={"distill.methods": ([method], "flag --method")}
    )
    assert [m.name for m in resolved.config.distill.methods] == ["cwd"]
    assert resolved.origins["distill.methods"] == "flag --method"
    assert not any(key.startswith("distill.methods.") for key in resolved.origins)


def test_a_method_may_be_written_short(run) -> None:
    resolved = load_config(
        config_file=run("distill:\n  methods: ['fgd:alpha=0.002,weight=1.5', cwd]\n")
    )
    first, second = resolved.config.distill.methods
    assert (first.name, first.weight, first.options) == ("fgd", 1.5, {"alpha": 0.002})
    assert (second.name, second.weight) == ("cwd", "auto")
    flags = {"distill.methods": (["mgd:weight=2"], "flag --method")}
    assert load_config(flags=flags).config.distill.methods[0].weight == 2


def test_changes_are_what_differs_from_the_preset(run) -> None:
    resolved = load_config(
        config_file=run("preset: v7-p5\noptim: {lr: 0.01, lrf: 0.2}\ndata: d.yaml\n"),
        sets=["train.epochs=3"],
    )
    assert changes(resolved.config, resolved.origins) == [
        ("data", "d.yaml", "run.yaml:3"),
        ("train.epochs", 3, "--set"),
        ("optim.lrf", 0.2, "run.yaml:2"),  # lr is the preset's own value
    ]
    line = describe_changes(resolved.config, resolved.origins)
    assert line.split(" · ") == [
        "train.epochs 3 (--set)",
        "optim.lrf 0.2 (run.yaml:2)",
        "everything else: preset v7-p5 (run.yaml:1)",
    ]
    layers = {"student": "57,65,73", "teacher": "75,88,101"}
    sets = [f"distill.{who}_kd_layers={keys}" for who, keys in layers.items()]
    both = load_config(sets=["distill.teacher=t.pt", *sets])
    line = describe_changes(both.config, both.origins)
    assert line.split(" · ")[:2] == [
        "distill.student_kd_layers 57,65,73 (--set)",
        "distill.teacher_kd_layers 75,88,101 (--set)",
    ]
    plain = load_config()
    assert (
        describe_changes(plain.config, plain.origins)
        == "everything: preset v7-tiny (default for yolov7-tiny)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: {epoch: 3}",
            "no setting 'epoch' (run.yaml:1) Did you mean 'epochs'? Settings: epochs batch",
        ),
        ("epochs: 3", "There is no setting 'epochs' (run.yaml:1) Did you mean 'train.epochs'?"),
        (
            "lr0: 0.1",
            "There is no setting 'lr0' (run.yaml:1) That is a key of hyp files, here optim.lr;",
        ),
        ("trian: {epochs: 3}", "There is no setting 'trian' (run.yaml:1) Did you mean 'train'?"),
        (
            "train: 5",
            "train: 5 cannot be used (run.yaml:1) Expected a group of settings: epochs batch",
        ),
        (
            "train: {epochs: ten}",
            "epochs: 'ten' cannot be used (run.yaml:1) Expected a whole number of at least 1.",
        ),
        ("train: {epochs: 0}", "train.epochs: 0 cannot be used"),
        ("train: {image_range: [5, 4]}", "Expected two rising numbers or none."),
        ("train: {image_range: [1, 2, 3]}", "Expected two rising numbers or none."),
        ("train: {epochs: true}", "train.epochs: True cannot be used"),
        ("train: {epochs: 2.5}", "train.epochs: 2.5 cannot be used"),
        ("train: {nominal_batch: big}", "Expected a whole number of at least 1 or auto."),
        (
            "train: {precision: fp8}",
            "precision: 'fp8' cannot be used (run.yaml:1) Expected auto | fp32 | fp16 | bf16.",
        ),
        (
            "distill: {classes: by_name}",
            "distill.classes: 'by_name' cannot be used (run.yaml:1) Did you mean 'by-name'? "
            "Expected a map such as {a: b} or equal | by-name.",
        ),
        (
            "optim: {lr: .inf}",
            "optim.lr: inf cannot be used (run.yaml:1) Expected a number above 0.",
        ),
        ("data: [a, b]", "data: ['a', 'b'] cannot be used (run.yaml:1) Expected text or none."),
        (
            "preset: v7-tine",
            "There is no preset 'v7-tine' (run.yaml:1) Did you mean 'v7-tiny'? Presets: v7-p5",
        ),
        ("distill:\n  methods:\n  - weight: 2", "distill.methods.0 has no name (run.yaml:3)"),
        (
            "distill:\n  methods:\n  - name: fgd\n    weight: -2",
            "distill.methods.0.weight: -2 cannot be used (run.yaml:4)",
        ),
        (
            "distill: {methods: 5}",
            "distill.methods.0: 5 cannot be used (run.yaml:1) Expected a method such as",
        ),
        (
            "optim: {lr: {x: 1}}",
            "optim.lr: {'x': 1} cannot be used (run.yaml:1) Expected a number above 0.",
        ),
    ],
)
def test_a_fault_says_what_where_and_what_was_expected(run, text: str, message: str) -> None:
    assert message in faults(config_file=run(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim.lr", "--set optim.lr: expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("optim.lrr=1", "optim has no setting 'lrr' (--set) Did you mean"),
        ("optim.lr.x=1", "optim.lr.x: optim.lr is one value, not a group (--set)"),
        (
            "distill.methods.1.alpha=1",
            "there is no distill.methods.1 (--set) Items are counted from 0; there are 1.",
        ),
        ("distill.methods.fgd.alpha=1", "there is no distill.methods.fgd"),
        (
            "train.device=0,1",
            "train.device: '0,1' names several devices (--set) One process has one",
        ),
        ("a..b=1", "There is no setting 'a' (--set)"),
        ("distill.methods.0.weight=1e400", "methods.0.weight: inf cannot be used (--set)"),
        ("train.seed=-1", "Expected a whole number from 0 to 4294967295."),
        ("optim.lr=" + 3000 * "[", "cannot be used (--set) Expected a number above 0."),
    ],
)
def test_set_faults(text: str, message: str) -> None:
    assert message in faults(sets=[text])


def test_all_faults_are_reported_at_once(run, tmp_path) -> None:
    hyp = tmp_path / "hyp.yaml"
    hyp.write_text("boks: 1\nmosaic: 2\n")
    text = faults(
        config_file=run("train: {epoch: 3, batch: 0}\npreset: none-such\n"),
        hyp=hyp,
        flags={"train.precision": ("fp8", "flag --precision")},
        sets=["optim.lr=fast"],
    )
    lines = text.splitlines()
    assert lines[0] == "7 settings cannot be used:"
    assert len(lines) == 8
    for piece in (
        "'boks' (hyp.yaml:1).",
        "mosaic: 2",
        "'epoch' (run.yaml:1).",
        "batch: 0",
        "none-such",
        "(flag --precision).",
        "(--set).",
    ):
        assert sum(piece in line for line in lines) == 1, piece


def test_no_torch_is_imported() -> None:
    code = "import sys, tutelage.config; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"flags": {"optim.name": ("adamw", "flag --optimizer")}}, "adamw keeps the learning rate"),
        (
            {"flags": {"optim.name": ("adam", "flag --adam")}, "hyp": "hyp.yaml"},
            "0.01 (hyp.yaml:1, lr0)",
        ),
        ({"flags": {"optim.name": ("adamw", "--optimizer")}, "sets": ["optim.lr=0.01"]}, ""),
        ({"flags": {"optim.name": ("adamw", "--optimizer")}, "sets": ["optim.lr=0.001"]}, ""),
        ({"flags": {"optim.name": ("sgd", "flag --optimizer")}}, ""),
        ({}, ""),
    ],
)
def test_a_learning_rate_of_sgd_in_adam_is_told(tmp_path, monkeypatch, given, told) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\n")
    resolved = load_config(**given)
    notices = [text for text in resolved.notices if "optim.lr" in text]
    assert bool(notices) == bool(told)
    assert told in "".join(notices)
    if told:
        assert resolved.config.optim.lr == 0.01  # told, never changed
