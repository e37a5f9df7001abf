"""Numbers in free text: each check finds exactly the rows that were planted for it, whatever stands beside.

All numbers are published test numbers.
"""

from __future__ import annotations

import json
import random

import anyio
import asyncpg
import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planting import plant, planted, result, validated

from taaxdog_datamig.demo.sizes import rows_by_table
from taaxdog_datamig.demo.slots import FAULTS
from taaxdog_datamig.identifiers import prose
from taaxdog_datamig.pg.catalog import Column
from taaxdog_datamig.validation.checks.leaks import RULES, suspect
from tests import sample

TFN, ABN, CARD = "876543210", "51 824 753 556", "4111 1111 1111 1111"
ACCOUNT = "BSB 062-000 account 12345678"

#: Rows of tables whose keys are text, so that they can be named; each is planted into others' place.
ROW = "(SELECT id FROM {} ORDER BY id OFFSET {} LIMIT 1)"


def put(table: str, offset: int, key: str, column: str, value: str) -> str:
    row = ROW.format(table, offset)
    return f"UPDATE {table} SET id = '{key}', \"{column}\" = $${value}$$ WHERE id = {row}"


def goal(offset: int, key: str, title: str) -> str:
    return put("goals", offset, key, "title", title)


PLANTS = {
    "tfn-in-text:goals.title": plant(
        ["g-tfn", "g-all"],
        goal(0, "g-tfn", f"TFN {TFN}"),
        goal(1, "g-all", f"tax file number {TFN}, ABN {ABN}, card {CARD}, {ACCOUNT}"),
        goal(11, "g-empty", ""),
        # A wrong check digit, an exemption code, no word, another word.
        goal(2, "g-near-1", "TFN 876543211, TFN 000000000"),
        goal(3, "g-near-2", f"{TFN}, reference {TFN}, phone {TFN}"),
        goal(4, "g-near-3", f"TFN invoice {TFN}"),
    ),
    "abn-in-text:goals.title": plant(["g-all", "g-abn"], goal(5, "g-abn", ABN)),
    "card-in-text:goals.title": plant(
        ["g-all", "g-card"],
        goal(6, "g-card", "paid with 378282246310005"),
        goal(7, "g-near-4", "**** 1111, 4111 1111 1111 1112, order 4111111111111111, 1700000000000"),
        goal(8, "g-near-5", "550e8400-e29b-41d4-a716-446655440000"),
    ),
    "account-in-text:goals.title": plant(
        ["g-all", "g-account"],
        goal(9, "g-account", "acct 062-000 123456"),
        goal(10, "g-near-6", "062-000 123456"),
    ),
    "tfn-in-text:tax_returns.data": plant(
        ["t-nested", "t-number", "t-text"],
        put("tax_returns", 0, "t-nested", "data", json.dumps({"a": [{"taxFileNumber": {"value": TFN}}]})),
        put("tax_returns", 1, "t-number", "data", json.dumps({"tfn": int(TFN)})),
        put("tax_returns", 2, "t-text", "data", json.dumps(["Zoë's tfn", f"TFN: {TFN}"])),
        # Words of one value say nothing of another's number.
        put("tax_returns", 3, "t-near", "data", json.dumps({"tfn": None, "score": int(TFN), "ref": "TFN"})),
    ),
    "card-in-text:payments.metadata": plant(
        ["p-card"],
        put("payments", 0, "p-card", "metadata", json.dumps({"source": {"pan": CARD.replace(" ", "")}})),
        put("payments", 1, "p-near", "metadata", json.dumps({"id": CARD, "at": 1700000000000})),
    ),
    "account-in-text:payments.metadata": plant(
        ["p-account"],
        put("payments", 2, "p-account", "metadata", '{"account_number": "12345678", "bsb": "062000"}'),
        put("payments", 3, "p-apart", "metadata", '{"account_number": "12345678", "x": {"bsb": "062000"}}'),
    ),
    "tfn-in-text:privacy_consents.purposes": plant(
        ["c-array"],
        put("privacy_consents", 0, "c-array", "purposes", f'{{tax,"TFN {TFN}"}}'),
        put("privacy_consents", 1, "c-near", "purposes", f'{{tax,"{TFN}"}}'),
    ),
    "tfn-in-text:sessions.data": plant(
        ["s-json"], put("sessions", 0, "s-json", "data", json.dumps({"form": {"tfn": TFN}}))
    ),
    "tfn-in-text:users.name": plant([]),
}
FOUND = {
    f"{rule.id}:{column}": PLANTS.get(f"{rule.id}:{column}", plant([])).keys
    for rule in RULES
    for column in sorted({check.partition(":")[2] for check in PLANTS})
}


