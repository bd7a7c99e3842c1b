"""``tutelage explain``."""

from __future__ import annotations

from textwrap import wrap
from typing import Annotated, Any

import typer

from tutelage.cli import options as o
from tutelage.cli.codes import CODES, FAMILIES, FINDINGS
from tutelage.cli.tables import columns, print_result
from tutelage.errors import ConfigError, nearest

WIDTH = 78  # columns of prose


def explain(
    codes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CODE]...", help="e.g. D03, or a finding of check; none lists all"),
    ] = None,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Explain the code of an error or a warning: what it means, how it comes about, the cure."""
    chosen = [normalise_code(code) for code in codes or ()]
    entries = {code: values(code) for code in chosen or [*CODES, *FINDINGS]}
    pages = [line for code in chosen for line in ("", *page(code))][1:]
    print_result(entries, pages or listing(), as_json=json)


def normalise_code(given: str) -> str:
    """Return a code as the catalogue spells it, e.g. ``D03`` for ``[d3]``.

    Raises:
        ConfigError: It is not in the catalogue.
    """
    word = given.strip("[]() ")
    word = f"{word[:1]}0{word[1:]}" if word[1:].isdecimal() and len(word) == 2 else word  # D3
    for code in (word.upper(), word.lower()):
        if code in CODES or code in FINDINGS:
            return code
    family = [code for code in CODES if code[0] == word[:1].upper()]
    if family and word[1:].isdecimal():
        fix = f"There are {' '.join(family)}."
    else:
        hint = nearest(word.upper(), CODES) or nearest(word.lower(), FINDINGS)
        fix = f"{hint} All codes:  tutelage explain".strip()
    raise ConfigError(f"There is no code '{given}'.", fix=fix, code="C22")


def page(code: str) -> list[str]:
    """Return the explanation of a code as lines for a terminal."""
    if code in FINDINGS:
        severity, what = FINDINGS[code]
        finder = "train" if code.startswith("unlabelled-") else "check"
        return [
            f"{code}  (a finding of tutelage {finder}: {severity})",
            *wrap(what[0].upper() + what[1:] + ".", WIDTH),
            "",
            "  tutelage explain D34" if finder == "train" else "  tutelage check data.yaml",
        ]
    entry = CODES[code]
    lines = [f"{code}  {entry.title}  ({entry.status})", "", *wrap(entry.meaning, WIDTH), ""]
    lines += [*wrap(f"How it comes about: {entry.cause}", WIDTH), ""]
    for line in entry.cure:
        lines += [f"  {line}"] if line.startswith(("$ ", "  ")) else wrap(line, WIDTH)
    return lines


def listing() -> list[str]:
    """Return all codes by family, then the findings of ``tutelage check``."""
    lines = ["Explain one of them:  tutelage explain D03"]
    for letter, family in FAMILIES.items():
        entries = [(code, entry) for code, entry in CODES.items() if code[0] == letter]
        rows = [[f"  {code}", entry.title, entry.status] for code, entry in entries]
        lines += ["", family, *columns(rows, left=3)]
    lines += ["", "Findings of tutelage check, and of tutelage train about images without labels"]
    return lines + columns(
        [[f"  {code}", severity] for code, (severity, _) in FINDINGS.items()], left=2
    )


def values(code: str) -> dict[str, Any]:
    """Return the entry of a code as plain values."""
    if code in FINDINGS:
        severity, what = FINDINGS[code]
        return {"severity": severity, "meaning": what}
    return CODES[code]._asdict()
