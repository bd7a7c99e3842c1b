"""``tutelage explain``."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Annotated, Any

import typer

from tutelage.cli import options as o
from tutelage.cli.codes import CODES, FAMILIES, FINDINGS
from tutelage.cli.completion import complete_codes
from tutelage.display.tables import columns, print_result
from tutelage.errors import ConfigError, nearest

WIDTH = 78  # columns of prose
HINT = "Explain one of them:  tutelage explain D03"


def explain(
    codes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CODE]...",
            help="e.g. D03, a finding of check, or words to search for; none lists all",
            autocompletion=complete_codes,
        ),
    ] = None,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Explain the code of an error or a warning: what it means, how it comes about, the cure."""
    given = codes or []
    found = [] if any(map(is_code, given)) else search(given)
    chosen = found or [normalise_code(code) for code in given]
    entries = {code: values(code) for code in chosen or [*CODES, *FINDINGS]}
    if len(found) > 1:
        lines = [f"Codes that speak of '{' '.join(given)}':", *_rows(found), "", HINT]
    else:
        lines = [line for code in chosen for line in ("", *page(code))][1:]
    print_result(entries, lines or listing(), as_json=json)


def is_code(given: str) -> bool:
    """Say whether a word is a code, or looks like one: ``D3``, ``[d03]``, ``D99``."""
    word = given.strip("[]() ")
    return word.lower() in FINDINGS or (len(word) in (2, 3) and word[1:].isdecimal())


def search(words: Sequence[str]) -> list[str]:
    """Return the codes whose pages hold all words, those with all of them in the title first."""
    wanted = [word.lower() for text in words for word in text.split()]
    pages = {code: " ".join([code, *page(code)]).lower() for code in (*CODES, *FINDINGS)}
    found = [c for c, text in pages.items() if wanted and all(word in text for word in wanted)]
    return sorted(found, key=lambda code: not all(word in _title(code).lower() for word in wanted))


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
    words = "" if is_code(given) or not word else ", and no explanation holds this word"
    raise ConfigError(f"There is no code '{given}'{words}.", fix=fix, code="C22")


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
    lines = [HINT, "Search for words:     tutelage explain class names"]
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


def _title(code: str) -> str:
    return code if code in FINDINGS else f"{code} {CODES[code].title}"


def _rows(codes: Sequence[str]) -> list[str]:
    rows = [
        [f"  {code}", FINDINGS[code][1] if code in FINDINGS else CODES[code].title]
        for code in codes
    ]
    return [line if len(line) <= 80 else f"{line[:79]}…" for line in columns(rows, left=2)]
