"""Every error the library raises on purpose.

    DatamigError
    ├── UsageError                wrong words or settings: nothing was tried
    │   ├── SettingsError         a setting is missing or does not parse
    │   ├── UnknownName           no migration, run or table of that name
    │   ├── KeyFormatError        a key is not 64 hex digits or 44 base64 characters
    │   └── PasswordUnfit         a password that its hash would cut short
    ├── RefusedError              refused for safety: nothing was changed
    │   ├── KeyMissing            a sensitive column, and no key to seal it with
    │   ├── KeyWrong              the keys given do not open what is in the database
    │   ├── LeaseHeld             another process runs this migration, or one on the same table
    │   ├── PlanDrift             the pinned plan no longer describes the database or the code
    │   ├── NotReversible         the migration has no way back
    │   └── PreflightFailed       the database is not in a state that the run can change safely
    ├── TokenError                a field token does not open (never holds the token)
    ├── DatabaseError             the server could not be used
    │   ├── DatabaseUnavailable   no connection: address, password, server down
    │   └── ServerRefused         the server refused a statement: privileges, disk full, read-only
    ├── RunError                  a run ended without success; the database is unchanged or resumable
    │   ├── QuarantineExceeded    more rows refused than --max-quarantine allows
    │   ├── ProofFailed           the rows were written, but the proof of completion did not hold
    │   ├── RunPaused             stopped between chunks on request; `resume` goes on
    │   ├── RunCancelled          cancelled from a terminal; what it did was rolled back
    │   └── LeaseLost             another process took the run over
    ├── ArchiveError              an archive cannot be written or read, or is damaged
    ├── BackupError               a backup cannot be written or read, is damaged, or does not fit
    └── EmbeddedError             the embedded server: no binaries, or it does not start

An error says *what* happened (to which table, row key or file) and what *to do* next. Neither field
ever holds the value of a sensitive column. Fields are positional, so that errors survive pickling.
"""

from __future__ import annotations

import attrs


@attrs.define
class DatamigError(Exception):
    """Base of all errors raised on purpose."""

    #: What happened, to which thing. One sentence, no trailing full stop.
    what: str
    #: What the reader can do about it. Empty when the sentence above says it all.
    todo: str = ""

    def __str__(self) -> str:
        return f"{self.what}. {self.todo}" if self.todo else self.what


class UsageError(DatamigError):
    """Wrong words or settings; nothing was tried."""


class SettingsError(UsageError):
    """A setting is missing or does not parse."""


class UnknownName(UsageError):
    """There is no migration, run or table of that name."""


class KeyFormatError(UsageError):
    """A key is in none of the accepted spellings. The message never quotes it."""


class PasswordUnfit(UsageError):
    """A password that its hash would cut short or cannot take. The message never quotes it."""


class RefusedError(DatamigError):
    """Refused for safety; nothing was changed."""


class KeyMissing(RefusedError):
    """A run would hold sensitive values and no key is configured to seal them."""


class KeyWrong(RefusedError):
    """The configured keys do not open what earlier runs sealed."""


class LeaseHeld(RefusedError):
    """Another live process holds the run, or runs on the same table."""


class PlanDrift(RefusedError):
    """Code, arguments, predicate or row band differ from the pinned plan."""


class NotReversible(RefusedError):
    """The migration cannot undo what it did: its `down` says so, or it has none."""


class PreflightFailed(RefusedError):
    """A preflight check found something that makes the run unsafe or impossible."""


class TokenError(DatamigError):
    """A field token does not open: wrong key, another row or column, or damage."""


class DatabaseError(DatamigError):
    """The server could not be used."""


class DatabaseUnavailable(DatabaseError):
    """No connection to the server."""


class ServerRefused(DatabaseError):
    """The server refused a statement for a reason that is not the data's."""


class RunError(DatamigError):
    """A run ended without success; the database is unchanged or the run can be resumed."""


class QuarantineExceeded(RunError):
    """More rows were refused than the error budget allows."""


class ProofFailed(RunError):
    """The proof of completion did not hold."""


class RunPaused(RunError):
    """The run stopped between two chunks because somebody asked it to."""


class RunCancelled(RunError):
    """The run was cancelled and what it had changed was rolled back."""


class LeaseLost(RunError):
    """The lease expired or was taken over; this process stopped writing."""


class ArchiveError(DatamigError):
    """An archive cannot be written or read back, or is damaged."""


class BackupError(DatamigError):
    """A backup cannot be written or read, is damaged, or does not fit the database."""


class EmbeddedError(DatamigError):
    """The embedded PostgreSQL cannot be found or does not start."""
