"""The network of a teacher, run by OpenVINO on the CPU."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.optional_packages import openvino_core

CONVOLUTIONS = ("Convolution", "GroupConvolution")


def openvino_graph(
    module: nn.Module, like: Tensor, samples: Sequence[Tensor] = ()
) -> Callable[[Tensor], list[Tensor]]:
    """Compile a module for the shape of one batch, in float32.

    Args:
        module: From images to a tuple of tensors.
        like: A batch of that shape.
        samples: Batches of images of that height and width; if there are any, the module is
            quantised to eight-bit integers, all but its last convolutions and what follows them.

    Returns:
        The module's function. It uses as many threads as torch has now.
    """
    model = _converted(module, like)
    if samples:
        images = torch.cat(tuple(samples))
        model = _quantised(model, images[: len(images) // len(like) * len(like)].split(len(like)))
    compiled = openvino_core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32",  # its default is bfloat16 where the processor has it
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        },
    )
    outputs = range(len(compiled.outputs))

    def run(images: Tensor) -> list[Tensor]:
        results = compiled(images.contiguous().numpy(), share_inputs=True)
        return [torch.from_numpy(results[number]) for number in outputs]

    return run


def _converted(module: nn.Module, like: Tensor) -> Any:
    # openvino.convert_model does the same but sends telemetry.
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    program = torch.export.export(module, (like,))
    decoder = TorchFXPythonDecoder.from_exported_program(program)  # must outlive the conversion
    front_end = FrontEndManager().load_by_framework("pytorch")
    model: Any = front_end.convert(front_end.load(decoder))
    model.reshape(list(like.shape))
    return model


def _quantised(model: Any, batches: Sequence[Tensor]) -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # disables its telemetry
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # no progress bars
        return nncf.quantize(
            model,
            nncf.Dataset([batch.contiguous().numpy() for batch in batches]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(names=sorted(_tail(model))),
        )


def _tail(model: Any) -> list[str]:
    """Return the names of the last convolutions and of all that follows them."""
    before: set[str] = set()  # nodes that a later convolution depends on
    ends: list[str] = []
    for node in reversed(model.get_ordered_ops()):
        name = node.get_friendly_name()
        if name not in before:
            ends.append(name)
        if node.get_type_name() in CONVOLUTIONS or name in before:
            before.update(value.get_node().get_friendly_name() for value in node.input_values())
    return ends
