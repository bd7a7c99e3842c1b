"""Distillation: methods, and which layers of student and teacher they compare."""

from tutelage.distill.build import build_methods, describe_methods
from tutelage.distill.class_mapping import refuse_classes, shared_columns
from tutelage.distill.connector import Connector
from tutelage.distill.method import LevelMethod, Method, Need
from tutelage.distill.methods import FGD, METHODS
from tutelage.distill.pairing import Pairs, pair
from tutelage.distill.teacher_selection import best_teacher
from tutelage.distill.view import View

__all__ = [
    "FGD",
    "METHODS",
    "Connector",
    "LevelMethod",
    "Method",
    "Need",
    "Pairs",
    "View",
    "best_teacher",
    "build_methods",
    "describe_methods",
    "pair",
    "refuse_classes",
    "shared_columns",
]
