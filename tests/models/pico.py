"""A detector of ten layers, and one twice as wide, for tests of whole runs and of steps."""

from pathlib import Path

import yaml

PICO = Path(__file__).with_name("pico.yaml")
WIDE = yaml.safe_load(PICO.read_text()) | {"width_multiple": 2.0}
