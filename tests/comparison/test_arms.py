"""From settings and words to arms; no training."""

from pathlib import Path

import pytest

from tests.run.small_runs import settings
from tutelage.comparison.arms import origins_of, plan_comparison
from tutelage.config import load_config
from tutelage.config.schema import DistillConfig
from tutelage.demo import settings as demo_settings
from tutelage.errors import ConfigError
from tutelage.setup.views import LEAST_VIEWS

DIGITS = Path(__file__).parents[2] / "benchmarks" / "digits.yaml"


def base(tmp_path, **changes):
    distill = {"teacher": "t.pt"} | changes.pop("distill", {})
    return settings("d.yaml", tmp_path, train={"epochs": 10}, distill=distill, **changes)


def names(comparison):
    return [arm.name for arm in comparison.arms]


def test_arms_cross_methods_ratios_and_shares(tmp_path):
    found = plan_comparison(
        base(tmp_path),
        methods=["fgd", "fgd + bckd", "cwd:weight=5"],
        ratios=["0.5", "1"],
        epochs_share="0.6",
    )
    assert names(found) == [
        "baseline",
        *("fgd-r0.5", "fgd-r0.5-e0.6", "fgd-r1", "fgd-r1-e0.6"),
        *("fgd+bckd-r0.5", "fgd+bckd-r0.5-e0.6", "fgd+bckd-r1", "fgd+bckd-r1-e0.6"),
        *("cwd-weight5", "cwd-weight5-e0.6"),  # a ratio has no effect on a fixed weight
    ]
    arms = {arm.name: arm for arm in found.arms}
    both = arms["fgd+bckd-r0.5-e0.6"]
    assert [method.name for method in both.config.distill.methods] == ["fgd", "bckd"]
    assert (both.config.distill.ratio, both.config.train.epochs, both.share) == (0.5, 6, 0.6)
    assert arms["baseline"].config.distill == DistillConfig(views=LEAST_VIEWS)
    assert all(arm.config.distill.views == LEAST_VIEWS for arm in found.arms)
    assert found.seeds == (0, 1, 2)


def test_runs_go_seed_by_seed_and_differ_in_seed_and_folder_alone(tmp_path):
    config = base(tmp_path, run={"name": "c"})
    runs = plan_comparison(config, methods=["fgd"], seed_list="4, 7").runs()
    folders = ["baseline-s4", "fgd-s4", "baseline-s7", "fgd-s7"]
    assert [run.folder for run in runs] == [tmp_path / "c" / name for name in folders]
    assert [run.config.train.seed for run in runs] == [4, 4, 7, 7]
    a, b = (run.config.model_dump(exclude={"run": True, "train": {"seed"}}) for run in runs[1::2])
    assert a == b
    assert runs[0].config.run.exist_ok  # the folder of a run that never saved is used again


def test_without_methods_the_settings_make_one_arm(tmp_path):
    assert names(plan_comparison(base(tmp_path))) == ["baseline", "auto"]
    methods = [{"name": "fgd", "alpha": 0.002}, {"name": "pkd", "weight": 2}]
    both = plan_comparison(base(tmp_path, distill={"methods": methods}))
    assert names(both) == ["baseline", "fgd-alpha0.002+pkd-weight2"]


def test_the_plus_of_a_number_joins_nothing(tmp_path):
    found = plan_comparison(base(tmp_path), methods=["fgd:alpha=1e+1+pkd"])
    assert names(found) == ["baseline", "fgd-alpha10+pkd"]


