"""Older installations as test databases, each with what is known of it beforehand.

`older` is the sample as a release or two ago: nullable timestamps, role and tax residency, soft deletion,
mobile numbers with the users. `oldest` was never under Prisma: snake_case, a `transactions` table, bigint
keys, no enums, no foreign keys, and most tables missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.demo.sizes import rows_by_table
from taaxdog_datamig.demo.slots import Slot
from tests.sample import LEGACY_KEY, script

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Rows of the older sample by number, as `demo.slots` counts them: `i % every` is in `at`.
SLOTS: tuple[Slot, ...] = (
    Slot("users", "role_null", 10, (1,)),
    Slot("users", "created_null", 8, (2,)),
    # Those that lack createdAt, too, and others.
    Slot("users", "updated_null", 8, (2, 3)),
    Slot("users", "residency_null", 4, (1,)),  # the seven that follow, and `both`
    Slot("users", "residency_nowhere", 32, (5,)),  # neither state nor postcode
    Slot("users", "residency_blank", 32, (21,)),  # both empty
    Slot("users", "residency_state", 32, (9,)),  # the postcode is NULL
    Slot("users", "residency_postcode", 32, (13,)),  # the state is NULL
    Slot("users", "residency_foreign", 32, (17,)),  # SW1A 1AA in London
    Slot("users", "residency_foreign_code", 32, (25,)),  # 94110 without a state
    Slot("users", "residency_both", 32, (1, 29)),
    Slot("users", "mobile_unnormalised", 20, (11, 16)),
    Slot("users", "mobile_e164", 20, (12,)),
    Slot("users", "mobile_invalid", 20, (13,)),
    Slot("users", "mobile_national_only", 20, (14,)),
    Slot("users", "mobile_empty", 20, (15,)),
    # Deleted: `old` in January 2024, `recent` three days before the template was built. None of the users of
    # `old` has a record on hold; each of `held` has one in financial_audit_logs. The goals and the bank
    # accounts belong to users who are not deleted.
    Slot("users", "deleted_old", 20, (7,)),
    Slot("users", "deleted_recent", 20, (9,)),
    Slot("users", "deleted_held", 20, (10,)),
    Slot("goals", "deleted_old", 10, (1,)),
    Slot("goals", "deleted_recent", 10, (2,)),
    Slot("goals", "created_null", 10, (3,)),
    Slot("goals", "updated_null", 10, (3, 4)),
    Slot("bank_accounts", "deleted_old", 10, (3,)),
    Slot("bank_accounts", "deleted_recent", 10, (4,)),
)
#: How the sample spells the key of row `i`, seed 1.
_KEYS = {
    "users": "md5('user:1:' || i)::uuid::text",
    "goals": "md5('goal:1:' || i)::uuid::text",
    "bank_accounts": "md5('account:1:' || i)::uuid",
}
_DEFINITIONS = """
ALTER TABLE users ALTER COLUMN role DROP NOT NULL, ALTER COLUMN role DROP DEFAULT,
    ALTER COLUMN "taxResidency" DROP NOT NULL, ALTER COLUMN "taxResidency" DROP DEFAULT,
    ALTER COLUMN "createdAt" DROP NOT NULL, ALTER COLUMN "updatedAt" DROP NOT NULL,
    ADD COLUMN "deletedAt" timestamp(3), ADD COLUMN mobile varchar(20);
ALTER TABLE goals ALTER COLUMN created_at DROP NOT NULL, ALTER COLUMN updated_at DROP NOT NULL,
    ADD COLUMN "deletedAt" timestamp(3);
