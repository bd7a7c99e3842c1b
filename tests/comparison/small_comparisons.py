"""Comparisons in seconds: a pico student on eight pictures."""

from tests.run.small_runs import settings
from tutelage.comparison.arms import plan_comparison
from tutelage.comparison.cost import peak_mib, write_cost
from tutelage.comparison.run import run_comparison
from tutelage.evaluation.device import choose_device
from tutelage.run.events import Planned
from tutelage.run.run import run_training

DRAWS = 40


def plan(world, project, *, methods=("fgd:weight=1",), train=None, data=None, **asked):
    distill = {"teacher": world[1], "accept_teacher": True}
    config = settings(data or world[0], project, train=train or {}, distill=distill)
    asked = {"seeds": "1"} | asked
    return plan_comparison(config, methods=list(methods), **asked)


def compare(comparison, **options):
    return list(run_comparison(comparison, draws=DRAWS, **options))


def train_here(run, *, resume=False, **call):
    """Train a run as ``train_in_process`` does, but in this process."""
    device, finished, stores = choose_device(run.config.train.device), False, ()
    try:
        events = run_training(run.config, resume=str(run.folder) if resume else None, **call)
        for event in events:
            stores = event.stores if isinstance(event, Planned) else stores
            yield event
        finished = True
    finally:
        if run.folder.exists():
            peak = peak_mib(device)
            write_cost(run.folder, device, finished=finished, peak=peak, stores=stores)
