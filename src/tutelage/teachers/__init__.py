"""Teachers: frozen networks whose features and predictions a student learns from."""

from tutelage.teachers.custom import FeatureTeacher
from tutelage.teachers.native import NativeTeacher
from tutelage.teachers.teacher import Teacher, fingerprint
from tutelage.teachers.teachers import Teachers

# The teachers of other libraries may import the above from here.
# isort: split

from tutelage.teachers.load import TEACHERS, is_native, load_teacher

__all__ = [
    "TEACHERS",
    "FeatureTeacher",
    "NativeTeacher",
    "Teachers",
    "Teacher",
    "fingerprint",
    "is_native",
    "load_teacher",
]
