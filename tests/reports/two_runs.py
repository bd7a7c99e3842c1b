"""Two finished runs with the same seed, without and with a teacher; a test split of its own."""

from tests.data.write_dataset import write_yaml
from tests.run.small_runs import make_data, make_teacher, run, settings

HARMLESS = '<b>dog</b> & "co"'  # a class name with markup


def train_two(folder):
    """Train them and return the folder of ``plain`` and ``taught``."""
    make_data(folder)
    test = make_data(folder / "more").removesuffix("/data.yaml")
    splits = {"train": "images/train", "val": "images/train", "test": f"{test}/images/train"}
    names = ["cat", HARMLESS]
    data = str(write_yaml(folder / "data.yaml", **splits, names=names))
    teacher = make_teacher(folder / "teacher.safetensors", names)
    train = {"epochs": 2, "eval_every": 1}
    distill = {
        "teacher": teacher,
        "accept_teacher": True,
        "methods": [{"name": "fgd", "weight": 1.0}],
    }
    for name, given in (("plain", {}), ("taught", {"distill": distill})):
        own = {"project": str(folder / "runs"), "name": name}
        run(settings(data, folder, train=train, run=own, **given))
    return folder / "runs"
