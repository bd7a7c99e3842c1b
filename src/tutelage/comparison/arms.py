"""The arms of a comparison: the student without a teacher, and with each method."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tutelage.config.methods import parse_method
from tutelage.config.overrides import DEFAULT, METHODS
from tutelage.config.schema import Config, DistillConfig, MethodConfig, TeacherRuntime
from tutelage.config.validate import combine_errors
from tutelage.distill import build_methods, shared_columns
from tutelage.errors import ConfigError
from tutelage.setup.distillation import AUTO, resolve_auto
from tutelage.setup.views import auto_views

BASELINE = "baseline"
ORIGIN = "tutelage compare"
SEEDS = 3
_PLUS = re.compile(r"\s*\+\s*(?=[A-Za-z_])")  # joins methods; not the plus of 1e+3
_CHANNELS = (64, 64)  # with these, methods are built to check their options


class Arm(NamedTuple):
    """One arm of a comparison.

    Attributes:
        name: ``baseline``, ``fgd``, ``fgd+bckd-r0.5``, ``fgd-e0.6``; prefix of its run folders.
        methods: Its methods as given to ``--method``; empty for the baseline.
        config: Its settings except seed and folder.
        ratio: Its gradient ratio if given by ``--ratio``.
        share: Its share of the epochs.
        title: Its name in tables, where it is another one.
    """

    name: str
    methods: str
    config: Config
    ratio: float | None = None
    share: float = 1.0
    title: str = ""

    def titled(self, student: Sequence[str], teachers: Iterable[Sequence[str]]) -> Arm:
        """Return the arm with a title that says what ``auto`` stands for: ``bckd (auto)``.

        Args:
            student: Class names of the student.
            teachers: Class names of each teacher.
        """
        distill = self.config.distill
        shared = [shared_columns(distill.classes, student, names) for names in teachers]
        chosen = {
            "+".join(each.name for each in resolve_auto(method, distill, columns))
            for columns in shared
            for method in (distill.methods if self.methods else ())
            if method.name == AUTO
        }
        if not chosen:
            return self
        return self._replace(title=self.name.replace(AUTO, f"{'/'.join(sorted(chosen))} ({AUTO})"))


class ArmRun(NamedTuple):
    """One run of a comparison: an arm and a seed, its settings, and its folder."""

    arm: Arm
    seed: int
    config: Config
    folder: Path


class ComparisonPlan(NamedTuple):
    """The arms and seeds to train and compare.

    Attributes:
        config: The settings of all arms; its seed, methods and name of the run are ignored.
        arms: The baseline first.
        seeds: The seeds of each arm.
        folder: Parent of the run folders and the result.
    """

    config: Config
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    folder: Path

    def with_threads(self, threads: int) -> ComparisonPlan:
        """Return the comparison with a number of CPU threads that all runs share."""
        arms = tuple(
            arm._replace(config=_with(arm.config, "train", threads=threads)) for arm in self.arms
        )
        return self._replace(arms=arms)

    def with_runtime(self, runtime: TeacherRuntime) -> ComparisonPlan:
        """Return the comparison with one way to run the teachers of all distilled runs."""
        arms = tuple(
            arm._replace(config=_with(arm.config, "distill", teacher_runtime=runtime))
            if arm.methods
            else arm
            for arm in self.arms
        )
        return self._replace(arms=arms)

    def runs(self) -> tuple[ArmRun, ...]:
        """Return all runs, seed by seed, so that a stopped comparison has complete pairs."""
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
) -> ComparisonPlan:
    """Return the arms and seeds of a comparison.

    Args:
        config: The settings that all arms share, with a teacher.
        methods: One arm each; ``fgd+bckd`` is both in one. None: those of ``config``, in one arm.
        ratios: Gradient ratios; each method arm is trained with every one, unless all its methods
            have fixed weights.
        epochs_share: Adds an arm with this share of the epochs to each method arm.
        seeds: The number of seeds, counted from 0.
        seed_list: The seeds themselves, ``0,1,2``.

    Raises:
        ConfigError: Something cannot be used; lists all errors.
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
        faults.append(_fault(what, "Give a number, e.g. --batch-size 16"))
    seed_numbers = _read_seeds(seeds, seed_list, faults)
    ratio_numbers = [ratio for ratio in map(_number, ratios) if ratio > 0]
    for text in ratios:
        if not _number(text) > 0:
            faults.append(_fault(f"--ratio {text} cannot be used", "Expected a number above 0."))
    share = _read_share(epochs_share, config.train.epochs, faults)
    config = _with(config, "distill", views=_common_views(config, share))
    same = {name: getattr(config.distill, name) for name in ("views", "view_seed", "flips")}
    plain = DistillConfig(**same)
    arms = [Arm(BASELINE, "", config.model_copy(update={"distill": plain}))]
    for text in methods or [_spec(config.distill.methods)]:
        arms += _method_arms(text, config, ratio_numbers, share, faults)
    names = [arm.name for arm in arms]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        faults.append(_fault(f"The arm {name} is given twice", "Leave one out."))
    if faults:
        raise combine_errors(faults)
    return ComparisonPlan(config, tuple(arms), seed_numbers, _folder(config))


def _common_views(config: Config, share: float | None) -> int | Literal["off"]:
    """Return the views of all arms, so that they differ in the teacher alone."""
    if config.distill.views != "auto":
        return config.distill.views
    mixed = config.train.multi_scale and config.distill.images is not None
    epochs = config.train.epochs if share is None else _epochs(share, config.train.epochs)
    return "off" if mixed else auto_views(epochs)


