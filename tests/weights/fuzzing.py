"""What a fuzz test starts from, and what it watches."""

from __future__ import annotations

import codecs
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.models.graphs import MENAGERIE
from tests.models.repeatable_weights import fill_normal
from tests.weights.publishing import Wardrobe, publish, published
from tutelage.config import default_preset
from tutelage.errors import WeightsError
from tutelage.models import build, load
from tutelage.models.summary import summarise
from tutelage.weights import load_last, save_best, save_last

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"
_FORBIDDEN = (
    *("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.putenv", "os.kill", "ctypes.dlopen", "urllib.Request"),
    "pickle.find_class",
)
_LOADING = ("compile", "exec", "import")
_FAMILIES = ("socket.", "shutil.", "ftplib.", "smtplib.")
_WRITING = frozenset("wax+")
_active: list[Watch] = []


class Watch:
    """While this lasts, nothing may be run, loaded, sent or written, and no name looked up.

    What the reading itself loads has to be loaded before: read a sound file first.

    Args:
        room: A folder whose files must be the same afterwards.
        loading: Allow code to be loaded: torch's own reader imports parts of torch when it is
            unsure what a stream wants.
    """

    def __init__(self, room: Path, *, loading: bool = False) -> None:
        self.room, self.loading, self.seen = room, loading, list[str]()

    def __enter__(self) -> None:
        self.before = self._files()
        _active.append(self)

    def __exit__(self, *_: object) -> None:
        _active.remove(self)
        assert not self.seen, f"something was run: {self.seen[:3]}"
        assert self._files() == self.before, "something was written"

    def _files(self) -> list[tuple[str, int, int]]:
        found = [(str(path), path.stat()) for path in sorted(self.room.rglob("*"))]
        return [(name, status.st_size, status.st_mtime_ns) for name, status in found]


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _active:
        return
    writes = event == "open" and isinstance(args[1], str) and _WRITING & set(args[1])
    loads = event in _LOADING and not _active[-1].loading
    if writes or loads or event in _FORBIDDEN or event.startswith(_FAMILIES):
        _active[-1].seen.append(f"{event} {args!r:.200}")


sys.addaudithook(_audit)
for _name in ("cp437", "latin1", "utf-8"):  # zipfile looks for these when a name needs them
    codecs.lookup(_name)


def visit(path: Path) -> str:
    """Do with a weight file all that commands do first, and return how loading it ended.

    Raises:
        AssertionError: A message is not fit to be shown.
    """
    default_preset(None, True, weights=str(path))
    _end(summarise, path)
    return _end(load, path)


def resume(path: Path) -> str:
    """Take a file for the state of a run, as :func:`visit` does for weights."""
    return _end(load_last, path)


def _end(action: Callable[[Path], object], path: Path) -> str:
    try:
        action(path)
    except WeightsError as error:
        text = str(error)
        assert len(text) < 3_000, f"a message of {len(text)} letters"
        assert text.isprintable(), f"letters that cannot be shown: {text!r:.500}"
        return "refused by name" if "Nothing was executed" in text else "error"
    return "model"


def seeds(folder: Path) -> list[Path]:
    """Write small files of every kind, sound ones, and return them with a published one."""
    folder.mkdir()
    graph = build(MENAGERIE, ["a", "b"])
    tiny = build("yolov7-tiny@0.125", ["a", "b", "c"])
    for each in (graph, tiny):
        fill_normal(each)
    state = {key: value.half() for key, value in tiny.state_dict().items()}
    torch.save({"state_dict": state, "names": ["a", "b", "c"]}, folder / "state.pt")
    meta = {"arch": graph.arch, "names": ["a", "b"], "arch_name": "menagerie"}
    save_best(folder / "best.safetensors", graph.state_dict(), meta)
    save_last(folder / "last.pt", {"format": "tutelage-last-2", "ema": graph.state_dict()})
    wardrobe = Wardrobe()
    model = published(graph, wardrobe, kind="DetectionModel", names={0: "a", 1: "b"}).half()
    with wardrobe.open():
        content = {"epoch": 3, "ema": model, "optimizer": {"state": {}, "param_groups": []}}
        with warnings.catch_warnings(action="ignore"):  # it looks for the classes' source
            torch.save(content, folder / "legacy.pt", _use_new_zipfile_serialization=False)
        torch.save(content, folder / "protocol4.pt", pickle_protocol=4)
    publish(graph, folder / "graph.pt", date="2023-01-01", opt={"epochs": 3, "hyp": {"lr0": 0.1}})
    publish(tiny, folder / "tiny.pt", half=False)
    return [*sorted(folder.iterdir()), GOLDEN / "yolov7-tiny-w025-training.pt"]
