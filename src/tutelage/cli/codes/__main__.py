"""Print docs/errors.md:  python -m tutelage.cli.codes > docs/errors.md."""

from __future__ import annotations

from tutelage.cli.codes import CODES, FAMILIES, ErrorCode

HEAD = """# Errors and warnings

Every error and warning has a code: `Error [D03]: 17 label lines cannot be used …`. With `--json`
it is in `"code"`. The same text as here:

```console
$ tutelage explain D03          # what it means, how it comes about, the cure
$ tutelage explain              # all codes
```

The exit status gives the kind: 0 no error · 1 a run, or the system · 2 command line and
settings · 3 data · 4 weights and models · 5 export, or a package that is not installed ·
130 stopped by Ctrl-C.
The findings of `tutelage check` have names of their own: [data.md](data.md).

An error states what is wrong, where, and what to do. Tracebacks are not shown (`--debug` does); an
unexpected error writes one to `crash.txt` in the run folder, or to `tutelage-crash.txt` where there
is none.
"""


def markdown() -> str:
    """Return the catalogue as docs/errors.md."""
    parts = [HEAD]
    for letter, family in FAMILIES.items():
        parts.append(f"## {family}\n")
        parts += [_section(code, entry) for code, entry in CODES.items() if code[0] == letter]
    return "\n".join(parts)


def _section(code: str, entry: ErrorCode) -> str:
    blocks: list[str] = []
    block: list[str] = []
    for line in (*entry.cure, ""):
        if line.startswith(("$ ", "  ")):
            block.append(line)
            continue
        if block:
            kind = "console" if block[-1].startswith("$ ") else "yaml"
            blocks.append("\n".join([f"```{kind}", *block, "```"]))
            block = []
        blocks += [line] if line else []
    head = f"### {code}\n\n**{entry.title}** · {entry.status}\n\n"
    return f"{head}{entry.meaning}\n\n*{entry.cause}*\n\n" + "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
