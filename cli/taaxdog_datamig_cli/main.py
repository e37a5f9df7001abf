"""The `datamig` command: reads the words, runs the command, shows its answer or its error.

Commands are registered by import path and imported when they are called. Every exit code is made here.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Coroutine, Iterable, Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli import exits
from taaxdog_datamig_cli.door import begun
from taaxdog_datamig_cli.options import Common
from taaxdog_datamig_cli.session import Session

_COMMANDS = "taaxdog_datamig_cli.commands"

START = Group("Start here", sort_key=1)
MIGRATE = Group("Migrate", sort_key=2)
STEER = Group("Look and steer", sort_key=3)
CHECK = Group("Check and back up", sort_key=2)
REST = Group("Keys and environment", sort_key=4)

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "datamig demo",
        "datamig plan encrypt-user-data",
        "datamig run encrypt-user-data --dry-run",
        "datamig run encrypt-user-data",
        "datamig rollback encrypt-user-data",
    ),
    "demo": ("datamig demo", "datamig demo --users 50000 --keep ./demo-data"),
    "interactive": ("datamig interactive", "datamig interactive --database embedded:./sample"),
    "doctor": ("datamig doctor", "datamig doctor --json"),
    "list": ("datamig list", "datamig list --json"),
    "plan": ("datamig plan encrypt-user-data", "datamig plan encrypt-user-data --out plan.json"),
    "run": (
        "datamig run encrypt-user-data --dry-run",
        "datamig run encrypt-user-data --batch-size=50",
        "datamig run encrypt-user-data --plan plan.json --yes",
        "datamig run --type=encrypt-user-data --skip-backup --json",
        "datamig run migrate-passwords --to argon2id",
    ),
    "validate": (
        "datamig validate",
        "datamig validate --category security --fail-on high",
        "datamig validate --user-id USER_ID --json",
        "datamig validate --output report.html --output report.sarif",
        "datamig validate --baseline report.json",
        "datamig validate --list",
    ),
    "rollback": ("datamig rollback encrypt-user-data --dry-run", "datamig rollback RUN_ID --yes"),
    "new-migration": (
        "datamig new-migration uppercase-state",
        "datamig new-migration uppercase-state --imperative --path myapp/migrations",
    ),
    "status": (
        "datamig status",
        "datamig status encrypt-user-data",
        "datamig status encrypt-user-data --watch",
    ),
    "pause": ("datamig pause encrypt-user-data",),
    "resume": ("datamig resume encrypt-user-data",),
    "cancel": ("datamig cancel RUN_ID",),
    "history": ("datamig history --limit 5", "datamig history --failed --json"),
    "report": ("datamig report encrypt-user-data --output run.html",),
    "checksum": (
        "datamig checksum --tables users,bank_transactions",
        "datamig checksum --diff postgresql://restored-host/taaxdog --json",
    ),
    "backup create": (
        "datamig backup create",
        "datamig backup create --tables=users,transactions --name before-upgrade",
    ),
    "backup list": ("datamig backup list", "datamig backup list --json"),
    "backup show": ("datamig backup show latest",),
    "backup verify": ("datamig backup verify latest", "datamig backup verify latest --restore"),
    "backup hold": ("datamig backup hold latest --reason audit", "datamig backup hold BACKUP_ID --release"),
    "backup clean": (
        "datamig backup clean --older-than 30d --keep 7",
        "datamig backup clean --daily 7 --weekly 5 --monthly 12 --apply",
    ),
    "restore": (
        "datamig restore latest --dry-run",
        "datamig restore BACKUP_ID --tables=users,transactions",
        "datamig restore latest --database postgresql://new-host/taaxdog --jobs 4",
    ),
    "archive list": ("datamig archive list", "datamig archive list --json"),
    "archive show": ("datamig archive show ARCHIVE_ID",),
    "archive restore": (
        "datamig archive restore ARCHIVE_ID --dry-run",
        "datamig archive restore ARCHIVE_ID --tables audit_logs --yes",
    ),
    "keys list": ("datamig keys list", "datamig keys list --json"),
    "keys verify": ("datamig keys verify",),
    "keys rotate": ("datamig keys rotate --dry-run", "datamig keys rotate --workers 2 --yes"),
    "audit verify": ("datamig audit verify",),
    "audit export": ("datamig audit export --output audit.jsonl", "datamig audit export --run RUN_ID"),
    "runs purge": (
        "datamig runs purge --older-than 90d",
        "datamig runs purge --older-than 90d --shred --apply",
    ),
    "keys generate": ("datamig keys generate", "datamig keys generate --out field-encryption.key"),
    "sample load": ("datamig sample load --users 1000 --database embedded:./sample",),
    "quarantine list": ("datamig quarantine list RUN_ID",),
    "quarantine retry": ("datamig quarantine retry RUN_ID", "datamig quarantine retry RUN_ID --yes --json"),
}


def _epilogue(chain: str) -> str:
    lines = EXAMPLES.get(chain, ())
    return "Examples:\n\n" + "\n".join(f"  {line}" for line in lines) if lines else ""


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("taaxdog-datamig")
    except PackageNotFoundError:
        return "0 (source tree, not installed)"


app = App(
    name="datamig",
    help="Change live production data in PostgreSQL safely: with proof, and with undo.",
    help_epilogue=_epilogue(""),
    help_format="plaintext",
    help_formatter="default" if sys.stdout.isatty() else "plain",
    version=_version,
)


def _register(parent: App, chain: str, help_: str, group: Group | None = None) -> None:
    """Register a command, which lives in the module named by its words and the function by its last."""
    word = chain.rpartition(" ")[2]
    path = f"{_COMMANDS}.{chain.replace(' ', '_')}:{word}".replace("-", "_")
    parent.command(path, name=word, help=help_, group=group, help_epilogue=_epilogue(chain))


for _chain, _help, _group in (
    ("demo", "See everything work on a throw-away database.", START),
    ("interactive", "The menu: everything below with a few keys. So does no command, at a terminal.", START),
    ("doctor", "Examine environment, server, privileges, keys and schema.", START),
    ("list", "The migrations, and their state in this database.", MIGRATE),
    ("plan", "What migrations would do: rows, statements, size and time. Changes nothing.", MIGRATE),
    ("validate", "Check the whole database: what is wrong, where, and what mends it.", CHECK),
    ("run", "Run migrations, in dependency order. A run left by a killed process is resumed.", MIGRATE),
    ("restore", "Bring a backup's rows back, into tables that are there or an empty database.", CHECK),
    ("rollback", "Give rows back their values from before a run, unless they changed since.", MIGRATE),
    ("new-migration", "Write a migration to start from, and its test.", MIGRATE),
    ("status", "How runs stand: rows, who holds them, what they wait for.", STEER),
    ("pause", "Stop a run between two chunks; it can be resumed.", STEER),
    ("resume", "Go on with a paused or abandoned run, here.", STEER),
    ("cancel", "Stop a run between two chunks and roll back what it did.", STEER),
    ("history", "Runs of the past, the latest first.", STEER),
    ("report", "Everything about one run, as a page that can be passed on.", STEER),
    ("checksum", "Tables' contents as numbers; how two databases differ. Writes nothing.", STEER),
):
    _register(app, _chain, _help, _group)

for _sub, _about, _group, _nested_commands in (
    (
        "quarantine",
        "Rows that a run refused.",
        STEER,
        {"list": "Which rows, and why.", "retry": "Do them again, once they or the migration were mended."},
    ),
    (
        "backup",
        "Backups: consistent, compressed, sealed.",
        CHECK,
        {
            "create": "Make a backup.",
            "list": "The backups, the latest first.",
            "show": "What a backup holds.",
            "verify": "Read every part of a backup and compare it; or restore it and compare that.",
            "hold": "Keep a backup, whatever `clean` is told.",
            "clean": "Let old backups go; shows what would go unless told to do it.",
        },
    ),
    (
        "archive",
        "Rows that cleanups and merges took away.",
        STEER,
        {
            "list": "The archives, the latest first.",
            "show": "What an archive holds; every part of it is verified.",
            "restore": "Put an archive's rows back where their key is absent.",
        },
    ),
    (
        "keys",
        "Keys that seal sensitive columns.",
        REST,
        {
            "generate": "Make a new key.",
            "list": "The keys by id, and what needs each.",
            "verify": "Open every token; name the rows whose token does not open.",
            "rotate": "Seal everything anew under the first of FIELD_ENCRYPTION_KEYS.",
        },
    ),
    (
        "audit",
        "The audit trail: who did what, when.",
        REST,
        {
            "verify": "Whether an entry was changed, taken away or put in.",
            "export": "The entries as lines of JSON.",
        },
    ),
    (
        "runs",
        "What is kept of runs.",
        STEER,
        {"purge": "Let go of old runs' before-images; shows which unless told to do it."},
    ),
    ("sample", "The sample TAAXDOG database.", REST, {"load": "Load it into an empty database."}),
):
    _nested = App(name=_sub, help=_about, group=_group, help_epilogue="")
    app.command(_nested)
    for _last, _help in _nested_commands.items():
        _register(_nested, f"{_sub} {_last}", _help)


app.register_install_completion_command(help="Install completion for this shell.", help_epilogue="")


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    common: Common | None = None,
) -> int:
    session = Session(common=common or Common())
    try:
        return _call(session, tokens)
    except CycloptsError:
        raise
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the one place where errors become messages
        return _complain(error, session)


def _call(session: Session, tokens: Iterable[str]) -> int:
    words = list(tokens)
    if not words and session.common.json:
        raise UsageError("no command is given", "`datamig --help` lists them")
    if not words and session.asks:
        words = ["interactive"]
    command, bound, ignored = app.parse_args(words, exit_on_error=False, print_error=False)
    extra = {"session": session} if "session" in ignored else {}
    if not inspect.iscoroutinefunction(command):
        begun()
    answer = command(*bound.args, **bound.kwargs, **extra)
    if isinstance(answer, Coroutine):
        from taaxdog_datamig_cli.interrupts import drive

        answer = drive(answer, session)
    if answer is None:
        return exits.DONE
    session.show(answer)
    return exits.of_answer(answer)


def _complain(error: BaseException, session: Session) -> int:
    from taaxdog_datamig_cli.complaints import complain

    return complain(error, session)


def _misused(error: CycloptsError, words: Sequence[str]) -> int:
    """Words that make no command line. Nothing is imported and nothing was tried."""
    chain = " ".join(("datamig", *(error.command_chain or ())))
    # cyclopts would list every command; `--help` does that better.
    what = " ".join(str(error).split()).partition(" Available commands:")[0]
    told = UsageError(what.rstrip("."), f"`{chain} --help` shows how")
    # Parsing failed, so only the bare words can say whether a document is wanted.
    asked = Common(json="--json" in words, verbose=False)
    return _complain(told, Session(common=asked))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        argv: the words after the program's name; `sys.argv` by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    code = exits.DONE
    try:
        try:
            # Help and version return None.
            code = app.meta(words, exit_on_error=False, print_error=False, result_action="return_value") or 0
        except CycloptsError as error:
            code = _misused(error, words)
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()  # the reader (`| head`) has seen enough
    except OSError as error:
        _close_stdout()
        if not code:  # else it was said: this is help
            told = exits.Unwritten(f"stdout could not be written to: {error.strerror}")
            code = _complain(told, Session(common=Common()))
    except SystemExit as stop:
        if not isinstance(stop.__context__, BrokenPipeError):
            raise  # rich leaves like this when the reader of its help is gone
    return code


def _close_stdout() -> None:
    """Let what stdout did not take go: Python would complain of it again while it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
