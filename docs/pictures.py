"""Makes the pictures of the guides and of README again: `python -m docs.pictures`.

It trains a machine on copy, draws the trained machines of `pretrained/`, and takes
screenshots of the pages with Chromium. This takes a few minutes.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from train import main as trainer
from train import visualize, write
from train.serving.beside import served

IMAGES = Path(__file__).parent / "images"
# The picture, the trained machine, and the file that `train.visualize` writes of it.
OF_MACHINES = (
    ("see_copy_weightings.png", "copy", "focus_20.png"),
    ("see_copy_memory.gif", "copy", "memory_20.gif"),
    ("see_repeat_weightings.png", "repeat_copy", "focus_10_10.png"),
    ("see_recall_locations.png", "associative_recall", "locations_6.png"),
    ("see_sort_locations.png", "priority_sort", "locations_20_16.png"),
    ("see_ngrams_prediction.png", "dynamic_ngrams", "prediction_200.png"),
)


def screenshot(page: Path, picture: Path, step: int, height: int = 820) -> None:
    """The page in a browser, at a step within the answer."""
    with sync_playwright() as playwright:
        # Without its sandbox: in a container, root may not make one.
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        opened = browser.new_page(viewport={"width": 1000, "height": height})
        opened.goto(page.as_uri())
        opened.wait_for_selector("#heads td")
        opened.locator("#step").focus()
        opened.keyboard.press("Home")
        for _ in range(step):
            opened.keyboard.press("ArrowRight")
        opened.screenshot(path=picture)
        browser.close()


def live_screenshot(address: str, picture: Path) -> None:
    """The live view of a run, with its newest machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        opened = browser.new_page(viewport={"width": 1000, "height": 1750})
        opened.set_default_timeout(600_000)
        opened.goto(address)
        opened.wait_for_selector("#answers canvas[data-step]")
        opened.wait_for_selector("iframe:not(.behind)")
        opened.screenshot(path=picture)
        browser.close()


def main() -> int:
    """The command; returns its exit status."""
    names = list(dict.fromkeys(machine for _, machine, _ in OF_MACHINES))
    with tempfile.TemporaryDirectory() as folder:
        drawn, run = Path(folder, "drawn"), Path(folder, "run")
        visualize.main(["--pretrained", *names, f"--out={drawn}"])
        for picture, machine, file in OF_MACHINES:
            shutil.copyfile(drawn / machine / file, IMAGES / picture)
        with served(0, run) as address:
            trainer.main([f"--workdir={run}"])
            live_screenshot(str(address), IMAGES / "live.png")
        visualize.main([f"--workdir={run}"])
        shutil.copyfile(
            run / "figures" / "learning.gif", IMAGES / "see_copy_learning.gif"
        )
        visualize.main(["--pretrained", *names, f"--out={drawn}", "--html"])
        screenshot(drawn / "page.html", IMAGES / "see_page.png", step=28)
        play = ["--pretrained=copy", f"--out={drawn}", "--html", "--play"]
        visualize.main(play)
        screenshot(drawn / "play.html", IMAGES / "play.png", step=19, height=1260)
    poem = ["--pretrained=poems", "--acrostic=春江花月", "--form=4x7", "--num_poems=1"]
    write.main([*poem, f"--figure={IMAGES / 'poems.png'}"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
