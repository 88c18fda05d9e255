"""What the probe's tests share: a fake libnvidia-ml.so.1, and a process in which the real nvidia-ml-py loads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")
NO_COMPILER = "no C compiler here: the fake libnvidia-ml.so.1 is compiled by the tests"
READER = """
import json, logging, os, sys
from longshore.records import ReadRequest
from longshore_nvml import NvmlProbe

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("longshore.nvml").addHandler(handler)
logging.getLogger("longshore.nvml").propagate = False
probe = None
for line in sys.stdin:
    order, _, rest = line.strip().partition(" ")
    if order == "new":
        probe = NvmlProbe(environ=json.loads(rest))
    elif order == "close":
        probe.close()
    elif order == "forget":
        del probe
    reading = probe.read(ReadRequest([os.getpid()])) if order == "read" else None
    usage = {k: [u.used, u.capacity, u.own] for k, u in reading.usage.items()} if reading is not None else None
    workers = len(reading.workers) if reading is not None else 0
    print(json.dumps({"usage": usage, "workers": workers, "said": said, "loaded": "pynvml" in sys.modules}), flush=True)
    said.clear()
"""


def compiler() -> str | None:
    """Return the system's C compiler, None where there is none."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


class Reader:
    """A process with the probe in it, and a machine that says of its GPUs what stands in a file."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._machine = folder / "machine"
        self._calls = folder / "machine.calls"
        self._machine.touch()
        self.environ = {**os.environ, "FAKE_NVML": str(self._machine), "LD_LIBRARY_PATH": str(library.parent)}
        """For any process that is to find this machine's GPUs."""
        self.environ.pop("CUDA_VISIBLE_DEVICES", None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER], env=self.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.said: list[str] = []
        """What was logged with the last order."""

    def has(self, *devices: dict[str, Any], **whole: Any) -> None:
        """Have the machine say this of its devices: numbers, or "!15" for an error."""
        lines = [f"{key} {value}" for key, value in {"count": len(devices), **whole}.items()]
        lines += [f"{n}.{key} {value}" for n, device in enumerate(devices) for key, value in device.items()]
        fresh = self._machine.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n", "ascii")
        fresh.replace(self._machine)

    def new(self, **environ: str) -> None:
        """Make another probe, which sees these variables."""
        self.tell(f"new {json.dumps(environ)}")  # the one before gives the library back
        self._calls.unlink(missing_ok=True)

    def read(self) -> dict[str, tuple[float, float | None, float | None]]:
        """Return one reading: used, capacity and own part by key."""
        answer = self.tell("read")
        assert answer["workers"] == 0
        return {key: tuple(usage) for key, usage in answer["usage"].items()}

    def tell(self, order: str) -> dict[str, Any]:
        """Give an order, and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        self.said = answer["said"]
        return answer

    def calls(self) -> list[str]:
        """Return which of the noted functions of the library were called since the probe was made."""
        return self._calls.read_text("ascii").split() if self._calls.exists() else []

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def library_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a maker of the fake library, compiled with these options."""
    made: dict[tuple[str, ...], Path] = {}

    def make(*options: str) -> Path:
        cc = compiler()
        if cc is None or sys.platform != "linux":
            pytest.skip(NO_COMPILER if sys.platform == "linux" else "the fake library is one for Linux")
        if options not in made:
            path = tmp_path_factory.mktemp("library") / "libnvidia-ml.so.1"
            command = [cc, "-shared", "-fPIC", *options, "-o", str(path), str(SOURCE)]
            subprocess.run(command, check=True, timeout=30, capture_output=True)
            made[options] = path
        return made[options]

    return make


@pytest.fixture(scope="session")
def process(library_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    reader = Reader(tmp_path_factory.mktemp("reader"), library_of())
    yield reader
    reader.end()


@pytest.fixture
def machine(process: Reader) -> Reader:
    """Return a machine without a GPU so far, and a new probe that reads it, in a process that tests share."""
    process.has()
    process.new()
    return process


@pytest.fixture
def reader_of(tmp_path: Path) -> Iterator[Callable[[Path], Reader]]:
    """Return a maker of processes of their own, with the library that is given."""
    readers: list[Reader] = []

    def make(library: Path) -> Reader:
        readers.append(Reader(tmp_path, library))
        readers[-1].new()
        return readers[-1]

    yield make
    for reader in readers:
        reader.end()
