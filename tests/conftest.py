"""Fixtures for every test: distributions for one test only; the loop of async tests, and their limit; a browser."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest


class FakeDistributions:
    """A folder on `sys.path` with distributions in it; called, it finds them and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def add(
        self,
        name: str,
        code: str = "",
        *,
        version: str = "1.0",
        requires: Iterable[str] = (),
        folder: str = "",
        **kinds: Mapping[str, str],
    ) -> str:
        """Install distribution `name` with a module of this code; `kinds` maps kind to {entry name: attribute}."""
        module = f"fake_{name.replace('-', '_')}"
        home = self.folder / folder
        info = home / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {name}",
            f"Version: {version}",
            *(f"Requires-Dist: {line}" for line in requires),
        ]
        (info / "METADATA").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
        points = ""
        for kind, entries in kinds.items():
            points += f"[longshore.{kind}]\n" + "".join(f"{key} = {module}:{value}\n" for key, value in entries.items())
        (info / "entry_points.txt").write_text(points, encoding="utf-8")
        mark = f"import pathlib as _p\n_p.Path({str(self.folder / f'{module}.imported')!r}).touch()\n"
        (home / f"{module}.py").write_text(mark + dedent(code), encoding="utf-8")
        self.modules.append(module)
        importlib.invalidate_caches()
        return module

    def imported(self) -> set[str]:
        """Return the modules that were imported, in whatever process."""
        return {path.stem for path in self.folder.glob("*.imported")}

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
def fake_distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDistributions]:
    """Distributions of this test's own, importable while it runs."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    made = FakeDistributions(folder)
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


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
