"""What `longshore top` draws: tables in a terminal, on textual; answers come from a `Watched` on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, TypeVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Sparkline, Static, TabbedContent, TabPane

from longshore.cli.topviews import TABLES, Row, detail_of, headline, matches, ordered, rows_of, text
from longshore.cli.watched import Picture, Watched
from longshore.errors import LongshoreError
from longshore.runs import FailureView, TaskFilter, TaskRow

_T = TypeVar("_T")
_ANSWERS = (OSError, ValueError, LongshoreError)  # what a question to a run may raise

_ORDERS = ("pause", "cancel", "resize")
_ORDER_KEYS = ("p", "k", "plus", "minus")
_HOW = "; start it with `sinks.dashboard.control = true` and give its link"


class Detail(ModalScreen[None]):
    """One task, or one kind of failure, in full."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "back")]
    CSS = "Detail { align: center middle; } #detail { width: 90%; height: 90%; border: round $accent; padding: 0 1; }"

    def __init__(self, told: str) -> None:
        """Show this text."""
        super().__init__()
        self._told = told

    def compose(self) -> ComposeResult:
        """Return what it is made of."""
        with VerticalScroll(id="detail"):
            yield Static(Text(self._told))
        yield Footer()


class TopApp(App[None]):
    """Tables of a run that go on while it does."""

    TITLE = "longshore top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: 1; text-style: bold; }
    #held { height: auto; color: $warning; }
    #pace { height: 3; }
    #wanted { display: none; }
    #wanted.shown { display: block; }
    #said { height: auto; color: $error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        *(Binding(str(at), f"show('{name}')", name, show=False) for at, name in enumerate(TABLES, 1)),
        Binding("slash", "want", "filter", key_display="/"),
        Binding("escape", "unwant", "no filter", show=False),
        Binding("s", "sort", "sort"),
        Binding("r", "turn", "reverse"),
        Binding("p", "pause", "pause"),
        Binding("k", "cancel", "cancel task"),
        Binding("plus", "resize(1)", "more workers", key_display="+"),
        Binding("minus", "resize(-1)", "fewer", key_display="-"),
    ]

    def __init__(self, watched: Watched, period_s: float) -> None:
        """Show what is watched, looking anew every `period_s` seconds while it can change."""
        super().__init__()
        self._watched = watched
        self._period_s = period_s
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="longshore-top")
        self._picture: Picture | None = None
        self._controlled = False
        self._rows: dict[str, list[Row]] = {name: [] for name in TABLES}
        self._sorted: dict[str, tuple[int | None, bool]] = dict.fromkeys(TABLES, (None, False))
        self._wanted = ""
        self._busy = asyncio.Lock()
        self._draws = 0

    # ---- what is on the screen

    def compose(self) -> ComposeResult:
        """Return what it is made of."""
        yield Static("…", id="head")
        yield Static("", id="held")
        yield Sparkline([0.0], id="pace")
        with TabbedContent():
            for name, columns in TABLES.items():
                with TabPane(name, id=f"pane-{name}"):
                    table: DataTable[Text] = DataTable(id=f"table-{name}", cursor_type="row", zebra_stripes=True)
                    for column in columns:
                        table.add_column(column.title, key=column.title)
                    yield table
        yield Input(placeholder="rows that have this text; Enter to keep it, Esc to see all", id="wanted")
        yield Static("", id="said")
        yield Footer()

    async def on_mount(self) -> None:
        """Look for the first time, and then as often as was asked for."""
        await self.look()
        self.set_interval(self._period_s, self._look_again)

    async def on_unmount(self) -> None:
        """Let go of what is watched, on the thread that used it."""
        self._asking.submit(self._watched.close)
        self._asking.shutdown(wait=False)

    async def _look_again(self) -> None:
        if not self._busy.locked() and (self._picture is None or self._picture.live):
            await self.look()

    async def look(self) -> None:
        """Ask for the run as it is now, and draw it."""
        async with self._busy:
            picture = await self._ask(self._watched.picture)
            if picture is None:
                return
            self._picture = picture
            self._heed(picture)
            self.query_one("#head", Static).update(Text(headline(picture)))
            self.query_one("#held", Static).update(Text(self._held(picture)))
            pace = picture.throughput
            self.query_one(Sparkline).data = [sum(step) for step in zip(*pace.counts, strict=True)] if pace else [0.0]
            await self._draw(self.shown)

    def _heed(self, picture: Picture) -> None:
        """Have the keys of orders among those that are shown while the run takes any."""
        if picture.control is not self._controlled:
            self._controlled = picture.control
            self.refresh_bindings()

    def _held(self, picture: Picture) -> str:
        return f"held: {text(picture.snapshot.throttled)}" if picture.snapshot.throttled else ""

    @property
    def shown(self) -> str:
        """The table that is on top."""
        return self.query_one(TabbedContent).active.removeprefix("pane-")

    async def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Draw the table that has come on top."""
        name = str(event.pane.id).removeprefix("pane-")
        await self._draw(name)
        if self.shown == name:  # a table that gets the keys comes on top itself
            self.query_one(f"#table-{name}").focus()

    async def _draw(self, name: str) -> None:
        """Fill a table anew, with the cursor where it was."""
        self._draws += 1
        draw = self._draws
        rows = await self._wanted_rows(name)
        if rows is None or draw != self._draws:  # a later one shows what is wanted by now
            return
        table, columns = self.query_one(f"#table-{name}", DataTable), TABLES[name]
        at, self._rows[name] = table.cursor_row, rows
        table.clear()
        for row in rows:
            cells = (Text(each.cell(each.value(row)), justify="right" if each.right else "left") for each in columns)
            table.add_row(*cells)
        table.move_cursor(row=min(at, len(rows) - 1), animate=False)

    async def _wanted_rows(self, name: str) -> list[Row] | None:
        by, descending = self._sorted[name]
        columns = TABLES[name]
        if name == "tasks":
            sort = columns[by].sort if by is not None else "id"
            wanted = TaskFilter(text=self._wanted or None)
            page = await self._ask(lambda: self._watched.tasks(wanted, sort or "id", descending))
            return None if page is None else list(page.rows)
        if self._picture is None:
            return None
        rows = [row for row in rows_of(self._picture, name) if matches(columns, row, self._wanted)]
        return ordered(columns, rows, by, descending)

    async def _ask(self, question: Callable[[], _T]) -> _T | None:
        """Return an answer from the thread that may wait; None, and a line on the screen, where there is none."""
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._asking, question)
        except _ANSWERS as error:
            self._say(str(error))
            return None
        self._say("")
        return answer

    def _say(self, told: str) -> None:
        self.query_one("#said", Static).update(Text(text(told) if len(told) < 60 else told))

    # ---- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Tell whether a key is there: those of orders are while the run takes any."""
        return self._controlled or action not in _ORDERS

    def on_key(self, event: Key) -> None:
        """Say how a run is begun that takes orders, to who presses the key of one."""
        if event.key in _ORDER_KEYS and not self._controlled:
            self._say(f"this run takes no orders{_HOW}")

    def action_show(self, name: str) -> None:
        """Have another table on top."""
        self.query_one(TabbedContent).active = f"pane-{name}"

    def action_want(self) -> None:
        """Ask for a text to filter by."""
        wanted = self.query_one("#wanted", Input)
        wanted.add_class("shown")
        wanted.focus()

    async def action_unwant(self) -> None:
        """Show all rows again."""
        self.query_one("#wanted", Input).value = ""
        await self._want("")

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Filter by what was typed."""
        await self._want(event.value)

    async def _want(self, wanted: str) -> None:
        self._wanted = wanted
        self.query_one("#wanted", Input).remove_class("shown")
        await self._draw(self.shown)
        self.query_one(f"#table-{self.shown}").focus()

    async def action_sort(self) -> None:
        """Sort by the next column."""
        name = self.shown
        by, _ = self._sorted[name]
        columns = [at for at, column in enumerate(TABLES[name]) if name != "tasks" or column.sort]
        later = [at for at in columns if by is None or at > by]
        await self._sort(name, later[0] if later else None)

    async def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sort by the column whose title was clicked; the other way round where it is so sorted."""
        name = self.shown
        if self._sorted[name][0] == event.column_index:
            await self.action_turn()
        elif name != "tasks" or TABLES[name][event.column_index].sort:
            await self._sort(name, event.column_index)

    async def _sort(self, name: str, by: int | None) -> None:
        self._sorted[name] = (by, by is not None and TABLES[name][by].right)  # numbers: the largest first
        await self._draw(name)
        titles = "in the order they came" if by is None else f"by {TABLES[name][by].title}"
        self.sub_title = f"{name} {titles}"

    async def action_turn(self) -> None:
        """Sort the other way round."""
        by, descending = self._sorted[self.shown]
        self._sorted[self.shown] = (by, not descending)
        await self._draw(self.shown)

    async def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show what is selected in full: a task; or the tasks of a kind of failure, newest example first."""
        row = self._selected(event.cursor_row)
        if isinstance(row, TaskRow):
            await self._show(row.task_id, "")
        elif isinstance(row, FailureView) and row.example is not None:
            await self._show(row.example, f"{row.count} x {row.type}; the newest with its texts:\n\n")

    async def _show(self, task_id: str, before: str) -> None:
        detail = await self._ask(lambda: self._watched.task(task_id))
        if detail is not None:
            self.push_screen(Detail(before + detail_of(detail)))

    def _selected(self, at: int) -> Row | None:
        rows = self._rows[self.shown]
        return rows[at] if 0 <= at < len(rows) else None

    # ---- orders

    async def action_pause(self) -> None:
        """Have nothing new started, or go on."""
        paused = self._picture is not None and self._picture.snapshot.paused
        if await self._order("unpause" if paused else "pause", {}):
            await self.look()

    async def action_cancel(self) -> None:
        """Cancel the task under the cursor."""
        row = self._selected(self.query_one(f"#table-{self.shown}", DataTable).cursor_row)
        if isinstance(row, TaskRow):
            await self._order("cancel", {"task_id": row.task_id})
        else:
            self._say("k cancels the task under the cursor, in the tables running and tasks")

    async def action_resize(self, by: int) -> None:
        """Give the executor under the cursor more workers, or fewer."""
        row = self._selected(self.query_one(f"#table-{self.shown}", DataTable).cursor_row)
        executor = getattr(row, "executor", None)
        if executor is None or self._picture is None:
            self._say("+ and - change the workers of the executor under the cursor")
            return
        there = sum(worker.executor == executor for worker in self._picture.workers)
        await self._order("resize", {"executor": executor, "workers": max(1, there + by)})

    async def _order(self, name: str, body: dict[str, Any]) -> bool:  # Any: JSON-safe values
        if self._picture is None or not self._picture.control:
            self._say(f"{name}: this run takes no orders{_HOW}")
            return False

        def give() -> bool:
            self._watched.order(name, body)
            return True

        return bool(await self._ask(give))
