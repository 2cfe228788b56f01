"""The web viewer in a real browser: play.py as a user runs it, looked at and pressed like a user does."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import browser, save_picture
from PIL import Image
from untrained_run import untrained_run

from legged_gym_ext import paths

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
LONG = 240_000  # ms, on a machine that is busy
SMALL, LARGE = {"width": 900, "height": 500}, {"width": 1120, "height": 680}
COARSE = "?fixedDpr=0.5"
"""For the URL. Without a GPU it takes long to draw much, so only the picture for the documentation has all pixels."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def url(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a page that play.py serves; $VIEWER_RUN is played, where it is set, for a picture with a trained policy."""
    flags = os.environ.get("VIEWER_RUN", "").split()
    flags = flags or [f"--load_run={untrained_run(tmp_path_factory.mktemp('logs'))}"]
    command = [sys.executable, "-u", "play.py", *flags, "--viewer=web", "--viewer_port=0", "--num_envs=4"]
    with subprocess.Popen(
        command, cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as played:
        assert played.stdout
        said = []
        for line in played.stdout:
            said.append(line)
            if found := re.match(r"viewer +(http://\S+)", line):
                break
        else:
            pytest.fail("".join(said))
        yield found[1] if "VIEWER_PICTURE" in os.environ else found[1] + COARSE
        played.terminate()
        rest = played.stdout.read()
    assert played.returncode == 0, rest
    assert "Traceback" not in rest


@pytest.fixture(scope="module")
def page(chromium: Browser, url: str) -> Iterator[Page]:
    with chromium.new_context(viewport=SMALL) as context:
        page = context.new_page()
        open_page(page, url)
        yield page


def open_page(page: Page, url: str) -> None:
    page.set_default_timeout(LONG)
    page.goto(url, timeout=LONG)
    page.get_by_text("along the course").wait_for(timeout=LONG)


def until(met: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LONG / 1000
    while not met():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def scene(page: Page) -> np.ndarray:
    """Return the part of the page where the robot is, with no control on it."""
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot(timeout=LONG))).convert("RGB")).astype(int)
    return picture[50:450, 100:480]


def told(page: Page, pattern: str) -> float:
    """Return a number that the status has."""
    found = re.search(pattern, page.inner_text("body"))
    assert found, page.inner_text("body")
    return float(found[1])


COMMANDED, TIME = r"of ([\d.]+) m/s commanded", r"level \d+, ([\d.]+) s"


def field(page: Page, label: str):
    """Return the number beside a slider."""
    return page.locator("label", has_text=label).locator("xpath=ancestor::*[.//input][1]").locator("input").last


def test_the_page_opens_and_the_robot_moves_until_it_is_paused(page: Page) -> None:
    first = scene(page)
    assert first.std() > 10  # there is something to see
    until(lambda: (np.abs(scene(page) - first) > 30).mean() > 1e-3, "nothing moved")
    page.get_by_label("pause").check()
    stopped: list[float] = []

    def stands() -> bool:
        stopped.append(told(page, TIME))
        return len(stopped) > 3 and len(set(stopped[-3:])) == 1

    until(stands, "it was not paused")
    page.get_by_label("pause").uncheck()
    until(lambda: told(page, TIME) != stopped[-1], "it did not go on")


def test_the_slider_changes_the_command_in_both_browsers_and_a_closed_tab_changes_nothing(
    page: Page, chromium: Browser, url: str
) -> None:
    page.get_by_label("pause").check()  # two pages at once take long without a GPU
    with chromium.new_context(viewport=SMALL) as context:
        other = context.new_page()
        open_page(other, url)
        assert other.get_by_label("pause").is_checked()
        box = field(other, "speed, m/s")
        box.fill("0.35")
        box.press("Enter")
        for each in (other, page):
            until(lambda each=each: told(each, COMMANDED) == 0.35, "the command is as it was")
    assert told(page, COMMANDED) == 0.35
    assert page.get_by_label("pause").is_checked()
    before = told(page, TIME)
    page.get_by_label("pause").uncheck()
    until(lambda: told(page, TIME) != before, "it stands still since the other one left")
    assert told(page, COMMANDED) == 0.35


def test_a_picture_for_the_documentation(page: Page, tmp_path: Path) -> None:
    """With $VIEWER_PICTURE, into that file; it is small enough to be looked at on a page."""
    path = Path(os.environ.get("VIEWER_PICTURE", tmp_path / "viewer.png"))
    page.set_viewport_size(LARGE)  # pyright: ignore[reportArgumentType]
    if "VIEWER_RUN" in os.environ:
        page.get_by_role("button", name="reset", exact=True).click()
        until(lambda: 2.0 < told(page, r"([-\d.]+) m along") < 4.0, "the robot did not walk")
    page.get_by_label("pause").check()
    for button in page.locator(".mantine-Notification-closeButton").all():  # of the notice that there is none
        button.click()
    page.get_by_role("tab", name="Depth").click()
    page.get_by_text("depth image, as the policy sees it").wait_for(timeout=LONG)
    time.sleep(3)
    save_picture(page, path)
    for name, text in (("Actions", "left_hip_yaw"), ("Rewards", "tracking_goal_vel")):
        page.get_by_role("tab", name=name).click()
        page.get_by_text(text).first.wait_for(timeout=LONG)
