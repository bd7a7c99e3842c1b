"""Settings: one schema, layers with origins, presets, YOLOv7 and YOLOv5 hyper-parameter files."""

from tutelage.config.dump import dump, dump_all_settings
from tutelage.config.load import (
    ChangedSetting,
    ResolvedConfig,
    changes,
    describe_changes,
    load_config,
)
from tutelage.config.presets import PRESETS, default_preset
from tutelage.config.schema import Config
from tutelage.config.yaml_reader import read_document

__all__ = [
    "PRESETS",
    "ChangedSetting",
    "Config",
    "ResolvedConfig",
    "changes",
    "default_preset",
    "describe_changes",
    "dump",
    "dump_all_settings",
    "load_config",
    "read_document",
]