ALTER TABLE bank_accounts ADD COLUMN deleted_at timestamp(3);
"""
_SPELLED = "'0412 345 ' || lpad((i % 1000)::text, 3, '0')"
#: What a slot's rows get, as SQL over their number `i`.
_CHANGES = {
    "users.role_null": "role = NULL",
    "users.created_null": '"createdAt" = NULL',
    "users.updated_null": '"updatedAt" = NULL',
    "users.residency_null": '"taxResidency" = NULL',
    "users.residency_nowhere": "state = NULL, postcode = NULL",
    "users.residency_blank": "state = '', postcode = ' '",
    "users.residency_state": "postcode = NULL",
    "users.residency_postcode": "state = NULL",
    "users.residency_foreign": "state = 'London', postcode = 'SW1A 1AA'",
    "users.residency_foreign_code": "state = NULL, postcode = '94110'",
    "users.mobile_unnormalised": f"mobile = CASE i % 20 WHEN 11 THEN {_SPELLED} ELSE '+61 (0)' ||"
    f" substr({_SPELLED}, 2) END",
    "users.mobile_e164": "mobile = '+61412345' || lpad((i % 1000)::text, 3, '0')",
    "users.mobile_invalid": "mobile = 'ask first'",
    "users.mobile_national_only": "mobile = '13 11 66'",
    "users.mobile_empty": "mobile = ''",
    "users.deleted_old": "\"deletedAt\" = '2024-01-15'",
    "users.deleted_recent": "\"deletedAt\" = (now() AT TIME ZONE 'UTC') - interval '3 days'",
    "users.deleted_held": "\"deletedAt\" = '2024-01-15'",
    "goals.deleted_old": "\"deletedAt\" = '2024-01-15'",
    "goals.deleted_recent": "\"deletedAt\" = (now() AT TIME ZONE 'UTC') - interval '3 days'",
    "goals.created_null": "created_at = NULL",
    "goals.updated_null": "updated_at = NULL",
    "bank_accounts.deleted_old": "deleted_at = '2024-01-15'",
    "bank_accounts.deleted_recent": "deleted_at = (now() AT TIME ZONE 'UTC') - interval '3 days'",
}


@attrs.frozen(kw_only=True)
class Installation:
    """A database of a test's own, and what is known of it."""

    dsn: str
    #: Rows by `table.case`: the slots of this module and those of the sample.
    counts: Mapping[str, int]


def older_counts(users: int) -> dict[str, int]:
    """What `build_older` makes of a sample with so many users."""
    rows = rows_by_table(users)
    return {slot.key: slot.count(rows[slot.table]) for slot in SLOTS}


def keys(case: str, users: int) -> Iterator[int]:
    """The numbers of a case's rows, such as `users.role_null`."""
    (slot,) = (slot for slot in SLOTS if slot.key == case)
    return slot.numbers(rows_by_table(users)[slot.table])


async def build_older(dsn: str, *, users: int = 1_000) -> None:
    """Fill a template with the sample as an older release of the application left it."""
    await load_sample(dsn, users=users, legacy_key=LEGACY_KEY)
    rows = rows_by_table(users)
    changes = "".join(
        f"UPDATE {slot.table} AS t SET {_CHANGES[slot.key]} FROM (SELECT i, {_KEYS[slot.table]} AS key"
        f" FROM generate_series(1, {rows[slot.table]}) AS i"
        f" WHERE i % {slot.every} IN ({', '.join(map(str, slot.at))})) AS s WHERE t.id = s.key;"
        for slot in SLOTS
        if slot.key in _CHANGES
    )
    await script(dsn, _DEFINITIONS + changes)


