from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.annotation_files import make_voc, voc_text
from tests.data.write_dataset import write_image, write_text, write_yaml
from tutelage.data import open_dataset, open_splits
from tutelage.data.formats.voc import parse_voc
from tutelage.data.formats.yolo_labels import LabelFault
from tutelage.data.index import Ignored
from tutelage.errors import DataError, MissingSplitError

SIZE = (64, 48)
BOX = [("cat", 8.0, 12.0, 40.0, 36.0)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def parse(text: str | bytes):
    return parse_voc(text.encode() if isinstance(text, str) else text, SIZE)


def test_pixels_count_from_one_and_parts_are_no_objects() -> None:
    rows, bad = parse(voc_text(BOX))
    assert not bad
    ((label, xyxy, line, _, ignored),) = rows
    assert (label, line, ignored) == ("cat", 4, Ignored.NO)
    assert np.multiply(xyxy, SIZE * 2).tolist() == pytest.approx([8, 12, 40, 36])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings(encoding: str) -> None:
    head = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    rows, bad = parse((head + voc_text([("Käfer", 8, 12, 40, 36)])).encode(encoding))
    assert (rows[0].label, bad) == ("Käfer", [])


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        pytest.param("<object><name>cat</name></object>", LabelFault.SHAPE, id="no box"),
        pytest.param(voc_text([("", 1, 1, 9, 9)])[12:-13], LabelFault.SHAPE, id="no name"),
        pytest.param(
            "<object><name>a</name><bndbox><xmin>x</xmin><ymin>1</ymin><xmax>9</xmax>"
            "<ymax>9</ymax></bndbox></object>",
            LabelFault.NUMBER,
            id="text",
        ),
        pytest.param(
            "<object><name>a</name><difficult>1</difficult></object>",
            LabelFault.IGNORED,
            id="difficult",
        ),
    ],
)
def test_faulty_objects(extra: str, fault: LabelFault) -> None:
    rows, bad = parse(voc_text(BOX, extra))
    assert len(rows) == 1
    assert [line.fault for line in bad if line.fault != LabelFault.SIZE] == [fault]


LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
BOMB = f"""<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY l0 "lol">{LAUGHS}]>
<annotation><object><name>&l9;</name></object></annotation>"""
XXE = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<annotation><object><name>&x;</name></object></annotation>"""
PARAMETER = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><annotation/>"""


@pytest.mark.parametrize("text", [BOMB, XXE, PARAMETER], ids=["laughs", "file", "parameter"])
def test_entities_are_refused(text: str) -> None:
    assert parse(text) == ([], [(2, LabelFault.SHAPE, "entities are refused")])


def test_an_external_dtd_is_not_fetched(tmp_path: Path) -> None:
    dtd = write_text(tmp_path / "a.dtd", '<!ENTITY x "secret">')
    text = f'<!DOCTYPE annotation SYSTEM "file://{dtd}">' + voc_text(BOX).replace("cat", "c&x;t")
    rows, _ = parse(text)
    assert not any("secret" in str(row.label) for row in rows)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("<annotation>\n<object>\n</annotation>", 3, "mismatched tag"),
        ("", 1, "no element found"),
        ("<html>\n</html>", 1, "expected <annotation>, got <html>"),
        (b"\xff\xfe\x00", 1, ""),
    ],
)
def test_not_a_voc_file(text: str | bytes, line: int, reason: str) -> None:
    rows, [bad] = parse(text)
    assert (rows, bad.line, bad.fault) == ([], line, LabelFault.SHAPE)
    assert reason in bad.text


def test_devkit(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "set")
    for data in (root, root / "VOC2007"):
        train, val = open_splits(data, "train", "val")
        assert train.names == val.names == ("cat", "dog")
        assert [item.path.name for item in train] == [f"train{i}.jpg" for i in range(4)]
        assert train.findings == ()
        assert train.fingerprint != val.fingerprint
    with pytest.raises(MissingSplitError, match="no test split"):
        open_dataset(root, "test")


