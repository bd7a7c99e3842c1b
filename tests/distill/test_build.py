from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.distill.fake_networks import CHANNELS
from tutelage.config.schema import MethodConfig
from tutelage.distill import METHODS, build_methods, describe_methods
from tutelage.distill.build import find_method, options_model
from tutelage.distill.method import Resized
from tutelage.distill.methods import FGD
from tutelage.errors import ConfigError


def configs(*rows: dict[str, object]) -> list[MethodConfig]:
    return [MethodConfig.model_validate(row) for row in rows]


def told(*rows: dict[str, object], **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        build_methods(configs(*rows), [CHANNELS] * len(rows), **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_options_reach_the_method() -> None:
    methods = build_methods(
        configs({"name": "fgd", "alpha": "2e-3", "lam": 1, "weight": 3.0}), [CHANNELS]
    )
    fgd = methods["fgd"]
    assert isinstance(fgd, FGD)
    assert (fgd.alpha, fgd.lam, fgd.beta) == (2e-3, 1.0, 5e-4)


def test_names_are_made_unique_in_order() -> None:
    methods = build_methods(configs(*[{"name": "fgd"}] * 3), [CHANNELS] * 3)
    assert list(methods) == ["fgd", "fgd-2", "fgd-3"]


def test_resize_wraps() -> None:
    methods = build_methods(configs({"name": "fgd"}), [CHANNELS], resize=True)
    assert isinstance(methods["fgd"], Resized)
    assert isinstance(methods["fgd"].method, FGD)


def test_resize_says_whose_maps() -> None:
    for setting, side in ((True, "student"), ("student", "student"), ("teacher", "teacher")):
        methods = build_methods(configs({"name": "pkd"}), [CHANNELS], resize=setting)
        assert isinstance(methods["pkd"], Resized)
        assert methods["pkd"].side == side


def test_what_a_teacher_predicts_in_cells_is_not_resized() -> None:
    with pytest.raises(ConfigError, match="sl2 reads what the teacher predicts in the cells") as at:
        build_methods(
            configs({"name": "fgd"}, {"name": "sl2"}),
            [CHANNELS, CHANNELS],
            resize="teacher",
            origins={"distill.resize": "flag --set"},
        )
    assert at.value.where == "flag --set"
    assert at.value.fix == "--set distill.resize=student"


def test_unknown_option() -> None:
    message = told(
        {"name": "fgd", "temprature": 1}, origins={"distill.methods.0.temprature": "run.yaml:14"}
    )
    assert message == (
        "distill.methods.0: FGD has no option 'temprature' (run.yaml:14) "
        "Did you mean 'temperature'? Options: temperature alpha beta gamma lam standardise"
    )


def test_the_papers_spelling_is_known_and_a_list_is_told() -> None:
    assert list(build_methods(configs({"name": "FGD"}), [CHANNELS])) == ["fgd"]
    assert "Several methods:  --method fgd --method cwd." in told({"name": "fgd,cwd"})


def test_a_setting_of_the_run_is_no_option() -> None:
    message = told({"name": "fgd", "every": 2})
    assert "FGD has no option 'every' That is a setting of all methods" in message
    assert "--set distill.every" in message


def test_impossible_value() -> None:
    message = told({"name": "fgd", "temperature": -1})
    assert message.startswith(
        "distill.methods.0: FGD's option 'temperature' is -1: input should be greater than 0"
    )
    assert "valid number" in told({"name": "fgd", "alpha": "much"})
    assert "finite" in told({"name": "fgd", "alpha": float("inf")})


def test_unknown_method() -> None:
    assert told({"name": "fdg"}) == (
        "distill.methods.0: there is no method 'fdg' "
        f"Did you mean 'fgd'? Methods: {' '.join(METHODS)}; or 'package.module:Class'"
    )


def test_all_faults_are_told() -> None:
    message = told({"name": "fgd", "alfa": 1, "beta": -1}, {"name": "nope"})
    for part in ("methods.0: FGD has no option 'alfa'", "option 'beta' is -1", "methods.1: there"):
        assert part in message


def test_no_method_and_one_that_compares_nothing() -> None:
    assert told(origins={"distill.methods": "--set"}) == (
        "distill.methods is empty: nothing would be learnt from the teacher (--set) "
        "For example  --method fgd"
    )
    nothing = {"name": "fgd", "alpha": 0, "beta": 0, "gamma": 0, "lam": 0}
    assert "methods.0: FGD: alpha, beta, gamma and lam are all 0" in told(nothing)


OWN = '''
from torch import nn
from tutelage.distill import LevelMethod


class Mse(LevelMethod):
    """Mean squared error."""

    def __init__(self, channels, *, power: int, scale: float = 1.0):
        super().__init__(channels)
        self.power, self.scale = power, scale

    def level(self, module, s, t, targets, image_size):
        return {"mse": self.scale * (s - t).abs().pow(self.power).mean()}


class Other:
    pass


class Choosy(Mse):
    def __init__(self, channels, *, power: int = 1):
        raise ValueError("power is odd")
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_kd.py").write_text(OWN)
    (tmp_path / "my_broken_kd.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_kd", raising=False)
    return "my_kd"


def test_a_class_by_its_path(own: str) -> None:
    methods = build_methods(configs({"name": f"{own}:Mse", "power": 2}), [CHANNELS])
    assert list(methods) == ["Mse"]
    assert methods["Mse"].power == 2
    assert len(methods["Mse"].connectors) == 2


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("my_kd:Mse", "Mse needs the option 'power' Options: power scale"),
        ("my_kd:Msee", "'my_kd' has no 'Msee' Did you mean 'Mse'?"),
        ("my_kd:Other", "'my_kd:Other' is not a distillation method"),
        ("no_such_package:Foo", "cannot import 'no_such_package': No module named"),
        (":Foo", "cannot import ''"),
        ("my_broken_kd:Mse", "cannot import 'my_broken_kd': ZeroDivisionError: division by zero"),
        ("my_kd:Choosy", "Choosy: power is odd See  tutelage methods"),
        ("tutelage.distill:LevelMethods", "'tutelage.distill' has no 'LevelMethods' Did you mean"),
    ],
)
def test_a_path_that_leads_nowhere(own: str, name: str, part: str) -> None:
    assert f"distill.methods.0: {part}" in told({"name": name})


@pytest.mark.parametrize("name", METHODS)
def test_every_constructor_is_a_schema(name: str) -> None:
    kind = find_method(name)
    schema = options_model(kind)
    assert schema.model_config["extra"] == "forbid"
    kind(CHANNELS, **schema().model_dump())


def test_table() -> None:
    rows = {row.name: row for row in describe_methods()}
    assert list(rows) == list(METHODS)
    row = rows["fgd"]
    assert "CVPR 2022" in row.paper
    assert row.needs == ("features",)
    assert row.options == {
        "temperature": 0.5,
        "alpha": 1e-3,
        "beta": 5e-4,
        "gamma": 1e-3,
        "lam": 5e-6,
        "standardise": True,
    }
    assert row.summary.startswith("Imitate the teacher")


def test_reading_a_method_needs_no_torch() -> None:
    code = "import sys, tutelage.config.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
