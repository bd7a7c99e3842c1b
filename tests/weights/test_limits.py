"""Small files that would unfold to much, and values that no checkpoint holds."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.weights.checkpoints import WEIGHT, read
from tests.weights.foreign import Raw, Writer, archive, call, code, global_, model, storage, tensor
from tutelage.errors import WeightsError
from tutelage.weights import read_foreign

DOUBLED = Raw(b"]q\x00" + b"0](h\x00h\x00eq\x00" * 60)  # each list holds the one before it twice
DEEP = Raw(b")" + b"\x85" * 100_000)


def doubled_path() -> Raw:
    """A path of two paths of two paths: 2^40 letters."""
    joined = global_("pathlib", "PosixPath") + b"h\x07h\x07\x86Rq\x07"
    return Raw(code("ab") + b"q\x07" + (b"0" + joined) * 40)


def copied(module: str, name: str, container: Any) -> Raw:
    """One large argument for a thousand calls."""
    once = global_(module, name) + b"h\x07\x85R"
    return Raw(code(container) + b"q\x070(" + once * 1_000 + b"t")


BOMBS = {
    "paths of paths": {"path": doubled_path()},
    "copies of a dict": {"x": copied("collections", "OrderedDict", dict.fromkeys(range(5_000), 0))},
    "copies of a list": {"x": copied("collections", "OrderedDict", [(n, 0) for n in range(5_000)])},
    "copies of a set": {"x": copied("builtins", "set", list(range(5_000)))},
    "an epoch of lists": {"epoch": DOUBLED, "optimizer": 1},
    "a deep date": {"date": DEEP},
    "a format of lists": {"format": DOUBLED},
    "a dtype of lists": {"x": call("numpy", "dtype", DOUBLED)},
    "a deep dtype": {"x": call("numpy", "dtype", DEEP)},
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_beside_the_model(tmp_path: Path, name: str) -> None:
    """Each is refused or ignored, in little memory."""
    tracemalloc.start()
    try:
        found = read({"model": model(tensor()), **BOMBS[name]}, tmp_path)
        assert found.state["weight"].shape == (2, 3)
    except WeightsError:
        pass
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"nc": 10**12}, "how many classes"),
        ({"nc": 0}, "how many classes"),
        ({"nc": True}, "how many classes"),
        ({"yaml": {"nc": 1, "x": "y" * 5_000}}, "unreasonable length"),
        ({"hyp": {"x": 1 << 70}}, "unreasonably large number"),
        ({"hyp": {1 << 70: 1}}, "unreasonably large number"),
        ({"hyp": {"x": tensor((1 << 40, 0), (0, 1))}}, "unreasonably large"),
        ({"_modules": {"a.b": 1, "x" * 300: Raw(global_("models.x", "Y") + b")\x81")}}, "the name"),
        ({"_parameters": {"../x": tensor()}}, "has the name '../x'"),
        ({"_parameters": {5: tensor()}}, "has the name '5'"),
    ],
)
def test_values_that_no_checkpoint_holds(
    tmp_path: Path, fields: dict[str, Any], match: str
) -> None:
    with pytest.raises(WeightsError, match=match):
        read({"model": model(tensor(), **fields)}, tmp_path)


def test_odd_values_are_left_out(tmp_path: Path) -> None:
    odd = {"stride": [float("inf"), float("nan"), -1, 8], "names": ["\x1b[31mred\x07"]}
    found = read({"model": model(tensor(), **odd), "epoch": 1 << 62}, tmp_path)
    assert found.strides == (8,)
    assert found.names == ("?[31mred?",)  # a terminal would obey it


def test_a_module_with_many_children_many_times(tmp_path: Path) -> None:
    leaf = {"_parameters": {}, "_buffers": {}, "_modules": {}}
    child = global_("models.x", "Y") + b")\x81q\x010"
    wide = {f"c{n}": Raw(b"h\x01") for n in range(400)}
    stages = b"".join(
        Raw(
            global_("models.x", "Y") + b")\x81" + code({**leaf, "_modules": wide}) + b"bq\x010"
        ).code
        for _ in range(6)
    )
    bomb = model(tensor(), _modules={"a": Raw(child + stages + b"h\x01")})
    with pytest.raises(WeightsError, match="nested without end"):
        read({"model": bomb}, tmp_path)


def test_a_pickle_has_a_size(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"data\.pkl is unreasonably large"):
        read(b"\x80\x02" + b"]" * (5 << 20) + b".", tmp_path)


@pytest.mark.parametrize("opcode", [b"\x8e", b"\x8d"])
def test_lengths_beyond_the_end(tmp_path: Path, opcode: bytes) -> None:
    with pytest.raises(WeightsError, match="ends early"):
        read(b"\x80\x04" + opcode + struct.pack("<Q", 1 << 60) + b".", tmp_path)


def test_tricks_with_the_zip(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    pickled = Writer().value({"model": model(tensor())}).done()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/data/0", bytes(50_000_000))
    with pytest.raises(WeightsError, match=r"compressed or encrypted \(49.* KB would become 50 MB"):
        read_foreign(path)
    archive(pickled, path, {"data/0": WEIGHT})
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("archive/data/0", bytes(24))
    with pytest.raises(WeightsError, match="two entries named archive/data/0"):
        read_foreign(path)
    archive(pickled, path, {"data/0": WEIGHT})
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(24))
    with zipfile.ZipFile(path, "a") as file:
        link = zipfile.ZipInfo("archive/data/1")
        link.external_attr = 0o120777 << 16
        file.writestr(link, str(secret))
    assert read_foreign(path).state["weight"].sum() == 15  # a link is an entry like any other
    linked = Writer().value({"model": model(tensor((2,), (1,), of=storage("1", 2)))}).done()
    archive(linked, path, {"data/1": str(secret).encode()})
    with pytest.raises(WeightsError, match="storage 1 has"):
        read_foreign(path)
    whole = bytearray(archive(pickled, path, {"data/0": WEIGHT}).read_bytes())
    start = whole.rindex(b"PK\x01\x02")  # the directory's entry of the storage
    whole[start + 42 : start + 46] = (len(whole) - 40).to_bytes(4, "little")
    path.write_bytes(whole)
    with pytest.raises(WeightsError, match=r"not where the zip says|damaged|ends early"):
        read_foreign(path)
