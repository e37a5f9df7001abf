"""Which rows of the sample carry which fault or case, so that every count is exact at any size.

A slot is a set of rows chosen by number alone: row `i` of its table belongs to it when `i % every` is one
of `at`. The loader gives the generator's SQL one function a slot, `pg_temp.<table>_<name>(row)`, made from
this table; the report counts with the same numbers. Slots that touch the same columns never meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Every password of the sample, whatever its hash's form (published: no one may use it for real).
SAMPLE_PASSWORD = "correct horse battery staple"  # noqa: S105 - published on purpose


@attrs.frozen
class Slot:
    """Rows `i` of `table`, counted from 1, with `i % every` in `at`; none beyond `up_to`."""

    table: str
    name: str
    every: int
    at: tuple[int, ...]
    up_to: int | None = None

    @property
    def key(self) -> str:
        """How reports name it."""
        return f"{self.table}.{self.name}"

    @property
    def function(self) -> str:
        """How the generator's SQL calls it."""
        return f"{self.table}_{self.name}".lower()

    def count(self, rows: int) -> int:
        """How many of the rows 1 to `rows` belong to it."""
        last = rows if self.up_to is None else min(rows, self.up_to)
        return sum((last - residue + self.every) // self.every - (residue == 0) for residue in self.at)

    def numbers(self, rows: int) -> Iterator[int]:
        """The row numbers themselves, ascending."""
        last = rows if self.up_to is None else min(rows, self.up_to)
        return (row for row in range(1, last + 1) if row % self.every in self.at)


#: What `faults=True` puts in and `faults=False` leaves out. The comment says what each one breaks.
FAULTS: tuple[Slot, ...] = (
    # Same address as another user but for case. Seconds stand for groups, thirds make a group of three.
    Slot("users", "email_duplicate_second", 500, (40,)),
    Slot("users", "email_duplicate_third", 2000, (60,)),
    Slot("users", "email_malformed", 500, (71,)),  # " at " in the place of "@"
    Slot("users", "email_unverified", 100, (37,)),  # for years; its verification token is expired too
    Slot("users", "phone_unnormalised", 40, (*range(18), 21, 22, 23)),  # real numbers, 21 spellings not E.164
    Slot("users", "phone_national_only", 40, (18, 19, 20)),  # 13, 1300 and 1800: no E.164 form exists
    Slot("users", "phone_invalid", 40, (24, 25, 26, 27, 28, 29)),  # no number at all
    Slot("users", "password_md5", 50, (1,)),
    Slot("users", "password_sha1", 50, (2,)),
    Slot("users", "password_sha256", 50, (3,)),
    Slot("users", "password_sha512", 50, (4,)),
    Slot("users", "password_unknown", 100, (5,)),
    Slot("users", "tfn_check_digit", 500, (33, 111)),  # nine digits and eight digits
    Slot("users", "abn_check_digit", 500, (153,)),
    Slot("users", "abn_malformed", 500, (353,)),  # ten digits
    Slot("users", "postcode_mismatch", 250, (99,)),  # TAS with 2000
    Slot("users", "reset_token_expired", 50, (19,)),
    Slot("basiq_users", "mobile_unnormalised", 40, tuple(range(13))),
    Slot("basiq_users", "mobile_invalid", 40, (24, 25, 26, 27, 28, 29)),
    Slot("bank_accounts", "orphaned", 500, (251,)),  # basiq_user_id names nobody
    Slot("bank_accounts", "balance_negative", 500, (351,)),  # on an account that gives no credit
    Slot("bank_accounts", "available_over_current", 500, (451,)),
    Slot("bank_accounts", "bsb_malformed", 500, (81,)),
    Slot("bank_accounts", "account_number_malformed", 500, (91,)),
    Slot("bank_transactions", "orphaned", 1000, (501,)),  # bank_account_id names nothing
    Slot("bank_transactions", "amount_zero", 2000, (603,)),
    Slot("bank_transactions", "direction_mismatch", 2000, (705,)),  # direction against the amount's sign
    Slot("bank_transactions", "gst_negative", 2000, (807,)),
    Slot("bank_transactions", "gst_over_amount", 2000, (909,)),  # more GST than was paid
    Slot("bank_transactions", "gst_wrong", 2000, (1011,)),  # a dollar off 1/11
    Slot("bank_transactions", "tax_category_unknown", 2000, (1113,)),  # D99
    Slot("bank_transactions", "description_tfn", 5000, (1777,)),  # "ATO PAYMENT TFN ..."
    Slot("bank_transactions", "notes_tfn", 5000, (2777,)),  # "tax file number ... given by phone"
    Slot("sessions", "orphaned", 100, (51,)),
    Slot("sessions", "expired", 4, (1,)),
    Slot("verification_tokens", "expired", 3, (1,)),
    Slot("password_reset_tokens", "expired", 3, (1,)),
    Slot("audit_logs", "old", 2, (1,)),  # over 90 days; the others are dated 2099
    Slot("goals", "current_over_target", 100, (11,)),
    Slot("goals", "current_negative", 100, (21,)),
    Slot("goals", "completed_short", 100, (31,)),
    Slot("goals", "overdue", 100, (41,)),  # active past its date
    Slot("goals", "orphaned", 100, (51,)),
    Slot("receipts", "gst_negative", 100, (11,)),
    Slot("receipts", "gst_over_amount", 100, (21,)),
    Slot("receipts", "gst_wrong", 100, (31,)),
    Slot("receipts", "abn_check_digit", 100, (41,)),
    Slot("receipts", "orphaned", 100, (51,)),
    Slot("receipts", "match_dangling", 100, (62,)),  # matched to a transaction that does not exist
    Slot("receipts", "tax_category_unknown", 100, (71,)),  # MISC
    Slot("subscriptions", "active_past_end", 50, (25,)),
    Slot("subscriptions", "orphaned", 100, (51,)),
    Slot("payments", "failed_old", 20, (7,)),  # over six months; other failed ones are dated 2099
    Slot("payments", "orphaned", 100, (51,)),
    Slot("invoices", "total_wrong", 50, (17,)),  # a dollar over subtotal + GST
    Slot("invoices", "abn_check_digit", 50, (27,)),
    Slot("gst_transaction_details", "gst_wrong", 100, (33,)),  # a dollar over a tenth
    Slot("gst_transaction_details", "abn_check_digit", 100, (43,)),
    Slot("gst_transaction_details", "gst_negative", 100, (53,)),
    Slot("tax_returns", "data_tfn", 50, (25,)),  # {"tfn": ...} inside the JSON
)

#: What a sensitive column holds besides an ordinary value; made with and without faults.
CASES: tuple[Slot, ...] = (
    Slot("users", "tfn_null", 100, tuple(range(1, 10))),
    Slot("users", "tfn_empty", 100, (10,)),
    Slot("users", "taxFileNumber_given", 100, (1, 2, 3, 15)),
    Slot("users", "taxFileNumber_empty", 100, (16,)),
    Slot("users", "twoFactorSecret_given", 10, (4,)),
    Slot("users", "twoFactorSecret_empty", 100, (50,)),
    Slot("basiq_users", "mobile_null", 40, (36, 37)),
    Slot("basiq_users", "mobile_empty", 40, (38,)),
    Slot("bank_accounts", "account_number_null", 100, (61,)),
    Slot("bank_accounts", "account_number_empty", 100, (62,)),
    Slot("bank_accounts", "bsb_null", 100, (71,)),
    Slot("bank_accounts", "bsb_empty", 100, (72,)),
)

#: Values as the application itself sealed them, made on the client when a key is given, therefore among
#: the first rows only. The narrow columns (mobile, bsb, account_number) cannot hold such a value.
_SEALED_UP_TO = 50_000
LEGACY: tuple[Slot, ...] = (
    Slot("users", "tfn", 50, (17,), _SEALED_UP_TO),
    Slot("users", "taxFileNumber", 200, (15,), _SEALED_UP_TO),
    Slot("users", "twoFactorSecret", 100, (24,), _SEALED_UP_TO),
)
#: Like LEGACY, but behind the prefix `encrypted:`, as later releases of the application wrote them.
LEGACY_PREFIXED: tuple[Slot, ...] = (Slot("users", "tfn", 200, (27,), _SEALED_UP_TO),)

#: Foreign keys that a faulty sample has NOT VALID, as after an import with orphans in the data ...
NOT_VALID: frozenset[str] = frozenset(
    {
        "bank_accounts_basiq_user_id_fkey",
        "bank_transactions_bank_account_id_fkey",
        "goals_user_id_fkey",
        "sessions_userId_fkey",
        "subscriptions_userId_fkey",
    }
)
#: ... and those that it lacks.
MISSING: frozenset[str] = frozenset({"payments_userId_fkey", "receipts_userId_fkey"})
