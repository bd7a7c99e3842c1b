from __future__ import annotations

import codecs
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.config.yaml_reader import (
    load_yaml,
    parse_value,
    read_document,
    read_yaml,
    write_value,
)
from tutelage.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),  # YAML 1.1 reads these three as text, 8 and a date
        ("010", 10),
        ("2024-01-01", "2024-01-01"),
        ("no", "no"),
        ("true", True),
        ("3", 3),
        ("-0.5", -0.5),
        (".inf", math.inf),
        ("~", None),
        ("", None),
        ("[57, 65]", [57, 65]),
        ("{RBC: red cell}", {"RBC": "red cell"}),
        ("12:30", "12:30"),
        ("[unclosed", "[unclosed"),
    ],
)
def test_values_follow_yaml_1_2(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(plain)
def test_a_written_value_is_one_line_and_reads_back(value: object) -> None:
    text = write_value(value)
    assert len(text.splitlines()) == 1
    assert parse_value(text) == value


def test_lines_are_remembered(tmp_path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "# comment\ndata: a.yaml\ndistill:\n  methods:\n  - name: fgd\n    alpha: 1e-3\n"
    )
    document = read_document(path, kind="--config")
    assert document.values == {
        "data": "a.yaml",
        "distill": {"methods": [{"name": "fgd", "alpha": 1e-3}]},
    }
    assert document.origin("distill.methods.0.alpha") == "run.yaml:6"
    assert document.origin("distill.methods.0.beta") == "run.yaml:5"  # the closest parent
    assert document.origin("train.epochs") == "run.yaml"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"train: {epochs: 3", r"run.yaml is not valid yaml: .*run.yaml:1"),
        (b"a: 1\nb: [1\nc: 2\n", r"not valid yaml: .*\(run.yaml:3\)"),
        (b"- 1\n- 2\n", r"holds a list, not 'name: value' lines"),
        (b"just text", r"holds a str"),
        (b"a: 1\nb: 2\na: 3\n", r"'a' stands twice in run.yaml: lines 1 and 3"),
        (b"\xff\xd8\xff\xe0", r"not a text file in UTF-8 \(byte 0xFF in line 1\)"),
        (b"a: !!python/object/apply:os.system ['true']\n", r"not valid yaml"),
        (b"a: &x [*x]\n", r"nested too deeply"),
        (b"a: \x00\n", r"not valid yaml"),
        (b"a: " + 3000 * b"[", r"not valid yaml: it is nested too deeply"),
    ],
    ids=[
        "unclosed",
        "list",
        "top-list",
        "scalar",
        "twice",
        "binary",
        "python-tag",
        "cycle",
        "control",
        "deep",
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_document(path, kind="--config")


def test_an_alias_bomb_is_refused(tmp_path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="too large"):
        read_document(path, kind="--config")


def test_a_missing_file_names_its_neighbour(tmp_path) -> None:
    (tmp_path / "bccd.yaml").touch()
    with pytest.raises(
        ConfigError, match=r"bcd.yaml does not exist. \(--hyp\) Did you mean 'bccd.yaml'"
    ):
        read_document(tmp_path / "bcd.yaml", kind="--hyp")
    with pytest.raises(ConfigError, match="there is no folder"):
        read_document(tmp_path / "none" / "bcd.yaml", kind="--hyp")
    with pytest.raises(ConfigError, match="is a folder"):
        read_document(tmp_path, kind="--hyp")


def test_an_empty_file_is_an_empty_mapping(tmp_path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert read_document(path, kind="--config").values == {}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_the_encodings_of_other_systems_are_read(tmp_path, encoding: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("run: {name: Größe}\n# Ä\n".encode(encoding))
    assert read_document(path, kind="--config").values == {"run": {"name": "Größe"}}
    assert load_yaml(read_yaml(path)) == {"run": {"name": "Größe"}}


def test_the_big_end_comes_first_with_a_mark_too(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(codecs.BOM_UTF16_BE + "a: ö".encode("utf-16-be"))
    assert read_document(path, kind="--config").values == {"a": "ö"}


def test_another_encoding_is_told_with_its_place(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("data: x\nname: Größe".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"in UTF-8 \(byte 0xF6 in line 2\)") as caught:
        read_document(path, kind="--config")
    assert caught.value.fix == "If it is text, save it as UTF-8."
