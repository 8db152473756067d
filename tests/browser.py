"""A headless browser for tests of pages: Debian's chromium and chromedriver, driven by selenium. Skips where one is missing."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@contextmanager
def browser(width=1280, height=900, dark=False):
    """Yield a selenium driver without network."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service

    found, driver = next((path for name in BROWSERS if (path := shutil.which(name))), None), shutil.which("chromedriver")
    if found is None or driver is None:
        pytest.skip("no chromium with chromedriver on this machine (apt install chromium chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = found
    for argument in ("--headless=new", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # chromium refuses to start for root otherwise
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        page = selenium.Chrome(options=options, service=Service(driver))
    except WebDriverException as error:
        pytest.skip(f"chromium does not start here: {str(error).splitlines()[0]}")
    try:
        page.execute_cdp_cmd("Network.enable", {})
        page.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0})
        resize(page, width, height)
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
        yield page
    finally:
        page.quit()


def resize(page, width, height=900):
    """Set the size of the view."""
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})


def visit(page, path):
    """Open a file and wait until its script has set everything up."""
    from selenium.webdriver.support.ui import WebDriverWait

    page.get(path.resolve().as_uri())
    WebDriverWait(page, 60).until(lambda p: p.execute_script("return document.documentElement.dataset.ready") == "yes")


def errors(page):
    """Messages of the console that are errors or warnings."""
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
