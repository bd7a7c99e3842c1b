"""From configuration to methods. The constructor of a method is the schema of its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from tutelage.config.overrides import origin_of
from tutelage.config.schema import DistillConfig, MethodConfig
from tutelage.config.validate import combine_errors
from tutelage.distill.method import Channels, Method, Need, Resized, Side
from tutelage.distill.methods import METHODS
from tutelage.errors import ConfigError, nearest


class MethodRow(NamedTuple):
    """What there is to know of a method.

    Attributes:
        name: As it is written in a configuration.
        paper: Where it was published.
        needs: What it reads of the networks, e.g. ``("features",)``.
        options: Its options and their defaults.
        choices: Of options that are one of a few words, these.
        ratio: How strongly it teaches with ``weight: auto``, see :class:`Method`.
        summary: One sentence.
    """

    name: str
    paper: str
    needs: tuple[str, ...]
    options: dict[str, Any]
    choices: dict[str, list[str]]
    ratio: float
    summary: str


def build_methods(
    configs: Sequence[MethodConfig],
    channels: Sequence[Channels],
    *,
    numbers: Sequence[int] | None = None,
    resize: bool | Side = False,
    origins: Mapping[str, str] | None = None,
) -> dict[str, Method]:
    """Build the methods of a run.

    Args:
        configs: The methods and their options.
        channels: Per method, student and teacher channels per pair of maps.
        numbers: Their places in the configuration, for the messages; None: as given.
        resize: Where grids differ, bring the maps of this network to those of the other one; True:
            the student's.
        origins: Which layer of the configuration set a dotted key, for the messages.

    Returns:
        The methods in the order given, by name; a name that comes again becomes ``fgd-2``, and a
        class given by its path goes by its class name.

    Raises:
        ConfigError: Unknown methods or options, or values that cannot be used; all are told.
    """
    if not configs:
        where = origin_of("distill.methods", origins) if origins else ""
        what = "distill.methods is empty: nothing would be learnt from the teacher"
        raise ConfigError(
            what, where=where, fix=f"For example  --method {next(iter(METHODS))}", code="T22"
        )
    faults: list[ConfigError] = []
    methods: dict[str, Method] = {}
    places = range(len(configs)) if numbers is None else numbers
    for number, config, widths in zip(places, configs, channels, strict=True):
        key = f"distill.methods.{number}"
        try:
            kind = resolve(config.name)
            options = _validated(kind, config.options)
            method = _made(kind, widths, options)
        except _Faults as found:
            for code, name, what, fix in found.faults:
                leaf = f"{key}.{name}" if name else f"{key}.name"
                where = origin_of(leaf, origins) if origins else ""
                faults.append(ConfigError(f"{key}: {what}", where=where, fix=fix, code=code))
            continue
        label = _unused(config.name.rpartition(":")[2], methods)
        if resize == "teacher" and Need.FEATURES | Need.PREDICTIONS in method.needs:
            faults.append(_keeps_grid(key, config.name, origins))
        methods[label] = Resized(method, widths, _side(resize)) if resize else method
    if faults:
        raise combine_errors(faults)
    return methods


def resolve(name: str) -> type[Method]:
    """Find a method by its name, or import it by its path ``package.module:Class``."""
    if name in METHODS:
        return METHODS[name]
    module, colon, member = name.partition(":")
    if not colon:
        hint = nearest(name, METHODS)
        if "," in name:
            hint = f"Several methods:  {' '.join(f'--method {each}' for each in name.split(','))}."
        fix = f"{hint} Methods: {' '.join(METHODS)}; or 'package.module:Class'"
        raise _Faults([("T22", "", f"there is no method '{name}'", fix.strip())])
    try:
        content = import_module(module)
    except Exception as error:  # a user's module may fail in any way
        fix = "Install the package, or start where Python can import it"
        plain = isinstance(error, ImportError | ValueError)
        reason = str(error) if plain else f"{type(error).__name__}: {error}"
        raise _Faults([("T22", "", f"cannot import '{module}': {reason}", fix)]) from error
    found = getattr(content, member, None)
    if found is None:
        fix = nearest(member, vars(content))
        raise _Faults([("T22", "", f"'{module}' has no '{member}'", fix)])
    if not (isinstance(found, type) and issubclass(found, Method)):
        fix = "Derive it from tutelage.distill.Method"
        raise _Faults([("T22", "", f"'{name}' is not a distillation method", fix)])
    return found


def options_model(kind: type[Method]) -> type[BaseModel]:
    """Return the schema of a method's options: the keyword-only parameters of its constructor."""
    hints = get_type_hints(kind.__init__, include_extras=True)
    fields: dict[str, Any] = {
        name: (
            hints.get(name, Any),
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )
    return create_model(f"{kind.__name__}Options", __config__=config, **fields)


def describe_methods() -> tuple[MethodRow, ...]:
    """Describe all built-in methods, for a table."""
    return tuple(
        MethodRow(
            name,
            kind.paper,
            tuple(str(need.name).lower() for need in kind.needs),
            {key: field.default for key, field in options_model(kind).model_fields.items()},
            {
                key: found["enum"]
                for key, found in options_model(kind).model_json_schema()["properties"].items()
                if "enum" in found
            },
            kind.ratio,
            (inspect.getdoc(kind) or "").partition("\n")[0],
        )
        for name, kind in METHODS.items()
    )


class _Faults(Exception):
    """Faults of one method: code, option name (or empty), what is wrong, the fix."""

    def __init__(self, faults: Sequence[tuple[str, str, str, str]]) -> None:
        self.faults = faults
        super().__init__(faults)


def _validated(kind: type[Method], options: Mapping[str, Any]) -> dict[str, Any]:
    schema = options_model(kind)
    known = list(schema.model_fields)
    listed = f"Options: {' '.join(known)}" if known else "It has no options"
    try:
        checked = schema.model_validate(dict(options))
    except ValidationError as error:
        faults: list[tuple[str, str, str, str]] = []
        for fault in error.errors():
            name = str(fault["loc"][0]) if fault["loc"] else ""
            if fault["type"] == "extra_forbidden":
                what = f"{kind.__name__} has no option '{name}'"
                hint = nearest(name, known)
                if name in DistillConfig.model_fields:
                    hint = f"That is a setting of all methods:  --set distill.{name}=… "
                faults.append(("C05", name, what, f"{hint} {listed}".strip()))
            elif fault["type"] == "missing":
                faults.append(("C26", name, f"{kind.__name__} needs the option '{name}'", listed))
            else:
                reason = fault["msg"][0].lower() + fault["msg"][1:]
                what = f"{kind.__name__}'s option '{name}' is {fault['input']!r}: {reason}"
                faults.append(("C25", name, what, listed))
        raise _Faults(faults) from error
    return {name: getattr(checked, name) for name in known}


def _made(kind: type[Method], channels: Channels, options: Mapping[str, Any]) -> Method:
    try:
        return cast("Callable[..., Method]", kind)(channels, **options)
    except ValueError as error:  # options that exclude each other
        raise _Faults(
            [("T22", "", f"{kind.__name__}: {error}", "See  tutelage methods")]
        ) from error


def _side(resize: bool | Side) -> Side:
    return "teacher" if resize == "teacher" else "student"


def _keeps_grid(key: str, name: str, origins: Mapping[str, str] | None) -> ConfigError:
    return ConfigError(
        f"{key}: {name} reads what the teacher predicts in the cells of its maps, so that these "
        "keep their grid",
        where=origin_of("distill.resize", origins) if origins else "",
        fix="--set distill.resize=student",
        code="T08",
    )


def _unused(label: str, taken: Mapping[str, object]) -> str:
    count = 2
    unique = label
    while unique in taken:
        unique, count = f"{label}-{count}", count + 1
    return unique