def origins_of(arm: Arm, origins: Mapping[str, str]) -> dict[str, str]:
    """Return the origin of each setting of an arm."""
    changed = ["train.seed", "run.project", "run.name", "run.exist_ok"]
    if origins.get("train.threads", DEFAULT) == DEFAULT and arm.config.train.threads != "auto":
        changed.append("train.threads")
    changed += ["train.epochs"] * (arm.share < 1) + ["distill.ratio"] * (arm.ratio is not None)
    kept = {key: origin for key, origin in origins.items() if not key.startswith(f"{METHODS}.")}
    if arm.name == BASELINE:
        kept = {key: DEFAULT if key.startswith("distill.") else kept[key] for key in kept}
    else:
        changed.append(METHODS)
    return kept | dict.fromkeys(changed, ORIGIN)


def _method_arms(
    text: str,
    config: Config,
    ratios: Sequence[float],
    share: float | None,
    faults: list[ConfigError],
) -> list[Arm]:
    """Return the arms of one ``--method``: each ratio, with all epochs and with a share of them."""
    where = f"--method {text}"
    if text.strip() == BASELINE:
        what = "The baseline is always trained; it is not a method"
        faults.append(_fault(what, where=where))
        return []
    levels = len(config.distill.student_kd_layers or ("p3", "p4", "p5"))
    methods: list[MethodConfig] = []
    parts = _PLUS.split(text.strip())
    for part in parts:
        try:
            method = parse_method(part)
            if method.name != AUTO:
                build_methods([method], [[_CHANNELS] * levels])
            methods.append(method)
        except ConfigError as error:
            what = error.what.removeprefix(f"{METHODS}.0: ").rstrip(".")
            faults.append(ConfigError(what, where=where, fix=error.fix, code=error.code))
    if len(methods) < len(parts):
        return []
    spec = _spec(methods)
    automatic = any(method.weight == "auto" and method.ratio is None for method in methods)
    arms: list[Arm] = []
    for ratio in (ratios if automatic else ()) or (None,):
        distill: dict[str, Any] = {"methods": tuple(methods)}
        name = re.sub(r"[^\w.+-]+", "-", spec.replace("=", ""), flags=re.ASCII)
        if ratio is not None:
            distill["ratio"], name = ratio, f"{name}-r{ratio:g}"
        arm = Arm(name, spec, _with(config, "distill", **distill), ratio)
        arms.append(arm)
        if share is not None:
            short = _with(arm.config, "train", epochs=_epochs(share, config.train.epochs))
            arms.append(Arm(f"{name}-e{share:g}", spec, short, ratio, share))
    return arms


def _spec(methods: Sequence[MethodConfig]) -> str:
    """Write methods in one normal form of ``--method``."""
    specs: list[str] = []
    for method in methods:
        options: list[str] = []
        for name, value in method.model_dump(mode="json", exclude={"name"}).items():
            if isinstance(value, list):
                value = str(value).replace(" ", "").replace("'", "")
            elif type(value) is float and float(f"{value:g}") == value:
                value = f"{value:g}"  # if no digit is lost
            if (name, value) != ("weight", "auto"):
                options.append(f"{name}={value}")
        specs.append(method.name + (f":{','.join(options)}" if options else ""))
    return "+".join(specs)


def _read_seeds(
    count: str | None, listed: str | None, faults: list[ConfigError]
) -> tuple[int, ...]:
    if count is not None and listed is not None:
        faults.append(_fault("--seeds is a number of seeds, --seed-list names them: give one"))
    if listed is not None:
        texts = listed.replace(",", " ").split()
        seeds = {int(text) for text in texts if text.isdecimal() and int(text) < 2**32}
        if not texts or len(seeds) < len(texts):
            fix = "Expected different whole numbers, e.g. 0,1,2."
            faults.append(_fault(f"--seed-list {listed} cannot be used", fix))
            return ()
        return tuple(map(int, texts))
    if count is not None and (not count.isdecimal() or not int(count)):
        fix = "Expected a whole number of at least 1."
        faults.append(_fault(f"--seeds {count} cannot be used", fix))
        return ()
    return tuple(range(SEEDS if count is None else int(count)))


def _read_share(text: str | None, epochs: int, faults: list[ConfigError]) -> float | None:
    if text is None:
        return None
    share = _number(text)
    if not 0 < share < 1:
        fix = "Expected a number between 0 and 1, e.g. 0.6."
        faults.append(_fault(f"--epochs-share {text} cannot be used", fix))
    elif not 0 < _epochs(share, epochs) < epochs:
        what = f"--epochs-share {text} of {epochs} epochs is {_epochs(share, epochs)} epochs"
        faults.append(_fault(what, "Expected fewer than all and at least one."))
    else:
        return share
    return None


def _fault(what: str, fix: str = "", *, where: str = "") -> ConfigError:
    return ConfigError(what, where=where, fix=fix, code="C31")


def _number(text: str) -> float:
    """Read a finite number; NaN if it is none."""
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
    """Return the folder of a comparison; the same settings return the same one."""
    student = config.model.arch or config.model.weights or "yolov7-tiny"
    words = ("compare", Path(str(config.data)).stem, Path(student).name)
    default = re.sub(r"[^\w.-]+", "-", "-".join(words), flags=re.ASCII)
    return Path(config.run.project) / (config.run.name or default)
