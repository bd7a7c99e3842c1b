from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tutelage.config.describe import leaves, settings_of
from tutelage.config.dump import dump, dump_all_settings
from tutelage.config.load import load_config
from tutelage.config.schema import Config

words = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda text: text.lower() != "none"
)
options = st.dictionaries(
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(
        lambda name: name not in ("name", "weight")
    ),
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-9, 9)
    | st.booleans()
    | words
    | st.none(),
    max_size=3,
)
method = st.builds(
    lambda name, weight, more: {"name": name, "weight": weight, **more},
    st.text("abcdefgh0123456789:._", min_size=1),
    st.just("auto") | st.floats(1e-9, 1e9),
    options,
)
values = st.fixed_dictionaries(
    {},
    optional={
        "data": words,
        "model.arch": words,
        "train.epochs": st.integers(1, 1000),
        "train.seed": st.integers(0, 2**32 - 1),
        "train.device": words.filter(lambda text: "," not in text),  # several are refused
        "train.workers": st.just("auto") | st.integers(0, 64),
        "train.freeze": st.lists(st.integers(0, 200), max_size=4),
        "train.rect": st.booleans(),
        "optim.lr": st.floats(1e-12, 1e6),
        "optim.name": st.sampled_from(["sgd", "adam", "adamw"]),
        "distill.teacher": words,
        "distill.student_kd_layers": st.lists(
            st.text(min_size=1, alphabet="0123456789pe+-."), max_size=4
        ),
        "distill.methods": st.lists(method, max_size=3),
        "run.name": words,
        "preset": st.sampled_from(["v7-p5", "v5-low"]),
    },
)


def reload(text: str) -> Config:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(config_file=path).config


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(values)
def test_a_dump_loads_back_to_the_same_config(given_values: dict[str, Any]) -> None:
    resolved = load_config(
        flags={key: (value, f"flag {key}") for key, value in given_values.items()}
    )
    assert reload(dump(resolved.config, resolved.origins)) == resolved.config


def test_each_line_names_its_origin(tmp_path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("distill:\n  methods:\n  - name: fgd\n    alpha: 1e-6\n")
    resolved = load_config(
        config_file=path, flags={"train.epochs": (7, "flag --epochs")}, sets=["optim.lr=0.1"]
    )
    lines = [line.split() for line in dump(resolved.config, resolved.origins).splitlines()]
    assert ["epochs:", "7", "#", "flag", "--epochs"] in lines
    assert ["lr:", "0.1", "#", "--set"] in lines
    assert ["lrf:", "0.01", "#", "preset", "v7-tiny"] in lines
    assert ["batch:", "16", "#", "default"] in lines
    assert ["alpha:", "1.0e-06", "#", "run.yaml:4"] in lines
    assert ["preset:", "v7-tiny", "#", "default", "for", "yolov7-tiny"] in lines


def test_another_tool_reads_the_same(tmp_path) -> None:
    resolved = load_config(
        flags={"run.name": ("1e5", ""), "data": ("no", ""), "distill.methods": ([], "")}
    )
    plain = yaml.safe_load(dump(resolved.config, resolved.origins))
    assert plain == resolved.config.model_dump(mode="json")


def test_all_settings_are_listed_once_with_default_and_meaning() -> None:
    text = dump_all_settings()
    assert yaml.safe_load(text) == Config().model_dump(mode="json")
    assert len([line for line in text.splitlines() if "#" in line]) == len(leaves())
    lines = [line for line in text.splitlines() if "#" in line]
    for line, (name, leaf) in zip(lines, leaves().items(), strict=True):
        assert line.split(":")[0].strip() == name.rpartition(".")[2]
        assert leaf.expected in line
        assert leaf.meaning in line


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("train.epochs", "a whole number of at least 1"),
        ("train.nominal_batch", "a whole number of at least 1 or auto"),
        ("train.freeze", "a list of whole numbers"),
        ("optim.lrf", "a number from 0 to 1"),
        ("optim.lr", "a number above 0"),
        ("loss.assigner", "auto | ota | anchor"),
        ("distill.student_kd_layers", "a list of names or none"),
        ("distill.methods", "a list of methods"),
        ("run.exist_ok", "true | false"),
    ],
)
def test_what_a_setting_expects(key: str, words: str) -> None:
    assert leaves()[key].expected == words


def test_sections_list_their_settings() -> None:
    assert settings_of("")[:3] == ["data", "preset", "model"]
    assert settings_of("run") == ["project", "name", "exist_ok", "report", "track"]
