"""Teachers: functions from images to knowledge."""

from tutelage.teachers.load import load_teacher
from tutelage.teachers.native import NativeTeacher
from tutelage.teachers.panel import Panel
from tutelage.teachers.teacher import Teacher, fingerprint

__all__ = ["NativeTeacher", "Panel", "Teacher", "fingerprint", "load_teacher"]