@pytest.fixture(scope="module")
def dsn(clean_copies):
    return clean_copies()


@pytest.fixture(scope="module")
def report(dsn):
    return anyio.run(planted, dsn, PLANTS.values())


@pytest.mark.parametrize("check", FOUND)
def test_exactly_the_planted_rows_are_found(report, check):
    found = result(report, check)
    assert (set(found.sample_keys), found.violations) == (FOUND[check], len(FOUND[check]))


def test_nothing_is_found_in_other_columns_and_no_number_is_shown(report):
    found = {check.id for check in report.failed if check.rule in {rule.id for rule in RULES}}
    assert found == {check for check, keys in FOUND.items() if keys}
    assert not [check for check in report.checks if check.error]
    shown = repr(report).replace(" ", "")
    for number in (TFN, ABN, CARD, "12345678"):
        assert number.replace(" ", "") not in shown


def test_columns_that_hold_such_numbers_by_their_meaning_are_not_searched(report):
    searched = {check.id.partition(":")[2] for check in report.checks if check.rule == "tfn-in-text"}
    assert searched >= {"bank_transactions.description", "bank_transactions.notes", "users.preferences"}
    assert not searched & {
        f"{table}.{column}"
        for table, columns in {
            "users": ("id", "abn", "tfn", "taxFileNumber", "phone", "email", "password", "image"),
            "receipts": ("abn", "userId", "tax_invoice_number", "image_url", "matched_transaction_id"),
            "invoices": ("customerABN", "invoiceNumber"),
            "bank_accounts": ("bsb", "account_number", "basiq_account_id"),
            "bank_transactions": ("basiq_transaction_id", "direction"),
            "basiq_users": ("mobile",),
            "sessions": ("sessionToken",),
        }.items()
        for column in columns
    }


async def test_what_the_faulty_sample_holds_is_found_and_nothing_else(pristine):
    rules = [rule.id for rule in RULES]
    report = await validated(pristine, checks=rules)
    slots = {slot.key: slot for slot in FAULTS}
    rows = rows_by_table(sample.USERS)
    assert {check.id: check.violations for check in report.failed} == {
        f"tfn-in-text:{table}.{column}": slots[f"{table}.{column}_tfn"].count(rows[table])
        for table, column in (
            ("bank_transactions", "description"),
            ("bank_transactions", "notes"),
            ("tax_returns", "data"),
        )
    }


async def test_the_profile_says_otherwise(dsn, report):
    columns = {"title": {"free_text": False}, "category": {"free_text": True}}
    again = await validated(
        dsn, settings={"profile": {"tables": {"goals": {"columns": columns}}}}, checks=["tfn-in-text"]
    )
    searched = {check.id for check in again.checks}
    assert "tfn-in-text:goals.title" not in searched
    assert "tfn-in-text:goals.category" in searched


