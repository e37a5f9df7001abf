"""Business rules: what the application promises of users, subscriptions and how long records are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taaxdog_datamig.migration.evidence import fillable
from taaxdog_datamig.migration.pending import (
    DELETED,
    LONG_DELETED,
    OLD_AUDIT_LOGS,
    OLD_FAILED_PAYMENTS,
    SAME_EMAIL,
)
from taaxdog_datamig.profile import column_of, verbatim
from taaxdog_datamig.validation.model import Check, RowCheck, Rule, UniqueCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taaxdog_datamig.profile import FittedTable
    from taaxdog_datamig.validation.scene import Scene

SUBSCRIPTION_LAPSED = Rule(
    id="subscription-lapsed",
    title="Subscription is active past the end of its period",
    category="business-rules",
    severity="high",
    meaning="The paid or trial period is over, and the subscription still counts: somebody uses the service "
    "without paying, or a renewal was not recorded.",
    remedy="Read the subscription's state from the payment provider again.",
)
SUBSCRIPTION_TWICE = Rule(
    id="subscription-twice",
    title="User has two active subscriptions",
    category="business-rules",
    severity="high",
    meaning="The user may be charged twice. The one with the lowest key is not counted, the others are.",
    remedy="Cancel all but one at the payment provider, and refund what was paid for the others.",
)
ROLE_UNKNOWN = Rule(
    id="role-unknown",
    title="User's role is not known",
    category="business-rules",
    severity="high",
    meaning="The role is none of USER, ADMIN, ACCOUNTANT and SUPPORT. What the application lets such a user "
    "do depends on how each place compares.",
    remedy="Set one of the four roles; capitals count.",
)
EMAIL_UNVERIFIED = Rule(
    id="email-unverified",
    title="E-mail address is not verified after 30 days",
    category="business-rules",
    severity="low",
    meaning="The user never followed the link: the address may be mistyped, or somebody else's.",
    remedy="Send a new link, or remove the account.",
)
EMAIL_MALFORMED = Rule(
    id="email-malformed",
    title="E-mail address cannot be one",
    category="business-rules",
    severity="medium",
    meaning="It has no name before the @, no domain with a dot after it, a second @, two dots in a row or a "
    "space in it. Nothing sent there arrives, and the password cannot be reset.",
    remedy="Correct the address, with the user if need be.",
)
EMAIL_DUPLICATE = Rule(
    id="email-duplicate",
    title="Users have the same e-mail address but for its case",
    category="business-rules",
    severity="high",
    meaning="One person has two accounts, and sees only half of the data in each. The one with the lowest "
    "key is not counted, the others are.",
    remedy="merge-duplicates makes one account of them; a rollback separates them again.",
    fix="merge-duplicates",
)
METADATA_MISSING = Rule(
    id="metadata-missing",
    title="Row lacks its timestamps or a value that all rows have",
    category="business-rules",
    severity="low",
    meaning="An older release let createdAt, updatedAt or a column with a default in the profile, such as "
    "the role, be NULL. Retention periods and reports pass over such rows.",
    remedy="populate-metadata fills in what related records say, else the default.",
    fix="populate-metadata",
)
RESIDENCY_MISSING = Rule(
    id="residency-missing",
    title="User has no tax residency",
    category="business-rules",
    severity="medium",
    meaning="Which tax rates hold for the user cannot be told.",
    remedy="set-tax-residency sets one and records what supports it. Users whose address is abroad it leaves "
    "unless its argument `foreign` says what they get; where state and postcode contradict each other, ask.",
    fix="set-tax-residency",
)
AUDIT_LOG_OLD = Rule(
    id="audit-log-old",
    title="Audit log is older than its retention",
    category="business-rules",
    severity="warning",
    meaning="Sign-in logs are kept for 90 days unless `[retention]` says otherwise.",
    remedy="cleanup-audit-logs archives and deletes them.",
    fix="cleanup-audit-logs",
)
FAILED_PAYMENT_OLD = Rule(
    id="failed-payment-old",
    title="Failed payment is older than its retention",
    category="business-rules",
    severity="warning",
    meaning="Failed payments are kept for 6 months unless `[retention]` says otherwise.",
    remedy="cleanup-payments archives and deletes them.",
    fix="cleanup-payments",
)
DELETED_LONG_AGO = Rule(
    id="deleted-long-ago",
    title="Row was marked as deleted and is still there",
    category="business-rules",
    severity="warning",
    meaning="Rows marked as deleted go for good after 30 days unless `[retention]` says otherwise. Those "
    "that records on hold refer to have to stay, and are not counted.",
    remedy="cleanup-soft-deleted archives and deletes them with what refers to them.",
    fix="cleanup-soft-deleted",
)

RULES = (
    SUBSCRIPTION_LAPSED,
    SUBSCRIPTION_TWICE,
    ROLE_UNKNOWN,
    EMAIL_UNVERIFIED,
    EMAIL_MALFORMED,
    EMAIL_DUPLICATE,
    METADATA_MISSING,
    RESIDENCY_MISSING,
    AUDIT_LOG_OLD,
    FAILED_PAYMENT_OLD,
    DELETED_LONG_AGO,
)

#: As the payment provider names them; a trial is a period, too.
_ACTIVE = "{status}::text IN ('active', 'trialing')"
#: Patterns: a regular expression took a third longer.
_MALFORMED = " OR ".join(
    [
        "{email} NOT LIKE '%_@_%._%'",
        *(f"{{email}} LIKE '%{never}%'" for never in ("@%@", "..", " ", "\t", "\r", "\n")),
    ]
)


def checks(scene: Scene) -> list[Check]:
    """The checks of this category."""
    return [
        RowCheck(
            rule=SUBSCRIPTION_LAPSED,
            table="subscriptions",
            columns=("status", "currentPeriodEnd"),
            violation=f"{{currentPeriodEnd}} < {{now}} AND {_ACTIVE}",
        ),
        UniqueCheck(
            rule=SUBSCRIPTION_TWICE,
            table="subscriptions",
            columns=("userId", "status"),
            terms=("{userId}",),
            where=_ACTIVE,
        ),
        RowCheck(
            rule=ROLE_UNKNOWN,
            table="users",
            columns=("role",),
            violation="{role}::text NOT IN ('USER', 'ADMIN', 'ACCOUNTANT', 'SUPPORT')",
        ),
        RowCheck(
            rule=EMAIL_UNVERIFIED,
            table="users",
            columns=("emailVerified",),
            violation="{emailVerified} IS NULL AND {createdAt} < {now} - interval '30 days'",
        ),
        RowCheck(
            rule=EMAIL_MALFORMED,
            table="users",
            columns=("email",),
            violation=_MALFORMED,
        ),
        UniqueCheck(
            rule=EMAIL_DUPLICATE, table="users", columns=("email",), terms=(SAME_EMAIL,), where=_live(scene)
        ),
        *_nulls(scene),
        *_kept_too_long(scene),
    ]


def _live(scene: Scene) -> str:
    """Users that merge-duplicates looks at."""
    given = "{email} <> ''"
    return f"{given} AND {{{DELETED}}} IS NULL" if scene.has("users", DELETED) else given


def _nulls(scene: Scene) -> Iterator[Check]:
    for name, table in _tables(scene):
        moments, defaults = fillable(table)
        columns = (*moments, *defaults)
        free = _not_on_hold(scene, table)
        if columns and free is not None and table.relation.key:
            missing = " OR ".join(f"{{{column}}} IS NULL" for column in columns)
            yield RowCheck(
                rule=METADATA_MISSING, table=name, columns=columns, part=name, violation=f"({missing}){free}"
            )
    users = scene.table("users")
    residency = None if users is None else users.column("taxResidency")
    if residency is None or not residency.not_null:
        yield RowCheck(
            rule=RESIDENCY_MISSING,
            table="users",
            columns=("taxResidency",),
            violation="{taxResidency} IS NULL",
        )


def _kept_too_long(scene: Scene) -> Iterator[Check]:
    for rule, name, due in (
        (AUDIT_LOG_OLD, "audit_logs", OLD_AUDIT_LOGS),
        (FAILED_PAYMENT_OLD, "payments", OLD_FAILED_PAYMENTS),
    ):
        table = scene.table(name)
        free = "" if table is None else _not_on_hold(scene, table)
        if free is not None:
            yield RowCheck(rule=rule, table=name, columns=("createdAt",), violation=f"{due}{free}")
    for name, table in _tables(scene):
        free = _not_on_hold(scene, table)
        if free is not None and column_of(table, DELETED) is not None:
            held = "".join(f" AND NOT {verbatim(way)}" for way in scene.held_by[table.relation.oid])
            yield RowCheck(
                rule=DELETED_LONG_AGO,
                table=name,
                columns=(DELETED,),
                part=name,
                violation=f"{LONG_DELETED}{free}{held}",
            )


def _tables(scene: Scene) -> Iterator[tuple[str, FittedTable]]:
    return ((name, table) for name, table in scene.profile.tables.items() if table.relation.kind in "rp")


def _not_on_hold(scene: Scene, table: FittedTable) -> str | None:
    """SQL that leaves rows on hold out, as the migrations do; None where the whole table is on hold."""
    holds = scene.holds.get(table.relation.oid, ())
    if "true" in holds:
        return None
    return "".join(f" AND ({verbatim(hold)}) IS NOT TRUE" for hold in holds)
