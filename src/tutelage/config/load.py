"""Resolves settings in layers, with the origin of each; reports all errors at once.

Order, later wins: defaults, preset, run file, hyp file, flags, ``--set``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.config.added_later import complete
from tutelage.config.describe import leaves, sections
from tutelage.config.overrides import DEFAULT, METHODS, Override, Overrides, at, origin_of
from tutelage.config.presets import PRESETS, default_preset, preset_of_family, read_preset
from tutelage.config.run_paths import PATHS, locate, started_in
from tutelage.config.schema import Config
from tutelage.config.validate import combine_errors, validate
from tutelage.config.yaml_reader import YamlDocument, parse_value, read_document
from tutelage.config.yolov7_hyp import translate_hyp
from tutelage.errors import ConfigError

SET = ("--set", "argument set")  # origins: of the command line, of a function
HIGH_FOR_ADAM = 0.005  # the presets, for SGD, have 0.01; Adam's own default is 0.001


class ResolvedConfig(NamedTuple):
    """Settings after all layers.

    Attributes:
        config: The settings; ``config.preset`` names the preset that was used.
        origins: The layer that set each setting, by dotted name: ``default``, ``preset v7-tiny``,
            ``hyp.yaml:12``, ``flag --epochs`` or ``--set``. Options of a method may have their
            own (``distill.methods.0.alpha``); else that of ``distill.methods`` holds.
        notices: Messages for the user, e.g. about keys without effect.
    """

    config: Config
    origins: dict[str, str]
    notices: tuple[str, ...]


def load_config(
    *,
    config_file: str | Path | None = None,
    hyp: str | Path | None = None,
    flags: Mapping[str, tuple[Any, str]] | None = None,
    sets: Sequence[str] = (),
) -> ResolvedConfig:
    """Resolve the settings of a run.

    Args:
        config_file: A run file with the schema's names.
        hyp: A hyper-parameter file of YOLOv7 or YOLOv5.
        flags: ``{setting: (value, origin)}``, e.g. ``{"train.epochs": (3, "flag --epochs")}``.
        sets: ``KEY=VALUE`` texts, e.g. ``distill.methods.0.alpha=0.002``.

    Raises:
        ConfigError: Some settings cannot be used; the message lists all, with their origins.
    """
    errors: list[ConfigError] = []
    notices: list[str] = []
    entries: list[Override] = []
    if config_file is not None:
        document = read_document(config_file, kind="run file")
        located, texts = _located(_entries(document, complete(document.values)), config_file)
        entries += located
        notices += texts
    if hyp is not None:
        translated = translate_hyp(_read_hyp(hyp))
        entries += [Override(*entry) for entry in translated.entries]
        notices += translated.notices
        errors += translated.errors
    entries += [Override(key, value, origin) for key, (value, origin) in (flags or {}).items()]
    entries += _set_entries(sets, errors)

    preset, preset_origin = _choose_preset(entries)
    merged = Overrides()
    merged.put_all(_preset_entries(preset), errors)
    merged.put_all(entries, errors)
    merged.values["preset"], merged.origins["preset"] = preset, preset_origin
    config = validate(merged, errors)
    if config is None:
        raise combine_errors(errors)
    notices += _high_rate(config, merged.origins)
    return ResolvedConfig(config, merged.origins, tuple(notices))


def _high_rate(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    """Yield a notice if Adam would train with a learning rate of SGD that nobody asked for."""
    optim, origin = config.optim, origin_of("optim.lr", origins)
    if optim.name != "sgd" and optim.lr >= HIGH_FOR_ADAM and origin not in SET:
        yield (
            f"{optim.name} keeps the learning rate {optim.lr:g} ({origin}), which is one for SGD; "
            "Adam usually takes a tenth of it or less:  --set optim.lr=0.001"
        )


def changes(config: Config, origins: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    """Return name, value and origin of the settings that differ from defaults and preset."""
    base = Overrides()
    base.put_all(_preset_entries(config.preset), [])
    after = config.model_dump(mode="json")
    return [
        (key, at(after, key), origin_of(key, origins))
        for key in leaves()
        if key != "preset" and at(after, key) != at(base.values, key)
    ]


def describe_changes(
    config: Config, origins: Mapping[str, str], *, without: Collection[str] = ()
) -> str:
    """Return one line: the settings that differ from the preset, each with its layer.

    Those shown elsewhere in a plan (data, model, teacher, methods, folder) are left out.

    Args:
        config: All settings.
        origins: Where each came from.
        without: More settings to leave out.
    """
    shown_elsewhere = ("data", "model.arch", "model.weights", "distill.teacher", METHODS, *without)
    parts = [
        f"{key} {_short(value)} ({origin})"
        for key, value, origin in changes(config, origins)
        if key not in shown_elsewhere and not key.startswith("run.")
    ]
    rest = "everything else" if parts else "everything"
    return " · ".join(
        [*parts, f"{rest}: preset {config.preset} ({origins.get('preset', DEFAULT)})"]
    )


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _entries(document: YamlDocument, values: Mapping[str, Any], start: str = "") -> list[Override]:
    entries: list[Override] = []
    for name, value in values.items():
        key = f"{start}{name}"
        if key in sections() and isinstance(value, dict):
            entries += _entries(document, value, f"{key}.")
        elif key not in sections() or value is not None:
            inner = {
                line: document.origin(line) for line in document.lines if line.startswith(f"{key}.")
            }
            entries.append(Override(key, value, document.origin(key), inner))
    return entries


def _located(
    entries: Sequence[Override], config_file: str | Path
) -> tuple[list[Override], list[str]]:
    """Return settings of a run folder with paths that hold here, and notices of changed ones."""
    directory = started_in(config_file)
    if directory is None:
        return [*entries], []
    located: list[Override] = []
    notices: list[str] = []
    for entry in entries:
        value = locate(entry.value, directory) if entry.key in PATHS else entry.value
        if value != entry.value:
            notices.append(f"{entry.key} of {config_file}: {_short(value)}")
        located.append(entry._replace(value=value))
    return located, notices


def _read_hyp(hyp: str | Path) -> YamlDocument:
    try:
        return read_document(hyp, kind="--hyp")
    except ConfigError as error:
        name = Path(hyp).name
        preset = next(
            (preset for preset, file in PRESETS.items() if name in (file, f"{preset}.yaml")), None
        )
        if preset is None or Path(hyp).exists():
            raise
        fix = f"The values that YOLO publishes under that name are built in: --preset {preset}"
        raise ConfigError(error.what, where=error.where, fix=fix, code=error.code) from None


def _set_entries(sets: Sequence[str], errors: list[ConfigError]) -> list[Override]:
    entries: list[Override] = []
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            what, fix = f"--set {text}: expected KEY=VALUE", "For example  --set optim.lr=0.005"
            errors.append(ConfigError(what, fix=fix, code="C22"))
            continue
        key = key.strip()
        leaf = leaves().get(key)
        plain = leaf is not None and leaf.textual and not leaf.plural
        entries.append(Override(key, value if plain else parse_value(value), "--set"))
    return entries


def _preset_entries(preset: Any) -> list[Override]:
    if not isinstance(preset, str) or preset not in PRESETS:
        return []
    return [
        Override(f"{section}.{key}", value, f"preset {preset}")
        for section, settings in read_preset(preset).items()
        for key, value in settings.items()
    ]


def _choose_preset(entries: Sequence[Override]) -> tuple[Any, str]:
    overrides = Overrides()
    overrides.put_all(entries, [])
    values = overrides.values
    preset, arch, weights = (at(values, key) for key in ("preset", "model.arch", "model.weights"))
    arch = arch if isinstance(arch, str) else None
    weights = weights if isinstance(weights, str) else None
    if preset is not None:
        if isinstance(preset, str):
            preset = preset_of_family(preset, arch, weights=weights)
        return preset, overrides.origins["preset"]
    name = arch or ("the architecture of the weights" if weights else "yolov7-tiny")
    reason = f"{DEFAULT} for {name}{' with weights' if arch and weights else ''}"
    return default_preset(arch, weights is not None, weights=weights), reason
