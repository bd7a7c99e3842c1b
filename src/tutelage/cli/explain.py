"""``tutelage explain``."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterable
from textwrap import wrap
from typing import Annotated, Any

import typer

from tutelage.cli import options as o
from tutelage.cli.codes import CODES, FINDINGS, ErrorCode
from tutelage.cli.tables import columns, say
from tutelage.errors import ConfigError, nearest

WIDTH = 78  # columns of prose
FAMILIES = {
    "C": "Command line and settings",
    "D": "Data",
    "T": "Teachers, layers and methods",
    "W": "Weights and models",
    "E": "Export and optional packages",
    "R": "Runs",
    "F": "Unforeseen",
}


def explain(
    codes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CODE]...", help="e.g. D03, or a finding of check; none lists all"),
    ] = None,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Tell what the code of an error or a warning means, how it comes about, and the cure."""
    chosen = [_found(code) for code in codes or ()]
    if json:
        wanted = chosen or [*CODES, *FINDINGS]
        print(json_format.dumps({code: values(code) for code in wanted}))
    elif chosen:
        for number, code in enumerate(chosen):
            say(*[""] * bool(number), *page(code))
    else:
        say(*listing())


def _found(given: str) -> str:
    """Return a code as it stands in the catalogue.

    Raises:
        ConfigError: There is none like it.
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
    """Return what is told about a code, as lines for a terminal."""
    if code in FINDINGS:
        severity, what = FINDINGS[code]
        finder = "train" if code.startswith("unlabelled-") else "check"
        return [
            f"{code}  (a finding of tutelage {finder}: {severity})",
            *_prose(what[0].upper() + what[1:] + "."),
            "",
            "  tutelage explain D34" if finder == "train" else "  tutelage check data.yaml",
        ]
    entry = CODES[code]
    lines = [f"{code}  {entry.title}  ({status(entry)})", "", *_prose(entry.meaning), ""]
    lines += [*_prose(f"How it comes about: {entry.cause}"), ""]
    for line in entry.cure:
        lines += [f"  {line}"] if line.startswith(("$ ", "  ")) else _prose(line)
    return lines


def listing() -> list[str]:
    """Return all codes by family, then the findings of ``tutelage check``."""
    lines = ["Tell more about one of them:  tutelage explain D03"]
    for letter, family in FAMILIES.items():
        own = {code: entry for code, entry in CODES.items() if code[0] == letter}
        rows = [[f"  {code}", entry.title, status(entry)] for code, entry in own.items()]
        lines += ["", family, *columns(rows, left=3)]
    lines += ["", "Findings of tutelage check, and of tutelage train about images without labels"]
    return lines + columns(
        [[f"  {code}", severity] for code, (severity, _) in FINDINGS.items()], left=2
    )


def status(entry: ErrorCode) -> str:
    """Return how a command ends with a code."""
    return "warning" if entry.exit_code is None else f"exit status {entry.exit_code}"


def values(code: str) -> dict[str, Any]:
    """Return what is told about a code as plain values."""
    if code in FINDINGS:
        severity, what = FINDINGS[code]
        return {"severity": severity, "meaning": what}
    return CODES[code]._asdict()


def markdown() -> str:
    """Return the catalogue as docs/errors.md."""
    parts = [_HEAD]
    for letter, family in FAMILIES.items():
        parts.append(f"## {family}\n")
        for code, entry in CODES.items():
            if code[0] == letter:
                parts.append(_section(code, entry))
    return "\n".join(parts)


def _section(code: str, entry: ErrorCode) -> str:
    blocks: list[str] = []
    shown: list[str] = []
    for line in (*entry.cure, ""):
        if line.startswith(("$ ", "  ")):
            shown.append(line)
            continue
        if shown:
            kind = "console" if shown[-1].startswith("$ ") else "yaml"
            blocks.append("\n".join([f"```{kind}", *shown, "```"]))
            shown = []
        blocks += [line] if line else []
    head = f"### {code}\n\n**{entry.title}** · {status(entry)}\n\n"
    return f"{head}{entry.meaning}\n\n*{entry.cause}*\n\n" + "\n\n".join(blocks) + "\n"


def _prose(text: str) -> Iterable[str]:
    return wrap(text, WIDTH)


_HEAD = """# Errors and warnings

Every error and warning has a code: `Error [D03]: 17 label lines cannot be used …`. With `--json`
it is in `"code"`. The same text as here:

```console
$ tutelage explain D03          # what it means, how it comes about, the cure
$ tutelage explain              # all codes
```

The exit status says the kind: 0 all is well · 1 a run, or the system · 2 command line and
settings · 3 data · 4 weights and models · 5 export, or a package that is not installed ·
130 stopped by Ctrl-C.
The findings of `tutelage check` have names of their own: [data.md](data.md).

An error says what, where, and what to do. Tracebacks are not shown (`--debug` does); what nobody
foresaw leaves one in `crash.txt` in the run folder, or in `tutelage-crash.txt` where there is none.
"""
