"""migrate-passwords: no fast digest of a password stays in the database, and everybody keeps the password.

Legacy digests are wrapped in bcrypt or argon2id, or, if asked, made unusable with a reset link in their
place. Modern, wrapped and unusable values need nothing. What is none of these is listed and left: nobody
can tell what it is worth to the application.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, cast

import attrs

from taaxdog_datamig.errors import PreflightFailed, UsageError
from taaxdog_datamig.migration import (
    Argument,
    Changes,
    DeclaredMigration,
    Leave,
    NotApplicable,
    Outcome,
    Row,
    Skip,
    Target,
    existing,
    shape_of,
    widening,
)
from taaxdog_datamig.passwords import (
    DEFAULT_COST,
    Cost,
    LegacyForm,
    Pepper,
    Scheme,
    new_reset_token,
    predicates,
    recognise,
    unusable,
    wrap,
)
from taaxdog_datamig.passwords.wrapping import encloses, longest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.profile import FittedTable

#: Types whose values are strings that a hash can replace.
_STRINGS = {"text", "varchar", "bpchar", "citext"}
#: How an argon2id cost is spelled; the wrapped form has room for so many digits.
_ARGON2_COST = re.compile(r"([1-9]\d{0,6}),([1-9]\d{0,3}),([1-9]\d{0,2})", re.ASCII)
_BCRYPT_COST = re.compile(r"\d{1,2}", re.ASCII)
#: The least that the OWASP Password Storage Cheat Sheet asks of bcrypt, and its argon2id with the least
#: memory, KiB.
_LEAST_ROUNDS, _LEAST_MEMORY = 10, 7168
#: Characters of a marker and of a reset token.
_MARKER, _TOKEN = 45, 43

_UNKNOWN = Leave("unknown-hash", "password is in no form that is known; see legacy_passwords in settings")


class MigratePasswords(DeclaredMigration):
    """Takes fast password digests out of the database."""

    name: ClassVar[str] = "migrate-passwords"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Wrap legacy password digests in bcrypt or argon2id; everybody keeps theirs"
    category: ClassVar[str] = "user-data"
    arguments: ClassVar[Mapping[str, Argument]] = {
        "mode": Argument(
            help="wrap: everybody keeps the password. reset: it is void, and a reset link waits.",
            default="wrap",
            choices=("wrap", "reset"),
        ),
        "to": Argument(help="What to wrap in.", default="bcrypt", choices=("bcrypt", "argon2id")),
        "cost": Argument(
            help="bcrypt's cost factor, such as 13; argon2id's KiB,passes,lanes, such as 19456,2,1.",
            default="",
        ),
        "unknown": Argument(
            help="Whether values in no known form are left and listed, or reset.",
            default="leave",
            choices=("leave", "reset"),
        ),
    }

    async def targets(self) -> Sequence[Target]:
        """The users' passwords; with a reset, the token and expiry of their links as well."""
        arguments, settings = self.context.arguments, self.context.settings
        table = self.context.profile.tables.get("users")
        password = table.column("password") if table is not None else None
        if table is None or password is None:
            raise NotApplicable("there is no table users with a column password")
        peppers = settings.password_peppers
        work = _Work(
            reset=arguments["mode"] == "reset",
            reset_unknown=arguments["unknown"] == "reset",
            to=cast("Scheme", arguments["to"]),
            cost=_cost(arguments["to"], arguments["cost"]),
            pepper=None if peppers is None else Pepper.parse(peppers),
            forms=tuple(LegacyForm.parse(form) for form in settings.legacy_passwords),
            padded=password.base == "bpchar",
        )
        return [_target(table, password, work)]


def _cost(to: str, text: str) -> Cost:
    if not text:
        return DEFAULT_COST
    if to == "bcrypt" and _BCRYPT_COST.fullmatch(text):
        return attrs.evolve(DEFAULT_COST, bcrypt_log_rounds=int(text))
    if to == "argon2id" and (match := _ARGON2_COST.fullmatch(text)):
        memory, passes, lanes = map(int, match.groups())
        return attrs.evolve(DEFAULT_COST, argon2_memory=memory, argon2_passes=passes, argon2_lanes=lanes)
    raise UsageError(f"cost={text} is no cost of {to}", "Give 12 for bcrypt, 19456,2,1 for argon2id")


