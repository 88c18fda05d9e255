"""What every journal keeps, whatever it keeps it in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from longshore.errors import JournalError
from longshore.hookspecs import Journal
from longshore.records import RunOpening
from longshore.testing.conformance._plugin import MakePlugin, PluginConformance, raised

MakeJournal = Callable[[], Journal]


class JournalConformance(PluginConformance):
    """Inherit this, and return by the fixture `make_journal` what makes a journal, on the same storage each time."""

    kind = "journals"

    @pytest.fixture
    def make_journal(self) -> MakeJournal:
        """Return what makes a journal that finds what the one before it kept."""
        raise NotImplementedError("the class that inherits JournalConformance needs a fixture make_journal")

    @pytest.fixture
    def make_plugin(self, make_journal: MakeJournal) -> MakePlugin:
        """Return what makes a journal, for what all plugins keep."""
        return make_journal

    def test_an_unknown_run_can_not_go_on(self, make_journal: MakeJournal) -> None:
        """To go on with an unknown run is a JournalError that names it, and begins none."""
        journal = make_journal()
        error = raised(lambda: journal.open(RunOpening(run_id="nosuch", at=1000.0, resume=True)))
        assert isinstance(error, JournalError), f"open: to go on with an unknown run is a JournalError, not {error!r}"
        assert "nosuch" in str(error), f"open: the JournalError does not name the run that is not there: {error}"
        begun = [run.run_id for run in journal.archive().runs()]
        assert begun == [], f"open: resume=True with an unknown run has begun one: {begun}"
