"""Distillation: methods, and which layers of student and teacher they compare."""

from tutelage.distill.build import build_methods, describe_methods
from tutelage.distill.connector import Connector
from tutelage.distill.method import LevelMethod, Method, Need
from tutelage.distill.methods import FGD, METHODS
from tutelage.distill.pairing import Pairs, check_classes, pair

__all__ = [
    "FGD",
    "METHODS",
    "Connector",
    "LevelMethod",
    "Method",
    "Need",
    "Pairs",
    "build_methods",
    "check_classes",
    "describe_methods",
    "pair",
]