@attrs.frozen(kw_only=True)
class _Work:
    """What is to be done with a value."""

    reset: bool
    reset_unknown: bool
    to: Scheme
    cost: Cost
    pepper: Pepper | None
    forms: tuple[LegacyForm, ...]
    #: Whether the column's type fills values up with blanks.
    padded: bool

    @property
    def resets(self) -> bool:
        """Whether any row may be reset."""
        return self.reset or self.reset_unknown

    @property
    def wide(self) -> bool:
        """Whether bare digests are not all that is pending."""
        return self.reset_unknown or bool(self.forms)

    @property
    def longest(self) -> float:
        """Characters of the longest wrapped value; a salt of the application's may have any number."""
        return math.inf if self.forms else longest(self.to, self.pepper)

    def transform(self, row: Row) -> Outcome:
        """Say what becomes of a row."""
        stored = row["password"]
        if self.padded and stored is not None:
            stored = stored.rstrip(" ")
        kind = recognise(stored, forms=self.forms).kind
        if kind not in {"legacy", "unknown"}:
            return Skip()
        if self.reset_unknown if kind == "unknown" else self.reset:
            link = new_reset_token(datetime.now(UTC))
            return Changes(
                password=unusable(), passwordResetToken=link.token, passwordResetExpires=link.expires
            ).because(f"reset {kind}")
        if kind == "unknown":
            return _UNKNOWN
        wrapped = wrap(stored, to=self.to, cost=self.cost, pepper=self.pepper, forms=self.forms)
        return Changes(password=wrapped).because("wrapped")

    def verify(self, row: Row, now: Mapping[str, str | None]) -> bool:
        """Whether a row that held `row` is right as it is now."""
        stored = now["password"] or ""
        if recognise(stored).kind == "unusable":
            return bool(now.get("passwordResetToken") and now.get("passwordResetExpires"))
        return encloses(stored, row["password"], pepper=self.pepper, forms=self.forms)


def _target(table: FittedTable, password: Column, work: _Work) -> Target:
    if password.base not in _STRINGS or password.generated:
        raise PreflightFailed(
            f"column {password.name} of {table.relation.label} is {password.type}"
            f"{' and generated' if password.generated else ''}; a hash needs text of its own",
            f"Name the column that holds the passwords: [profile.tables.{table.spec.name}.columns.password] "
            "names = [...] in datamig.toml",
        )
    columns = {"password": password}
    needed = {"password": float(_MARKER) if work.reset else work.longest}
    if work.resets:
        columns["passwordResetToken"] = existing(table, "passwordResetToken")
        columns["passwordResetExpires"] = existing(table, "passwordResetExpires")
        needed["passwordResetToken"] = _TOKEN
    narrow = {
        name: column
        for name, column in columns.items()
        # Blanks behind a hash make it another one.
        if column.base == "bpchar" or (column.limit is not None and column.limit < needed.get(name, 0))
    }
    text = f"t.{password.quoted}::text"
    legacy, doubtful = predicates.legacy(text), predicates.doubtful(text)
    return Target(
        table=table,
        shape=shape_of(table, columns, dict.fromkeys(narrow, "text")),
        pending=doubtful if work.wide else legacy,
        inspect=None if work.wide else doubtful,
        transform=work.transform,
        slow=not work.reset,
        reveal=_reveal,
        verify=work.verify,
        sensitive=True,
        ddl=widening(table, narrow, "text"),
        warnings=tuple(_warnings(table, password, work)),
    )


def _warnings(table: FittedTable, password: Column, work: _Work) -> Iterator[str]:
    if not work.reset:
        if work.pepper is None:
            yield (
                "no pepper is configured (PASSWORD_PEPPERS): whoever has the database can try digests that "
                "leaked elsewhere instead of passwords"
            )
        else:
            yield f"passwords are wrapped under pepper {work.pepper.primary}: a login needs it from then on"
        cost = work.cost
        weak = (
            cost.bcrypt_log_rounds < _LEAST_ROUNDS
            if work.to == "bcrypt"
            else cost.argon2_memory < _LEAST_MEMORY
        )
        if weak:
            yield f"the cost of {work.to} is below what the OWASP Password Storage Cheat Sheet asks for"
    if work.resets:
        key = ", ".join(column.quoted for column in table.relation.key_columns)
        yield (
            "who has been reset and has not set a new password yet, to be written to: "  # noqa: S608
            f"SELECT {key} FROM {table.relation.quoted} WHERE {password.quoted} LIKE '!datamig$v1$%'"
        )


def _reveal(_: tuple[str, ...], column: str, text: str | None) -> object:
    """What a value means but for salts and randomness."""
    if text is None or column == "passwordResetExpires":
        return text is not None
    if column == "passwordResetToken":
        return "ours" if re.fullmatch(r"[A-Za-z0-9_-]{43}", text) else text
    found = recognise(text)
    if found.wrapped is not None:
        return ["wrapped", found.wrapped.text.removesuffix(found.wrapped.outer), found.wrapped.to]
    return found.kind if found.kind == "unusable" else text
