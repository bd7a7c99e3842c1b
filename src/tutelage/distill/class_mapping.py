"""Which class of a teacher is which of the student: by name, or by a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from tutelage.data.class_names import match_names
from tutelage.errors import ConfigError, nearest

Columns = tuple[tuple[int, ...], tuple[int, ...]]
"""Class columns of the student and of a teacher that mean the same."""
SETTING = "distill.classes"


def shared_columns(
    setting: Mapping[str, str] | Literal["equal", "by-name"],
    student: Sequence[str],
    teacher: Sequence[str],
) -> Columns | None:
    """Return the class columns of both networks that mean the same.

    Args:
        setting: ``equal``: both must know the same classes, see
            :func:`~tutelage.data.class_names.match_names`; ``by-name``: classes of the same name;
            a map: the student's names to the teacher's.
        student: Class names of the student.
        teacher: Class names of the teacher.

    Returns:
        Columns of the student and of the teacher; None where they are the same in the same order.
        Empty where the classes differ although they should be equal, or have no name in common.

    Raises:
        ConfigError: The map names classes that do not exist.
    """
    if isinstance(setting, Mapping):
        _check_names("student", list(setting), student)
        _check_names("teacher", list(setting.values()), teacher)
        pairs = [(student.index(ours), teacher.index(theirs)) for ours, theirs in setting.items()]
    elif matched := match_names(teacher, student):
        pairs = sorted((ours, theirs) for theirs, ours in matched.items())
        if all(ours == theirs for ours, theirs in pairs):
            return None
    elif setting == "equal":
        pairs = []
    else:
        pairs = [(n, teacher.index(name)) for n, name in enumerate(student) if name in teacher]
    return tuple(ours for ours, _ in pairs), tuple(theirs for _, theirs in pairs)


def class_mismatch(method: str, student: Sequence[str], teacher: Sequence[str]) -> ConfigError:
    """Return the error for a method that compares classes of networks without common ones."""
    if not teacher:
        what = f"Method '{method}' compares class scores, but the teacher shares features only"
        return ConfigError(
            what, fix="Use a feature method (fgd), or a teacher that predicts.", code="T09"
        )
    common = [name for name in student if name in teacher]
    what = (
        f"Method '{method}' compares class scores, but the teacher knows {len(teacher)} classes "
        f"and the data {len(student)}; in common by name: {', '.join(common) or 'none'}"
    )
    ways = [f"--set {SETTING}=by-name"] if common else []
    ways.append(f"--set {SETTING}='{{{student[0]}: {teacher[0]}}}'  (the student's: the teacher's)")
    fix = f"Use a feature method (fgd), or say which classes mean the same:  {'  or  '.join(ways)}"
    return ConfigError(what, fix=fix, code="T09")


def _check_names(role: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            fix = f"{nearest(name, known)} It knows: {', '.join(known)}".strip()
            raise ConfigError(f"{SETTING}: the {role} has no class '{name}'", fix=fix, code="T09")
