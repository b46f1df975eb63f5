"""The screen of `tasker-health top`."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Static

from tasker_health.cli.top.asking import Asking
from tasker_health.cli.top.sections import headline, sections_of
from tasker_health.cli.top.snapshot import Snapshot, Trouble
from tasker_health.cli.top.text import clean, seconds

_KEYS = "q quit  r ask now  p pause  ? help"
_HELP = """\
q        quit
r        ask now, the last hour, too
p        pause, and go on
Tab      next part; Shift+Tab the one before
↑ ↓      one line
PgUp PgDn Home End
?        this; any of ? Esc q closes it

✓ well   ! degraded   ✗ failed   ? unknown
A gap in a line is time that nobody saw."""

_SECTIONS = ("wrong", "checks", "tasks", "hour", "waiting", "sources", "age")


class Help(ModalScreen[None]):
    """What the keys do."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,escape,q,enter", "app.pop_screen", "close")]

    def compose(self) -> ComposeResult:
        """Show the text."""
        yield Static(_HELP, id="help", markup=False)


class Part(Static, can_focus=True):
    """One section, which the keyboard can go to."""


class Top(App[None]):
    """Shows how a service is, until told to stop.

    Args:
        asking: Asks it.
        url: Its address, for the title.
        interval_seconds: From one question to the next.
    """

    CSS = """
    Screen { layers: base; }
    #head, #foot { height: 1; padding: 0 1; }
    #head { text-style: bold; }
    #foot { dock: bottom; color: $text-muted; }
    #banner { display: none; height: auto; max-height: 5; padding: 0 1; background: $error; text-style: bold; }
    #banner.shown { display: block; }
    Part { height: auto; padding: 0 1; margin-bottom: 1; border-left: blank; }
    Part:focus { border-left: thick $accent; }
    Help { align: center middle; }
    #help { width: auto; max-width: 100%; height: auto; border: round $accent; padding: 0 1; background: $surface; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("r", "ask_now", "ask now"),
        Binding("p", "pause", "pause"),
        Binding("question_mark", "help", "help"),
        Binding("down", "scroll(1)", show=False),
        Binding("up", "scroll(-1)", show=False),
    ]

    def __init__(self, asking: Asking, url: str, interval_seconds: float) -> None:
        super().__init__()
        self._asking = asking
        self._url = url
        self._interval_seconds = interval_seconds
        self._asking_now = False
        self._width = 80
        self._told: Snapshot | None = None
        self._told_at = self._asked_at = self._well_at = time.monotonic()
        self._trouble: tuple[Trouble, str] | None = None
        self.paused = False

    def compose(self) -> ComposeResult:
        """Make the parts, empty."""
        yield Static("asking ...", id="head", markup=False)
        yield Static("", id="banner", markup=False)
        with VerticalScroll(id="parts", can_focus=False):
            for name in _SECTIONS:
                yield Part("", id=name, markup=False)
        yield Static(_KEYS, id="foot", markup=False)

    def on_mount(self) -> None:
        """Begin to ask, and to tick."""
        self.title = f"tasker-health top: {self._url}"
        self.query_one("#wrong").focus()
        self.set_interval(min(1.0, self._interval_seconds), self._tick)
        self._ask()

    def action_ask_now(self) -> None:
        """Ask for everything."""
        self._asking.forget_history()
        self._ask()

    def action_pause(self) -> None:
        """Stop asking, or go on."""
        self.paused = not self.paused
        if not self.paused:
            self._ask()
        self._show_head()

    def action_help(self) -> None:
        """Show what the keys do."""
        self.push_screen(Help())

    def action_scroll(self, lines: int) -> None:
        """Move by *lines*."""
        self.query_one("#parts", VerticalScroll).scroll_relative(y=lines, animate=False)

    def on_resize(self, event: Resize) -> None:
        """Draw for the new width, which the application itself does not know yet."""
        self._width = event.size.width
        self._show()

    def _tick(self) -> None:
        if not self.paused and time.monotonic() - self._asked_at >= self._interval_seconds:
            self._ask()
        self._show_head()

    def _ask(self) -> None:
        if not self._asking_now:  # a slow answer is not asked for twice
            self._asking_now = True
            self._asked_at = time.monotonic()
            self.run_worker(self._round(), exit_on_error=False)

    async def _round(self) -> None:
        try:
            self._take(await self._asking.ask())
        finally:
            self._asking_now = False
        self._show()

    def _take(self, snapshot: Snapshot) -> None:
        """Keep *snapshot*; without figures the last ones stay, unless they are refused to whoever sits here."""
        now = time.monotonic()
        self._trouble = (snapshot.trouble, snapshot.words) if snapshot.trouble else None
        if self._trouble is None:
            self._well_at = now
        is_kept = snapshot.status is None and snapshot.trouble is not Trouble.REFUSED and self._told is not None
        if not is_kept:
            self._told, self._told_at = snapshot, now

    def _show(self) -> None:
        self._show_head()
        if self._told is None:
            return
        shown = {each.name: each for each in sections_of(self._told, self._width - 5, self._elapsed)}
        for name in _SECTIONS:
            part = self.query_one(f"#{name}", Part)
            part.display = name in shown
            if name in shown:
                section = shown[name]
                part.update(Text("\n").join([Text(section.title, style="bold underline"), *section.lines]))

    def _show_head(self) -> None:
        head, banner = self.query_one("#head", Static), self.query_one("#banner", Static)
        line = Text("PAUSED  ", style="bold reverse") if self.paused else Text()
        if self._told is not None:
            line.append_text(headline(self._told, self._elapsed)).append(f"  {clean(self._url, 60)}", style="dim")
        head.update(line if self._told is not None or self.paused else Text(f"asking {clean(self._url, 60)} ..."))
        banner.set_class(self._trouble is not None, "shown")
        if self._trouble is not None:
            trouble, words = self._trouble
            since = f" for {seconds(time.monotonic() - self._well_at)}"
            banner.update(Text(f"✗ {trouble}{since}: {words}"))

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._told_at
