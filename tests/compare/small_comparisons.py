"""Comparisons in seconds: a pico student on eight pictures."""

from tests.run.small_runs import settings
from tutelage.compare.arms import plan_comparison
from tutelage.compare.run import run_comparison

DRAWS = 40


def plan(world, project, *, methods=("fgd:weight=1",), train=None, data=None, **asked):
    distill = {"teacher": world[1], "accept_teacher": True}
    config = settings(data or world[0], project, train=train or {}, distill=distill)
    asked = {"seeds": "1"} | asked
    return plan_comparison(config, methods=list(methods), **asked)


def compare(comparison, **options):
    return list(run_comparison(comparison, draws=DRAWS, **options))