#: Rows of `oldest`.
OLDEST = {
    "users": 40,
    "users.role_null": 10,
    "users.created_null": 8,
    "users.updated_null": 40,
    "users.residency_null": 20,
    "users.phone_unnormalised": 10,
    "users.phone_invalid": 10,
    "users.mobile_unnormalised": 8,
    "users.deleted_old": 4,
    "users.deleted_recent": 4,
    "goals": 40,
    "goals.created_null": 20,
    "bank_accounts": 40,
    "bank_accounts.deleted_old": 4,
    "transactions": 120,
    "transactions.orphaned": 3,
    "audit_logs": 80,
    "audit_logs.old": 40,
    "sessions": 40,
    "sessions.expired": 20,
}
_OLDEST = """
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL, name text, password text,
    phone varchar(30), mobile varchar(20), role text, tax_residency text, state text, postcode text,
    tfn varchar(11), email_verified timestamptz, last_login_at timestamptz,
    created_at timestamptz, updated_at timestamptz, deleted_at timestamptz);
INSERT INTO users (email, name, phone, mobile, role, tax_residency, state, postcode, tfn, email_verified,
    last_login_at, created_at, deleted_at)
SELECT format('user%s@example.com', i), 'User ' || i,
    CASE i % 4 WHEN 0 THEN '+612912345' || lpad(i::text, 2, '0')
        WHEN 1 THEN '02 9123 45' || lpad(i::text, 2, '0') WHEN 2 THEN 'no phone' END,
    CASE WHEN i % 5 = 1 THEN '0412 345 6' || lpad(i::text, 2, '0') END,
    CASE WHEN i % 4 > 0 THEN 'user' END,
    CASE WHEN i % 2 = 0 THEN 'NON_RESIDENT' END,
    CASE WHEN i % 4 = 1 THEN 'VIC' END, CASE WHEN i % 8 = 1 THEN '3000' END,
    CASE WHEN i % 3 = 0 THEN '123456782' END,
    CASE WHEN i % 5 < 2 THEN timestamptz '2023-05-01 10:00+10' + i * interval '1 day' END,
    CASE WHEN i % 10 = 0 THEN timestamptz '2023-07-01 10:00+10' + i * interval '1 day' END,
    CASE WHEN i % 5 > 0 THEN timestamptz '2023-05-01 00:00+10' + i * interval '1 day' END,
    CASE i % 10 WHEN 3 THEN timestamptz '2024-01-15' WHEN 4 THEN now() - interval '3 days' END
FROM generate_series(1, 40) AS i;
CREATE TABLE goals (id bigint PRIMARY KEY, user_id bigint, title text, target_amount numeric(12, 2),
    created_at timestamp, updated_at timestamp NOT NULL, deleted_at timestamp);
INSERT INTO goals SELECT i, i, 'Goal', 1000, CASE WHEN i % 2 = 0 THEN timestamp '2023-06-01' END,
    '2023-09-01' FROM generate_series(1, 40) AS i;
CREATE TABLE bank_accounts (id bigint PRIMARY KEY, user_id bigint, account_number varchar(20), bsb varchar(7),
    created_at timestamptz NOT NULL, deleted_at timestamptz);
INSERT INTO bank_accounts SELECT i, i, '12345678', '062-000', '2023-06-01',
    CASE WHEN i % 10 = 5 THEN timestamptz '2024-01-15' END FROM generate_series(1, 40) AS i;
CREATE TABLE transactions (id bigint PRIMARY KEY, bank_account_id bigint, amount numeric(12, 2),
    description text, created_at timestamptz NOT NULL);
CREATE INDEX ON transactions (bank_account_id);
INSERT INTO transactions SELECT i, CASE WHEN i % 40 = 0 THEN 1000 + i ELSE 1 + i % 40 END, 10, 'Groceries',
    '2023-06-02' FROM generate_series(1, 120) AS i;
CREATE TABLE audit_logs (id bigint PRIMARY KEY, user_id bigint, event text NOT NULL,
    created_at timestamptz NOT NULL);
CREATE INDEX ON audit_logs (user_id);
INSERT INTO audit_logs SELECT i, 1 + i % 40, 'LOGIN',
    CASE i % 2 WHEN 1 THEN timestamptz '2023-04-01 10:00+10' ELSE timestamptz '2099-01-01' END
    FROM generate_series(1, 80) AS i;
CREATE TABLE sessions (id text PRIMARY KEY, session_token text, user_id bigint, expires timestamptz NOT NULL);
INSERT INTO sessions SELECT 's' || i, 'token ' || i, i,
    CASE i % 2 WHEN 0 THEN timestamptz '2023-04-01' ELSE timestamptz '2099-01-01' END
    FROM generate_series(1, 40) AS i;
"""


async def build_oldest(dsn: str) -> None:
    """Fill a template with an installation that Prisma has never seen."""
    await script(dsn, _OLDEST)
