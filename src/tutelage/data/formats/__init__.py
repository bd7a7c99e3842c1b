"""Data set formats: functions that open one split of a data set, by the suffix of its path."""

from tutelage.data.formats.data_yaml import open_data_yaml
from tutelage.data.formats.split_folders import open_folder, open_json

FOLDER = "/"
FORMATS = {
    ".yaml": open_data_yaml,
    ".yml": open_data_yaml,
    ".json": open_json,
    FOLDER: open_folder,
}
