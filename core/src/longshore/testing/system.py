"""A folder in place of /proc and of the mounts of control groups: one machine shows only one of their layouts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_MOUNT_LINE = "{number} 1 0:{number} {root} {point} rw,nosuid,relatime shared:{number} - {kind} cgroup rw{options}\n"


class FakeSystem:
    """Builds the files in which Linux tells of a machine and of control groups; `proc` is what stands for /proc.

    What is given last counts. Paths are those of a real system, and lie below the folder: "/sys/fs/cgroup/a".
    """

    def __init__(self, folder: Path, *, total_mb: float = 16000.0, available_mb: float = 10000.0) -> None:
        """Begin with a machine of so much memory (MB is 10**6 bytes), one idle CPU, and no control groups."""
        self._folder = folder
        self._mounts: list[str] = []
        self.proc = folder / "proc"
        self.memory(total_mb, available_mb)
        self.cpus(0.0)
        self.write("/proc/self/mountinfo", self._other_mounts())

    @property
    def process(self) -> str:
        """What stands for /proc/self."""
        return str(self.proc / "self")

    def write(self, path: str, text: str | int) -> None:
        """Write a file, and make the folders it is in."""
        place = self.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{text}\n" if isinstance(text, int) else text, encoding="utf-8")

    def place(self, path: str) -> Path:
        """Return where a file of the system is."""
        return self._folder / path.lstrip("/")

    def memory(self, total_mb: float, available_mb: float) -> None:
        """Have so much memory."""
        sizes = {"MemTotal": total_mb, "MemFree": available_mb / 10.0, "MemAvailable": available_mb}
        lines = [f"{name + ':':<15}{size * 1e6 / 1024:>10.0f} kB\n" for name, size in sizes.items()]
        self.write("/proc/meminfo", "".join(lines))

    def cpus(self, *busy_s: float, waiting_s: float = 0.0) -> None:
        """Have so many CPUs, each busy for so long since the start; all waited for disks for `waiting_s`."""
        lines = [f"cpu{n} {int(s * 100)} 0 0 12345 {int(waiting_s * 100)} 0 0 0 0 0\n" for n, s in enumerate(busy_s)]
        self.write(
            "/proc/stat", "".join([f"cpu  {int(sum(busy_s) * 100)} 0 0 12345 0 0 0 0 0 0\n", *lines, "ctxt 5\n"])
        )

    def member(self, *lines: str) -> None:
        """Have the process be in these groups, as in "0::/a" or "4:memory:/a"; the lines of /proc/self/cgroup."""
        self.write("/proc/self/cgroup", "".join(f"{line}\n" for line in lines))

    def mount(self, point: str, controllers: str = "", *, root: str = "/") -> None:
        """Show control groups at `point`, `root` and what is below: of version 2, or of version 1 by controllers."""
        options = {
            "number": len(self._mounts) + 30,
            "root": root,
            "point": str(self.place(point)).replace("\\", "\\134").replace(" ", "\\040"),
            "kind": "cgroup" if controllers else "cgroup2",
            "options": f",{controllers}" if controllers else "",
        }
        self._mounts.append(_MOUNT_LINE.format_map(options))
        self.write("/proc/self/mountinfo", self._other_mounts() + "".join(self._mounts))

    def group(self, path: str, files: Mapping[str, str | int]) -> None:
        """Have a group's folder hold these files, texts or plain numbers."""
        for name, text in files.items():
            self.write(f"{path}/{name}", text)

    def _other_mounts(self) -> str:
        return f"22 27 0:21 / {self.proc} rw,relatime - proc proc rw\n27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"


__all__ = ["FakeSystem"]
