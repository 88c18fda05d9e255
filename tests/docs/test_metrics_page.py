"""What the page on metrics shows is true."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

longshore_prometheus = pytest.importorskip("longshore_prometheus", reason="it does not come by default")
FOLDER = Path(__file__).parents[2]
PAGE = (FOLDER / "docs/how-to/metrics.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_its_queries_name_metrics_that_there_are() -> None:
    """Whatever the page and the plugin's README ask for is in the README's table of metrics."""
    readme = (FOLDER / "plugins/prometheus/README.md").read_text(encoding="utf-8")
    there = set(re.findall(r"^\| `(longshore_\w+)", readme, flags=re.MULTILINE))
    asked = {name.removesuffix("_bucket") for name in re.findall(r"`[^`]*?\b(longshore_\w+?_\w+)", PAGE)}
    assert len(there) == 19
    assert asked - {"longshore_prometheus"} <= there


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool not here: Debian has it in `prometheus`")
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """The scrape configuration is valid, with the rules that the command prints beside it."""
    (config,) = blocks("yaml")
    package = FOLDER / "plugins/prometheus/src/longshore_prometheus"
    (tmp_path / "longshore.yml").write_text((package / "rules.yml").read_text("utf-8"))
    (tmp_path / "token").write_text("0" * 32)
    path = tmp_path / "prometheus.yml"
    path.write_text(re.sub(r"credentials_file: .*", f"credentials_file: {tmp_path / 'token'}", config))
    done = subprocess.run(
        ["promtool", "check", "config", path], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
