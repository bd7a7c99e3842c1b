"""``tutelage methods``."""

from __future__ import annotations

from tutelage.cli.tables import say


def methods() -> None:
    """List the distillation methods: paper, needs, options with defaults."""
    from tutelage.distill.build import describe_methods

    say(describe_methods())
