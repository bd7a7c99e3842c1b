"""What a fuzz test starts from, and what it watches."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from tests.models.filling import fill_normal
from tests.models.graphs import MENAGERIE
from tests.weights.publishing import Wardrobe, publish, published
from tutelage.models import build
from tutelage.weights import save_best, save_last

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"
_FORBIDDEN = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork")
_active: list[Watch] = []


class Watch:
    """While this lasts, nothing may be run, and no pickle may look a name up.

    Args:
        room: A folder whose entries must be the same afterwards.
    """

    def __init__(self, room: Path) -> None:
        self.room, self.seen = room, list[str]()

    def __enter__(self) -> None:
        self.before = sorted(self.room.iterdir())
        _active.append(self)

    def __exit__(self, *_: object) -> None:
        _active.remove(self)
        assert not self.seen, f"something was run: {self.seen[:3]}"
        assert sorted(self.room.iterdir()) == self.before, "something was written"


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _active and (event in _FORBIDDEN or event == "pickle.find_class"):
        _active[-1].seen.append(f"{event} {args!r:.200}")


sys.addaudithook(_audit)


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
