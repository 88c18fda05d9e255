"""Fixtures for every test: distributions for one test only; the loop of async tests, and their limit; a browser."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest
from longshore.testing import TmpPlugin, tmp_plugin


class FakeDistributions:
    """A folder on `sys.path` with distributions in it; called, it finds them and nothing else."""

    def __init__(self, folder: Path, installed: ExitStack) -> None:
        self.folder = folder
        self.plugins: list[TmpPlugin] = []
        self._installed = installed

    def add(self, name: str, code: str = "", *, folder: str = "", **rest: Any) -> str:  # Any: as `tmp_plugin` has it
        """Install distribution `name` with a module of this code, whose name is returned."""
        plugin = self._installed.enter_context(tmp_plugin(name, code, folder=self.folder / folder, **rest))
        self.plugins.append(plugin)
        return plugin.module

    def imported(self) -> set[str]:
        """Return the modules that were imported, in whatever process."""
        return {plugin.module for plugin in self.plugins if plugin.was_imported()}

    def __call__(self) -> Iterable[Distribution]:
        """Find the distributions of the folder."""
        return distributions(path=[str(self.folder)])


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what a run leaves behind, such as the last failures of plugins, out of the user's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def fake_distributions(tmp_path: Path) -> Iterator[FakeDistributions]:
    """Distributions of this test's own, importable while it runs."""
    folder = tmp_path / "site"
    folder.mkdir()
    with ExitStack() as installed:
        yield FakeDistributions(folder, installed)


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, the only loop there is for a pool."""
    return "asyncio"


@pytest.fixture
async def deadline() -> AsyncIterator[None]:
    """Cancel an async test that takes longer than 20 s: it runs in a task of its own, on one loop with the fixture."""
    test = asyncio.all_tasks() - {asyncio.current_task()}
    loop = asyncio.get_running_loop()
    timer = loop.call_later(20.0, lambda: [task.cancel("past the test's deadline") for task in test])
    yield
    timer.cancel()


@pytest.fixture
def browsed() -> Callable[[Path, Callable[[Any], None]], None]:  # Any: playwright's page, which need not be here
    """Open a file in Chromium, where there is one, and look at it: it logs nothing, and asks for nothing but itself."""
    browsers = pytest.importorskip("playwright.sync_api", reason="no playwright here")
    chromium = shutil.which("chromium") or pytest.skip("no chromium here")

    def browse(file: Path, look: Callable[[Any], None]) -> None:  # Any: as above
        said: list[str] = []
        asked: list[str] = []
        with browsers.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            try:
                page = browser.new_page()
                page.on("console", lambda message: said.append(message.text))
                page.on("pageerror", lambda error: said.append(str(error)))
                page.on("dialog", lambda dialog: said.append(dialog.message))
                page.on("request", lambda request: asked.append(request.url))
                page.goto(file.as_uri())
                look(page)
            finally:
                browser.close()
        assert (said, asked) == ([], [file.as_uri()])

    return browse
