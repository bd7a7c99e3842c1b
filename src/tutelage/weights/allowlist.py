"""The names that a checkpoint may use; none of them is ever imported or called.

Names of models become inert records; names of torch and NumPy are interpreted by rules of our own.
All others are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import torch

from tutelage import sanitise
from tutelage.weights.pickle_parser import DamagedError, PickledObject, RefusedError, is_scalar


class StorageEntry(NamedTuple):
    """A storage: the elements of one or more tensors."""

    key: str
    dtype: torch.dtype
    numel: int


class UnreadTensor(NamedTuple):
    """A tensor whose values are not read yet."""

    storage: StorageEntry
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


STORAGES: Mapping[str, torch.dtype] = {
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.storage.UntypedStorage": torch.uint8,
}
_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
_PASSIVE = frozenset(  # kept as records
    {"numpy.ndarray", "_codecs.encode", "argparse.Namespace", *STORAGES}
    | {f"{core}.{name}" for core in _CORES for name in ("_reconstruct", "scalar")}
    | {f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")}  # pickle protocol 5
    | {  # parts of DistributedDataParallel
        "torch.distributed.algorithms.join._JoinConfig",
        "torch.nn.parallel.distributed._BucketCapacityConfig",
        "torch.nn.parallel.distributed._MixedPrecision",
    }
)
_INERT = re.compile(
    r"(models|utils|yolox?)(\.[A-Za-z_]\w*)+"  # YOLOv7 and YOLOv5; YOLOv9 and YOLOX
    r"|torch\.nn\.(modules|parallel)\.[a-z_]+\.[A-Z]\w*"
    r"|torch\.nn\.parameter\.Parameter",
    re.ASCII,
)
_NUMERIC = re.compile(r"b1|[iu][1248]|f[248]")
_HUGE = 1 << 48  # far beyond any storage, far below an overflow


def check_name(module: str, name: str) -> None:
    """Check a name of the stream.

    Raises:
        RefusedError: It is not allowed.
    """
    path = f"{module}.{name}"
    known = path in _PASSIVE or path in _RULES
    inert = "__" not in path and _INERT.fullmatch(path) is not None
    if "." in name or not (known or inert):  # a dotted name would be an attribute of an attribute
        raise RefusedError(printable(path))


def printable(text: str) -> str:
    """Return the start of a text from a file without control characters."""
    return sanitise.printable(text[:120])


def printable_value(value: object) -> str:
    """Return a value from a file as short, printable text; containers as their type."""
    if isinstance(value, str):
        return printable(value)
    short = isinstance(value, int) and abs(value) < _HUGE
    short = short or isinstance(value, float | bool) or value is None
    return str(value) if short else type(value).__name__


class AllowedCall:
    """Evaluates the calls in a stream by rules of our own.

    Args:
        budget: Total of entries and characters that calls may copy. The length of the stream is
            enough; without a limit, a few calls with the same large argument would exhaust memory.
    """

    def __init__(self, budget: int) -> None:
        self.left = budget

    def __call__(self, path: str, args: tuple[Any, ...]) -> Any:
        """Return the value of ``path(*args)``, usually a record."""
        rule = _RULES.get(path)
        return PickledObject(path, args) if rule is None else rule(self, args)

    def spend(self, count: int) -> None:
        """Take from the budget."""
        self.left -= count
        if self.left < 0:
            raise DamagedError("its objects are unreasonably large")


def _make_dict(call: AllowedCall, args: tuple[Any, ...]) -> dict[Any, Any]:
    if not args:
        return {}
    pairs = args[0]
    if not isinstance(pairs, dict | list):
        raise DamagedError("a dict made of something that is no pairs")
    call.spend(len(pairs))
    for pair in [] if isinstance(pairs, dict) else pairs:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and is_scalar(pair[0])):
            raise DamagedError("a dict made of something that is no pairs")
    return dict(pairs)


def _make_set(call: AllowedCall, args: tuple[Any, ...]) -> set[Any]:
    members = args[0] if args else ()
    if not isinstance(members, list | tuple | set) or not all(map(is_scalar, members)):
        raise DamagedError("a set of something that is no plain value")
    call.spend(len(members))
    return set(members)


def _rebuild_tensor(_: AllowedCall, args: tuple[Any, ...]) -> UnreadTensor:
    """Return a tensor after checking that it lies within its storage."""
    if len(args) < 4 or not isinstance(args[0], StorageEntry):
        raise DamagedError("a tensor without a storage")
    storage, offset, size, stride = args[:4]
    if not (
        isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= 8
    ):
        raise DamagedError("a tensor has no valid shape")
    numbers = (offset, *size, *stride)
    if not all(type(number) is int and 0 <= number < _HUGE for number in numbers):
        raise DamagedError("a tensor has a negative, fractional or huge shape")
    if prod(max(length, 1) for length in size) >= _HUGE:
        raise DamagedError("a tensor has a huge shape")
    elements = prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if elements > storage.numel or (elements and last >= storage.numel) or offset > storage.numel:
        raise DamagedError(f"a tensor of shape {list(size)} reaches outside its storage")
    return UnreadTensor(storage, offset, size, stride)


def _rebuild_parameter(_: AllowedCall, args: tuple[Any, ...]) -> UnreadTensor:
    if not args or not isinstance(args[0], UnreadTensor):
        raise DamagedError("a parameter without a tensor")
    return args[0]


def _size(_: AllowedCall, args: tuple[Any, ...]) -> Any:
    return args[0] if args and isinstance(args[0], tuple | list) else ()


def _join(separator: str) -> Callable[[AllowedCall, tuple[Any, ...]], str]:
    def join(call: AllowedCall, args: tuple[Any, ...]) -> str:
        text = separator.join(str(part) for part in args if isinstance(part, str | int))
        call.spend(len(text))
        return text

    return join


def _numpy_dtype(_: AllowedCall, args: tuple[Any, ...]) -> PickledObject:
    kind = args[0] if args else ""
    if not isinstance(kind, str) or not _NUMERIC.fullmatch(kind.lstrip("<=|")):
        raise RefusedError(f"numpy.dtype({printable_value(kind)!r})")
    return PickledObject("numpy.dtype", args)


_RULES: Mapping[str, Callable[[AllowedCall, tuple[Any, ...]], Any]] = {
    **dict.fromkeys(("collections.OrderedDict", "builtins.dict", "__builtin__.dict"), _make_dict),
    **dict.fromkeys(("builtins.set", "__builtin__.set"), _make_set),
    **{
        f"torch._utils._rebuild_{name}": rule
        for name, rule in (
            ("tensor", _rebuild_tensor),
            ("tensor_v2", _rebuild_tensor),
            ("parameter", _rebuild_parameter),
            ("parameter_with_state", _rebuild_parameter),
        )
    },
    **{
        f"{home}.{kind}{flavour}Path": _join("/")
        for home in ("pathlib", "pathlib._local")  # the second is Python 3.13's
        for kind in ("", "Pure")
        for flavour in ("", "Posix", "Windows")
    },
    "torch.Size": _size,
    "torch.device": _join(":"),
    "numpy.dtype": _numpy_dtype,
}
