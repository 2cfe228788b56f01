"""A real browser without a window, or the reason why there is none."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")  # the same as in .ci/browser
# Without a GPU, WebGL is drawn by SwiftShader. Chromium's sandbox does not work for root.
FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@contextmanager
def browser() -> Iterator[Browser]:
    """Run the system's Chromium; skip the test, with the reason, where that cannot be."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: make browser")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium here: make browser")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=list(FLAGS), timeout=120_000)
        try:
            yield running
        finally:
            running.close()


def save_picture(page: Page, path: Path) -> None:
    """Save what the window shows as a PNG that is small enough for the documentation."""
    picture = Image.open(io.BytesIO(page.screenshot(timeout=240_000))).convert("RGB")
    assert picture.size == tuple((page.viewport_size or {}).values())
    picture.quantize(256).save(path, optimize=True)
    assert path.stat().st_size < 300_000