def test_all_faults_at_once(tmp_path):
    config = settings(None, tmp_path)
    with pytest.raises(ConfigError) as caught:
        plan_comparison(
            config,
            methods=["fgdd", "baseline", "pkd", "pkd:weight=auto", "cwd:tau=1+cwd:a=1,b", "fgd"],
            ratios=["0", "x", "nan"],
            epochs_share="1.5",
            seeds="0",
        )
    told = str(caught.value)
    assert "12 settings cannot be used" in told
    for words in (
        "No data set is given",
        "No teacher is given: there is nothing to compare",
        "there is no method 'fgdd' (--method fgdd). Did you mean 'fgd'?",
        "The baseline is always trained; it is not a method (--method baseline)",
        "The arm pkd is given twice",
        "has no option 'tau'",
        "'b' is not option=value",
        "--ratio 0 cannot be used. Expected a number above 0.",
        "--ratio x cannot",
        "--ratio nan cannot",
        "--epochs-share 1.5 cannot be used",
        "--seeds 0 cannot be used. Expected a whole number of at least 1.",
    ):
        assert words in told, words


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seeds": "1", "seed_list": "1"}, "names them: give one"),
        ({"seed_list": "1,1"}, "different whole numbers"),
        ({"seed_list": "1,x"}, "different whole numbers"),
        ({"seed_list": ""}, "different whole numbers"),
        ({"ratios": ["1", "1.0"]}, "The arm fgd-r1 is given twice"),
        ({"epochs_share": "0.99"}, "is 10 epochs"),
        ({"epochs_share": "0.01"}, "is 0 epochs"),
    ],
)
def test_one_fault(tmp_path, asked, message):
    with pytest.raises(ConfigError, match=message):
        plan_comparison(base(tmp_path), methods=["fgd"], **asked)


def test_each_setting_knows_where_it_came_from(tmp_path):
    origins = {"distill.teacher": "flag --teacher-weights", "train.epochs": "run.yaml:3"}
    origins |= {"distill.methods.0.alpha": "--set", "train.seed": "default"}
    found = plan_comparison(base(tmp_path), ratios=["1"], epochs_share="0.5")
    plain, full, short = (origins_of(arm, origins) for arm in found.arms)
    assert plain["distill.teacher"] == "default"
    assert full["distill.teacher"] == "flag --teacher-weights"
    assert full["distill.ratio"] == full["distill.methods"] == "tutelage compare"
    assert full["train.epochs"] == "run.yaml:3"
    assert short["train.epochs"] == "tutelage compare"
    assert "distill.methods.0.alpha" not in full


def test_the_run_file_of_the_benchmarks_is_the_demo(tmp_path):
    teacher = ("t.safetensors", "flag --teacher-weights")
    resolved = load_config(config_file=DIGITS, flags={"distill.teacher": teacher})
    plain, taught = plan_comparison(resolved.config, seeds="1").runs()
    for run, who in ((plain, None), (taught, "t.safetensors")):
        demo = demo_settings("x", project="y", teacher=who).config
        demo = demo.model_copy(
            update={"distill": demo.distill.model_copy(update={"views": LEAST_VIEWS})}
        )
        assert run.config.model_dump(exclude={"run"}) == demo.model_dump(exclude={"run"})


def test_options_are_kept_to_the_last_digit(tmp_path):
    methods = ({"name": "fgd", "weight": 1234567.0, "alpha": 0.0012345678},)
    found = plan_comparison(base(tmp_path, distill={"teacher": "t", "methods": methods}))
    [method] = found.arms[1].config.distill.methods
    assert (method.weight, method.options["alpha"]) == (1234567.0, 0.0012345678)


def test_auto_has_the_name_of_what_it_stands_for(tmp_path):
    found = plan_comparison(base(tmp_path), methods=["auto", "fgd"], ratios=["0.5"])
    _, automatic, named = found.arms
    same, others = [("dog", "cat")], [("cow", "owl")]
    assert automatic.titled(("cat", "dog"), same).title == "bckd (auto)-r0.5"
    assert automatic.titled(("cat", "dog"), others).title == "cwd (auto)-r0.5"
    assert automatic.titled(("cat", "dog"), [*same, *others]).title == "bckd/cwd (auto)-r0.5"
    assert (automatic.name, named.titled(("cat", "dog"), same).title) == ("auto-r0.5", "")
    layers = base(tmp_path, distill={"student_kd_layers": ["57"]})
    [_, automatic] = plan_comparison(layers).arms
    assert automatic.titled(("cat", "dog"), same).title == "fgd+bckd (auto)"


@pytest.mark.parametrize(
    ("changes", "share", "views"),
    [
        ({}, "0.2", 2),
        ({"distill": {"teacher": "t", "views": 3}}, None, 3),
        ({"distill": {"teacher": "t", "views": "off"}}, None, "off"),
    ],
)
def test_all_arms_have_the_same_views(tmp_path, changes, share, views):
    found = plan_comparison(base(tmp_path, **changes), methods=["bckd"], epochs_share=share)
    assert {arm.config.distill.views for arm in found.arms} == {views}
    assert {arm.config.distill.view_seed for arm in found.arms} == {0}
