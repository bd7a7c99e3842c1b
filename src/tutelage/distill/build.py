"""Builds methods from their configuration; a constructor is the schema of a method's options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, NamedTuple, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from tutelage.config.overrides import origin_of
from tutelage.config.schema import DistillConfig, MethodConfig
from tutelage.config.validate import combine_errors
from tutelage.distill.method import Channels, Method, Need, Resized, Side
from tutelage.distill.methods import METHODS
from tutelage.errors import ConfigError, nearest

REQUIRED = "required"


class MethodRow(NamedTuple):
    """A method in the table of all methods.

    Attributes:
        name: As in a configuration.
        paper: Where it was published.
        needs: What it reads of the networks, e.g. ``("features",)``.
        options: Its options and their defaults; ``REQUIRED`` where there is none.
        choices: The values of the options that are enumerations.
        ratio: See :class:`Method`.
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
        numbers: Their positions in the configuration, for messages; None: as given.
        resize: Where grids differ, resize the maps of this network; True: the student's.
        origins: Which layer of the configuration set a dotted key, for messages.

    Returns:
        The methods in the order given, by name or class name; a repeated name becomes ``fgd-2``.

    Raises:
        ConfigError: Unknown methods or options, or values that cannot be used; all are reported.
    """

    def origin(key: str) -> str:
        return origin_of(key, origins) if origins else ""

    if not configs:
        where = origin("distill.methods")
        what = "distill.methods is empty: nothing would be learnt from the teacher"
        raise ConfigError(
            what, where=where, fix=f"For example  --method {next(iter(METHODS))}", code="T22"
        )
    faults: list[ConfigError] = []
    methods: dict[str, Method] = {}
    positions = range(len(configs)) if numbers is None else numbers
    for number, config, widths in zip(positions, configs, channels, strict=True):
        key = f"distill.methods.{number}"
        try:
            method = _build_method(config, widths)
        except MethodFaults as error:
            for fault in error.faults:
                where = origin(f"{key}.{fault.option or 'name'}")
                what = f"{key}: {fault.what}"
                faults.append(ConfigError(what, where=where, fix=fault.fix, code=fault.code))
            continue
        if resize == "teacher" and Need.FEATURES | Need.PREDICTIONS in method.needs:
            what = f"{key}: {config.name} reads what the teacher predicts in the cells of its maps"
            what = f"{what}, so that these keep their grid"
            where, fix = origin("distill.resize"), "--set distill.resize=student"
            faults.append(ConfigError(what, where=where, fix=fix, code="T08"))
        if resize:
            method = Resized(method, widths, "teacher" if resize == "teacher" else "student")
        methods[_unique_name(config.name.rpartition(":")[2], methods)] = method
    if faults:
        raise combine_errors(faults)
    return methods


def find_method(name: str) -> type[Method]:
    """Return a method by its name, or import it by its path ``package.module:Class``."""
    if name in METHODS:
        return METHODS[name]
    module, colon, member = name.partition(":")
    if not colon:
        hint = nearest(name, METHODS)
        if "," in name:
            hint = f"Several methods:  {' '.join(f'--method {each}' for each in name.split(','))}."
        fix = f"{hint} Methods: {' '.join(METHODS)}; or 'package.module:Class'"
        raise _fault(f"there is no method '{name}'", fix.strip())
    try:
        content = import_module(module)
    except Exception as error:  # a user's module may fail in any way
        fix = "Install the package, or start where Python can import it"
        plain = isinstance(error, ImportError | ValueError)
        reason = str(error) if plain else f"{type(error).__name__}: {error}"
        raise _fault(f"cannot import '{module}': {reason}", fix) from error
    kind = getattr(content, member, None)
    if kind is None:
        raise _fault(f"'{module}' has no '{member}'", nearest(member, vars(content)))
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        fix = "Derive it from tutelage.distill.Method"
        raise _fault(f"'{name}' is not a distillation method", fix)
    return kind


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


def describe_methods(names: Sequence[str] = ()) -> tuple[MethodRow, ...]:
    """Describe methods, for a table.

    Args:
        names: Their names, or paths ``package.module:Class``; none: all that are built in.

    Raises:
        ConfigError: There is no such method; all are reported.
    """
    rows: list[MethodRow] = []
    faults: list[ConfigError] = []
    for name in names or METHODS:
        try:
            rows.append(_describe_method(name, find_method(name)))
        except MethodFaults as error:
            faults += [ConfigError(f.what, fix=f.fix, code=f.code) for f in error.faults]
    if faults:
        raise combine_errors(faults)
    return tuple(rows)


def _describe_method(name: str, kind: type[Method]) -> MethodRow:
    fields = options_model(kind).model_fields
    return MethodRow(
        name,
        kind.paper,
        needs=tuple(str(need.name).lower() for need in kind.needs),
        options={k: REQUIRED if f.is_required() else f.default for k, f in fields.items()},
        choices={
            key: [str(choice) for choice in get_args(field.annotation)]
            for key, field in fields.items()
            if get_origin(field.annotation) is Literal
        },
        ratio=kind.ratio,
        summary=(inspect.getdoc(kind) or "").partition("\n")[0],
    )


class _Fault(NamedTuple):
    code: str
    option: str
    what: str
    fix: str


class MethodFaults(Exception):
    """All faults of one method."""

    def __init__(self, faults: Sequence[_Fault]) -> None:
        self.faults = faults
        super().__init__(faults)


def _fault(what: str, fix: str) -> MethodFaults:
    """Return a fault of the method as a whole."""
    return MethodFaults([_Fault("T22", "", what, fix)])


def _build_method(config: MethodConfig, channels: Channels) -> Method:
    kind = find_method(config.name)
    options = _validate_options(kind, config.options)
    try:
        return cast("Callable[..., Method]", kind)(channels, **options)
    except ValueError as error:  # options that exclude each other
        raise _fault(f"{kind.__name__}: {error}", "See  tutelage methods") from error


def _validate_options(kind: type[Method], options: Mapping[str, Any]) -> dict[str, Any]:
    schema = options_model(kind)
    known = list(schema.model_fields)
    listed = f"Options: {' '.join(known)}" if known else "It has no options"
    try:
        checked = schema.model_validate(dict(options))
    except ValidationError as error:
        faults: list[_Fault] = []
        for fault in error.errors():
            name = str(fault["loc"][0]) if fault["loc"] else ""
            if fault["type"] == "extra_forbidden":
                what = f"{kind.__name__} has no option '{name}'"
                hint = nearest(name, known)
                if name in DistillConfig.model_fields:
                    hint = f"That is a setting of all methods:  --set distill.{name}=… "
                faults.append(_Fault("C05", name, what, f"{hint} {listed}".strip()))
            elif fault["type"] == "missing":
                what = f"{kind.__name__} needs the option '{name}'"
                faults.append(_Fault("C26", name, what, listed))
            else:
                reason = fault["msg"][0].lower() + fault["msg"][1:]
                what = f"{kind.__name__}'s option '{name}' is {fault['input']!r}: {reason}"
                faults.append(_Fault("C25", name, what, listed))
        raise MethodFaults(faults) from error
    return {name: getattr(checked, name) for name in known}


def _unique_name(name: str, used: Mapping[str, object]) -> str:
    unique, count = name, 2
    while unique in used:
        unique, count = f"{name}-{count}", count + 1
    return unique
