"""Settings: one schema, layers with origins, presets, YOLOv7 and YOLOv5 hyper-parameter files."""

from tutelage.config.dump import dump, dump_all_settings
from tutelage.config.load import ResolvedConfig, load_config
from tutelage.config.presets import default_preset
from tutelage.config.schema import Config

__all__ = [
    "Config",
    "ResolvedConfig",
    "default_preset",
    "dump",
    "dump_all_settings",
    "load_config",
]
