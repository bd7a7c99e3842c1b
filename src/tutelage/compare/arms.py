"""The arms of a comparison: a student without a teacher, and one per method, all else equal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.config.methods import parse_method
from tutelage.config.overrides import DEFAULT, METHODS
from tutelage.config.schema import Config, DistillConfig, MethodConfig
from tutelage.config.validate import combine_errors
from tutelage.distill import build_methods
from tutelage.errors import ConfigError
from tutelage.setup.distillation import AUTO

BASELINE = "baseline"
ORIGIN = "tutelage compare"
SEEDS = 3
_PLUS = re.compile(r"\s*\+\s*(?=[A-Za-z_])")  # joins methods; not the plus of 1e+3
_TRIED = (64, 64)  # channels with which methods are built to see whether their options are right


class Arm(NamedTuple):
    """One arm of a comparison.

    Attributes:
        name: Begins its run folders' names: ``baseline``, ``fgd``, ``fgd+bckd-r0.5``, ``fgd-e0.6``.
        methods: Its methods as they are written after ``--method``; empty for the baseline.
        config: Its settings but for seed and folder.
        ratio: The gradient ratio that was asked for; None for that of the settings.
        share: Its share of the epochs.
    """

    name: str
    methods: str
    config: Config
    ratio: float | None = None
    share: float = 1.0


class ArmRun(NamedTuple):
    """One run of a comparison: an arm and a seed, its settings, and its folder."""

    arm: Arm
    seed: int
    config: Config
    folder: Path


class Comparison(NamedTuple):
    """What is to be compared.

    Attributes:
        config: The settings of all arms; seed, methods and name of the run are of no account.
        arms: The baseline first.
        seeds: Of each arm.
        folder: Holds the run folders and the result.
    """

    config: Config
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    folder: Path

    def runs(self) -> tuple[ArmRun, ...]:
        """Return all runs, seed by seed, so that a comparison that is stopped says something."""
        return tuple(self._run(arm, seed) for seed in self.seeds for arm in self.arms)

    def _run(self, arm: Arm, seed: int) -> ArmRun:
        name = f"{arm.name}-s{seed}"
        run = {"project": str(self.folder), "name": name, "exist_ok": True}
        config = _with(_with(arm.config, "train", seed=seed), "run", **run)
        return ArmRun(arm, seed, config, self.folder / name)


def plan_comparison(
    config: Config,
    *,
    methods: Sequence[str] = (),
    ratios: Sequence[str] = (),
    epochs_share: str | None = None,
    seeds: str | None = None,
    seed_list: str | None = None,
) -> Comparison:
    """Return the arms and seeds of a comparison.

    Args:
        config: The settings that all arms share, with a teacher.
        methods: One arm each; ``fgd+bckd`` is both in one. None: those of ``config``, in one arm.
        ratios: Gradient ratios; each method arm is trained with every one. An arm whose methods
            all have fixed weights has none.
        epochs_share: Adds an arm with this share of the epochs to each method arm.
        seeds: The number of seeds, counted from 0.
        seed_list: The seeds themselves, ``0,1,2``.

    Raises:
        ConfigError: Something cannot be used; all faults are told.
    """
    faults: list[ConfigError] = []
    if config.data is None:
        faults.append(ConfigError("No data set is given", fix="Add  --data data.yaml", code="C26"))
    if config.distill.teacher is None:
        fix = "Add  --teacher-weights runs/teacher"
        faults.append(
            ConfigError("No teacher is given: there is nothing to compare", fix=fix, code="C26")
        )
    if config.train.batch == "auto":
        what = "--batch-size auto: all arms need the same batch"
        faults.append(ConfigError(what, fix="Give a number, e.g. --batch-size 16", code="C31"))
    chosen = _read_seeds(seeds, seed_list, faults)
    numbers = _read_ratios(ratios, faults)
    share = _read_share(epochs_share, config.train.epochs, faults)
    arms = [Arm(BASELINE, "", config.model_copy(update={"distill": DistillConfig()}))]
    given = methods or ["+".join(_spec(each) for each in config.distill.methods)]
    for text in given:
        arms += _method_arms(text, config, numbers, share, faults)
    faults += _repeated(arms)
    if faults:
        raise combine_errors(faults)
    return Comparison(config, tuple(arms), chosen, _folder(config))


def origins_of(arm: Arm, origins: Mapping[str, str]) -> dict[str, str]:
    """Return where each setting of an arm came from."""
    ours = ["train.seed", "run.project", "run.name", "run.exist_ok"]
    ours += ["train.epochs"] * (arm.share < 1) + ["distill.ratio"] * (arm.ratio is not None)
    kept = {key: origin for key, origin in origins.items() if not key.startswith(f"{METHODS}.")}
    if arm.name == BASELINE:
        kept = {key: DEFAULT if key.startswith("distill.") else kept[key] for key in kept}
    else:
        ours.append(METHODS)
    return kept | dict.fromkeys(ours, ORIGIN)


def _method_arms(
    text: str,
    config: Config,
    ratios: Sequence[float],
    share: float | None,
    faults: list[ConfigError],
) -> list[Arm]:
    where = f"--method {text}"
    if text.strip() == BASELINE:
        faults.append(
            ConfigError("The baseline is trained always; it is no method", where=where, code="C31")
        )
        return []
    found: list[MethodConfig] = []
    taps = config.distill.student_kd_layers or ("p3", "p4", "p5")
    parts = _PLUS.split(text.strip())
    for part in parts:
        try:
            method = parse_method(part)
            if method.name != AUTO:
                build_methods([method], [[_TRIED] * len(taps)])
            found.append(method)
        except ConfigError as error:
            what = error.what.removeprefix(f"{METHODS}.0: ").rstrip(".")
            faults.append(ConfigError(what, where=where, fix=error.fix, code=error.code))
    if len(found) < len(parts):
        return []
    spec = "+".join(_spec(method) for method in found)
    automatic = any(method.weight == "auto" for method in found)
    arms: list[Arm] = []
    for ratio in (ratios if automatic else ()) or (None,):
        distill: dict[str, Any] = {"methods": tuple(found)}
        name = re.sub(r"[^\w.+-]+", "-", spec.replace("=", ""), flags=re.ASCII)
        if ratio is not None:
            distill["ratio"], name = ratio, f"{name}-r{ratio:g}"
        arm = Arm(name, spec, _with(config, "distill", **distill), ratio)
        arms.append(arm)
        if share is not None:
            short = _with(arm.config, "train", epochs=_epochs(share, config.train.epochs))
            arms.append(Arm(f"{name}-e{share:g}", spec, short, ratio, share))
    return arms


def _spec(method: MethodConfig) -> str:
    """Write a method as it is written after ``--method``; equal ones look equal."""
    values = method.model_dump(mode="json", exclude={"name"})
    values = {
        name: str(value).replace(" ", "").replace("'", "") if isinstance(value, list) else value
        for name, value in values.items()
    }
    texts = [
        f"{name}={_short(value)}" if type(value) is float else f"{name}={value}"
        for name, value in values.items()
        if (name, value) != ("weight", "auto")
    ]
    return method.name + (f":{','.join(texts)}" if texts else "")


def _short(value: float) -> str:
    """Write a number so that it reads back as the same one."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _repeated(arms: Iterable[Arm]) -> list[ConfigError]:
    names = [arm.name for arm in arms]
    twice = dict.fromkeys(name for name in names if names.count(name) > 1)
    return [
        ConfigError(f"The arm {name} is given twice", fix="Leave one out.", code="C31")
        for name in twice
    ]


