"""The page: complete, self-contained, and safe whatever runs and data are called."""

import json
import re
from html.parser import HTMLParser

import pytest

from tests.data.write_dataset import make_scenes, write_yaml
from tests.reports.two_runs import HARMLESS
from tests.run.small_runs import run, settings
from tutelage.deploy.export import export
from tutelage.pages import page_style
from tutelage.reports import write_report
from tutelage.reports.charts import loss_curves
from tutelage.reports.results import group_by_seed
from tutelage.reports.runs import find_runs
from tutelage.reports.svg import empty_figure, style, to_svg

ALL = ("result", "training", "classes", "errors", "cost", "pictures", "data", "settings")


class Page(HTMLParser):
    """Elements and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.attributes, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        self.texts.append(data)

    def ids(self):
        return [value for _, name, value in self.attributes if name == "id"]


def page_of(*folders, to):
    report = write_report(folders, to / "report.html")
    return report, Page(report.path.read_text(encoding="utf-8"))


def test_two_runs(runs, tmp_path):
    report, page = page_of(runs / "plain", runs / "taught", to=tmp_path)
    assert set(ALL) <= set(page.ids())
    text = " ".join(page.texts)
    assert report.verdict[0] in text
    assert repr(report) == f"Report({str(report.path)!r}, {report.verdict[0]})"
    assert "neither taught nor the baseline finds an object" in text
    assert "plain (baseline)" in text
    assert "of it the teacher's" in text
    assert page.tags.count("script") == page.tags.count("style") == 1
    for name in ("results.png", "pr.png", "confusion.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_nothing_is_loaded_from_elsewhere(runs, tmp_path):
    report, page = page_of(runs / "plain", runs / "taught", to=tmp_path)
    sources = [value for _, name, value in page.attributes if name in ("src", "href")]
    assert sources
    assert all(each.startswith(("data:image/", "#")) for each in sources)
    others = [
        (name, value)
        for _, name, value in page.attributes
        if re.search(r"https?://|url\((?!#)", value or "") and not name.startswith("xmlns")
    ]
    assert others == []
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)
    policy = [value for _, name, value in page.attributes if name == "content"]
    assert any("default-src 'none'" in each for each in policy)
    assert len(report.path.read_bytes()) < 8e6


def test_markup_in_names_is_text(runs, tmp_path):
    (runs / "taught").rename(runs / "<i>taught")
    _, page = page_of(runs / "plain", runs / "<i>taught", to=tmp_path)
    assert not {"b", "i"} & set(page.tags)
    assert any(HARMLESS in text for text in page.texts)
    assert any("<i>taught" in text for text in page.texts)


def test_ids_are_unique(runs, tmp_path):
    _, page = page_of(runs / "plain", runs / "taught", to=tmp_path)
    ids = page.ids()
    assert sorted(each for each in set(ids) if ids.count(each) > 1) == []


def test_one_run(runs, tmp_path):
    report, page = page_of(runs / "taught", to=tmp_path)
    assert set(ALL) <= set(page.ids())
    assert "tutelage report BASELINE taught" in report.verdict[0]
    assert write_report([runs / "plain"]).path == runs / "plain/report.html"


def test_a_run_without_data_has_a_page_without_pictures(runs, tmp_path):
    path = runs / "plain/config.yaml"
    line = next(each for each in path.read_text().splitlines() if each.startswith("data:"))
    path.write_text(path.read_text().replace(line, "data: /nowhere/data.yaml"))
    report, page = page_of(runs / "plain", to=tmp_path)
    assert {"training", "cost", "settings"} <= set(page.ids())
    assert not {"pictures", "errors", "data"} & set(page.ids())
    assert "there are no pictures" in report.notes[0]
    assert report.verdict[0].startswith("AP ")


def test_a_run_that_died_early(runs, tmp_path):
    for name in ("best.safetensors", "scores.json", "predictions.json", "metrics.jsonl"):
        (runs / "plain" / name).unlink()
    report, page = page_of(runs / "plain", to=tmp_path)
    assert report.verdict == ("plain was never evaluated.",)
    assert "settings" in page.ids()


def test_rows_without_numbers(runs, tmp_path):
    path = runs / "plain/metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0] |= {"AP": None, "box": None}
    rows[1] |= {"AP": float("nan"), "obj": float("nan"), "seconds": None}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, page = page_of(runs / "plain", to=tmp_path)
    assert "training" in page.ids()


def rows_of(path):
    """Return the cells of every row of the tables of a page."""
    rows = re.findall(r"<tr>(.*?)</tr>", path.read_text(encoding="utf-8"), re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def test_exported_files_are_measured_in_their_runtime(runs, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    export(runs / "plain", to="onnx")
    (runs / "plain/damaged.tflite").write_bytes(b"no model")
    report, page = page_of(runs / "plain", to=tmp_path)
    rows = {row[0]: row for row in rows_of(report.path) if row}
    size = (runs / "plain/best.onnx").stat().st_size
    _, _, _, file, p50, p95, *_ = rows["plain, best.onnx"]
    assert file == f"{size / 1e6:.1f} MB"
    assert 0 <= float(p50) <= float(p95)
    assert rows["plain, damaged.tflite"][4:6] == ["-", "-"]
    assert "runtime of their format" in " ".join(page.texts)


def test_losses_are_drawn_on_both_scales(runs, tmp_path):
    _, page = page_of(runs / "taught", to=tmp_path)
    drawings = [value for _, name, value in page.attributes if name == "aria-label"]
    assert sum("term by term" in each for each in drawings) == 2
    run_files = find_runs([runs / "taught"])
    linear, log = (loss_curves(group_by_seed(run_files), log=log) for log in (False, True))
    assert {axes.get_yscale() for axes in linear.axes if axes.lines} == {"linear"}
    assert {axes.get_yscale() for axes in log.axes if axes.lines} == {"log"}


def test_many_classes(tmp_path):
    make_scenes(tmp_path, 4)
    names = ["cat", "dog", *(f"class {number}" for number in range(298))]
    keys = {"train": "images/train", "val": "images/train", "names": names}
    data = str(write_yaml(tmp_path / "data.yaml", **keys))
    run(settings(data, tmp_path, run={"project": str(tmp_path), "name": "many"}))
    report, page = page_of(tmp_path / "many", to=tmp_path)
    assert set(ALL) <= set(page.ids())
    assert len(report.path.read_bytes()) < 8e6


def test_a_drawing_takes_the_colours_of_the_page():
    with style():
        figure = empty_figure(2, 1)
        figure.subplots().plot([0, 1], [0, 1], label="<b>")
        figure.axes[0].set_title("<b>")
    svg = to_svg(figure, 'a "line"')
    assert "var(--ink,currentColor)" in svg
    assert not re.search(r"(fill|stroke): #(?!000000)", svg)
    assert "&lt;b&gt;" in svg
    assert 'aria-label="a &#34;line&#34;"' in svg


@pytest.mark.parametrize("colour", ["ink", "muted", "series-5", "teacher"])
def test_every_colour_is_defined_light_and_dark(colour):
    assert page_style().count(f"--{colour}:") == 3
