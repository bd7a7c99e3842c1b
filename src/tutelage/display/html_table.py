"""A table of texts as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from tutelage.sanitise import printable


def html_table(rows: Sequence[Sequence[str]], *, left: int | Iterable[int] = 1) -> Markup:
    """Return a table; its texts are escaped.

    Args:
        rows: Cells; the first row is the header.
        left: Left-aligned columns: their numbers, or how many of the first.
    """
    lefts = set(range(left)) if isinstance(left, int) else set(left)

    def line(cells: Sequence[str], kind: str) -> Markup:
        return Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup('<{0} style="text-align:{1}">{2}</{0}>').format(
                    kind, "left" if column in lefts else "right", printable(str(cell))
                )
                for column, cell in enumerate(cells)
            )
        )

    head, *body = rows
    return Markup("<table><thead>{}</thead><tbody>{}</tbody></table>").format(
        line(head, "th"), Markup("").join(line(row, "td") for row in body)
    )
