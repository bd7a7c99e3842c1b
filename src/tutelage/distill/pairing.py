from typing import NamedTuple
class Pairs(NamedTuple):
    student: tuple
    teacher: tuple
def pair(): ...
