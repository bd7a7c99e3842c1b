"""What runs of earlier versions did without later settings."""

from tutelage.config.added_later import complete
from tutelage.config.schema import Config


def settings(**distill):
    """Return the complete settings of a run of an earlier version."""
    values = Config().model_dump(mode="json")
    del values["loss"]["scaling"]
    return values | {"distill": values["distill"] | distill}


def test_an_earlier_run_keeps_its_scaling_and_its_methods():
    methods = [{"name": "fgd"}, {"name": "auto"}, {"name": "fgd", "standardise": True}]
    plain = complete(settings(methods=methods))
    assert plain["loss"]["scaling"] == "reference"
    assert plain["distill"]["methods"] == [{"name": "fgd", "standardise": False}, *methods[1:]]
    named = complete(settings(methods=[{"name": "auto"}], student_kd_layers=["75"]))
    assert named["distill"]["methods"] == [{"name": "bckd"}]


def test_other_settings_stay_as_they_are():
    now = Config().model_dump(mode="json") | {"distill": {"methods": [{"name": "fgd"}]}}
    part = {"loss": {"obj": 2.0}, "distill": {"methods": [{"name": "fgd"}]}}
    assert (complete(now), complete(part), complete({})) == (now, part, {})
