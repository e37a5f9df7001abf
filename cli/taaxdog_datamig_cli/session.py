"""One call of the command line: what was asked for, the terminal it runs at, the library's doors."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import attrs

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.suggestions import did_you_mean
from taaxdog_datamig_cli.exits import Declined, Interrupted, Unwritten
from taaxdog_datamig_cli.options import Common

if TYPE_CHECKING:
    from taaxdog_datamig import Database, Runner
    from taaxdog_datamig.embedded import EmbeddedServer
    from taaxdog_datamig.events import EventBus
    from taaxdog_datamig.settings import Settings
    from taaxdog_datamig_cli.answers import Sample
    from taaxdog_datamig_cli.monitors import Work
    from taaxdog_datamig_cli.page import Page
    from taaxdog_datamig_cli.progress import Reporter

EMBEDDED = "embedded"

_HOW_TO_NAME_A_DATABASE = (
    "Set DATABASE_URL to a postgresql:// URL or pass --database URL; `--database embedded` starts a "
    "throw-away server, and `demo` shows everything on one"
)


def required(settings: Settings) -> str:
    """The database's URL.

    Raises:
        SettingsError: none is given; it is never guessed.
    """
    if settings.database_url is None:
        raise SettingsError("no database is given", _HOW_TO_NAME_A_DATABASE)
    return settings.database_url


def embedded_server(url: str | None) -> EmbeddedServer | None:
    """The server, not started yet, that a URL like `embedded:PATH` asks for."""
    kind, _, path = (url or "").partition(":")
    if kind != EMBEDDED:
        if not path.startswith("//") and did_you_mean(kind, [EMBEDDED]):
            raise SettingsError("the database is no URL, and no embedded server", "Did you mean embedded?")
        return None
    from taaxdog_datamig.embedded import EmbeddedServer

    return EmbeddedServer(Path(path) if path else None, durable=bool(path))


@asynccontextmanager
async def _served(settings: Settings) -> AsyncIterator[Settings]:
    """Settings whose `database_url`, if any, is a server's: an embedded one runs inside."""
    server = embedded_server(settings.database_url)
    if server is None:
        yield settings
        return
    async with server:
        yield attrs.evolve(settings, database_url=server.dsn)


@contextmanager
def _written() -> Iterator[None]:
    """Say so when stdout does not take it all.

    Raises:
        Unwritten: it does not.
        BrokenPipeError: nobody reads.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritten(
            f"the answer could not be written to stdout: {error.strerror}",
            "What was asked for is done; `datamig history` has its record if it was a run",
        ) from None


class _CurrentStderr:
    """Writes to whatever `sys.stderr` is at the moment, so that log lines keep clear of a live display."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


