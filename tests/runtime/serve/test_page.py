"""The page of the console in a real browser: headless Chromium, with a real mouse, fingers and keys."""

from contextlib import contextmanager

import cv2
import numpy as np
import pytest
import synthetic
from chromium import CONTRAST, chromium
from consoles import serve

from spcnet.common.metrics import iou

SIZE, SEEN, COUNT = (360, 640), 8, 16  # of the frames, and how many show the target


@pytest.fixture(scope="module")
def truth():
    """The frames that show the target, and its boxes."""
    return synthetic.moving_target(SEEN, SIZE, (60, 80), velocity=(1.5, 3.0))


@pytest.fixture(scope="module")
def console(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    noise = np.random.default_rng(0).integers(0, 256, (COUNT - SEEN, *SIZE, 3), np.uint8)
    for number, image in enumerate([*truth[0], *noise]):
        cv2.imwrite(str(folder / f"{number:02d}.png"), image)
    with serve(folder, record=folder / "boxes") as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@contextmanager
def opened(browser, console, **options):
    """The page; fails at the end where it complained or asked for anything else."""
    heard, asked = [], []
    context = browser.new_context(reduced_motion="reduce", **options)
    page = context.new_page()
    page.set_default_timeout(8_000)
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://127.0.0.1:{console.port}/")
    yield page
    context.close()
    assert heard == []
    here = (f"http://127.0.0.1:{console.port}/", f"ws://127.0.0.1:{console.port}/", "blob:")
    assert [url for url in asked if not url.startswith(here)] == []


@pytest.fixture(scope="module")
def desktop(browser, console):
    with opened(browser, console, viewport={"width": 1280, "height": 800}) as page:
        yield page


@pytest.fixture
def page(desktop):
    """The page of a console that is held at its first frame, without targets."""
    begin(desktop)
    return desktop


def begin(page):
    page.locator("#reopen:enabled").wait_for()
    page.locator("#position").evaluate("e => { e.textContent = '' }")  # it may say frame 1 already
    page.locator("#reopen").click()
    page.locator("#position", has_text="frame 1 of").wait_for()
    page.locator("#no-target").wait_for()


def point(page, x, y):
    """Where a pixel of the source is on the page."""
    area = page.locator("#picture").bounding_box()
    return area["x"] + x * area["width"] / SIZE[1], area["y"] + y * area["height"] / SIZE[0]


def drag(page, start, end):
    page.mouse.move(*point(page, *start))
    page.mouse.down()
    page.mouse.move(*point(page, *((a + b) / 2 for a, b in zip(start, end, strict=True))))
    page.mouse.move(*point(page, *end))
    page.mouse.up()


def draw(page, box):
    x, y, w, h = box
    drag(page, (x, y), (x + w, y + h))


def drawn(page, target="div.box.selected"):
    """The box that is shown, in pixels of the source."""
    area, box = page.locator("#picture").bounding_box(), page.locator(f"#boxes {target}").bounding_box()
    scale = SIZE[1] / area["width"]
    return [
        (box["x"] - area["x"]) * scale,
        (box["y"] - area["y"]) * scale,
        box["width"] * scale,
        box["height"] * scale,
    ]


def overlap(one, other):
    return iou(np.array([one], float), np.array([other], float))[0]


def step(page, number):
    page.locator("#step").click()
    page.locator("#position", has_text=f"frame {number + 1} of").wait_for()


def test_a_target_is_drawn_tracked_lost_begun_anew_and_dropped(page, truth):
    draw(page, truth[1][0])
    row = page.locator("li.target")
    row.wait_for()
    name = row.locator(".name").text_content()
    assert overlap(drawn(page), truth[1][0]) > 0.9
    for number in range(1, 6):
        step(page, number)
        assert overlap(drawn(page), truth[1][number]) > 0.6
    assert row.locator(".status").text_content() == "tracking"
    assert 0 < float(row.locator(".score").text_content()) < 1.5
    page.locator("#play").click()
    page.locator("#message", has_text="come to its end").wait_for()
    assert row.locator(".status").text_content() == "lost" and row.locator(".mark").text_content() == "✕"
    assert page.locator("#boxes .LOST").evaluate("e => getComputedStyle(e).borderStyle") == "dotted"
    page.locator("#reopen").click()  # without targets, from the first frame
    row.wait_for(state="detached")
    page.locator("#position", has_text="frame 1 of").wait_for()
    draw(page, (300, 200, 90, 70))  # of the ground
    row.wait_for()
    name = row.locator(".name").text_content()
    x, y, w, h = truth[1][0]
    drag(page, (345, 235), (x + w / 2, y + h / 2))  # the selected box is moved: to the target
    page.locator("#message", has_text="begins anew").wait_for()
    assert row.count() == 1 and row.locator(".name").text_content() == name
    step(page, 1)
    assert overlap(drawn(page), truth[1][1]) > 0.6
    row.locator(".drop").click()
    row.wait_for(state="detached")
    assert page.locator("#boxes div").count() == 0 and page.locator("#no-target").is_visible()


def test_a_box_outside_or_of_no_size_is_refused_in_a_sentence(page, truth):
    drag(page, (100, 50), (100, 150))
    problem = page.locator("#problem")
    problem.wait_for()
    assert "give a positive width and height" in problem.text_content()
    drag(page, (500, 250), (900, 700))  # over the edge of the picture: to its edge
    page.locator("li.target").wait_for()
    assert overlap(drawn(page), (500, 250, 140, 110)) > 0.9 and not problem.is_visible()


def test_all_can_be_done_by_keys(page, truth):
    page.locator("#add").focus()
    page.keyboard.press("Shift+Tab")
    assert page.locator("#stage").evaluate("e => e.matches(':focus-visible')")
    for key in ("Enter", "ArrowLeft", "ArrowUp", "Shift+ArrowRight"):
        page.keyboard.press(key)
    assert overlap(drawn(page, ".DRAFT"), (271, 131, 94, 90)) > 0.95
    page.keyboard.press("Escape")
    assert page.locator("#draft").is_hidden()
    page.locator("#add").focus()
    page.keyboard.press("Enter")
    for name, value in zip("xywh", truth[1][0], strict=True):
        page.locator(f"#draft [name={name}]").fill(f"{value:.1f}")
    page.keyboard.press("Enter")
    page.locator("li.target").wait_for()
    assert overlap(drawn(page), truth[1][0]) > 0.95
    page.locator("#stage").focus()
    page.keyboard.press(".")
    page.locator("#position", has_text="frame 2 of").wait_for()
    page.keyboard.press("Delete")
    page.locator("#no-target").wait_for()
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert reached >= {
        "add",
        "play",
        "step",
        "reopen",
        "record",
        "response-on",
        "uncertain_score",
        "lost_score",
    }


def swipe(page, start, end):
    session = page.context.new_cdp_session(page)
    places = [[dict(zip("xy", point(page, *at), strict=True))] for at in (start, end)]
    for kind, touches in zip(("touchStart", "touchMove", "touchEnd"), (*places, []), strict=True):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


def test_fingers_draw_where_it_was_asked_for(browser, console, truth):
    x, y, w, h = truth[1][0]
    with opened(
        browser, console, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    ) as page:
        begin(page)
        swipe(page, (100, 100), (200, 100))  # across, for nothing to be scrolled
        page.locator("#add").tap()
        page.locator(".DRAFT").wait_for()
        swipe(page, (x, y), (x + w, y + h))
        page.locator("li.target").wait_for()
        page.locator("#message", has_text="was added").wait_for()
        assert page.locator("li.target").count() == 1 and overlap(drawn(page), truth[1][0]) > 0.8
        page.locator("li.target .drop").click()  # a tap would only stop what a swipe has set in motion
        page.locator("#no-target").wait_for()


def test_settings_and_the_response_map(page, truth):
    draw(page, truth[1][0])
    page.locator("li.target").wait_for()
    page.locator("#lost_score").fill("0.9")
    page.keyboard.press("Enter")
    page.locator("#problem", has_text="above uncertain_score").wait_for()
    page.locator("#uncertain_score").fill("1")
    page.keyboard.press("Enter")
    page.locator("#response-on").check()
    step(page, 1)
    page.locator("li.target[data-status=UNCERTAIN], li.target[data-status=LOST]").wait_for()
    page.locator("#map[aria-label*=peak]").wait_for()
    colours = page.locator("#map").evaluate(
        "e => new Set(e.getContext('2d').getImageData(0, 0, e.width, e.height).data).size"
    )
    assert colours > 50
    page.locator("#defaults").click()
    page.locator("#defaults:disabled").wait_for()
    page.locator("li.target .drop").click()
    page.locator("#no-target").wait_for()
    page.locator("#response").wait_for(state="hidden")  # the map of a target that is there no more
    draw(page, truth[1][1])
    page.locator("#map[aria-label*=peak]").wait_for()
    page.locator("#response-on").uncheck()
    page.locator("#response").wait_for(state="hidden")


def test_boxes_are_recorded_and_downloaded(page, truth):
    draw(page, truth[1][0])
    page.locator("li.target").wait_for()
    page.locator("#record[aria-pressed=false]").click()
    page.locator("#record[aria-pressed=true]").wait_for()
    step(page, 1)
    page.locator("#record").click()
    with page.expect_download() as waiting:
        page.locator("#files li", has_text=".csv").last.locator("button").click()
    lines = waiting.value.path().read_text().splitlines()
    assert lines[0].startswith("frame,time,target") and lines[1].startswith("1,")


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_it_fits_and_can_be_read(page, truth, scheme):
    draw(page, truth[1][0])
    step(page, 1)
    page.emulate_media(color_scheme=scheme)
    for width in (360, 700, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    kinds = "h1/h1 small/h2/dt/dd/button:enabled/.hint/.position/.status/#link/label/#stages td/.figures span"
    for kind in kinds.split("/"):
        found = page.locator(f"{kind}:visible").evaluate_all(f"all => all.slice(0, 9).map({CONTRAST})")
        assert found and min(found) >= 4.5, kind
    named = "!(e.textContent.trim() || e.ariaLabel || e.labels?.length)"
    unnamed = page.locator("button:visible, input:visible").evaluate_all(
        f"all => all.filter(e => {named}).map(e => e.outerHTML)"
    )
    assert unnamed == []


def test_it_comes_back_when_the_server_does(page, console):
    page.evaluate("window.stays = 1")
    for viewer in list(console.desk._viewers):
        console.desk._loop.call_soon_threadsafe(viewer.socket.transport.abort)
    page.locator("#link", has_text="connecting").wait_for()
    page.locator("#link", has_text="connected").wait_for()
    page.locator("#step").click()
    page.locator("#position", has_text="frame 2 of").wait_for()
    assert page.evaluate("window.stays") == 1


def test_a_picture_that_takes_long_to_decode_does_not_hide_what_came_after_it(page, truth):
    """The target is added while the frame's picture is decoded, in a state that has no picture."""
    slow = "s => new Promise(done => setTimeout(done, 500)).then(() => decode(s))"
    page.evaluate(f"decode = createImageBitmap; window.createImageBitmap = {slow}; 0")
    try:
        page.locator("#step").click()
        draw(page, truth[1][0])
        page.locator("#position", has_text="frame 2 of").wait_for()
        page.locator("li.target").wait_for()
        page.wait_for_timeout(1000)
        assert page.locator("li.target").count() == 1
    finally:
        page.evaluate("window.createImageBitmap = decode; 0")


def test_the_token_is_asked_for(browser, truth, tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), truth[0][0])
    with serve(tmp_path, host="0.0.0.0") as console:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{console.port}/")
        page.locator("#token").fill(console.access.token)
        page.keyboard.press("Enter")
        page.locator("#position", has_text="frame 1 of").wait_for()
        page.reload()  # the address has it
        page.locator("#position", has_text="frame 1 of").wait_for()
        page.close()
