"""For mkdocs.yml: write Sphinx's roles in docstrings, as in :func:`load`, as plain code."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([^`]+)`")


class PlainRoles(griffe.Extension):
    """Replaces each role by its name."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object once it and its members are known."""
        del kwargs
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)
