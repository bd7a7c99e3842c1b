"""Options of a command, or arguments of its function, to resolved settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError, nearest

if TYPE_CHECKING:
    from tutelage.config import ResolvedConfig

# option (as typer names it) → setting
SETTINGS: Mapping[str, str] = {
    "data": "data",
    "preset": "preset",
    "cfg": "model.arch",
    "weights": "model.weights",
    "epochs": "train.epochs",
    "batch_size": "train.batch",
    "img_size": "train.image_size",
    "device": "train.device",
    "workers": "train.workers",
    "seed": "train.seed",
    "precision": "train.precision",
    "freeze": "train.freeze",
    "patience": "train.patience",
    "multi_scale": "train.multi_scale",
    "rect": "train.rect",
    "single_cls": "train.single_cls",
    "cache_images": "train.cache_images",
    "optimizer": "optim.name",
    "teacher_weights": "distill.teacher",
    "method": "distill.methods",
    "ratio": "distill.ratio",
    "student_kd_layers": "distill.student_kd_layers",
    "teacher_kd_layers": "distill.teacher_kd_layers",
    "project": "run.project",
    "name": "run.name",
    "exist_ok": "run.exist_ok",
}


def as_flag(option: str) -> str:
    """Return how a setting's origin is written if it was given on the command line."""
    return f"flag --{option.replace('_', '-')}"


def as_argument(option: str) -> str:
    """Return how a setting's origin is written if it was given in Python."""
    return f"argument {option}"


def flags_of(
    options: Mapping[str, Any], written: Callable[[str], str] = as_flag
) -> dict[str, tuple[Any, str]]:
    """Return ``{setting: (value, origin)}`` of the given options."""
    flags: dict[str, tuple[Any, str]] = {}
    for option, setting in SETTINGS.items():
        value = options.get(option)
        if value is None or value is False or value in ((), []):
            continue
        value = "ram" if option == "cache_images" else value
        if option == "teacher_weights":
            if "" in value:
                fix = "Is a shell variable unset? To train without a teacher omit it."
                where = written(option).removeprefix("flag ")
                raise ConfigError(f"{where} is empty", fix=fix, code="C26")
            value = value[0] if len(value) == 1 else value
        flags[setting] = (value, written(option))
    return flags


def resolve(
    options: Mapping[str, Any],
    extra: Mapping[str, tuple[Any, str]],
    written: Callable[[str], str] = as_flag,
) -> tuple[ResolvedConfig, str | None]:
    """Resolve the settings of ``tutelage train``.

    Args:
        options: The options by typer's names.
        extra: Other settings, as from flags of YOLOv7 and YOLOv5; options override them.
        written: How an option is written as the origin of its setting.

    Returns:
        The settings, and the run folder to resume or None.

    Raises:
        ConfigError: Settings are invalid or contradict the resumed run.
    """
    from tutelage.config import load_config
    from tutelage.setup.image_size import adopt_image_size
    from tutelage.setup.named_code import check_named_code

    flags = {**extra, **flags_of(options, written)}
    run_file, hyp = options.get("config") or None, options.get("hyp") or None
    sets, allowed = options.get("set") or (), options.get("allow_code") or ()
    if options.get("resume") is None:
        resolved = load_config(config_file=run_file, hyp=hyp, flags=flags, sets=sets)
        arch = resolved.config.model.arch or ""
        if run_file is not None and "@" in arch and "model.arch" not in flags:
            from tutelage.setup.student import check_stored_width

            check_stored_width(run_file, arch)
        check_named_code(resolved.config, resolved.origins, allowed)
        return adopt_image_size(resolved), None
    folder = run_to_resume(options["resume"], options.get("project") or "runs")
    flags.pop("run.project", None)
    if run_file is not None:
        raise ConfigError(
            "--resume uses the settings of the run; --config would replace them.", code="R16"
        )
    stored = load_config(config_file=folder / "config.yaml")
    resolved = load_config(config_file=folder / "config.yaml", hyp=hyp, flags=flags, sets=sets)
    if resolved.config.train.batch == "auto":  # its size was found when the run began
        train = resolved.config.train.model_copy(update={"batch": stored.config.train.batch})
        resolved = resolved._replace(config=resolved.config.model_copy(update={"train": train}))
    _check_resume(stored, resolved, folder)
    check_named_code(resolved.config, resolved.origins, allowed)
    return resolved, str(folder)


def run_to_resume(given: str, project: str) -> Path:
    """Return the folder of a run that can be resumed.

    Args:
        given: The run folder, a file in it, or an empty string: the newest run of ``project``.
        project: The parent of the run folders.

    Raises:
        ConfigError: There is no such run.
    """
    if not given:
        saved = sorted(Path(project).glob("*/last.pt"), key=lambda path: path.stat().st_mtime)
        if not saved:
            raise ConfigError(
                f"There is no run to resume in {project}.",
                fix="Give its folder: --resume runs/…",
                code="R22",
            )
        return saved[-1].parent
    path = Path(given)
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        siblings = [path.name for path in folder.parent.glob("*") if path.is_dir()]
        raise ConfigError(
            f"There is no run folder {folder}.",
            where="--resume",
            fix=nearest(folder.name, siblings),
            code="R22",
        )
    missing = [name for name in ("config.yaml", "last.pt") if not (folder / name).exists()]
    if missing:
        unsaved = missing == ["last.pt"]
        why = "it was stopped before its first save" if unsaved else "it is not a run folder"
        raise ConfigError(
            f"{folder} cannot be resumed: it has no {' and no '.join(missing)} ({why}).",
            where="--resume",
            code="R22",
        )
    return folder


def _check_resume(stored: ResolvedConfig, resolved: ResolvedConfig, folder: Path) -> None:
    from tutelage.config.diff import compare_configs
    from tutelage.config.overrides import origin_of

    faults: list[str] = []
    for key, was, now in compare_configs(stored.config, resolved.config, movable=True):
        origin = origin_of(key, resolved.origins).removeprefix("flag ")
        faults.append(f"{origin}: {key} {now} contradicts its {was}")
    if faults:
        what = "\n  ".join(["--resume uses the settings of the run.", *faults])
        best = folder / "best.safetensors"
        fix = f"Start a new run from its weights instead: --weights {best}"
        raise ConfigError(
            what, fix=fix if best.exists() else "Leave out --resume to start anew.", code="R16"
        )
