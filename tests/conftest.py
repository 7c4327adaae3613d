"""Strict JAX for every test: no silent promotion, four devices on any machine."""

import os
import shutil
import tempfile

import jax
import pytest
from hypothesis import settings
from playwright.sync_api import sync_playwright

# The commands keep compilations in the user's folder of caches: here, in one that ends.
_CACHES = tempfile.TemporaryDirectory()
os.environ["XDG_CACHE_HOME"] = _CACHES.name
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_num_cpu_devices", 4)
jax.devices()  # from here on nobody, such as a command under test, can change it

# The same examples at every run; `--hypothesis-profile=thorough` looks for new ones.
settings.register_profile("same", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=20_000, deadline=None)
settings.load_profile("same")

LONGEST_FIRST = (
    "test_kill",
    "test_notebooks",
    "test_train",
    "test_records",
    "test_population",
    "test_fast",
    "test_total",
    "test_docs",
    "test_cells",
    "test_transforms",
    "test_devices",
    "test_sharding",
    "test_machine",
    "test_results",
    "test_study",
    "test_visualize",
    "test_pretrained",
)


@pytest.hookimpl(tryfirst=True)  # before any are left out by their markers
def pytest_collection_modifyitems(items):
    """Starts with the files that take longest, so that all workers end together.

    What is rare is slow, too.
    """
    for item in items:
        if item.get_closest_marker("rare"):
            item.add_marker("slow")
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="module", autouse=True)
def no_more_programs_than_a_process_may_hold():
    """Each is several maps of memory, of which a system allows a process so many."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def quick_compilations():
    """For programs that run once: here, and in a process started from here."""
    before = os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == "1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def x64():
    """Double precision for the length of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window; skips if there is none."""
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("NOT TESTED: pages, for want of chromium: apt-get install it")
    with sync_playwright() as playwright:
        # Without its sandbox: in a container, root may not make one.
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, path):
    """The page at `path`, without a network; it must have nothing to say."""
    context = browser.new_context(offline=True, viewport={"width": 1000, "height": 800})
    opened, said = context.new_page(), []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.on("request", lambda request: said.append(request.url))
    opened.goto(path.as_uri())
    opened.wait_for_selector("#heads td")
    yield opened
    assert opened.locator("#problem").inner_text() == ""
    assert said == [path.as_uri()]
    context.close()
