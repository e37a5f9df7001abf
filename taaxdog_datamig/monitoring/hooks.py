"""Calls somebody when a run fails: a command, an address.

What is sent names the run, the migration, its status, the error's class and what to do: never a value, nor
the error's own words, which may name rows. A call that fails or hangs is told in the log and changes nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import attrs
import orjson

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.events import RunFinished
from taaxdog_datamig.redaction import redact
from taaxdog_datamig.settings import SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from taaxdog_datamig.events import Event

_log = logging.getLogger(__name__)

SCHEMA: Final = "datamig/failure/1"
#: Longer than any call may take, for its thread to say so; seconds.
_SLACK: Final = 1.0


@attrs.define(eq=False)
class FailureHooks:
    """A subscriber that calls when a run or a rollback fails; dry ones call nobody.

    Calls are made in threads, so that the event loop goes on; `close` waits for them.

    Args:
        command: a program and its arguments; the message is its standard input. It gets the environment
            without our secrets.
        webhook: an https:// address that the message is posted to as JSON; http:// for this host alone.
            Redirects are not followed.
        timeout: how long a call may take, seconds.

    Raises:
        SettingsError: the address is another.
    """

    command: Sequence[str] = ()
    webhook: str | None = attrs.field(default=None, repr=False)
    timeout: float = 10.0
    _threads: list[tuple[threading.Thread, float]] = attrs.field(factory=list, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.webhook is not None:
            check_webhook(self.webhook)

    def __call__(self, event: Event) -> None:
        """Call, if it is a failure."""
        if isinstance(event, RunFinished) and event.failed and not event.dry_run:
            body = orjson.dumps(message(event))
            if self.command:
                self._start("failure_command", self._run, body)
            if self.webhook is not None:
                self._start("failure_webhook", self._post, body)

    def close(self) -> None:
        """Wait for the calls that are under way, none longer than it may take."""
        for thread, began in self._threads:
            thread.join(max(0.0, began + self.timeout + _SLACK - time.monotonic()))
            if thread.is_alive():  # an address that answers a byte at a time
                _log.warning("%s did not end within %g seconds", thread.name, self.timeout)
        self._threads.clear()

    def _start(self, name: str, call: Callable[[bytes], None], body: bytes) -> None:
        def safely() -> None:
            try:
                call(body)
            except (subprocess.TimeoutExpired, TimeoutError):
                _log.warning("%s did not end within %g seconds", name, self.timeout)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not go unsaid; no address in it
                _log.warning("%s failed: %s", name, _reason(error))
            else:
                _log.info("%s was called", name)

        # A daemon: one that hangs must not keep the process.
        thread = threading.Thread(target=safely, name=name, daemon=True)
        thread.start()
        self._threads.append((thread, time.monotonic()))

    def _run(self, body: bytes) -> None:
        # A session of its own, so that whatever it started ends with it. What it says may be anything.
        with subprocess.Popen(
            [*self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_without_secrets(),
            start_new_session=True,
        ) as process:
            try:
                process.communicate(body, timeout=self.timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, "failure_command")

    def _post(self, body: bytes) -> None:
        assert self.webhook is not None
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.webhook,
            data=body,
            headers={"Content-Type": "application/json", "User-Agent": "taaxdog-datamig"},
        )
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=self.timeout):
            pass


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could lead out of https; it is an error like any other status."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Lead nowhere."""


def message(event: RunFinished) -> dict[str, Any]:
    """What is sent: `docs/reference/json.md` documents it."""
    where = "" if event.run_id is None else f" (run {event.run_id})"
    said = redact(
        f"{event.action} of {event.migration} on {event.database}: {event.status}, {event.error}{where}"
    )
    hint = redact(event.hint)
    return {
        "schema": SCHEMA,
        # The field that chat services show.
        "text": f"{said}. {hint}" if hint else said,
        "run_id": event.run_id,
        "action": event.action,
        "migration": event.migration,
        "database": event.database,
        "status": event.status,
        "error": event.error,
        "hint": hint,
        "seconds": round(event.seconds, 3),
    }


def check_webhook(url: str) -> None:
    """See that an address may be called.

    Raises:
        SettingsError: it is not https, nor http on this host. The address is not quoted: it may be a secret.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_local(parts.hostname or ""):
        return
    raise SettingsError(
        "failure_webhook is not an https:// address",
        "http:// is taken for this host alone, such as http://127.0.0.1:8080/",
    )


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _without_secrets() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {*SECRETS, "DATABASE_URL"}}


def _reason(error: Exception) -> str:
    match error:
        case urllib.error.HTTPError():
            return f"status {error.code}"
        case urllib.error.URLError(reason=TimeoutError()):
            return "no answer in time"
        case subprocess.CalledProcessError():
            return f"exit code {error.returncode}"
        case OSError(strerror=str(words)) if words:
            return words
        case urllib.error.URLError(reason=Exception() as cause):
            return type(cause).__name__
    return type(error).__name__
