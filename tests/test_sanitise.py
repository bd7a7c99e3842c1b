"""What JSON cannot hold becomes what it can."""

import json
import math
from typing import NamedTuple

from tutelage.sanitise import json_values


class Pair(NamedTuple):
    name: str
    score: float


def test_what_is_undefined_is_null_at_any_depth():
    found = json_values({"a": [Pair("x", math.nan), (1, -math.inf)], "b": {"c": Pair("y", 0.5)}})
    assert found == {
        "a": [{"name": "x", "score": None}, [1, None]],
        "b": {"c": {"name": "y", "score": 0.5}},
    }
    json.dumps(found, allow_nan=False)
