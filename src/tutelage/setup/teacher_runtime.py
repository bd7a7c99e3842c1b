"""Whether the runtime that is asked of the teachers is one that this machine and run can have."""

from __future__ import annotations

import os
import shutil

import torch

from tutelage.config.schema import Config
from tutelage.errors import ConfigError
from tutelage.optional_packages import require
from tutelage.teachers import is_native

FIXED_SIZE = ("compile", "openvino", "openvino-int8")  # compiled for images of one size
PACKAGES = {"openvino": ("openvino",), "openvino-int8": ("openvino", "nncf")}
NAME, CODE = "distill.teacher_runtime", "T46"


def check_runtime(config: Config, device: torch.device) -> None:
    """Check ``distill.teacher_runtime``; ``auto`` and ``torch`` always work.

    Args:
        config: All settings of a distilled run.
        device: Where the teachers run.

    Raises:
        ConfigError: No teacher can be run that way, or not here, or not with these settings.
        MissingExtraError: OpenVINO is not installed.
    """
    runtime = config.distill.teacher_runtime
    if runtime in ("auto", "torch"):
        return
    if not any(is_native(source) for source in config.distill.teachers):
        raise ConfigError(
            f"{NAME}={runtime} is for the YOLO networks here; {config.distill.teachers[0]} is "
            "run by its own library.",
            fix=f"Leave {NAME} out.",
            code=CODE,
        )
    if runtime != "compile" and device.type != "cpu":
        half = ", and on CUDA the teacher runs in half precision already"
        raise ConfigError(
            f"{NAME}={runtime} is for CPUs{half if device.type == 'cuda' else ''}.",
            fix=f"Leave {NAME} out, or train on the CPU:  --device cpu",
            code=CODE,
        )
    if runtime == "bf16" and not has_bfloat16():
        raise ConfigError(
            f"{NAME}=bf16: this processor does not compute in bfloat16, and would emulate it.",
            fix=f"Leave {NAME} out, or let it be measured:  --set {NAME}=auto",
            code=CODE,
        )
    if runtime == "compile" and device.type == "cpu" and (missing := _missing_compiler()):
        raise ConfigError(
            f"{NAME}=compile needs a C++ compiler, and '{missing}' is not on this machine.",
            fix="Install g++, or name another compiler:  CXX=clang++ tutelage train …",
            code=CODE,
        )
    if runtime in FIXED_SIZE and not fixed_size(config):
        which = "multi_scale" if config.train.multi_scale else "rect"
        raise ConfigError(
            f"{NAME}={runtime} needs images of one size, and train.{which} changes it.",
            fix=f"Leave {NAME} or train.{which} out.",
            code=CODE,
        )
    require(*PACKAGES.get(runtime, ()))


def fixed_size(config: Config) -> bool:
    """Whether all training images have the same height and width."""
    return not config.train.multi_scale and not config.train.rect


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _missing_compiler() -> str:
    compiler = os.environ.get("CXX", "g++")
    return "" if shutil.which(compiler) else compiler
