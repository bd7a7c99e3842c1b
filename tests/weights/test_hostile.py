"""Hostile and broken pickles: refused, and nothing in them is ever run."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.weights.checkpoints import GOLDEN, WEIGHT, Touch, read, trained
from tests.weights.foreign import (
    Raw,
    Writer,
    archive,
    call,
    code,
    global_,
    model,
    new,
    published_modules,
    save,
    storage,
    tensor,
)
from tutelage.config import default_preset
from tutelage.errors import WeightsError
from tutelage.models import build, load, read_checkpoint
from tutelage.weights import read_foreign


def test_the_hand_made_checkpoint_is_sound(tmp_path: Path) -> None:
    """The refusals below are worth something only if the same file without the fault is read."""
    found = read({"model": model(tensor())}, tmp_path)
    assert found.state["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read(model(tensor((3, 2), (1, 3))), tmp_path).state["weight"].tolist() == [
        [0, 3],
        [1, 4],
        [2, 5],
    ]
    assert read(model(tensor((2,), (2,), 1)), tmp_path).state["weight"].tolist() == [1, 3]
    empty = read(model(tensor((0, 4), (4, 1)), **{"_buffers": {"b": tensor()}}), tmp_path)
    assert empty.state["weight"].shape == (0, 4)


@pytest.mark.parametrize("where", ["top", "model", "buffer", "yaml", "optimizer"])
@pytest.mark.parametrize("kind", ["system", "eval", "exec", "open"])
def test_code_is_refused_by_name_and_not_run(tmp_path: Path, kind: str, where: str) -> None:
    proof = tmp_path / "proof"
    program = f"open({str(proof)!r}, 'w').close()"
    evil, name = {
        "system": (Touch(os.system, f"touch {proof}"), "posix.system"),
        "eval": (Touch(eval, program), "builtin"),
        "exec": (Touch(exec, program), "builtin"),
        "open": (Touch(open, str(proof), "w"), "open"),
    }[kind]
    carrier = trained()
    content: Any = {"model": carrier, "optimizer": None}
    if where == "top":
        content = evil
    elif where == "buffer":
        carrier.model[0].extra = evil
    elif where == "yaml":
        carrier.yaml["nc"] = evil
    else:
        content[where] = evil
    path = save(content, tmp_path / "evil.pt")
    with pytest.raises(WeightsError) as caught:
        read_foreign(path)
    text = str(caught.value)
    assert "Refused to read" in text
    assert "Nothing was executed" in text
    assert name in text
    assert ".safetensors" in text
    assert not proof.exists()
    with published_modules(), contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
    assert proof.exists()  # the trap was real: a plain unpickler walks into it


def test_every_way_to_name_a_function(tmp_path: Path) -> None:
    command = f"touch {tmp_path / 'proof'}"
    streams = {
        "global": Writer().raw(global_("posix", "system") + code((command,)) + b"R").done(),
        "never called": Writer().raw(global_("posix", "system")).done(),
        "inst": Writer().raw(b"(" + code(command) + b"iposix\nsystem\n").done(),
        "obj": Writer().raw(b"(" + global_("posix", "system") + code(command) + b"o").done(),
        "stack global": Writer()
        .raw(code("posix") + code("system") + b"\x93" + code((command,)) + b"R")
        .done(),
        "newobj": Writer().raw(global_("subprocess", "Popen") + code((command,)) + b"\x81").done(),
        "newobj_ex": Writer()
        .raw(global_("subprocess", "Popen") + code((command,)) + code({}) + b"\x92")
        .done(),
        "dotted": Writer().raw(global_("builtins", "__import__.__class__")).done(),
        "python 2": Writer().raw(global_("__builtin__", "eval") + code(("1",)) + b"R").done(),
        "extension": Writer().raw(b"\x82\x01").done(),
        "text id": b"\x80\x02Pposix.system\n.",
        "after the end of a record": Writer().raw(code([]) + b"0" + global_("os", "system")).done(),
    }
    for stream in streams.values():
        with pytest.raises(WeightsError):
            read(stream, tmp_path)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "getattr"),
        ("builtins", "object"),
        ("operator", "attrgetter"),
        ("functools", "partial"),
        ("copyreg", "_reconstructor"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.serialization", "load"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._utils", "_import_dotted_name"),
        ("torch.utils.data", "get_worker_info"),
        ("torch.jit", "load"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy.testing._private.utils", "runstring"),
        ("pathlib", "Path.unlink"),
        ("collections", "OrderedDict.fromkeys"),
        ("_codecs", "decode"),
        ("modelsx", "y"),
        ("tutelage.files", "atomic_write_text"),
    ],
)
def test_names_that_no_checkpoint_needs(tmp_path: Path, module: str, name: str) -> None:
    chain = {
        "model": model(tensor()),
        "extra": call(module, name, call("models.common", "Conv"), "x"),
    }
    with pytest.raises(WeightsError, match="Refused to read"):
        read(chain, tmp_path)


def test_getattr_chain_ends_at_its_first_link(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    imported = call("builtins", "__import__", "os")
    system = call("builtins", "getattr", imported, "system")
    run = Raw(system.code + code((f"touch {proof}",)) + b"R")
    with pytest.raises(WeightsError, match=r"builtins\.getattr"):
        read({"model": model(tensor()), "x": run}, tmp_path)
    assert not proof.exists()


def test_model_classes_are_inert(tmp_path: Path) -> None:
    """A class path below ``models`` may say anything; it is only text."""
    content = {"model": model(tensor(), layer=call("utils.x", "system", "y"))}
    assert read(content, tmp_path).state["weight"].shape == (2, 3)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch.nn.modules.module", "os.system"),
        ("torch.nn.modules.module", "_load"),
        ("torch.nn.functional", "torch.hub.load"),
        ("torch.nn.init", "kaiming_normal_"),
        ("torch.nn.modules.conv", "Conv2d.__init__.__globals__"),
        ("torch.nn.modules.conv", "__builtins__"),
        ("models", "common.Conv.__class__"),
        ("models.common", "__loader__"),
        ("models..common", "x"),
        ("utils", "os.system"),
    ],
)
def test_gadgets_below_allowed_packages(tmp_path: Path, module: str, name: str) -> None:
    content = {"model": model(tensor(), extra=call(module, name, "x"))}
    with pytest.raises(WeightsError, match=re.escape(f"would call {module}.{name}")):
        read(content, tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        Raw(tensor().code + code((1,)) + b"R"),  # calling a tensor
        Raw(code("x") + code(()) + b"R"),  # calling text
        Raw(global_("models.x", "y") + code([1]) + b"R"),  # arguments that are no tuple
        Raw(global_("models.x", "Y") + code({"__class__": 1}) + b"b"),  # state for the class itself
        Raw(code("x") + code({"a": 1}) + b"b"),  # state for text
        Raw(storage().code + code({"dtype": 1}) + b"b"),  # state for a storage
        Raw(new("models.x", "Y", {"a": 1}).code + code({"b": 1}) + b"b"),  # state twice
        Raw(code(()) + code(1) + b"a"),  # appending to a tuple
        Raw(code([]) + b"(" + code(1) + b"u"),  # a key without value
        Raw(b"}" + code((1, 2)) + code(1) + b"s"),  # a tuple as a key
        Raw(code(1) + b"t"),  # a mark is missing
        Raw(b"h\x07"),  # nothing remembered there
        Raw(b"0"),  # nothing on the stack
        Raw(b"\x83"),  # the argument is cut off
        Raw(b"\xff"),  # no opcode
        Raw(b"R"),
    ],
)
def test_streams_that_break_the_rules(tmp_path: Path, value: Raw) -> None:
    with pytest.raises(WeightsError, match="is not a readable checkpoint"):
        read(Writer().raw(value.code).done(), tmp_path)


@pytest.mark.parametrize(
    "dtype",
    ["O", "O8", "V8", "S4", "U3", "M8", "m8", "c16", "|O", "f3", "i16", "", 5, None, "object"],
)
def test_numpy_of_other_than_numbers(tmp_path: Path, dtype: Any) -> None:
    kind = Raw(call("numpy", "dtype", dtype, False, True).code)
    scalar = call("numpy.core.multiarray", "scalar", kind, call("models.x", "Y"))
    with pytest.raises(WeightsError, match=r"numpy\.dtype"):
        read({"model": model(tensor()), "best_fitness": scalar}, tmp_path)


@pytest.mark.parametrize(
    ("shape", "data"),
    [((3,), b"\0" * 8), ((1 << 60,), b"\0" * 8), ((-1,), b"\0" * 8), ((1,), 5), ("x", b"")],
)
def test_numpy_arrays_that_do_not_add_up_are_left_out(
    tmp_path: Path, shape: Any, data: Any
) -> None:
    kind = Raw(call("numpy", "dtype", "f8", False, True).code + code((3, "<", None)) + b"b")
    empty = call(
        "numpy.core.multiarray", "_reconstruct", Raw(global_("numpy", "ndarray")), (0,), b"b"
    )
    array = Raw(empty.code + code((1, shape, kind, False, data)) + b"b")
    found = read({"model": model(tensor(), hyp={"a": array, "b": 1})}, tmp_path)
    assert found.hyp == {"b": 1}


@pytest.mark.parametrize(
    "bad",
    [
        tensor((2, 4), (4, 1)),  # more elements than stored
        tensor((2, 3), (4, 1)),  # the last lies outside
        tensor((2, 3), (1 << 40, 1)),
        tensor((2, 3), (-3, 1)),
        tensor((2, -3), (3, 1)),
        tensor((1000, 1000), (0, 0)),  # huge from little
        tensor((1,), (1,), 6),
        tensor((1,), (1,), -1),
        tensor((0,), (1,), 7),
        tensor((0, 1 << 40, 1 << 40), (0, 0, 0)),
        tensor((1, 1 << 80), (1, 1)),
        tensor((1,), (1 << 70,)),
        tensor((2.0, 3), (3, 1)),
        tensor((True, 3), (3, 1)),
        tensor((2, 3), (3,)),
        tensor([2, 3], [3, 1]),
        tensor((1,) * 9, (1,) * 9),
        tensor(of=storage(numel=7)),
        tensor(of=storage(numel=5)),
        tensor(of=storage(numel=-6)),
        tensor(of=storage(numel=1 << 80)),
        tensor(of=storage(numel=6.0)),
        tensor(of=storage(kind="DoubleStorage")),
        tensor(of=storage(kind="UntypedStorage", module="torch.storage")),
        tensor(of=storage(key="1")),
        tensor(of=storage(key="../version")),
        tensor(of=storage(key="../../etc/passwd")),
        tensor(of=storage(key="")),
        tensor(of=storage(key=0)),
        tensor(of=storage(kind="Size")),
        tensor(of=Raw(code("storage") + b"Q")),
        tensor(of=Raw(code(("storage",)) + b"Q")),
        tensor(of=Raw(code(("module", "os", "0", "cpu", 6)) + b"Q")),
        tensor(of=Raw(code([1.0] * 6))),
        call("torch._utils", "_rebuild_tensor_v2"),
        call("torch._utils", "_rebuild_tensor_v2", storage()),
        call("torch._utils", "_rebuild_parameter", [1, 2]),
        call("collections", "OrderedDict", [1, 2]),
        call("collections", "OrderedDict", [[[1], 2]]),
        call("builtins", "set", [[1]]),
        call("builtins", "set", 5),
    ],
)
def test_tensors_outside_their_storage(tmp_path: Path, bad: Raw) -> None:
    with pytest.raises(WeightsError, match="is not a readable checkpoint"):
        read({"model": model(bad)}, tmp_path)


def test_containers_that_are_not_torch(tmp_path: Path) -> None:
    pickled = Writer().value({"model": model(tensor())}).done()

    def fails(match: str) -> None:
        with pytest.raises(WeightsError, match=match):
            read_foreign(tmp_path / "evil.pt")

    for method, match in ((zipfile.ZIP_DEFLATED, "compressed"), (zipfile.ZIP_STORED, "0 data.pkl")):
        with zipfile.ZipFile(tmp_path / "evil.pt", "w", method) as file:
            file.writestr("archive/data.pkl" if method else "archive/other.pkl", pickled)
        fails(match)
    archive(pickled, tmp_path / "evil.pt", {"x/data.pkl": pickled})
    fails("2 data.pkl")
    archive(pickled, tmp_path / "evil.pt", {"byteorder": b"big", "data/0": WEIGHT})
    fails("big-endian")
    archive(pickled, tmp_path / "evil.pt")
    fails("storage 0 is missing")


def test_every_truncation_point_is_reported(tmp_path: Path) -> None:
    whole = (GOLDEN / "yolov7-tiny-w025-stripped.pt").read_bytes()
    for length in (1, 2, 3, 4, 30, 100, 5000, len(whole) - 1):
        path = tmp_path / "part.pt"
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            read_foreign(path)


def test_other_things_than_checkpoints(tmp_path: Path) -> None:
    def fails(path: Path, match: str) -> None:
        with pytest.raises(WeightsError, match=match):
            read_checkpoint(path)

    script = torch.jit.script(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3)))
    script.save(str(tmp_path / "script.pt"))
    fails(tmp_path / "script.pt", "is a TorchScript archive")
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("folder/yolov7.pt", b"x" * 100)
    fails(tmp_path / "a.pt", r"is a zip around folder/yolov7\.pt")
    (tmp_path / "a.pt").write_bytes(gzip.compress(b"x" * 100))
    fails(tmp_path / "a.pt", r"is packed \(gzip")
    (tmp_path / "a.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch")
    fails(tmp_path / "a.onnx", "is an exported ONNX model")
    (tmp_path / "link.pt").symlink_to("link.pt")
    fails(tmp_path / "link.pt", r"is a link to link\.pt, which cannot be reached")
    for value in (torch.ones(2).to_sparse(), torch.ones(2, device="meta"), torch.ones(2) * 1j):
        torch.save({"model.0.anchors": value}, tmp_path / "a.pt")
        fails(tmp_path / "a.pt", "holds tensors that are no plain numbers")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pt")
        fails(tmp_path / "pipe.pt", "is no regular file")
        assert default_preset(None, True, weights=str(tmp_path / "pipe.pt")) == "v7-custom"


@pytest.mark.parametrize("kind", [torch.int8, torch.bool])
def test_weights_that_are_no_fractions(tmp_path: Path, kind: torch.dtype) -> None:
    state = build("yolov7-tiny@0.125", ["a", "b"]).state_dict()
    state["model.0.conv.weight"] = torch.ones_like(state["model.0.conv.weight"]).to(kind)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"model\.0\.conv\.weight is of type"):
        load(tmp_path / "a.pt")


def test_negative_variances(tmp_path: Path) -> None:
    state = build("yolov7-tiny@0.125", ["a", "b"]).state_dict()
    state["model.3.bn.running_var"][1] = -1e-3
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"negative values in model\.3\.bn\.running_var"):
        load(tmp_path / "a.pt")
