"""Security: values that anybody with the database can read, or nobody any more, and doors left open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taaxdog_datamig.crypto.field import V1
from taaxdog_datamig.migration.expiry import EXPIRING_TABLES, USER_TOKENS, expired
from taaxdog_datamig.passwords import LegacyForm, recognise
from taaxdog_datamig.passwords import predicates as hashes
from taaxdog_datamig.profile import over
from taaxdog_datamig.validation.checks import sealed as values
from taaxdog_datamig.validation.checks.sealed import holds_tfn, holds_two_factor_secret, sensitive
from taaxdog_datamig.validation.model import Check, ExaminedCheck, RowCheck, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from taaxdog_datamig.crypto.field import FoundKind
    from taaxdog_datamig.validation.examine import ExaminedRow
    from taaxdog_datamig.validation.scene import Scene

_SEAL = "Run encrypt-user-data, and have the application write sealed values only."

PLAINTEXT_TFN = Rule(
    id="plaintext-tfn",
    title="Tax file number in plain text",
    category="security",
    severity="critical",
    meaning="Anybody who reads the table, a backup or a replica has the tax file number. The law protects "
    "it: its disclosure is an offence, and a breach that must be reported.",
    remedy=_SEAL,
    fix="encrypt-user-data",
)
PLAINTEXT_TWO_FACTOR_SECRET = Rule(
    id="plaintext-two-factor-secret",
    title="Two-factor secret in plain text",
    category="security",
    severity="critical",
    meaning="Whoever reads it can make this user's codes at will: the second factor is worth nothing.",
    remedy=f"{_SEAL} Where the table may have been read, have the users enrol anew.",
    fix="encrypt-user-data",
)
PLAINTEXT_SENSITIVE = Rule(
    id="plaintext-sensitive",
    title="Sensitive value in plain text",
    category="security",
    severity="high",
    meaning="A column that the profile calls sensitive holds values that anybody who reads the table, a "
    "backup or a replica can read.",
    remedy=_SEAL,
    fix="encrypt-user-data",
)
LEGACY_TOKEN = Rule(
    id="legacy-token",
    title="Value sealed by the application's older encryption",
    category="security",
    severity="low",
    meaning="The value is encrypted, but tied to no row and column: copied elsewhere it still opens. Nor "
    "does it say under which key it was sealed, so that keys cannot be rotated.",
    remedy="Run encrypt-user-data: it opens the value and seals it anew.",
    fix="encrypt-user-data",
)
TOKEN_DOES_NOT_OPEN = Rule(
    id="token-does-not-open",
    title="Sealed value was moved or damaged",
    category="security",
    severity="high",
    meaning="The key is there, and the value does not open: it was copied from another row, column or "
    "table, its row's key was changed, or it was damaged. Somebody may have swapped values.",
    remedy="Find out who wrote the row. Restore the value from a backup, or ask the user for it again.",
)
TOKEN_UNKNOWN_KEY = Rule(
    id="token-unknown-key",
    title="Sealed value needs a key that is not configured",
    category="security",
    severity="high",
    meaning="The value names a key that this keyring does not have. Without it, nobody can read the value.",
    remedy="Add the key to FIELD_ENCRYPTION_KEYS, then run `datamig keys rotate`. If the key is lost, so is "
    "the value: ask the user for it again.",
)
TOKEN_MALFORMED = Rule(
    id="token-malformed",
    title="Value begins like a sealed one, and is none",
    category="security",
    severity="high",
    meaning="It begins with `encrypted:`, but was cut short, changed, or sealed twice. Software that looks "
    "at the beginning only takes it for sealed; it may be plain text with the prefix in front.",
    remedy="Look at the value. Restore it from a backup, or ask the user for it again.",
)
#: What is wrong with a token, where something is.
TOKEN_RULES = (TOKEN_DOES_NOT_OPEN, TOKEN_UNKNOWN_KEY, TOKEN_MALFORMED)
PASSWORD_LEGACY = Rule(
    id="password-legacy",
    title="Password kept as a fast digest",
    category="security",
    severity="high",
    meaning="MD5, SHA-1, SHA-2 and their like are made to be fast: whoever gets the table tries billions of "
    "passwords a second against it.",
    remedy="Run migrate-passwords: everybody keeps the password.",
    fix="migrate-passwords",
)
PASSWORD_UNKNOWN = Rule(
    id="password-unknown",
    title="Password in an unknown form",
    category="security",
    severity="medium",
    meaning="It is neither a hash of a known form nor a known marker. It may be a weak digest, or the "
    "password itself.",
    remedy="Find out what wrote it. Describe a form of the application's own under legacy_passwords in the "
    "settings; otherwise run migrate-passwords with unknown=reset.",
)
EXPIRED_SESSION = Rule(
    id="expired-session",
    title="Session past its expiry",
    category="security",
    severity="low",
    meaning="The session should let nobody in, but lies there: an application that forgets to look at the "
    "expiry accepts it.",
    remedy="Run cleanup-sessions, at best every night.",
    fix="cleanup-sessions",
)
EXPIRED_VERIFICATION_TOKEN = Rule(
    id="expired-verification-token",
    title="E-mail verification token past its expiry",
    category="security",
    severity="low",
    meaning="The link should no longer work. The token has no use but misuse.",
    remedy="Run cleanup-sessions, at best every night.",
    fix="cleanup-sessions",
)
EXPIRED_RESET_TOKEN = Rule(
    id="expired-reset-token",
    title="Password reset token past its expiry",
    category="security",
    severity="medium",
    meaning="A reset link takes over an account. Past its expiry it has no use but misuse: an old mailbox "
    "or a backup, and an application that forgets to look at the expiry, are enough.",
    remedy="Run cleanup-sessions, at best every night.",
    fix="cleanup-sessions",
)

RULES = (
    PLAINTEXT_TFN,
    PLAINTEXT_TWO_FACTOR_SECRET,
    PLAINTEXT_SENSITIVE,
    LEGACY_TOKEN,
    TOKEN_DOES_NOT_OPEN,
    TOKEN_UNKNOWN_KEY,
    TOKEN_MALFORMED,
    PASSWORD_LEGACY,
    PASSWORD_UNKNOWN,
    EXPIRED_SESSION,
    EXPIRED_VERIFICATION_TOKEN,
    EXPIRED_RESET_TOKEN,
)

_EXPIRING = {
    "sessions": EXPIRED_SESSION,
    "verification_tokens": EXPIRED_VERIFICATION_TOKEN,
    "password_reset_tokens": EXPIRED_RESET_TOKEN,
    "passwordResetToken": EXPIRED_RESET_TOKEN,
    "emailVerificationToken": EXPIRED_VERIFICATION_TOKEN,
}


def checks(scene: Scene) -> list[Check]:
    """The checks of this category."""
    found: list[Check] = []
    for table, column in sensitive(scene):
        found += _sealing(table.spec.name, column)
    return [*found, *_passwords(scene), *_expiring()]


def _sealing(table: str, column: str) -> Iterator[Check]:
    if holds_tfn(column):
        plaintext = PLAINTEXT_TFN
    elif holds_two_factor_secret(column):
        plaintext = PLAINTEXT_TWO_FACTOR_SECRET
    else:
        plaintext = PLAINTEXT_SENSITIVE
    yield RowCheck(
        rule=plaintext,
        table=table,
        columns=(column,),
        part=f"{table}.{column}",
        violation=over(values.plaintext, column),
    )
    # Few values are long, without a prefix, and no legacy token: all of them are opened.
    yield _opening(plaintext, table, column, values.opaque, "plaintext", part="opaque", may_sample=False)
    yield _opening(LEGACY_TOKEN, table, column, _perhaps_legacy, "legacy")
    yield _opening(TOKEN_DOES_NOT_OPEN, table, column, values.sealed, "does_not_open")
    yield _opening(TOKEN_UNKNOWN_KEY, table, column, values.sealed, "foreign_key_id")
    # What the application sealed may turn out to be a token itself.
    yield _opening(TOKEN_MALFORMED, table, column, values.must_open, "malformed")


def _perhaps_legacy(text: str) -> str:
    prefixed = f"{values.sealed(text)} AND NOT starts_with({text}, '{V1}')"
    return f"({values.opaque(text)} OR ({prefixed}))"


def _opening(
    rule: Rule,
    table: str,
    column: str,
    suspect: Callable[[str], str],
    kind: FoundKind,
    *,
    part: str = "",
    may_sample: bool = True,
) -> ExaminedCheck:
    def violated(row: ExaminedRow) -> bool:
        return row.found(column).kind == kind

    return ExaminedCheck(
        rule=rule,
        table=table,
        columns=(column,),
        part=".".join(filter(None, (table, column, part))),
        suspect=over(suspect, column),
        looked_at=(column,),
        violated=violated,
        needs_keys=True,
        may_sample=may_sample,
    )


def _passwords(scene: Scene) -> Iterator[Check]:
    forms = tuple(LegacyForm.parse(form) for form in scene.settings.legacy_passwords)

    def is_legacy(row: ExaminedRow) -> bool:
        return recognise(row["password"], forms=forms).kind == "legacy"

    def is_unknown(row: ExaminedRow) -> bool:
        return recognise(row["password"], forms=forms).kind == "unknown"

    doubtful = over(hashes.doubtful, "password")
    columns = ("password",)
    if forms:
        yield ExaminedCheck(
            rule=PASSWORD_LEGACY,
            table="users",
            columns=columns,
            suspect=doubtful,
            looked_at=columns,
            violated=is_legacy,
        )
    else:
        legacy = over(hashes.legacy, "password")
        yield RowCheck(rule=PASSWORD_LEGACY, table="users", columns=columns, violation=legacy)
    yield ExaminedCheck(
        rule=PASSWORD_UNKNOWN,
        table="users",
        columns=columns,
        suspect=doubtful,
        looked_at=columns,
        violated=is_unknown,
    )


def _expiring() -> Iterator[Check]:
    for table, column in EXPIRING_TABLES.items():
        yield RowCheck(
            rule=_EXPIRING[table],
            table=table,
            columns=(column,),
            part=f"{table}.{column}",
            violation=expired(column),
        )
    for token, column in USER_TOKENS:
        yield RowCheck(
            rule=_EXPIRING[token],
            table="users",
            columns=(token, column),
            part=f"users.{token}",
            violation=expired(column),
        )
