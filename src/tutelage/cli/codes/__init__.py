"""All codes of errors and warnings: what they mean, how they come about, the cure.

The letter is the family, and with it the exit status: C command line and settings, D data,
T teaching, W weights and models, E export and optional packages, R a run, F a fault of ours.
"""

from collections.abc import Mapping

from tutelage.cli.codes.data import DATA
from tutelage.cli.codes.entry import ErrorCode
from tutelage.cli.codes.findings import FINDINGS
from tutelage.cli.codes.runs import RUNS
from tutelage.cli.codes.settings import SETTINGS
from tutelage.cli.codes.teaching import TEACHING
from tutelage.cli.codes.weights import WEIGHTS

CODES: Mapping[str, ErrorCode] = {**SETTINGS, **DATA, **TEACHING, **WEIGHTS, **RUNS}

__all__ = ["CODES", "FINDINGS", "ErrorCode"]
