"""All codes of errors and warnings: what they mean, how they come about, the cure.

``python -m tutelage.cli.codes`` prints them as docs/errors.md.
"""

from collections.abc import Mapping

from tutelage.cli.codes.data import DATA
from tutelage.cli.codes.entry import ErrorCode
from tutelage.cli.codes.findings import FINDINGS
from tutelage.cli.codes.runs import RUNS
from tutelage.cli.codes.settings import SETTINGS
from tutelage.cli.codes.stored import STORED
from tutelage.cli.codes.teaching import TEACHING
from tutelage.cli.codes.weights import WEIGHTS

CODES: Mapping[str, ErrorCode] = {**SETTINGS, **DATA, **TEACHING, **STORED, **WEIGHTS, **RUNS}
FAMILIES: Mapping[str, str] = {  # by the first letter of a code
    "C": "Command line and settings",
    "D": "Data",
    "T": "Teachers, layers and methods",
    "W": "Weights and models",
    "E": "Export and optional packages",
    "R": "Runs",
    "F": "Unexpected errors",
}

__all__ = ["CODES", "FAMILIES", "FINDINGS", "ErrorCode"]
