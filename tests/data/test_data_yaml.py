from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.write_dataset import write_image, write_text, write_yaml
from tutelage.data.formats.data_yaml import list_split, read_split
from tutelage.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, stem in (("train", "a"), ("train", "b"), ("val", "c")):
        write_image(tmp_path / "set" / "images" / split / f"{stem}.jpg")
    return tmp_path / "set"


def stems(path: Path, split: str = "train") -> list[str]:
    return [Path(image).stem for image in images_of(path, split)]


def images_of(path: Path, split: str) -> tuple[str, ...]:
    return tuple(list_split(path, split, read_split(path, split)).images)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["cat", "dog"], ("cat", "dog"), id="list"),
        pytest.param({0: "cat", 1: "dog"}, ("cat", "dog"), id="map"),
        pytest.param({1: "dog", 0: "cat"}, ("cat", "dog"), id="map out of order"),
        pytest.param({"0": "cat", "1": "dog"}, ("cat", "dog"), id="map of strings"),
        pytest.param([0, 1], ("0", "1"), id="numbers"),
    ],
)
def test_names(root: Path, names: object, expected: tuple[str, ...]) -> None:
    path = write_yaml(root / "d.yaml", train="images/train", names=names, nc=2)
    assert read_split(path, "train").names == expected


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        pytest.param(
            {"path": ".", "train": "x", "nc": 2},
            "d.yaml has no 'names' (found: path, train, nc). "
            "Add for example  names: [class0, class1]",
            id="no names",
        ),
        pytest.param({"names": ["a"], "nc": 2}, "d.yaml: nc is 2, but there are 1 names", id="nc"),
        pytest.param({"names": ["a"], "nc": "1"}, "d.yaml: nc is '1', but there", id="nc as text"),
        pytest.param(
            {"names": ["a"], "train": {"x": 1}},
            "train must be a folder, a text file or a list of these, but got {'x': 1}.",
            id="no path",
        ),
        pytest.param({"names": {0: "a", 2: "b"}}, "0…1 without a gap, but 1 is missing", id="gap"),
        pytest.param({"names": ["a", False]}, "names must be text, but got False", id="yaml's no"),
        pytest.param({"names": "cat"}, "must be a list or a map, but got 'cat'", id="a word"),
        pytest.param({"names": []}, "'names' is empty", id="no class"),
        pytest.param({"names": ["a", "a"]}, "'a' appears twice", id="twice"),
        *(
            pytest.param(
                {"names": ["a"], "train": ".", "kpt_shape": shape},
                f"but got {shape!r}. Write for example  kpt_shape: [17, 3]",
                id=f"kpt_shape {shape}",
            )
            for shape in (
                17,
                "17, 3",
                [17],
                [17, 4],
                [0, 3],
                [3, 17],
                [17, 3, 1],
                [17.0, 3],
                [True, 3],
            )
        ),
        pytest.param(
            {"names": ["a"], "val": "v"},
            "d.yaml has no 'train' (found: names, val). Add for example  train: images/train",
            id="no such split",
        ),
    ],
)
def test_bad_yaml(tmp_path: Path, keys: dict[str, object], message: str) -> None:
    path = write_yaml(tmp_path / "d.yaml", **keys)
    with pytest.raises(DataError) as caught:
        images_of(path, "train")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"- a\n- b\n", "expected keys such as train.*it holds a list"),
        (b"", "it holds nothing"),
        (b"nc: 1\nnc: 2\n", r"d\.yaml is not valid yaml: 'nc' stands twice \(d\.yaml:2\)"),
        (b"names: {0: a, 0: b}", "'0' stands twice"),
        (b"a: 1\nb: [", r"d\.yaml is not valid yaml: expected the node content.*\(d\.yaml:2\)"),
        (b"a: " + 3000 * b"[", "nested too deeply"),
        (b"\xff\xd8\xff\xe0", "not a text file"),
    ],
    ids=["list", "empty", "twice", "twice within", "unclosed", "deep", "binary"],
)
def test_not_a_data_yaml(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "d.yaml"
    path.write_bytes(text)
    with pytest.raises(DataError, match=message):
        images_of(path, "train")


def test_missing_yaml_names_the_nearest(tmp_path: Path) -> None:
    write_yaml(tmp_path / "bccd.yaml", names=["a"])
    with pytest.raises(DataError, match=r"does not exist\. Did you mean 'bccd\.yaml'\?"):
        images_of(tmp_path / "bcdc.yaml", "train")
    with pytest.raises(DataError, match=r"is a folder.*Use  --data .*bccd\.yaml"):
        images_of(tmp_path, "train")


def test_a_yaml_that_is_not_there_and_is_like_no_other(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist\. Without data of your own:"):
        images_of(tmp_path / "nope.yaml", "train")
    (tmp_path / "blood_in_the_microscope.yaml").write_text("names: [a]")
    with pytest.raises(
        DataError, match=r"In .*: blood_in_the_microscope\.yaml\. Without data of your own"
    ):
        images_of(tmp_path / "nope.yaml", "train")


def test_path_is_relative_to_the_yaml(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    path = write_yaml(
        root.parent / "conf" / "d.yaml", path="../set", train="images/train", names=["a"]
    )
    assert read_split(path, "train").root == root
    assert images_of(path, "train") == (f"{root}/images/train/a.jpg", f"{root}/images/train/b.jpg")


def test_path_is_relative_to_the_working_directory_where_the_yaml_has_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """YOLOv5: data/coco128.yaml says ``path: ../datasets/coco128``, started in its parent."""
    here = root.parent / "yolov5"
    path = write_yaml(here / "data" / "d.yaml", path="../set", train="images/train", names=["a"])
    monkeypatch.chdir(here)
    entry = read_split(path, "train")
    assert (entry.root, entry.sources) == (root, (root / "images" / "train",))
    (finding,) = entry.findings
    assert (finding.code, finding.severity) == ("path-elsewhere", "info")
    assert f"path '../set' is {root}, relative to the working directory" in finding.message
    write_image(here / "set" / "images" / "train" / "own.jpg")
    assert read_split(path, "train").root == here / "set"
    assert read_split(path, "train").findings == ()


def test_a_path_that_is_nowhere_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    path = write_yaml(root / "d.yaml", path="no/where", train="images/train", names=["a"])
    (finding,) = read_split(path, "train").findings
    assert "path 'no/where' is nowhere" in finding.message
    path = write_yaml(root / "d.yaml", path="no/where", train="no/images", names=["a"])
    with pytest.raises(DataError, match=rf"looked in {root}/no/where, {root}, /, /no/where\)"):
        read_split(path, "train")


@pytest.mark.parametrize(
    "value",
    [
        "../images/train",
        "../../images/train",
        "images\\train",
        "..\\images\\train",
        "/content/drive/set/images/train",
        "D:\\sets\\set\\images\\train",
    ],
)
def test_a_split_of_another_place(root: Path, value: str) -> None:
    path = write_yaml(root / "d.yaml", train=value, names=["a"])
    listed = list_split(path, "train", read_split(path, "train"))
    assert [Path(image).name for image in listed.images] == ["a.jpg", "b.jpg"]
    (finding,) = listed.findings
    assert (finding.code, finding.severity) == ("path-elsewhere", "info")
    assert f"train {value!r} is {root}/images/train" in finding.message


@pytest.mark.parametrize("value", ["/mnt/other/images", "x/images/train", "/x/../images/train"])
def test_a_split_that_may_be_another_is_not_guessed(root: Path, value: str) -> None:
    path = write_yaml(root / "d.yaml", train=value, names=["a"])
    with pytest.raises(DataError, match="does not exist"):
        read_split(path, "train")


def test_what_exists_is_not_looked_for_elsewhere(root: Path) -> None:
    write_image(root.parent / "images" / "train" / "z.jpg")
    path = write_yaml(root / "d.yaml", train="../images/train", names=["a"])
    assert stems(path) == ["z"]
    assert read_split(path, "train").findings == ()


@pytest.mark.parametrize("key", ["valid", "Validation", "VAL", "dev"])
def test_keys_of_splits(root: Path, key: str) -> None:
    path = write_yaml(root / "d.yaml", Train="images/train", names=["a"], **{key: "images/val"})
    assert (stems(path), stems(path, "val")) == (["a", "b"], ["c"])


def test_a_list_of_something_else(root: Path) -> None:
    write_text(root / "l.txt", "one\ntwo\n")
    path = write_yaml(root / "d.yaml", train="l.txt", names=["a"])
    with pytest.raises(DataError, match=r"no images in .*l\.txt\n.*2, e\.g\. l\.txt:1 'one'"):
        images_of(path, "train")


def test_split_falls_back_to_the_yaml_then_the_working_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"path": "elsewhere", "train": "images/train", "names": ["a"]}
    assert stems(write_yaml(root / "d.yaml", **keys)) == ["a", "b"]
    path = write_yaml(root.parent / "other" / "d.yaml", **keys)
    monkeypatch.chdir(root)
    assert stems(path) == ["a", "b"]


def test_lists_and_several_sources(root: Path) -> None:
    write_image(root / "more" / "d.png")
    write_text(root / "lists" / "some.txt", "./e.jpg\n\nimages/train/b.jpg\nmore/notes.md\n")
    write_image(root / "lists" / "e.jpg")
    path = write_yaml(
        root / "d.yaml", train=["images/train", "lists/some.txt", "more"], names=["a"]
    )
    entry = read_split(path, "train")
    listed = list_split(path, "train", entry)
    assert sorted(Path(image).name for image in listed.images) == [
        "a.jpg",
        "b.jpg",
        "d.png",
        "e.jpg",
    ]
    assert listed.repeated == (f"{root}/images/train/b.jpg",)


def test_dot_slash_is_relative_to_the_list_only(root: Path) -> None:
    write_text(root / "lists" / "l.txt", "./../images/val/c.jpg\n")
    path = write_yaml(root / "d.yaml", val="lists/l.txt", names=["a"])
    assert images_of(path, "val") == (f"{root}/images/val/c.jpg",)


def test_nested_folders_hidden_files_and_other_files(root: Path) -> None:
    write_image(root / "images" / "train" / "deep" / "er" / "z.png")
    write_image(root / "images" / "train" / "._a.jpg")
    write_text(root / "images" / "train" / "notes.txt", "x")
    (root / "images" / "train" / "loop").symlink_to(root / "images" / "train")
    path = write_yaml(root / "d.yaml", train="images/train", names=["a"])
    assert stems(path) == ["a", "b", "z"]


def test_linked_images_keep_their_name(root: Path, tmp_path: Path) -> None:
    (tmp_path / "linked" / "images").mkdir(parents=True)
    (tmp_path / "linked" / "images" / "t").symlink_to(root / "images" / "train")
    path = write_yaml(tmp_path / "linked" / "d.yaml", train="images/t", names=["a"])
    assert images_of(path, "train")[0] == f"{tmp_path}/linked/images/t/a.jpg"


def test_all_missing_paths_with_where_and_nearest(root: Path) -> None:
    path = write_yaml(
        root / "d.yaml", train=["../set/images/trian", "images/train", "images/vall"], names=["a"]
    )
    with pytest.raises(DataError) as caught:
        images_of(path, "train")
    message = str(caught.value)
    assert f"train: ../set/images/trian does not exist (looked in {root}, " in message
    assert "Nearest: images/train" in message
    assert "train: images/vall does not exist" in message
    assert "Nearest: images/val" in message
    assert caught.value.exit_code == 3


def test_no_images(root: Path) -> None:
    (root / "empty").mkdir()
    path = write_yaml(root / "d.yaml", train="empty", names=["a"])
    with pytest.raises(DataError, match="no images in"):
        images_of(path, "train")


def test_an_image_is_no_source(root: Path) -> None:
    path = write_yaml(root / "d.yaml", train="images/train/a.jpg", names=["a"])
    with pytest.raises(DataError, match="is an image; expected a folder or a text file"):
        images_of(path, "train")


def test_download_and_keypoints_are_ignored(root: Path) -> None:
    marker = root / "executed"
    path = write_yaml(
        root / "d.yaml",
        train="images/train",
        names=["a"],
        download=f"touch {marker}",
        kpts=[17, 3],
    )
    assert stems(path) == ["a", "b"]
    assert not marker.exists()