LABELS = ["TFN", "tfn: ", "Tax File No. ", "tax_file_number=", "T.F.N.", "ABN ", "a.b.n. ", "Business Number"]
LABELS += [
    "card ",
    "VISA",
    "BSB ",
    "bsb:",
    "account ",
    "Acct No ",
    "acc ",
    "a/c ",
    "ref ",
    "invoice ",
    "\u00e9",
    "",
]
NUMBERS = ["876543210", "876 543 210", "876-543-210", "876\u00a0543\u00a0210", "37118629", "37 118 629"]
NUMBERS += ["51824753556", ABN, "51-824-753-556", CARD, CARD.replace(" ", ""), CARD.replace(" ", "-")]
NUMBERS += ["378282246310005", "3782 822463 10005", "3056 930902 5904", "30569309025904", "4222222222222"]
NUMBERS += ["5555555555554444", "2223003122003222", "6011111111111117", "3530111333300000"]
NUMBERS += ["062-000", "062000", "062 000", "12345", "12345678", "1234 5678", "123-456", "123 45"]
BETWEEN = ["", " ", ", ", ": ", "\n", " is ", "-", "/", "x", "\u00a0", " no ", "9", "\\u00e9", "\\/"]
PIECES = st.sampled_from([*LABELS, *NUMBERS, *NUMBERS, *BETWEEN, *BETWEEN])
PROSE = st.lists(PIECES, max_size=8).map("".join)
LEAVES = PROSE | st.sampled_from([int(number) for number in NUMBERS if number.isdigit()]) | st.none()
KEYS = PROSE | st.sampled_from(
    ["tfn", "taxFileNumber", "abn", "bsb", "account_number", "acctNo", "tax", "file"]
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)
TEXTS = (
    PROSE
    | DOCUMENTS.map(json.dumps)
    | DOCUMENTS.map(lambda document: json.dumps(document, ensure_ascii=False).replace("/", "\\/"))
    | DOCUMENTS.map(lambda document: json.dumps({"body": json.dumps(document)}))
)


def column_of_type(base: str) -> Column:
    return Column(
        name="it",
        number=1,
        type=base,
        category="S",
        base=base,
        base_type=base,
        not_null=False,
        generated=False,
    )


@attrs.define
class Suspecting:
    """Texts that SQL suspects, as a column of that type and as jsonb where they are JSON."""

    connection: asyncpg.Connection

    async def __call__(self, texts: list[str], base: str) -> list[tuple[str, bool]]:
        condition = suspect(column_of_type(base)).format()
        query = (
            f"SELECT t.it::text, ({condition}) IS TRUE"
            f" FROM (SELECT it::{base} AS it FROM unnest($1::text[]) AS given(it)) AS t"
        )
        return [tuple(row) for row in await self.connection.fetch(query, texts)]


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_whatever_is_found_was_suspected(server_dsn):
    hits = {"text": 0, "jsonb": 0}

    with anyio.from_thread.start_blocking_portal() as portal:
        connection = portal.call(asyncpg.connect, server_dsn)
        suspecting = Suspecting(connection)

        @settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
        @given(st.lists(TEXTS, min_size=1, max_size=30))
        def check(texts):
            for base, part in (("text", texts), ("jsonb", [text for text in texts if is_json(text)])):
                for text, suspected in portal.call(suspecting, part, base):
                    if prose.find(text):
                        hits[base] += 1
                        assert suspected

        try:
            check()
        finally:
            portal.call(connection.close)
    # Else nothing was tried.
    assert min(hits.values()) > 20


def test_ordinary_texts_are_not_suspected(server_dsn):
    """Else every row would cross the wire."""
    chance = random.Random(1)
    texts = [
        text
        for _ in range(200)
        for text in (
            f"WOOLWORTHS {chance.randrange(10_000):04}",
            f"DIRECT DEBIT {chance.randrange(10**9):09} MEDIBANK {chance.randrange(10**7):07}",
            f"Value date 01/07/2024 receipt {chance.randrange(10**12):012}",
            f'{{"at": {chance.randrange(10**12, 2 * 10**12)}, "account": "{chance.randrange(10**6)}"}}',
            f"account 550e8400-e29b-41d4-a716-{chance.randrange(10**12):012}",
        )
    ]

    async def suspected() -> list[str]:
        connection = await asyncpg.connect(server_dsn)
        try:
            return [text for text, yes in await Suspecting(connection)(texts, "text") if yes]
        finally:
            await connection.close()

    assert not anyio.run(suspected)
