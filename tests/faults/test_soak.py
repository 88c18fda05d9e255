"""What `soak.py` judges by: a slope that is there is seen, and one that is noise is not."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module: test folders are no packages."""
    monkeypatch.syspath_prepend(str(HERE))
    spec = importlib.util.spec_from_file_location("soak_under_test", HERE / "soak.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.requirement("req:M16")
def test_what_grows_is_seen_and_noise_is_not(soak: ModuleType) -> None:
    """fault:E8: five MB an hour under noise of two MB are seen within an hour; noise alone is no growth."""
    dice = random.Random(3)
    at_s = [5.0 * n for n in range(720)]
    noise = [dice.gauss(100.0, 2.0) for _ in at_s]
    assert not soak.slope(at_s, noise).grows
    found = soak.slope(at_s, [value + 5.0 * at / 3600.0 for at, value in zip(at_s, noise, strict=True)])
    assert found.grows
    assert found.per_hour == pytest.approx(5.0, abs=1.0)


def test_too_few_readings_are_no_verdict(soak: ModuleType) -> None:
    """With fewer readings than blocks nothing is said."""
    with pytest.raises(ValueError, match="too few"):
        soak.slope([1.0, 2.0], [1.0, 1.0])


def test_less_than_a_minute_and_a_half_is_refused(soak: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """It says that it takes longer to tell anything."""
    with pytest.raises(SystemExit) as stopped:
        soak.main(["--minutes", "0.1"])
    assert stopped.value.code == 2
    assert "--minutes" in capsys.readouterr().err
