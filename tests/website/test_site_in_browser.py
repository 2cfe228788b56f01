"""The site in a real browser, as somebody reads it who has no network but this one page."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import browser, save_picture

from website.__main__ import BUILD, SITE

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
LONG = 60_000


class Quiet(SimpleHTTPRequestHandler):
    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of the site that ``make docs`` built, from a server of this machine: browsers do not search in files."""
    if not (BUILD / SITE / "index.html").exists():
        pytest.skip("the site is not built: make docs")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(BUILD / SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Page]:
    """A page that fails the test where it asks for anything that is not there, or from elsewhere."""
    wrong: list[str] = []
    with browser() as running, running.new_context(viewport={"width": 1300, "height": 800}) as context:
        page = context.new_page()
        page.set_default_timeout(LONG)
        page.on(
            "request", lambda asked: None if asked.url.startswith((url, "data:", "blob:")) else wrong.append(asked.url)
        )
        page.on("response", lambda got: None if got.status < 400 else wrong.append(f"{got.status} {got.url}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url, timeout=LONG)
        yield page
    assert not wrong


def test_a_reader_goes_from_page_to_page(page: Page, url: str, tmp_path: Path) -> None:
    """With $SITE_PICTURE, a picture of a page goes into that file."""
    assert page.get_by_role("heading", level=1).is_visible()
    page.get_by_role("link", name="Concepts").first.click()
    page.wait_for_url("**/concepts.html*", timeout=LONG)
    page.get_by_role("heading", level=1, name="Concepts").wait_for()
    for picture in page.locator("article img").all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("e => e.complete || e.decode().then(() => true)")
        assert picture.evaluate("e => e.naturalWidth") > 0
    page.goto(url + "first_hour.html", timeout=LONG)
    save_picture(page, Path(os.environ.get("SITE_PICTURE", tmp_path / "site.png")))


def test_a_key_is_found_by_searching_for_it(page: Page, url: str) -> None:
    page.goto(url + "index.html", timeout=LONG)
    page.keyboard.press("/")
    page.locator("input[type=text], input:not([type]), input[type=search]").first.fill("even_share")
    page.locator("a:visible", has_text="curriculum.even_share").first.wait_for()
