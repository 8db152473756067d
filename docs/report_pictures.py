"""Pictures of a report, at 1280 px, at 400 px and in the dark: docs/figures/report_*.png.

    python docs/report_pictures.py

500 recorded decisions of the sparse Pong policy on Loihi 2, with cores of 512 neurons. Needs chromium,
chromedriver and selenium, as the tests of pages do.
"""

import base64
import sys
import tempfile
from pathlib import Path

import numpy as np

import neurosim as ns
from neurosim.explore import tornado
from neurosim.model_card import read_card
from neurosim.view.page import report_page

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import browser, visit  # noqa: E402

MODEL = ROOT / "models" / "pong_ppo_sparse"
PICTURES = (("desktop", 1280, 2150, False), ("narrow", 400, 2150, False), ("dark", 1280, 2150, True))
"""Name, width and height in pixels, dark."""


def page() -> str:
    """The report."""
    golden = np.load(MODEL / "golden.npz")
    card = read_card(MODEL / "model.yaml")
    network = ns.set_thresholds(ns.load(MODEL), card.thresholds)
    trace = ns.simulate(network, golden["obs"], resets=golden["episode_start"])
    program = ns.compile(network, ns.Chip.load("loihi2").with_settings({"core.neurons": 512}), trace)
    return report_page(trace, program, ns.price(trace, program), bars=tornado(trace, program))


def take(source: Path, target: Path, width: int, height: int, dark: bool) -> None:
    """Draw the upper `height` pixels of a page."""
    with browser(width, 900, dark) as driver:
        visit(driver, source)
        driver.execute_async_script("setTimeout(arguments[0], 1000)")  # plots are painted after they are set up
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        target.write_bytes(base64.b64decode(picture["data"]))
    print(f"{target}: {target.stat().st_size / 1024:.0f} KiB")


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "report.html"
        source.write_text(page(), encoding="utf-8")
        for name, width, height, dark in PICTURES:
            take(source, ROOT / "docs" / "figures" / f"report_{name}.png", width, height, dark)


if __name__ == "__main__":
    main()
