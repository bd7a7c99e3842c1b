"""The report in a real browser: Debian's chromium and chromium-driver, by selenium."""

import shutil

import numpy as np
import pytest

from tutelage.reports import write_report

selenium = pytest.importorskip("selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no browser: apt-get install chromium chromium-driver",
    ),
]

CONTRASTS = """
const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
const linear = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const background = node => {
  for (; node instanceof Element; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    const values = parse(colour);
    if (values.length === 3 || values[3] === 1) return values;
  }
  return [255, 255, 255];
};
for (const each of document.querySelectorAll("details")) each.open = true;
const poor = [];
for (const node of document.querySelectorAll("body *")) {
  if (["SCRIPT", "STYLE", "title"].includes(node.tagName)) continue;
  const own = [...node.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own) continue;
  const style = getComputedStyle(node);
  const colour = node instanceof SVGElement ? style.fill : style.color;
  const [a, b] = [luminance(parse(colour)), luminance(background(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (!(ratio >= 4.5)) poor.push([node.tagName, node.textContent.trim(), colour, ratio]);
}
return poor;
"""


@pytest.fixture(scope="module")
def page(trained):
    """A report of students that find every object, with scores from 0.1 to 0.9."""

    def detections(_folder, _config, _split, index):
        table = np.ones((len(index.boxes), 7))
        table[:, 0] = np.repeat(np.arange(len(index)), index.counts)
        table[:, 1:3], table[:, 6] = index.boxes[:, :2], index.labels
        table[:, 3:5] = index.boxes[:, 2:] - index.boxes[:, :2]
        table[:, 5] = np.linspace(0.1, 0.9, len(table))
        return table

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tutelage.reports.results.student_detections", detections)
        return write_report([trained / "plain", trained / "taught"], trained / "report.html").path


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for each in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(params=["light", "dark"])
def opened(browser, page, request):
    """The page, on a system that is light or dark."""
    feature = {"name": "prefers-color-scheme", "value": request.param}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    width(browser, 1440)
    browser.get_log("performance")
    browser.get(f"file://{page}")
    return browser


def width(browser, pixels):
    values = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", values)


def test_no_error_and_no_request_leaves_the_file(opened, page):
    requests = [
        line["message"]
        for line in opened.get_log("performance")
        if "Network.requestWillBeSent" in line["message"]
    ]
    assert requests
    assert all(f'"url":"file://{page}' in each or '"url":"data:' in each for each in requests)
    assert opened.get_log("browser") == []


def test_text_can_be_read(opened):
    assert opened.execute_script(CONTRASTS) == []


@pytest.mark.parametrize("pixels", [375, 1440])
def test_nothing_scrolls_sideways(opened, pixels):
    width(opened, pixels)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= pixels


def test_the_slider_moves_boxes(opened):
    count = "return document.querySelectorAll('.panel rect:not(.object):not(.below)').length"
    missed = "return document.querySelectorAll('.panel .missed').length"
    move = "const s = document.getElementById('threshold'); s.value = arguments[0];"
    move += "s.dispatchEvent(new Event('input'))"
    opened.execute_script(move, 0.05)
    low = opened.execute_script(count), opened.execute_script(missed)
    opened.execute_script(move, 0.99)
    high = opened.execute_script(count), opened.execute_script(missed)
    assert low[0] > high[0] == 0
    objects = opened.execute_script("return document.querySelectorAll('.panel .object').length")
    assert low[1] <= high[1] == objects > 0
    label = opened.execute_script("return document.querySelector('.count').textContent")
    assert "0 right, 0 wrong" in label


def test_curves_are_read_at_the_pointer(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    plot = next(
        each
        for each in opened.find_elements("css selector", "#errors .plot")
        if "precision by recall" in each.get_attribute("aria-label")
    )
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    reading = plot.find_element("xpath", "..").find_element("class name", "reading")
    assert reading.text == ""
    ActionChains(opened).move_to_element(plot).perform()
    assert reading.text.startswith("recall 0.")
    assert "plain " in reading.text
    assert "taught " in reading.text
    before = reading.text
    ActionChains(opened).move_to_element_with_offset(plot, 60, 0).perform()
    assert reading.text != before


def test_dark_mode_switches(opened):
    colour = "return getComputedStyle(document.body).backgroundColor"
    before = opened.execute_script(colour)
    opened.find_element("id", "theme").click()
    after = opened.execute_script(colour)
    assert {before, after} == {"rgb(255, 255, 255)", "rgb(21, 23, 27)"}


def test_all_that_reacts_is_reached_by_keyboard_and_has_a_name(opened):
    names = opened.execute_script(
        "return [...document.querySelectorAll('button, input, svg.plot, svg.panel, img')].map("
        "e => e.getAttribute('aria-label') || (e.labels && e.labels[0] && e.labels[0].textContent)"
        " || e.alt)"
    )
    assert names
    assert all(names)
    from selenium.webdriver.common.keys import Keys

    slider = opened.find_element("id", "threshold")
    before = slider.get_attribute("value")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert slider.get_attribute("value") != before
