"""What a release does: one version everywhere, and the news as a changelog."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.version import Version


@pytest.fixture(scope="module")
def release(root: Path) -> ModuleType:
    """Return the script that knows of versions, as a module."""
    spec = importlib.util.spec_from_file_location("release", root / ".ci/release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(release: ModuleType, root: Path, tmp_path: Path) -> Path:
    """Return a folder with a copy of every pyproject.toml of ours."""
    for path in [*release.projects(root), *release.others(root)]:
        there = tmp_path / path.relative_to(root)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    return tmp_path


def test_all_distributions_are_in_step(release: ModuleType, root: Path) -> None:
    """Here and now there is one version, and the bounds between our distributions are those of it."""
    assert list(release.problems(root)) == []


@pytest.mark.parametrize("text", ["0.2.0", "0.1.1", "1.0.0", "1.12.3", "0.2.0rc1"])
def test_a_version_is_set_everywhere(release: ModuleType, copy: Path, text: str) -> None:
    """After it all are in step at the new version, and nothing but versions and bounds has changed."""
    files = [*release.projects(copy), *release.others(copy)]
    before = {path: path.read_text("utf-8").splitlines() for path in files}
    release.set_version(copy, Version(text))
    assert release.version_of(copy) == Version(text)
    assert list(release.problems(copy, f"v{text}")) == []
    for path, lines in before.items():
        after = path.read_text("utf-8").splitlines()
        assert len(after) == len(lines)
        changed = [new for old, new in zip(lines, after, strict=True) if old != new]
        assert all(line.startswith("version = ") or '"longshore' in line for line in changed), changed
        assert not [line for line in after if '"longshore' in line and "0.1.0" in line], "a bound was left behind"


def test_a_release_is_a_step_forward(release: ModuleType, copy: Path) -> None:
    """Not a version before this one, nor one whose changes are told; the first of all may be the one that is there."""
    changes = copy / "CHANGELOG.md"
    changes.write_text("# Changes\n", "utf-8")
    assert release.forward(copy, Version("0.1.0")) == Version("0.1.0")
    with pytest.raises(ValueError, match="no step forward"):
        release.forward(copy, Version("0.0.9"))
    changes.write_text("# Changes\n\n## 0.1.0 (2026-12-01)\n", "utf-8")
    with pytest.raises(ValueError, match=r"stands in CHANGELOG\.md"):
        release.forward(copy, Version("0.1.0"))
    assert release.forward(copy, Version("v0.2.0")) == Version("0.2.0")


def test_setting_it_back_changes_nothing(release: ModuleType, root: Path, copy: Path) -> None:
    """What is set twice and then back is what it was, comments and order too."""
    for version in ("0.2.0", "1.0.0", str(release.version_of(root))):
        release.set_version(copy, Version(version))
    for path in [*release.projects(root), *release.others(root)]:
        assert (copy / path.relative_to(root)).read_text("utf-8") == path.read_text("utf-8")


def test_what_is_out_of_step_is_named(release: ModuleType, copy: Path) -> None:
    """A version or a bound that was forgotten is named with its file, and so is a tag of another version."""
    rich = copy / "plugins/rich/pyproject.toml"
    rich.write_text(rich.read_text("utf-8").replace('version = "0', 'version = "7', 1), "utf-8")
    core = copy / "plugins/jsonl/pyproject.toml"
    core.write_text(core.read_text("utf-8").replace("longshore-core>=0", "longshore-core>=7", 1), "utf-8")
    told = list(release.problems(copy, "v9.9.9"))
    assert len(told) == 3
    assert "v9.9.9" in told[0]
    assert any("plugins/rich" in line and "says 7" in line for line in told)
    assert any("plugins/jsonl" in line and "longshore-core>=7" in line for line in told)


@pytest.mark.slow
def test_the_news_become_a_changelog(root: Path, tmp_path: Path) -> None:
    """Every fragment is in it once, by kind; its links lead to what is there; and the fragments are gone after it."""
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(root / name, tmp_path / name)
    shutil.copytree(root / "docs/news", tmp_path / "docs/news")
    fragments = {path for path in (tmp_path / "docs/news").glob("*.*.md") if path.suffixes[0] != ".template"}
    assert fragments
    command = [sys.executable, "-m", "towncrier", "build", "--yes", "--version", "7.0.0", "--date", "2030-01-01"]
    subprocess.run([*command, "--dir", str(tmp_path)], capture_output=True, timeout=50, check=True, cwd=tmp_path)
    text = (tmp_path / "CHANGELOG.md").read_text("utf-8")
    assert text.count("\n- ") == len(fragments)
    assert "\n## 7.0.0, 2030-01-01\n" in text
    assert [path for path in fragments if path.exists()] == []
    assert (tmp_path / "docs/news/README.md").exists()
    for part in text.split("](")[1:]:
        link = part.partition(")")[0].partition("#")[0]
        assert link.startswith("http") or (root / link).exists(), link
