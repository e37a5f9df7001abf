"""What watches a command's work besides the person at the terminal, as settings and environment ask."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from taaxdog_datamig.errors import DatamigError, SettingsError, UsageError
from taaxdog_datamig.events import RunStarted
from taaxdog_datamig_cli.exits import Declined, Interrupted

if TYPE_CHECKING:
    from taaxdog_datamig.events import Event, EventBus
    from taaxdog_datamig.settings import Settings

_log = logging.getLogger(__name__)


@attrs.frozen
class Work:
    """What a command is to do, for a failure that comes before the engine can tell of it."""

    #: The migrations to be run, if that is it.
    migrations: tuple[str, ...] = ()
    dry_run: bool = False


@contextlib.contextmanager
def monitored(settings: Settings, bus: EventBus, work: Work) -> Iterator[None]:
    """Subscribe the monitors for the block, and let them end their work after it.

    Raises:
        SettingsError: one is asked for that cannot be had here.
    """
    from taaxdog_datamig.monitoring import FailureHooks, Textfiles, guarded
    from taaxdog_datamig_cli.telemetry import telemetry

    with contextlib.ExitStack() as stack:
        if settings.failure_command or settings.failure_webhook:
            hooks = FailureHooks(settings.failure_command, settings.failure_webhook, settings.failure_timeout)
            stack.callback(hooks.close)
            bus.subscribe(guarded(hooks))
        if settings.metrics_dir is not None:
            _needs_prometheus("metrics_dir")
            bus.subscribe(guarded(Textfiles(settings.metrics_dir)))
        if settings.metrics_address is not None:
            _needs_prometheus("metrics_address")
            _serve(settings.metrics_address, bus, stack)
        if (tracing := stack.enter_context(telemetry())) is not None:
            bus.subscribe(guarded(tracing))
        with _telling_early(settings, bus, work):
            yield


def _needs_prometheus(setting: str) -> None:
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        raise SettingsError(
            f"{setting} needs the extra prometheus", "pip install 'taaxdog-datamig[prometheus]'"
        ) from None


def _serve(address: str, bus: EventBus, stack: contextlib.ExitStack) -> None:
    from taaxdog_datamig.monitoring import MetricsServer, guarded

    server = MetricsServer(address)
    try:
        server.start()
    except OSError as error:  # another run has it: no reason not to run
        _log.warning("metrics are not served at %s: %s", address, error.strerror)
        return
    stack.callback(server.close)
    bus.subscribe(guarded(server))


@contextlib.contextmanager
def _telling_early(settings: Settings, bus: EventBus, work: Work) -> Iterator[None]:
    """Tell of a failure that comes before a run began, such as a database that does not answer."""
    begun = False

    def hear(event: Event) -> None:
        nonlocal begun
        begun = begun or isinstance(event, RunStarted)

    bus.subscribe(hear)
    try:
        yield
    except DatamigError as error:
        if work.migrations and not begun and not isinstance(error, UsageError | Declined | Interrupted):
            from taaxdog_datamig.engine.telling import Ending, telling

            database = urlsplit(settings.database_url or "").path.strip("/")
            ending = Ending(
                action="run", migration=work.migrations[0], database=database, dry_run=work.dry_run
            )
            with contextlib.suppress(DatamigError), telling(bus, ending):
                raise
        raise
