"""The sink: a run's events go into the tally, and a listener serves what is known of the run to those who may know."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import h11
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from longshore_prometheus._collector import RunCollector
from longshore_prometheus._exposition import Exposition
from longshore_prometheus._figures import RunFigures
from longshore_prometheus._guard import Guard, in_url, is_loopback
from longshore_prometheus._labels import Labels
from longshore_prometheus._lingering import LINGERING
from longshore_prometheus._listener import Answer, Listener
from longshore_prometheus._tally import Tally
from longshore_prometheus._token import checked, default_path, token_of

_log = logging.getLogger("longshore.sinks")
_TEXT = "text/plain; charset=utf-8"
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


class PrometheusSettings(BaseModel):
    """The table `[tool.longshore.sinks.prometheus]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(default=9464, ge=0, le=65535)
    """The port; 0 takes a free one, which is told."""
    token: Literal[False] | SecretStr | None = None
    """The bearer token that clients send; false asks for none, on loopback only; left out, it is in `token_file`."""
    token_file: str | None = None
    """The file that holds the token, made if it is not there; by default `prometheus.token` in the state folder."""
    allow_remote: bool = False
    """Whether to listen on an address that other machines can reach; a token is needed then."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which clients may ask, beside the address and localhost, with a port or without."""
    linger_s: float = Field(default=0.0, ge=0, le=3600)
    """For how long the last figures are served after the run; the process stays for that time."""
    worker_memory: bool = False
    """Whether the memory of each worker process is told: one time series each."""
    max_stages: int = Field(default=100, ge=1, le=1000)
    """How many names of tasks are told apart; those past it are counted together."""
    buckets_s: tuple[float, ...] = BUCKETS_S
    """The upper bounds of the histograms."""

    @field_validator("token")
    @classmethod
    def _long_enough(cls, token: Literal[False] | SecretStr | None) -> Literal[False] | SecretStr | None:
        if isinstance(token, SecretStr):
            checked(token.get_secret_value())
        return token

    @field_validator("buckets_s")
    @classmethod
    def _rising(cls, bounds_s: tuple[float, ...]) -> tuple[float, ...]:
        rising = all(low < high for low, high in zip((0.0, *bounds_s), bounds_s, strict=False))
        if not 1 <= len(bounds_s) <= 50 or not rising or bounds_s[-1] == float("inf"):
            raise ValueError("buckets_s are 1 to 50 numbers of seconds above 0, each above the one before")
        return bounds_s

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file: give one of them")
        if is_loopback(self.host):
            return self
        if not self.allow_remote:
            raise ValueError(
                f"host {self.host} can be reached from other machines: set allow_remote = true to want that"
            )
        if self.token is False:
            raise ValueError("token = false is for loopback only: others would read this without a token")
        return self


class PrometheusSink:
    """Serves a run's metrics at `/metrics`, on a thread of its own, from `open` to `close` and `linger_s` longer.

    Totals and histograms are of ends of tasks, restored ones included. Totals are exact however late the sink is told,
    histograms as long as no end of a task was dropped. All else is the pool's own snapshot, at most half a second old.
    What cannot be served raises in `open`, and the run goes on without. An event given twice counts twice.
    """

    api: int = 1
    event_types = frozenset({"task_completed", "task_failed", "task_cancelled", "task_progress", "worker_error"})
    Settings = PrometheusSettings

    def __init__(self, settings: PrometheusSettings | None = None) -> None:
        """Keep the settings; nothing listens before `open`."""
        self._settings = settings or PrometheusSettings()
        self._tally = Tally(self._settings.buckets_s, Labels(self._settings.max_stages))
        self._figures: RunFigures | None = None
        self._exposition: Exposition | None = None
        self._guard: Guard | None = None
        self._listener: Listener | None = None
        self._told: set[tuple[int, str]] = set()
        self._port = 0
        self.url = ""
        """Where the metrics are, once it is open."""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Begin to count and to serve; raises OSError or ValueError that says what to try where that is impossible."""
        settings = self._settings
        stages = Labels(settings.max_stages)
        self._tally = Tally(settings.buckets_s, stages)
        self._figures = RunFigures(run, self._tally)
        self._exposition = Exposition(RunCollector(self._figures, stages, worker_memory=settings.worker_memory))
        token, where = self._token()
        bound = _bind(settings.host, settings.port)
        host, port = bound.getsockname()[:2]
        if not (is_loopback(host) or (settings.allow_remote and token is not None)):
            bound.close()
            raise ValueError(f"{settings.host} is {host}, which other machines can reach: set allow_remote = true")
        self._port = port
        self._guard = Guard(token, port=port, names=settings.allowed_hosts)
        self.url = f"http://{in_url(host, port)}/metrics"
        self._listener = Listener(bound, self._answer, refused=self._note)
        self._listener.start()
        _tell(run, f"metrics for Prometheus at {self.url}{where}")

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Count what ended."""
        self._tally.fold(batch)

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Serve the last figures for `linger_s`, without waiting for that here, and then nothing more."""
        listener, self._listener = self._listener, None
        if listener is None or self._figures is None or self._exposition is None:
            return
        self._figures.conclude(summary)
        self._exposition.over = True
        if self._settings.linger_s:
            LINGERING.keep(self._port, listener.stop, self._settings.linger_s)
        else:
            listener.stop()

    def _token(self) -> tuple[str | None, str]:
        """Return the token, and in words where it is."""
        token = self._settings.token
        if token is False:
            return None, ", without a token"
        if token is not None:
            return token.get_secret_value(), ", with the token of the settings"
        named = self._settings.token_file
        path = Path(named).expanduser().absolute() if named is not None else default_path()
        return token_of(path), f", with the bearer token in {path}"

    # ---- on the listener's thread

    def _answer(self, request: h11.Request, here: str) -> Answer:
        if self._guard is None or self._exposition is None:
            return Answer(503, _TEXT, b"not ready\n")
        refusal = self._guard.refuses(request, here)
        if refusal is not None:
            self._note(refusal.status, refusal.said)
            return Answer(refusal.status, _TEXT, f"{refusal.said}\n".encode(), refusal.headers)
        accepted = b",".join(value for name, value in request.headers if name == b"accept").decode("latin-1")
        try:
            kind, body = self._exposition.write(accepted)
        except Exception as error:  # noqa: BLE001 - whatever the pool's parts raise, the next scrape may go well
            self._note(500, f"the metrics could not be written: {error!r}"[:500])
            return Answer(500, _TEXT, b"the metrics could not be written; the log says why\n")
        return Answer(200, kind, body)

    def _note(self, status: int, said: str) -> None:
        """Log the first refusal of a kind."""
        if (status, said) not in self._told and len(self._told) < 50:
            self._told.add((status, said))
            _log.warning("prometheus: a request was refused with %d: %s (said once)", status, said)


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; OSError says which port was wanted and what to try."""
    LINGERING.end(port)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what = "another run or program has it: set sinks.prometheus.port to another one, or to 0 for a free one"
        else:
            what = f"{error.strerror or error}: look at sinks.prometheus.host and port"
        raise OSError(error.errno, f"no metrics are served: port {port} of {host} can't be had; {what}") from error


def _tell(run: RunInfo, text: str) -> None:
    """Say it to the person at the command line, where there is one who reads lines, and else to the log."""
    if run.interactive and run.view not in ("json", "none") and sys.stderr is not None:
        print(f"longshore: {text}", file=sys.stderr)
    else:
        _log.info("prometheus: %s (process %d)", text, os.getpid())
