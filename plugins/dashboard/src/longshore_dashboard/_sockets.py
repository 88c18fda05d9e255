"""The address: settings in, a bound socket out, with what it is called and who may ask for it."""

from __future__ import annotations

import os
import socket
import stat

from longshore_dashboard._settings import DashboardSettings


class Address:
    """A bound socket. It listens only when the listener has it, so nobody comes in before it is ready."""

    def __init__(self, settings: DashboardSettings) -> None:
        """Bind; OSError where that is impossible, with the address named."""
        self._uds = os.path.abspath(os.path.expanduser(settings.uds)) if settings.uds is not None else None
        self._allowed = settings.allowed_hosts
        self.socket = _unix(self._uds) if self._uds is not None else _tcp(settings.host, settings.port)

    @property
    def authority(self) -> str:
        """What stands in an URL between "//" and the path: the address and port that are bound."""
        if self._uds is not None:
            return "localhost"
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def hosts(self) -> frozenset[str]:
        """What a request may name as its host: the bound address, localhost, and what settings allow."""
        if self._uds is not None:
            return frozenset({"localhost", *self._allowed})
        port = self.socket.getsockname()[1]
        more = {f"{host}:{port}" for host in self._allowed if ":" not in host}
        return frozenset({self.authority, f"localhost:{port}", *self._allowed, *more})

    @property
    def path(self) -> str | None:
        """Of the Unix socket; None where it is none."""
        return self._uds

    def close(self) -> None:
        """Let go of it; a second time does nothing."""
        self.socket.close()
        if self._uds is not None and os.path.exists(self._uds):
            os.unlink(self._uds)


def _tcp(host: str, port: int) -> socket.socket:
    [family, _, _, _, where], *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"the dashboard cannot listen on {host} port {port}: {error.strerror}") from error
    return made


def _unix(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        os.fchmod(made.fileno(), 0o600)  # the file has this mode from the first moment on Linux
        made.bind(path)
        os.chmod(path, 0o600)  # nobody can connect before it listens, so elsewhere this is in time
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"the dashboard cannot listen on {path}: {error.strerror or error}") from error
    return made


def _clear(path: str) -> None:
    """Remove a socket that nobody listens on any more; OSError for anything else that is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(17, "there is something that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trying:
        trying.settimeout(1.0)
        try:
            trying.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise FileExistsError(17, "another process listens there")
