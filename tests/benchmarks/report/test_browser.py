"""The page of bench report in a real browser: headless Chromium."""

import shutil

import pytest
from chromium import CONTRAST, chromium
from report_results import EVIL, SEQUENCES

from spcnet.__main__ import main

PLOTS = ("front", "trackers", "curves", "attributes", "starts", "time", "roofline", "sequences")  # sections


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def path(made, tmp_path_factory):
    data, results = made
    target = tmp_path_factory.mktemp("page") / "report.html"
    results = shutil.copytree(results, target.parent / "results")
    speed = (results / "speed.json").read_text()
    (results / "speed.json").write_text(speed.replace("identity of good", "another"))  # for the caution
    assert main(["bench", "report", str(results), "--data", str(data), "-o", str(target)]) == 0
    return target


@pytest.fixture
def show(browser, path):
    """Open the page; fails at the end where it complained or asked for anything else."""
    heard, asked, opened = [], [], []

    def open_page(width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        opened.append(context)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert heard == []
    fetched = [url for url in asked if not url.startswith("data:image/jpeg;base64,")]
    assert fetched == [path.as_uri()] * len(opened)


def test_every_plot_is_there(show):
    page = show()
    for key in PLOTS:
        sizes = page.locator(f"#{key} svg:visible").evaluate_all(
            "all => all.map(e => e.getBoundingClientRect().toJSON())"
        )
        assert sizes and all(size["width"] > 10 and size["height"] > 8 for size in sizes), key
    assert page.locator("#front svg[role=img]:visible").count() == 1  # one of the two widths
    assert page.locator("svg.strip:visible").count() == 3 * len(SEQUENCES)
    pictures = page.locator("svg image").evaluate_all("all => all.map(e => e.getBoundingClientRect().width)")
    assert pictures and all(width > 80 for width in pictures)
    assert page.locator("b:has-text('x')").count() == 0  # a tracker's name is no element
    outside = page.evaluate(
        """[...document.querySelectorAll("main svg:not(.strip) text")].filter(text => {
          const a = text.getBoundingClientRect(), b = text.ownerSVGElement.getBoundingClientRect();
          return a.width && (a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1);
        }).map(text => text.textContent)"""
    )
    assert outside == []


@pytest.mark.parametrize("width", (360, 700, 1280))
def test_nothing_overflows(show, width):
    page = show(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("details").evaluate_all("all => all.forEach(e => e.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#front .narrow").is_visible() == (width == 360)


def test_a_tracker_is_switched_off_by_the_keyboard(show):
    page = show()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "show-0":
            break
    box = page.locator("#show-0")
    assert box.evaluate("e => e === document.activeElement && e.matches(':focus-visible')")
    label = page.locator(".trackers label").first
    assert label.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    drawn = "main svg:not(.swatch) .k0:visible"
    every = page.locator(drawn).count()
    assert every > 20
    for key in ("Space", "Enter"):
        page.keyboard.press(key)
        assert not box.is_checked() and page.locator(drawn).count() == 0
        assert page.locator(".strips .k0:visible").count() == 0
        assert page.locator("main svg:not(.swatch) .k1:visible").count() > 20
        page.keyboard.press(key)
        assert box.is_checked() and page.locator(drawn).count() == every
    page.locator("#curves .legend label").first.click()  # a name in a legend does the same
    name = page.locator("#curves .legend label").first
    assert not page.locator("#" + name.get_attribute("for")).is_checked()


def test_values_at_a_threshold(show):
    page = show()
    figure = page.locator("#curves figure").first
    value, what = figure.locator(".legend li b").first, figure.locator(".what")
    rest = value.text_content()
    figure.locator("input.probe").focus()
    page.keyboard.press("Home")
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    row = figure.locator("tbody tr").nth(8).locator("th, td").all_text_contents()
    assert (what.text_content(), value.text_content()) == (f"at {row[0]}", row[1]) and row[0] == "0.4"
    assert row[1] in figure.locator("input.probe").get_attribute("aria-valuetext")
    assert figure.locator(".cursor.on").get_attribute("x1") == f"{46 + 312 * 0.4:g}"
    page.locator("#show-0").focus()
    assert (what.text_content(), value.text_content()) == ("AUC", rest)
    plot = figure.locator("svg[role=img]")
    plot.scroll_into_view_if_needed()
    size = plot.bounding_box()
    page.mouse.move(size["x"] + size["width"] * (46 + 312 * 0.8) / 370, size["y"] + 60)
    assert what.text_content() == "at 0.8"
    page.mouse.move(2, 2)
    assert value.text_content() == rest


def test_the_theme_follows_the_system_and_the_choice(show):
    grounds = {}
    for scheme in ("light", "dark"):
        page = show(color_scheme=scheme)
        ground = lambda page=page: page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds[scheme] = ground()
        page.locator("#theme-dark").check(force=True)
        dark = ground()
        page.locator("#theme-light").check(force=True)
        assert {dark, ground()} == {"rgb(20, 23, 27)", "rgb(255, 255, 255)"}
        page.locator("#theme-system").check(force=True)
        assert ground() == grounds[scheme]
    assert grounds["light"] != grounds["dark"]


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_text_can_be_read(show, scheme):
    page = show(color_scheme=scheme)
    page.locator("details").evaluate_all("all => all.forEach(e => e.open = true)")
    kinds = (
        "h1/p.lead/dt/dd small/nav a/figcaption/thead th/tbody td/td small/summary/.note li/.caution/.keys li"
        "/.legend b/.trackers span/.theme span/h3 small/pre/svg text/svg text.end/text.inside"
    )
    for kind in kinds.split("/"):
        found = page.locator(kind).evaluate_all(f"all => all.slice(0, 9).map({CONTRAST})")
        assert found and min(found) >= 4.5, kind


def test_all_can_be_read_without_the_script(show):
    page = show(java_script_enabled=False)
    assert page.locator("input.probe:visible").count() == 0
    assert page.get_by_text(f"{EVIL} is loaded").is_visible()
    page.locator("#show-1").uncheck()
    assert page.locator("main svg:not(.swatch) .k1:visible").count() == 0
    page.locator("#curves summary").first.click()
    assert page.locator("#curves table").first.is_visible()


def test_it_prints_light_and_without_what_is_to_be_pressed(show):
    page = show(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav:visible, .theme:visible, input.probe:visible").count() == 0
    assert page.pdf(format="A4")[:5] == b"%PDF-"