@attrs.define
class Session:
    """What a command needs beside its own arguments."""

    common: Common
    #: Answers of work that is done, shown even when later work fails.
    finished: list[Any] = attrs.field(factory=list)
    #: What to say when a signal stops the command: what happened, and what to do.
    if_interrupted: tuple[str, str] = ("interrupted; nothing was changed", "")
    #: What the command's answer is on stdout; None: a page, or with `--json` its document.
    text: str | None = None
    #: Settings that the command line gives.
    fixed: dict[str, Any] = attrs.field(factory=dict)
    #: Whether a person is being asked at the moment.
    prompting: bool = False
    #: The last signal that stopped the command.
    signal: int | None = None

    @property
    def asks(self) -> bool:
        """Whether there is a person who can answer."""
        return (
            not self.common.json and not os.environ.get("CI") and sys.stdin.isatty() and sys.stdout.isatty()
        )

    @property
    def all_json(self) -> bool:
        """Whether whatever is on stderr is a line of JSON."""
        return self.common.log_format == "json"

    def settings(self, **fixed: Any) -> Settings:
        """Resolve the settings and switch logging on.

        Raises:
            SettingsError: see `Settings.load`.
        """
        from taaxdog_datamig.redaction import configure_logging
        from taaxdog_datamig.settings import Settings

        level = "debug" if self.common.verbose else "error" if self.common.quiet else None
        settings = Settings.load(
            config=self.common.config,
            database_url=self.common.database,
            log_level=level,
            **self.fixed,
            **fixed,
        )
        if settings.migrations or settings.checks:
            # The settings file's folder, last, so that it hides nothing: modules may stand beside it.
            folder = str((self.common.config or Path("datamig.toml")).absolute().parent)
            sys.path.extend([folder] if folder not in sys.path else [])
        configure_logging(settings.log_level, self.common.log_format, cast("TextIO", _CurrentStderr()))
        return settings

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Settings]:
        """Settings whose `database_url`, if any, is a server's: an embedded one runs inside."""
        async with _served(self.settings()) as settings:
            yield settings

    async def load_sample(
        self, dsn: str, *, users: int, faults: bool, seed: int, legacy_key: bytes | None
    ) -> Sample:
        """Load the sample database and show how far it is."""
        from taaxdog_datamig.demo import load_sample
        from taaxdog_datamig.demo.sizes import rows_by_table
        from taaxdog_datamig_cli.answers import Sample
        from taaxdog_datamig_cli.progress import loading

        reporter = self.reporter()
        with self.working_on("sample", reporter):
            report = await load_sample(
                dsn,
                users=users,
                faults=faults,
                seed=seed,
                legacy_key=legacy_key,
                progress=loading(reporter, rows_by_table(users)),
            )
        return Sample(
            users=report.users,
            seed=report.seed,
            rows=report.rows,
            faults=report.faults,
            sensitive=report.sensitive,
            seconds=report.seconds,
        )

    @asynccontextmanager
    async def database(self) -> AsyncIterator[tuple[Database, Settings]]:
        """A connected database.

        Raises:
            SettingsError: none is given.
            DatabaseUnavailable: it does not answer.
        """
        from taaxdog_datamig import Database

        async with (
            self.served() as settings,
            Database.connect(required(settings), settings=settings) as database,
        ):
            yield database, settings

    @asynccontextmanager
    async def other_database(self, url: str, settings: Settings) -> AsyncIterator[Database]:
        """Another connected database than the command's own, named as `--database` names one.

        Raises:
            DatabaseUnavailable: it does not answer.
        """
        from taaxdog_datamig import Database

        async with (
            _served(attrs.evolve(settings, database_url=url)) as elsewhere,
            Database.connect(settings=elsewhere) as database,
        ):
            yield database

    @asynccontextmanager
    async def runner(
        self, reporter: Reporter | None = None, work: Work | None = None
    ) -> AsyncIterator[Runner]:
        """A runner on a connected database; see `watched` for its events."""
        from taaxdog_datamig import Database, Runner

        async with self.served() as settings:
            with self.watched(settings, reporter, work) as events:
                async with Database.connect(required(settings), settings=settings) as database:
                    yield Runner(database, settings, events=events)

    @contextmanager
    def watched(
        self, settings: Settings, reporter: Reporter | None, work: Work | None = None
    ) -> Iterator[EventBus]:
        """Events that go to `reporter`, to the log if it wants them, and for `work` to whatever is set up."""
        from taaxdog_datamig.events import EventBus

        bus = EventBus()
        if reporter is not None:
            bus.subscribe(reporter)
        # Else a warning would be told twice.
        if self.all_json or logging.getLogger().isEnabledFor(logging.INFO):
            from taaxdog_datamig.monitoring import EventLog

            bus.subscribe(EventLog())
        if work is None:
            yield bus
            return
        from taaxdog_datamig_cli.monitors import monitored

        with monitored(settings, bus, work):
            yield bus

    def reporter(self) -> Reporter:
        """How progress is shown here."""
        from taaxdog_datamig_cli import progress

        if self.common.quiet or self.all_json:
            return progress.Silent()
        if sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
            return progress.Live()
        return progress.Heartbeat(sys.stderr)

    @contextmanager
    def working_on(self, title: str, reporter: Reporter) -> Iterator[None]:
        """Show progress under `title`."""
        reporter.start(title)
        try:
            yield
        finally:
            reporter.stop()

    def show(self, answer: Any) -> None:
        """Put an answer on stdout, in the form this call wants.

        Raises:
            BrokenPipeError: nobody reads.
        """
        if self.text is None and not self.common.json:
            self.tell(answer)
            return
        from taaxdog_datamig_cli import shapes

        with _written():
            sys.stdout.write(self.text or shapes.encode(shapes.document(answer)))
            sys.stdout.flush()

    def tell(self, answer: Any) -> None:
        """Show an answer on the way to the command's own; with `--json` nothing."""
        from taaxdog_datamig_cli import render

        self.show_page(render.page(answer))

    def show_page(self, content: Page) -> None:
        """Put a page on stdout; with `--json` nothing: stdout belongs to the one document."""
        if self.common.json:
            return
        from taaxdog_datamig_cli import page

        write = page.write_rich if sys.stdout.isatty() else page.write_plain
        with _written():
            write(content, sys.stdout)
            sys.stdout.flush()

    def confirm(self, question: str) -> None:
        """Ask a person; return when they agree.

        Raises:
            Declined: they do not.
            Interrupted: they press Ctrl-C.
        """
        if sys.stdin.isatty():
            import termios

            # Keys pressed before the question was seen do not answer it.
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
        sys.stdout.write(f"{question} [y/N] ")
        sys.stdout.flush()
        self.prompting = True
        try:
            answer = sys.stdin.readline().strip().lower()
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            raise Interrupted(*self.if_interrupted) from None
        finally:
            self.prompting = False
        if answer not in {"y", "yes"}:
            raise Declined("not confirmed; nothing was changed", "--yes goes on without asking")