def test_classes_of_all_splits_are_numbered_together(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    write_text(root / "VOC2007" / "Annotations" / "val0.xml", voc_text([("ant", 8, 12, 40, 36)]))
    assert open_dataset(root, "train").names == ("ant", "cat", "dog")


def test_image_sets_stay_inside(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    sets = root / "VOC2007" / "ImageSets" / "Main"
    write_text(sets / "train.txt", "train0  1\ntrain1 -1\nnone\n")
    index = open_dataset(root, "train")
    assert [item.path.name for item in index] == ["train0.jpg"]
    assert "none.jpg cannot be read: the file does not exist" in index.findings[0].message
    write_text(sets / "train.txt", "train0\n../../../secret\n")
    with pytest.raises(DataError, match=r"train\.txt:2 leads out of .*JPEGImages: '\.\./\.\./"):
        open_dataset(root, "train")


def test_xml_beside_the_images_in_a_folder_per_split(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_image(tmp_path / split / "a.b.jpg")
        write_text(tmp_path / split / "a.b.xml", voc_text(BOX))
    train, val = open_splits(tmp_path, "train", "val")
    assert train.class_counts.tolist() == val.class_counts.tolist() == [1]
    assert open_dataset(tmp_path / "train", "train").class_counts.tolist() == [1]
    path = write_yaml(tmp_path / "d.yaml", train="train", names=["dog", "cat"])
    assert open_dataset(path, "train").labels.tolist() == [1]
    path = write_yaml(tmp_path / "d.yaml", train="train", names=["dog"])
    with pytest.raises(DataError, match=r"'cat' in train/a\.b\.xml:4, but d\.yaml names only dog"):
        open_dataset(path, "train")


def test_annotations_beside_images(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_text(tmp_path / "annotations" / "a.xml", voc_text(BOX))
    write_text(tmp_path / "list.txt", "images/a.png")
    path = write_yaml(tmp_path / "d.yaml", train="list.txt", names=["cat"])
    assert open_dataset(path, "train").class_counts.tolist() == [1]


def test_yolo_labels_come_first(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "a.png")
    write_text(tmp_path / "train" / "a.xml", voc_text(BOX))
    write_text(tmp_path / "train" / "a.txt", "1 .5 .5 .2 .2")
    path = write_yaml(tmp_path / "d.yaml", train="train", names=["dog", "cow"])
    assert open_dataset(path, "train").labels.tolist() == [1]


def test_faults_name_file_and_line(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    write_text(root / "VOC2007" / "Annotations" / "train1.xml", XXE)
    with pytest.raises(DataError) as caught:
        open_dataset(root, "train")
    assert caught.value.what == (
        '1 object cannot be used, e.g. VOC2007/Annotations/train1.xml:2 "entities are refused": '
        "an object needs a class and a box."
    )
    assert caught.value.exit_code == 3


NAMED = "<object><name>cat</name>{}</object>"
CORNERS = "<bndbox><xmin>{}</xmin><ymin>9</ymin><xmax>{}</xmax><ymax>20</ymax></bndbox>"


@pytest.mark.parametrize(
    ("text", "reason", "code"),
    [
        (NAMED.format(CORNERS.format(30, 8)), '"cat 30 9 8 20, corners swapped"', "D03"),
        (NAMED.format("<robndbox><cx>9</cx></robndbox>"), "<robndbox> and no <bndbox>", "D03"),
        (NAMED.format("<polygon><x1>9</x1></polygon>"), "<polygon> and no <bndbox>", "D03"),
        (NAMED.format(CORNERS.format("x", 8)), "every value must be a number", "D03"),
        (NAMED.replace("cat", "a & b"), "a bare & must be written &amp;", "D03"),
        ("", "no object in 4 XML files", "D26"),
    ],
)
def test_the_reason_why_no_object_can_be_used(
    tmp_path: Path, text: str, reason: str, code: str
) -> None:
    root = make_voc(tmp_path)
    for path in (root / "VOC2007" / "Annotations").iterdir():
        write_text(path, f"<annotation>\n{text}</annotation>")
    with pytest.raises(DataError) as caught:
        open_dataset(root, "train")
    assert reason in caught.value.what
    assert "VOC2007/Annotations/train0.xml" in caught.value.what
    assert caught.value.code == code


def test_the_first_flaw_is_told_and_others_are_counted(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    folder = root / "VOC2007" / "Annotations"
    for path in folder.iterdir():
        write_text(path, f"<annotation>\n{NAMED.format(CORNERS.format(30, 8))}</annotation>")
    write_text(folder / "train3.xml", "<annotation>")
    with pytest.raises(DataError) as caught:
        open_dataset(root, "train")
    assert "none of 4 objects or files can be used; 4 like" in caught.value.what
    assert f"{folder}/train0.xml:2" in caught.value.what
    write_text(
        folder / "train0.xml", f"<annotation>{NAMED.format(CORNERS.format('x', 8))}</annotation>"
    )
    with pytest.raises(DataError, match=r"1 like .* must be a number; 3 have other flaws"):
        open_dataset(root, "train")


def test_images_without_xml(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    for path in (root / "VOC2007" / "Annotations").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"4 of 4 images have no XML file, e\.g\. .*train0\.xml is"):
        open_dataset(root, "train")


@pytest.mark.parametrize("encoding", ["gbk", "gb2312", "big5", "shift_jis", "utf8", "windows-1252"])
def test_declared_encodings(encoding: str) -> None:
    name = "Käfer" if encoding == "windows-1252" else "中"
    text = f"\n<?xml version='1.0'\n encoding='{encoding}'?>" + voc_text([(name, 8, 12, 40, 36)])
    rows, bad = parse(text.lstrip().encode(encoding))
    assert ([(row.label, row.line) for row in rows], bad) == ([(name, 5)], [])


def test_later_characters_of_gbk() -> None:
    head = "<?xml version='1.0' encoding='gb2312'?>"
    rows, _ = parse((head + voc_text([("镕", 8, 12, 40, 36)])).encode("gb18030"))
    assert rows[0].label == "镕"


@pytest.mark.parametrize(
    ("declared", "reason"),
    [("gbk", "is not in its declared encoding gbk"), ("rot13", "rot13"), ("klingon", "klingon")],
)
def test_encodings_that_are_wrong(declared: str, reason: str) -> None:
    head = f"<?xml version='1.0' encoding='{declared}'?>"
    rows, [bad] = parse(head.encode() + b"<annotation>\xff\xff\xff</annotation>")
    assert (rows, bad.fault) == ([], LabelFault.SHAPE)
    assert reason in bad.text


def test_entities_are_refused_in_any_encoding() -> None:
    bomb = BOMB.replace('version="1.0"', 'version="1.0" encoding="gbk"')
    assert parse(bomb) == ([], [(2, LabelFault.SHAPE, "entities are refused")])


def test_a_folder_without_anything(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, not a data yaml"):
        open_dataset(tmp_path, "train")


@pytest.mark.parametrize(
    ("frame", "code", "box"),
    [("", "label-frame", [8, 12, 40, 36]), ("stated", "label-size", [12, 8, 36, 40])],
)
def test_sizes_of_an_image_that_exif_turns(
    tmp_path: Path, frame: str, code: str, box: list[int]
) -> None:
    """Old versions of labelImg draw the stored pixels."""
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", SIZE).save(tmp_path / "a.jpg", exif=exif)
    write_text(tmp_path / "a.xml", voc_text(BOX))
    path = write_yaml(tmp_path / "d.yaml", train=".", names=["cat"], box_frame=frame)
    index = open_dataset(path, "train", strict=False)
    assert [finding.code for finding in index.findings] == [code]
    assert index.item(0).xyxy.round(3).tolist() == [box]


def test_a_class_of_difficult_objects_alone_is_none(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    hard = voc_text([("dog", 2, 2, 30, 30)]).replace("<object>", "<object><difficult>1</difficult>")
    write_text(tmp_path / "a.xml", hard.replace("</annotation>", voc_text(BOX)[12:]))
    index = open_dataset(tmp_path, "train", strict=False)
    assert index.names == ("cat",)
    assert [finding.code for finding in index.findings] == ["label-ignored"]


def _edges(left: int) -> str:
    return (
        "<annotation><object><name>cat</name><bndbox>"
        f"<xmin>{left}</xmin><ymin>12</ymin><xmax>40</xmax><ymax>36</ymax></bndbox></object>"
        "</annotation>"
    )


def test_a_corner_at_0_means_that_pixels_count_from_0(tmp_path: Path) -> None:
    """What datumaro, globox, pylabel and Label Studio write."""
    for split, left in (("train", 0), ("val", 9)):
        write_image(tmp_path / split / "a.png")
        write_text(tmp_path / split / "a.xml", _edges(left))
    train, val = open_splits(tmp_path, "train", "val")
    assert train.item(0).xyxy.tolist() == [[0, 12, 40, 36]]
    assert val.item(0).xyxy.tolist() == [[9, 12, 40, 36]]  # by the 0 of the other split
    (found,) = train.findings
    assert (found.code, found.severity, found.count) == ("voc-origin", "info", 1)
    assert "a.xml:1" in found.message
    for origin, box in ((0, [9, 12, 40, 36]), (1, [8, 11, 40, 36]), (None, [8, 11, 40, 36])):
        given = {} if origin is None else {"voc_origin": origin}
        path = write_yaml(tmp_path / "d.yaml", train="val", names=["cat"], **given)
        index = open_dataset(path, "train")
        assert (index.item(0).xyxy.tolist(), index.findings) == ([box], ())
    path = write_yaml(tmp_path / "d.yaml", train="train", names=["cat"], voc_origin=1)
    assert open_dataset(path, "train").item(0).xyxy.tolist() == [[0, 11, 40, 36]]
    path = write_yaml(tmp_path / "d.yaml", train="train", names=["cat"], voc_origin="1")
    with pytest.raises(DataError, match="voc_origin must be 0 or 1, but got '1'"):
        open_dataset(path, "train")


def test_the_folders_of_label_studio(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_text(tmp_path / "Annotations" / "a.xml", voc_text(BOX))
    assert open_dataset(tmp_path, "train").item(0).xyxy.tolist() == [[8, 12, 40, 36]]
