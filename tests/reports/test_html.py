"""The page, as text and in a real browser."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reports.collection import Collection
from reports.content import contents
from reports.report import report_files, write_report

NASTY = "<script>alert(1)</script>"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PHONE = 320
"""Pixels."""


def page(records, failures=(), figures=False) -> str:
    results = Collection.of(records, failures)
    report = contents(results, list(records), figures=figures)
    return report_files(report, ["html"])["report.html"].decode()


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the texts of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script":
            self.scripts[-1] += data


@pytest.fixture
def hostile(record, failure) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    made = [record(name, "10", seed, 90.0 + seed) for name in (NASTY, "dq") for seed in range(3)]
    for one in made:
        one["provenance"]["machine"]["processor"] = "</script><b onclick=window.broken=1>"
    failure["message"] = "</script><img src=x onerror=window.broken=1>"
    failure["specs"]["model"] = '"><script>window.broken=1</script>'
    return made, [failure]


def test_the_page_is_as_committed(records, failure, golden):
    text = page(records, [failure])
    text = re.sub(r"(?s)<style>.*?</style>", "<style>STYLE</style>", text)
    text = re.sub(r"(?s)<script>.*?</script>", "<script>SCRIPT</script>", text)
    golden("report.html", re.sub(r"sha256-[A-Za-z0-9+/=]+", "HASH", text))


def test_last_bits_of_numbers_are_not_told(records):
    """They depend on the processor, and a page that is looked at elsewhere is still current."""

    def values():
        report = contents(Collection.of(records), records, figures=False)
        made = report_files(report, ["html"])["report.html"].decode()
        return re.findall(r'data-v="([^"]*)"', made.split("<h2>Cost")[0])

    before = values()
    for record in records:
        record["metrics"]["accuracy"] = math.nextafter(record["metrics"]["accuracy"], 0.0)
    assert before
    assert values() == before


def test_nothing_comes_from_outside(records):
    text = page(records, figures=True)
    links = [
        value
        for _, attributes in Elements(text).found
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster")
    ]
    assert links
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in links if link)
    assert not re.findall(r"url\(|@import|https?://|//cdn|fetch\(|XMLHttp", text.split("<main>")[0])
    policy = next(
        attributes["content"]
        for tag, attributes in Elements(text).found
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_names_and_messages_are_text(hostile):
    text = page(*hostile)
    elements = Elements(text)
    assert [tag for tag, _ in elements.found].count("script") == 2
    assert not [tag for tag, _ in elements.found if tag in ("img", "b")]
    assert not [a for _, attributes in elements.found for a in attributes if a.startswith("on")]
    data = json.loads(elements.scripts[0])
    assert NASTY in data["texts"]


def test_every_number_of_a_table_leads_to_its_cells(records, failure):
    elements = Elements(page(records, [failure]))
    data = json.loads(elements.scripts[0])
    used = {int(a["data-k"]) for tag, a in elements.found if tag == "button" and "data-k" in a}
    assert used == set(range(len(data["links"])))
    assert all(data["links"])
    ids = {cell[data["fields"].index("id")] for cell in data["cells"]}
    assert ids == {record["id"] for record in records}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not there (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def opened(browser, records, failure, tmp_path) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the page of some records, on a screen of some width."""

    def opens(
        made=None, failures=None, width: int = 1200, scheme: str = "light", figures: bool = False
    ) -> Any:
        failures = [failure] if failures is None else failures
        write_report(tmp_path, made or records, failures, ["html"], anew=True, figures=figures)
        browser.get_log("browser")
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        looks = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": looks})
        browser.get(Path(tmp_path / "report.html").as_uri())
        return browser

    yield opens
    assert browser.get_log("browser") == []


def find(driver: Any, selector: str) -> Any:
    return driver.find_element("css selector", selector)


def shown(driver: Any, column: int = 1) -> list[str]:
    """The texts of a column of the first table, of rows that are not filtered away."""
    rows = "#accuracy article tbody tr:not([hidden])"
    cells = driver.find_elements("css selector", f"{rows} > td:nth-child({column})")
    return [cell.text for cell in cells]


def test_a_heading_sorts_by_value_up_down_and_back(opened):
    driver = opened()
    before = shown(driver, 4)
    head = find(driver, "#accuracy article th:nth-child(4)")
    ways = []
    for _ in range(3):
        head.find_element("css selector", "button").click()
        ways.append((head.get_attribute("aria-sort"), shown(driver, 4)))
    values = sorted((t for t in before if t != "–"), key=lambda text: float(text.split()[0]))
    assert ways[0] == ("ascending", [*values, "–"])
    assert [way for way, _ in ways] == ["ascending", "descending", "none"]
    assert ways[1][1][0] == values[-1]
    assert ways[1][1][-1] == "–"
    assert ways[2][1] == before


def test_numbers_are_sorted_as_numbers(opened):
    driver = opened()
    find(driver, "#accuracy article th:nth-child(2) button").click()
    assert shown(driver, 2)[0] == "10"
    assert shown(driver, 2)[-1] == "100"


def test_a_filter_shows_rows_with_every_word(opened):
    driver = opened()
    field = find(driver, "#accuracy article input[type=search]")
    field.send_keys("DQ 95")
    assert shown(driver) == ["adq[alpha=0.7]", "dq"]
    assert find(driver, "#accuracy article output").text == "2 of 8 rows"
    field.clear()
    field.send_keys("nothing like it")
    assert shown(driver) == []