def _read_seeds(
    count: str | None, listed: str | None, faults: list[ConfigError]
) -> tuple[int, ...]:
    if count is not None and listed is not None:
        what = "--seeds says how many seeds, --seed-list which ones: give one of them"
        faults.append(ConfigError(what, code="C31"))
    if listed is not None:
        texts = [text for text in listed.replace(",", " ").split() if text]
        seeds = tuple(int(text) for text in texts if text.isdecimal() and int(text) < 2**32)
        if not texts or len(seeds) < len(texts) or len(set(seeds)) < len(seeds):
            fix = "Expected different whole numbers, e.g. 0,1,2."
            faults.append(ConfigError(f"--seed-list {listed} cannot be used", fix=fix, code="C31"))
        return seeds
    if count is None:
        return tuple(range(SEEDS))
    if not count.isdecimal() or not int(count):
        fix = "Expected a whole number of at least 1."
        faults.append(ConfigError(f"--seeds {count} cannot be used", fix=fix, code="C31"))
        return ()
    return tuple(range(int(count)))


def _read_ratios(texts: Sequence[str], faults: list[ConfigError]) -> list[float]:
    found: list[float] = []
    for text in texts:
        ratio = _number(text)
        if ratio > 0:
            found.append(ratio)
        else:
            fix = "Expected a number above 0."
            faults.append(ConfigError(f"--ratio {text} cannot be used", fix=fix, code="C31"))
    return found


def _read_share(text: str | None, epochs: int, faults: list[ConfigError]) -> float | None:
    if text is None:
        return None
    share = _number(text)
    if not 0 < share < 1:
        fix = "Expected a number between 0 and 1, e.g. 0.6."
        faults.append(ConfigError(f"--epochs-share {text} cannot be used", fix=fix, code="C31"))
    elif not 0 < _epochs(share, epochs) < epochs:
        what = f"--epochs-share {text} of {epochs} epochs is {_epochs(share, epochs)} epochs"
        faults.append(
            ConfigError(what, fix="Expected fewer than all and at least one.", code="C31")
        )
    else:
        return share
    return None


def _number(text: str) -> float:
    """Read a finite number; anything else is NaN, which is in no range."""
    try:
        return float(text) if math.isfinite(float(text)) else math.nan
    except ValueError:
        return math.nan


def _epochs(share: float, epochs: int) -> int:
    return math.floor(share * epochs + 0.5)


def _with(config: Config, section: str, **values: Any) -> Config:
    changed = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: changed})


def _folder(config: Config) -> Path:
    """The folder of a comparison: its name, or one that the same command finds again."""
    student = config.model.arch or config.model.weights or "yolov7-tiny"
    words = ("compare", Path(str(config.data)).stem, Path(student).name)
    default = re.sub(r"[^\w.-]+", "-", "-".join(words), flags=re.ASCII)
    return Path(config.run.project) / (config.run.name or default)
