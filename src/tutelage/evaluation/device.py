"""Devices by name."""

from __future__ import annotations

import torch

from tutelage.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    ``auto`` is CUDA if there is any, else the CPU.

    Raises:
        ConfigError: The name is none of these, or this machine has no such device.
    """
    kind, _, number = name.partition(":")
    countable = kind == "cuda" and number.isdecimal() and number.isascii()
    if kind not in ("auto", "cpu", "cuda", "mps") or (name != kind and not countable):
        raise ConfigError(
            f"--device {name} is not a device.",
            fix="Use auto, cpu, cuda, cuda:0 or mps.",
            code="C18",
        )
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    has = ""
    if kind == "cuda" and int(number or 0) >= (count := torch.cuda.device_count()):
        listed = ", ".join(f"cuda:{each}" for each in range(count))
        has = f"{count} CUDA device{'s' * (count > 1)} ({listed})" if count else "no CUDA device"
    if kind == "mps" and not torch.backends.mps.is_available():
        has = "no MPS device"
    if has:
        what = f"--device {name}: this machine has {has}."
        raise ConfigError(what, fix="Use --device cpu or auto.", code="C18")
    return torch.device(name)