def test_a_choice_shows_its_rows_and_sorting_keeps_it(opened):
    select = pytest.importorskip("selenium.webdriver.support.select").Select
    driver = opened()
    select(find(driver, "#accuracy article select")).select_by_visible_text("dq")
    assert shown(driver) == ["dq"] * 3
    find(driver, "#accuracy article th:nth-child(2) button").click()
    assert shown(driver, 2) == ["10", "20", "30"]


def test_a_number_shows_its_cells_costs_and_origin(opened):
    driver = opened()
    row = next(
        row
        for row in driver.find_elements("css selector", "#accuracy article tbody tr")
        if row.text.startswith("dq 10 ")
    )
    row.find_element("css selector", "td:nth-child(4) button").click()
    assert find(driver, "#pane").get_attribute("open")
    assert find(driver, "#pane-title").text == "dq · 10 % · accuracy %: 90.20 ± 0.86"
    told = find(driver, "#pane-body").text
    for seed in range(3):
        assert f"cell-2-dq-10-{seed} {seed}/{seed}" in told
    for wanted in ("89.80", "90.40", "0.5", "120", "6,500", "a processor", "0123456789ab"):
        assert wanted in told
    link = find(driver, "#pane-body a").get_attribute("href")
    assert link.endswith("/records/cell-2-dq-10-0.json")


def test_a_difference_shows_the_cells_of_both(opened):
    driver = opened()
    find(driver, "#accuracy article tbody tr:nth-child(4) td:nth-child(6) button").click()
    told = find(driver, "#pane-body").text
    assert "Made of 6 cells" in told
    assert "cell-2-random-10-0 random" in told


def test_the_keyboard_is_enough(opened):
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    driver = opened()
    body = find(driver, "body")
    for _ in range(60):
        body.send_keys(keys.TAB)
        focused = driver.switch_to.active_element
        if focused.get_attribute("data-k"):
            break
    number = focused.text
    focused.send_keys(keys.ENTER)
    assert find(driver, "#pane").get_attribute("open")
    assert number in find(driver, "#pane-title").text
    driver.switch_to.active_element.send_keys(keys.ESCAPE)
    assert not find(driver, "#pane").get_attribute("open")
    assert driver.switch_to.active_element.text == number
    assert driver.execute_script(
        "return getComputedStyle(document.activeElement).outlineStyle"
    ) == ("solid")


def test_a_hostile_name_runs_nothing(opened, hostile):
    driver = opened(*hostile)
    assert NASTY in shown(driver)
    for button in driver.find_elements("css selector", "#accuracy article td button")[:6]:
        button.click()
        assert "onclick" in find(driver, "#pane-body").text
        find(driver, "#pane-close").click()
    assert driver.execute_script("return window.broken") is None


def test_a_phone_scrolls_tables_not_the_page(opened):
    driver = opened(width=PHONE)
    assert driver.execute_script("return document.documentElement.scrollWidth") == PHONE
    box = find(driver, ".scroll")
    assert driver.execute_script("return arguments[0].scrollWidth", box) > PHONE
    find(driver, "td button").click()
    assert find(driver, "#pane").size["width"] <= PHONE
    assert driver.execute_script("return document.documentElement.scrollWidth") == PHONE


def test_a_phone_scrolls_wide_figures_and_does_not_shrink_them(opened):
    driver = opened(width=PHONE, figures=True)
    assert driver.execute_script("return document.documentElement.scrollWidth") == PHONE
    assert driver.execute_script("return document.querySelector('.picture img').width") > PHONE


def test_a_long_name_is_broken_at_its_commas_and_is_the_same_text(opened, record):
    name = "adq[edition=released,extractor=resnet8,extractor_epochs=10]"
    driver = opened([record(name, "10", seed, 90.0) for seed in range(3)], [], width=PHONE)
    assert shown(driver) == [name]
    html = find(driver, "#accuracy article td").get_attribute("innerHTML")
    assert html.split("<wbr>")[2:] == [
        "released,",
        "extractor=",
        "resnet8,",
        "extractor_epochs=10]",
    ]


def test_dark_and_light_follow_the_reader(opened):
    colours = {}
    for scheme in ("light", "dark"):
        driver = opened(scheme=scheme)
        colours[scheme] = [
            driver.execute_script(f"return getComputedStyle(document.body).{name}")
            for name in ("backgroundColor", "color")
        ]
    brightness = {
        scheme: [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in found]
        for scheme, found in colours.items()
    }
    assert brightness["light"][0] > 600 > 200 > brightness["light"][1]
    assert brightness["dark"][0] < 200 < 600 < brightness["dark"][1]


def test_a_printer_gets_the_tables_without_controls(opened):
    driver = opened()
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    for hidden in ("nav", ".filters", ".tools"):
        assert not find(driver, hidden).is_displayed()
    assert find(driver, "article table").is_displayed()
    visible = "return getComputedStyle(document.querySelector('.scroll')).overflowX"
    assert driver.execute_script(visible) == "visible"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_an_empty_report_is_a_page_too(opened):
    driver = opened([], [])
    assert driver.title == "Dataset compression: results"
