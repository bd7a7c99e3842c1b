"""Teachers: functions from images to knowledge."""

from tutelage.teachers.custom import FeatureTeacher
from tutelage.teachers.load import TEACHERS, is_native, load_teacher
from tutelage.teachers.native import NativeTeacher
from tutelage.teachers.panel import Panel
from tutelage.teachers.teacher import Teacher, fingerprint

__all__ = [
    "TEACHERS",
    "FeatureTeacher",
    "NativeTeacher",
    "Panel",
    "Teacher",
    "fingerprint",
    "is_native",
    "load_teacher",
]
