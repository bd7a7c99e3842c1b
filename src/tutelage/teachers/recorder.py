"""Records outputs of submodules with forward hooks; the only hooks in the repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from tutelage.errors import ConfigError, nearest


class TapRecorder:
    """Runs a network and returns the outputs of some of its submodules.

    The hooks exist for one call. If a submodule runs several times, its first output is recorded.

    Args:
        network: The network.
        keys: Dotted names of submodules.

    Raises:
        ConfigError: There is no such submodule.
    """

    def __init__(self, network: nn.Module, keys: Sequence[str]) -> None:
        modules = dict(network.named_modules(remove_duplicate=False))
        for key in keys:
            if key not in modules:
                what = f"{type(network).__name__} has no submodule '{key}'"
                raise ConfigError(
                    what, fix=nearest(key, modules) or "See named_modules().", code="T06"
                )
        self._modules = {key: modules[key] for key in keys}

    def __call__(self, run: Callable[[], Any], *, stop: bool) -> tuple[dict[str, Any], Any]:
        """Run the network once.

        Args:
            run: Calls the network.
            stop: Stop the run as soon as all submodules have returned.

        Returns:
            The output of each submodule, and that of ``run``; None if it was stopped early.

        Raises:
            ConfigError: A submodule did not run, or its output was changed in place afterwards.
        """
        outputs: dict[str, Any] = {}
        versions: dict[str, int] = {}

        def keep(key: str, output: Any) -> None:
            if key not in outputs:
                outputs[key], versions[key] = output, _version(output)
            if stop and len(outputs) == len(self._modules):
                raise _Done

        hooks = [
            module.register_forward_hook(
                lambda _module, _inputs, output, key=key: keep(key, output)
            )
            for key, module in self._modules.items()
        ]
        try:
            result = run()
        except _Done:
            result = None
        finally:
            for hook in hooks:
                hook.remove()
        for key in self._modules:
            if key not in outputs:
                raise ConfigError(
                    f"The submodule '{key}' does not run when the network does", code="T06"
                )
            if _version(outputs[key]) != versions[key]:
                what = f"The output of '{key}' is changed in place by what follows it"
                raise ConfigError(what, fix="Tap the submodule that does so instead.", code="T06")
        return outputs, result


class _Done(BaseException):
    """All outputs are recorded. No Exception, so that no network catches it."""


def _version(output: Any) -> int:
    """Return how often a tensor was written to; inference tensors do not count this."""
    counts = isinstance(output, Tensor) and not output.is_inference()
    return output._version if counts else 0
