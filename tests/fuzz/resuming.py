"""Damaged run folders."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml

from tests.fuzz import seeds
from tests.fuzz.command import command
from tests.fuzz.mutation import VALUES, damaged, from_tree, poisoned
from tests.run.small_runs import settings
from tests.weights.mutation import mutate as mutate_weights
from tutelage.run import run as running
from tutelage.run.events import EpochDone
from tutelage.setup.build import build_run


class RunFolder:
    """A run of which one epoch of three is done, and damaged copies of its folder.

    Args:
        room: An empty folder.
        data: The data of the run.
    """

    def __init__(self, room: Path, data: Path) -> None:
        where = {"project": str(room), "name": "sound"}
        config = settings(str(data), room, train={"epochs": 3}, run=where)
        for event in running.run_training(config):
            if isinstance(event, EpochDone) and event.epoch == 1:
                break
        self.sound, self.evil = room / "sound", room / "evil"
        self.state = torch.load(self.sound / "last.pt", weights_only=True)
        document = yaml.safe_load((self.sound / "config.yaml").read_text())
        self.change_config = from_tree(document, words=seeds.YAML)
        self._parts: dict[str, Any] = {}

    def put(self, rng: random.Random) -> None:
        """Damage one file of a fresh copy."""
        shutil.rmtree(self.evil, ignore_errors=True)
        self.evil.mkdir()
        for name in ("config.yaml", "metrics.jsonl", "last.pt"):
            shutil.copy(self.sound / name, self.evil / name)
        last = self.evil / "last.pt"
        match rng.randrange(10):
            case 0 | 1:
                (self.evil / "config.yaml").write_bytes(self.change_config(rng))
            case 2:
                path = self.evil / "metrics.jsonl"
                path.write_bytes(damaged(path.read_bytes(), rng, (b"\xff", b"{", b"\x00", b"\n")))
            case 3 | 4 | 5 | 6:
                state = dict(self.state)
                keys = ["position", "progress", "weights", "balance", "scaler", "config", "format"]
                for key, value in poisoned({k: state[k] for k in keys}, rng).items():
                    state[key] = value
                if rng.random() < 0.3:
                    groups = state["optimizer"]["param_groups"]
                    moments = state["optimizer"]["state"]
                    some = dict(rng.sample(list(moments.items()), min(3, len(moments))))
                    state["optimizer"] = {
                        "param_groups": poisoned(groups, rng),
                        "state": {**moments, **poisoned_values(some, rng)},
                    }
                for key in rng.sample(list(state), rng.choice([0, 0, 0, 1])):
                    del state[key]
                torch.save(state, last)
            case _:
                mutate_weights(self.sound / "last.pt", last, rng)

    def use(self, _: Path) -> str:
        """Go on for one step, and return how that ended."""
        with mock.patch.object(running, "build_run", self._once):
            return f"exit {command(_goes_on, folder=self.evil)[0]}"

    def _once(self, config: Any, *given: Any, **options: Any) -> Any:
        """Build the parts of a run once: the settings of other rounds are the same, or refused."""
        key = config.model_dump_json()
        if key not in self._parts:
            self._parts = {key: build_run(config, *given, **options)}
        return self._parts[key]


def poisoned_values(moments: dict[int, Any], rng: random.Random) -> dict[int, Any]:
    """Put other values in the places of some tensors."""
    return {key: dict.fromkeys(value, rng.choice(VALUES)) for key, value in moments.items()}


def _goes_on(folder: Path) -> None:
    from tutelage.api.settings import resolve
    from tutelage.cli.train import follow
    from tutelage.display.console import make_display

    resolved, place = resolve({"resume": str(folder)}, {})
    events = running.run_training(resolved.config, resume=place, dry_run=True)
    follow(events, make_display(as_json=False, quiet=True), dry_run=True)
