"""The table `[tool.longshore.sinks.dashboard]`."""

from __future__ import annotations

import ipaddress
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class DashboardSettings(BaseModel):
    """The table `[tool.longshore.sinks.dashboard]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """The address to listen on. One that other machines reach needs `allow_remote`."""
    port: int = Field(default=0, ge=0, le=65535)
    """0 takes any that is free; the address is printed on standard error."""
    uds: str | None = None
    """A Unix socket to listen on instead, mode 0600; its folder must exist."""
    control: bool = False
    """Whether tasks may be cancelled, and the run paused and resized, from the page."""
    allow_remote: bool = False
    """Whether an address may be used that other machines reach. It encrypts nothing: that is for a reverse proxy."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which it may be asked for, beside its own address and localhost: "dash.example.org", "box:8443"."""
    max_clients: int = Field(default=32, ge=1, le=1000)
    """How many pages may follow the run at once; the next one is told to come later."""
    url_prefix: str = ""
    """What all paths begin with behind a reverse proxy that leaves it there, such as "/runs/today"."""
    linger_s: float = Field(default=0.0, ge=0.0, le=7 * 86400.0)
    """For how many seconds the pages stay after the run has ended; the process lives on for that. Ctrl-C ends it."""
    token_file: str | None = None
    """Where to write the run's token, mode 0600, for scripts that send it as a header; removed at the end."""
    announce: bool = True
    """Whether the link is printed on standard error."""
    show_keys: bool = True
    """Whether pages show what tasks work on: keys, labels and what tasks say of themselves. Ids and names always."""
    show_errors: bool = True
    """Whether pages show messages, tracebacks and output of failed tasks. The types of errors always."""

    @field_validator("url_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        prefix = value.rstrip("/")
        if prefix and not (prefix.startswith("/") and all(part.isascii() for part in prefix)):
            raise ValueError(f"{value!r} is no path: give one such as '/runs/today'")
        return prefix

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not host or "/" in host or "*" in host or not host.isascii():
                raise ValueError(f"{host!r} is no host: give a name as browsers send it, such as 'dash.example.org'")
        return tuple(host.lower() for host in value)

    @model_validator(mode="after")
    def _reach(self) -> Self:
        if self.uds is None and not self.allow_remote and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} can be reached from other machines: set allow_remote = true if that is meant, "
                "or leave the host out"
            )
        return self


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's alone; a name other than localhost may be anything, so it is not."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
