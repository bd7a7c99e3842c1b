"""Teachers: functions from images to knowledge."""

from tutelage.teachers.native import NativeTeacher
from tutelage.teachers.teacher import Teacher, fingerprint

__all__ = ["NativeTeacher", "Teacher", "fingerprint"]
