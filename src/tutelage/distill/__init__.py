"""Distillation methods, and the layers, classes and images on which they compare networks."""

from tutelage.distill.class_mapping import class_mismatch, shared_columns
from tutelage.distill.connector import Connector
from tutelage.distill.method import LevelMethod, Method, Need
from tutelage.distill.pairing import Pairs, pair
from tutelage.distill.teacher_selection import best_teacher_per_image
from tutelage.distill.view import View

# The methods may import all of the above from here.
# isort: split

from tutelage.distill.build import build_methods, describe_methods
from tutelage.distill.methods import FGD, METHODS

__all__ = [
    "FGD",
    "METHODS",
    "Connector",
    "LevelMethod",
    "Method",
    "Need",
    "Pairs",
    "View",
    "best_teacher_per_image",
    "build_methods",
    "describe_methods",
    "pair",
    "class_mismatch",
    "shared_columns",
]
