"""Processors that come with an installed distribution: there when it is, used by name, and left out by the settings."""

from __future__ import annotations

import base64
import ensurepip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from longshore import PluginError, ProcessorContext, RetryPolicy, Settings, WorkerPool
from longshore.plugins import PluginPolicy

pytestmark = pytest.mark.anyio

CODE = """
from longshore.hookspecs import hookimpl
from longshore.processor import ProcessorMetadata, ProcessorResult

class Weigh:
    metadata = ProcessorMetadata(name="weigh", version="1.2", is_cpu_intensive=True)

    @hookimpl
    def initialize(self): ...

    @hookimpl
    def process(self, context):
        if context.document_id == "broken":
            raise ValueError("the scales are broken")
        return ProcessorResult(data={"weighs": len(context.document_id)})

    @hookimpl
    def cleanup(self): ...

    @hookimpl
    def health_check(self):
        return True
"""
USE = """
import asyncio, sys
from longshore import ProcessorContext, WorkerPool

async def main():
    async with WorkerPool() as pool:
        handle = await pool.process("weigh", ProcessorContext(document_id="four"))
        result = await handle
        print(result.data["weighs"], (await handle.outcome()).worker)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.requirement("req:K02")
async def test_a_processor_appears_with_its_distribution(fake_distributions: Any) -> None:
    """Who installs a distribution can use its processor by name; who disables it cannot, and it is not imported."""
    module = fake_distributions.add("acme-scales", CODE, processors={"weigh": "Weigh"})
    off = Settings(probes=(), plugins=PluginPolicy(disable=("acme-scales",)))
    async with WorkerPool(settings=off) as pool:
        with pytest.raises(PluginError, match="disabled"):
            await pool.process("weigh", ProcessorContext(document_id="four"))
    assert module not in fake_distributions.imported()
    async with WorkerPool(settings=Settings(probes=())) as pool:
        result = await (await pool.options(executor="threads").process("weigh", ProcessorContext(document_id="four")))
    assert result.data == {"weighs": 4}


@pytest.mark.requirement("req:K03")
async def test_a_broken_processor_costs_itself_only(fake_distributions: Any) -> None:
    """One that cannot be imported, keeps no contract, or says nonsense of itself is reported; the pool works on."""
    fake_distributions.add("acme-exit", "raise SystemExit(3)", processors={"exit": "Weigh"})
    fake_distributions.add("acme-hook", CODE.replace("def cleanup", "def cleen_up"), processors={"hook": "Weigh"})
    fake_distributions.add("acme-data", CODE.replace('version="1.2"', 'version="1.2", retry_count=-1'),
                           processors={"data": "Weigh"})  # fmt: skip
    fake_distributions.add("acme-scales", CODE, processors={"weigh": "Weigh"})
    async with WorkerPool(settings=Settings(probes=())) as pool:
        for name, why in [("exit", "SystemExit: 3"), ("hook", "cleen_up"), ("data", "metadata that can't be meant")]:
            with pytest.raises(PluginError, match=why):
                await pool.process(name, ProcessorContext(document_id="four"))
        health = await pool.check_processors("exit", "weigh")
        fine = pool.options(executor="threads")
        assert (await (await fine.process("weigh", ProcessorContext(document_id="four")))).data == {"weighs": 4}
    assert {name: answer.healthy for name, answer in health.items()} == {"exit": False, "weigh": True}


HOOK = """
from longshore.hookspecs import hookimpl

class Watch:
    heard = []

    @hookimpl
    def admit(self, task, snapshot):
        self.heard.append(("admit", task.key))
        return "not today" if task.key == "vetoed" else None

    @hookimpl
    def route(self, task):
        return "threads"

    @hookimpl
    def task_settled(self, task, outcome):
        self.heard.append((outcome.state.value, outcome.key))
"""


@pytest.mark.requirement("req:K09")
async def test_a_hook_sees_and_may_refuse_the_tasks_of_a_processor(fake_distributions: Any) -> None:
    """An installed hook that is listed is asked before, may veto and route, and is told how each task ended."""
    fake_distributions.add("acme-scales", CODE, processors={"weigh": "Weigh"})
    module = fake_distributions.add("acme-watch", HOOK, hooks={"watch": "Watch"})
    async with WorkerPool(settings=Settings(probes=(), hooks=("watch",))) as pool:
        handle = await pool.process("weigh", ProcessorContext(document_id="four"))
        outcome = await handle.outcome()
        with pytest.raises(PluginError, match="not today"):
            await pool.process("weigh", ProcessorContext(document_id="vetoed"))
        once = pool.options(retry=RetryPolicy())
        assert not (await (await once.process("weigh", ProcessorContext(document_id="broken"))).outcome()).ok
    assert outcome.worker is not None
    assert outcome.worker.startswith("thread-"), "what a hook says goes before what the processor declares"
    heard = [("admit", "four"), ("completed", "four"), ("admit", "vetoed"), ("admit", "broken"), ("failed", "broken")]
    assert sys.modules[module].Watch.heard == heard


def make_wheel(folder: Path) -> Path:
    """Write a wheel of a distribution with one processor, as a build tool does."""
    files = {
        "acme_scales.py": CODE,
        "acme_scales-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme-scales\nVersion: 1.2\n",
        "acme_scales-1.2.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "acme_scales-1.2.dist-info/entry_points.txt": "[longshore.processors]\nweigh = acme_scales:Weigh\n",
    }
    record = "acme_scales-1.2.dist-info/RECORD"
    lines = [f"{name},sha256={digest(text)},{len(text.encode())}\n" for name, text in files.items()]
    path = folder / "acme_scales-1.2-py3-none-any.whl"
    with ZipFile(path, "w") as wheel:
        for name, text in {**files, record: "".join(lines) + f"{record},,\n"}.items():
            wheel.writestr(name, text)
    return path


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.requirement("req:K02")
def test_a_processor_comes_with_an_installed_wheel(tmp_path: Path) -> None:
    """Without the wheel nobody knows the processor; installed, it is listed and works; disabled, it is refused."""
    pips = sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    if not pips:
        pytest.skip("this Python brings no pip to install with")
    site = tmp_path / "site"
    site.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LONGSHORE_", "PIP_"))}
    environ = {**kept, "XDG_CONFIG_HOME": str(tmp_path / "config"), "PYTHONPATH": str(site)}

    def python(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run Python in a folder of the test's own."""
        command = [sys.executable, *arguments]
        env = {**environ, **more}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)

    def listed() -> list[str]:
        return [plugin["name"] for plugin in json.loads(python("-m", "longshore", "plugins", "list", "--json").stdout)]

    (tmp_path / "use.py").write_text(USE)
    assert "weigh" not in listed()
    assert "weigh" in python("use.py").stderr.splitlines()[-1]
    install = ("-m", "pip", "install", "--no-index", "--no-deps", "--target", str(site), str(make_wheel(tmp_path)))
    done = python(*install, PYTHONPATH=str(pips[-1]))
    assert done.returncode == 0, done.stderr
    assert "weigh" in listed()
    worked = python("use.py")
    assert worked.stdout.startswith("4 process-"), worked.stderr
    (tmp_path / "longshore.toml").write_text('[plugins]\ndisable = ["acme-scales"]\n')
    refused = python("use.py")
    assert refused.returncode == 1
    assert "it is disabled" in refused.stderr.splitlines()[-1]
