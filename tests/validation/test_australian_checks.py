"""Australian compliance: each check finds exactly the rows that were planted for it, sealed values too."""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict

import anyio
import asyncpg
import attrs
import pytest
from planting import result, validated

from taaxdog_datamig.crypto import Keyring, MasterKey
from taaxdog_datamig.crypto.keyring import derive_kid
from taaxdog_datamig.demo.report import fault_counts
from tests.sample import KEY, LEGACY_KEY, engine, seal_legacy

KEYS = {"field_encryption_key": KEY, "field_encryption_legacy_key": LEGACY_KEY.hex()}
RING = Keyring.of(MasterKey(derive_kid(bytes.fromhex(KEY)), bytes.fromhex(KEY)))
#: How the sample names the rows of its tables.
KINDS = {
    "users": "user",
    "basiq_users": "basiq",
    "bank_accounts": "account",
    "bank_transactions": "transaction",
    "receipts": "receipt",
    "invoices": "invoice",
    "gst_transaction_details": "gst",
}


def key(table, number):
    return str(uuid.UUID(hashlib.md5(f"{KINDS[table]}:1:{number}".encode()).hexdigest()))


#: Table, columns, number of the first row, then for each row what its columns hold and the rules it breaks.
#: Each check is `rule:table.column`, with the column that stands first.
WRITTEN = [
    (
        ("users", "abn"),
        11,
        [
            (["51824753556"],),
            (["51 824 753 556"],),
            (["53-004-085-616"],),
            (["53\u00a0004\u00a0085\u00a0616"],),
            ([None],),
            ([""],),
            (["51824753557"], "abn-check-digit"),
            (["51 824 753 565"], "abn-check-digit"),
            (["5182475355"], "abn-malformed"),
            (["518247535560"], "abn-malformed"),
            (["004085616"], "abn-malformed"),
            (["01824753556"], "abn-malformed"),
            (["ABN 51824753556"], "abn-malformed"),
            (["   "], "abn-malformed"),
        ],
    ),
    (
        ("receipts", "abn"),
        1,
        [(["53004085616"],), (["53004085617"], "abn-check-digit"), (["x"], "abn-malformed")],
    ),
    (("invoices", "customerABN"), 1, [(["51824753556"],), ([None],), (["51824753556 1"], "abn-malformed")]),
    (("gst_transaction_details", "supplierABN"), 1, [(["51824753555"], "abn-check-digit"), ([""],)]),
    (
        ("users", "tfn"),
        11,
        [
            (["123456782"],),
            (["876 543 210"],),
            (["648-188-480"],),
            (["37118629"],),
            (["85 655 755"],),
            ([None],),
            ([""],),
            (["123456783"], "tfn-check-digit"),
            (["123 456 728"], "tfn-check-digit"),
            # What the weights of nine digits would let pass, and nobody's number of eight.
            (["37118628"], "tfn-check-digit"),
            (["1234567"], "tfn-malformed"),
            (["1234567820"], "tfn-malformed"),
            (["TFN 123456782"], "tfn-malformed"),
            (["000000000"], "tfn-placeholder"),
            (["444 444 444"], "tfn-placeholder"),
            (["987654321"], "tfn-placeholder"),
            (["00000000"], "tfn-placeholder"),
        ],
    ),
    (
        ("bank_accounts", "bsb"),
        1,
        [
            (["062-947"],),
            (["062947"],),
            ([" 062-947 "],),
            ([None],),
            ([""],),
            (["06-2947"], "bsb-malformed"),
            (["62947"], "bsb-malformed"),
            (["062 947"], "bsb-malformed"),
            (["CBA-001"], "bsb-malformed"),
        ],
    ),
    (
        ("bank_accounts", "account_number"),
        1,
        [
            (["1234"],),
            (["1234567890"],),
            (["12 3456-789"],),
            ([None],),
            ([""],),
            (["123"], "account-number-malformed"),
            (["12345678901"], "account-number-malformed"),
            (["1234x5678"], "account-number-malformed"),
        ],
    ),
    (
        ("users", "phone"),
        11,
        [
            (["+61491570006"],),
            (["+61255501234"],),
            (["+64211234567"],),
            ([None],),
            ([""],),
            (["0491 570 006"], "phone-not-e164"),
            (["(02) 5550 1234"], "phone-not-e164"),
            (["+64 21 123 4567"], "phone-not-e164"),
            # In E.164 but for a 0 too many.
            (["+640211234567"], "phone-not-e164"),
            (["1300 975 707"], "phone-national-only"),
            (["1800160401"], "phone-national-only"),
            (["12345"], "phone-invalid"),
            (["not given"], "phone-invalid"),
            (["0491 570 006 ext 5"], "phone-invalid"),
            (["+61000000000"], "phone-invalid"),
        ],
    ),
    (
        ("users", "state", "postcode"),
        11,
        [
            (["NSW", "2000"],),
            (["NSW", "2999"],),
            (["ACT", "0200"],),
            (["ACT", "2618"],),
            (["NT", "0800"],),
            ([" qld ", "9999"],),
            (["NSW", None],),
            (["NSW", ""],),
            ([None, "2000"],),
            (["Bavaria", "80331"],),
            (["NSW", "2600"], "postcode-mismatch"),
            (["NT", "800"], "postcode-mismatch"),
            (["NSW", "2x00"], "postcode-mismatch"),
            (["TAS", "2000"], "postcode-mismatch"),
            (["WA", "6798"], "postcode-mismatch"),
        ],
    ),
    (
        ("bank_transactions", "gst_amount", "amount"),
        1,
        [
            ([10.00, -110.00],),
            ([10.00, 110.00],),
            ([0, -110.00],),
            ([None, -110.00],),
            ([0, 0],),
            ([9.09, -100.00],),
            ([9.10, -100.00], "gst-above-rate"),
            ([9.08, -100.00], "gst-below-rate"),
            ([0.01, -0.06],),
            ([0.01, -0.05], "gst-above-rate"),
            ([-0.01, -110.00], "gst-negative"),
            ([110.00, -110.00], "gst-above-rate"),
            ([110.01, -110.00], "gst-above-amount"),
            ([0.01, 0], "gst-above-amount"),
        ],
    ),
    (
        ("receipts", "gst_amount", "total_amount", "items"),
        1,
        [
            ([0.09, 1.00, "[{}]"],),
            ([0.10, 1.00, "[{}]"], "gst-above-rate"),
            # Two lines of 50 cents, each rounded to 5 cents of GST.
            ([0.10, 1.00, "[{}, {}]"],),
            ([0.09, 1.00, "[{}, {}]"],),
            ([0.11, 1.00, "[{}, {}]"], "gst-above-rate"),
            ([0.07, 1.00, "[{}, {}]"], "gst-below-rate"),
            ([0.10, 1.00, '{"lines": 2}'], "gst-above-rate"),
            ([0.10, 1.00, "[]"], "gst-above-rate"),
            ([0.10, 1.00, None], "gst-above-rate"),
            ([0, 1.00, None],),
            ([-0.09, 1.00, None], "gst-negative"),
            # A refund.
            ([-0.09, -1.00, None],),
            ([1.01, 1.00, None], "gst-above-amount"),
        ],
    ),
    (
        ("gst_transaction_details", "gstAmount", "baseAmount", "gstRate", "totalAmount", "gstTreatment"),
        1,
        [
            ([10.00, 100.00, 10, 110.00, "TAXABLE_SUPPLY"],),
            # Half a cent rounds up, to an odd cent, too.
            ([0.03, 0.25, 10, 0.28, "TAXABLE_SUPPLY"],),
            ([0.02, 0.25, 10, 0.27, "TAXABLE_SUPPLY"], "gst-below-rate"),
            ([0.04, 0.25, 10, 0.29, "TAXABLE_SUPPLY"], "gst-above-rate"),
            ([0, 100.00, 10, 100.00, "TAXABLE_SUPPLY"], "gst-below-rate"),
            ([0, 100.00, 0, 100.00, "GST_FREE"],),
            ([0, 100.00, 10, 100.00, "INPUT_TAXED"],),
            ([10.00, 100.00, 10, 110.00, "GST_FREE"], "gst-on-untaxed"),
            ([0.01, 100.00, 10, 100.01, "OUT_OF_SCOPE"], "gst-on-untaxed"),
            ([-1.00, 10.00, 10, 9.00, "TAXABLE_SUPPLY"], "gst-negative"),
            ([-1.00, -10.00, 10, -11.00, "TAXABLE_SUPPLY"],),
            ([10.01, 10.00, 10, 20.01, "TAXABLE_SUPPLY"], "gst-above-amount"),
        ],
    ),
    (
        ("gst_transaction_details", "totalAmount", "baseAmount", "gstAmount", "gstRate"),
        21,
        [([110.00, 100.00, 10.00, 10],), ([110.01, 100.00, 10.00, 10], "total-mismatch")],
    ),
    (
        # Whole cents. The two lines of each invoice are 55 cents, so that each has 6 cents of GST.
        ("invoices", "gstAmount", "subtotal", "total"),
        1,
        [
            ([11, 110, 121],),
            ([12, 110, 122],),
            ([13, 110, 123], "gst-above-rate"),
            ([10, 110, 120], "gst-below-rate"),
            ([-11, 110, 99], "gst-negative"),
            ([111, 110, 221], "gst-above-amount"),
        ],
    ),
    (
        ("bank_transactions", "tax_category"),
        21,
        [
            *[([label],) for label in ("D1", "D15", "P8", "PERSONAL", "", None)],
            *[([label], "tax-category-unknown") for label in ("D0", "D16", "d1", "D", "PERSONAL ")],
        ],
    ),
    (("receipts", "tax_category"), 1, [(["D10"],), (["MISC"], "tax-category-unknown")]),
    (("gst_transaction_details", "taxCategory"), 1, [(["P8"],), (["P9"], "tax-category-unknown")]),
]
#: The same for values that are sealed first, in rows that hold nothing of the kind otherwise.
SEALED = [
    (
        ("users", "taxFileNumber"),
        31,
        [
            (["123456782"],),
            (["37118629"],),
            (["37118628"], "tfn-check-digit"),
            (["123 456 783"], "tfn-check-digit"),
            (["12345"], "tfn-malformed"),
            (["111111111"], "tfn-placeholder"),
        ],
    ),
    (("bank_accounts", "bsb"), 31, [(["062-947"],), (["06-2947"], "bsb-malformed")]),
    (("bank_accounts", "account_number"), 31, [(["12345678"],), (["12"], "account-number-malformed")]),
    (
        ("basiq_users", "mobile"),
        31,
        [
            (["+61491570156"],),
            (["0491 570 156"], "phone-not-e164"),
            (["12345"], "phone-invalid"),
            (["1300 975 707"], "phone-national-only"),
        ],
    ),
]
#: One more, as the application sealed it.
BY_THE_APPLICATION = ("users", "taxFileNumber", 41, "123456783")

SINGLE = {"postcode-mismatch"}
ROOM = """
ALTER TABLE bank_accounts ALTER bsb TYPE text, ALTER account_number TYPE text;
ALTER TABLE basiq_users ALTER mobile TYPE text;
UPDATE invoice_line_items SET "totalPrice" = 55;
"""


def planted():
    """Statements, and the keys that each check must find."""
    expected = defaultdict(set)
    statements = []

    def put(table, columns, number, values):
        pairs = ", ".join(
            f'"{column}" = {literal(value)}' for column, value in zip(columns, values, strict=True)
        )
        statements.append(f"UPDATE {table} SET {pairs} WHERE id = '{key(table, number)}'")

    for (table, *columns), first, cases in WRITTEN:
        for number, (values, *rules) in enumerate(cases, first):
            put(table, columns, number, values)
            for rule in rules:
                expected[rule if rule in SINGLE else f"{rule}:{table}.{columns[0]}"].add(key(table, number))
    for (table, column), first, cases in SEALED:
        for number, ([value], *rules) in enumerate(cases, first):
            put(table, [column], number, [RING.field(table, column).seal(value, (key(table, number),))])
            for rule in rules:
                expected[f"{rule}:{table}.{column}.sealed"].add(key(table, number))
    table, column, number, value = BY_THE_APPLICATION
    put(table, [column], number, [seal_legacy(value)])
    expected[f"tfn-check-digit:{table}.{column}.sealed"].add(key(table, number))
    return statements, expected


def literal(value):
    if value is None:
        return "NULL"
    return "'" + str(value).replace("'", "''") + "'"


async def plant_and_validate(dsn):
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(ROOM)
        for statement in planted()[0]:
            assert await connection.execute(statement) == "UPDATE 1", statement
    finally:
        await connection.close()
    return await validated(dsn, settings=KEYS, categories=["australian-compliance"])


@pytest.fixture(scope="module")
def report(clean_copies):
    return anyio.run(plant_and_validate, clean_copies())


def test_each_check_finds_exactly_what_was_planted_for_it(report):
    found = {each.id: set(each.sample_keys) for each in report.checks if each.failed}
    expected = planted()[1]
    assert found == dict(expected)
    assert {each.id: each.violations for each in report.checks if each.failed} == {
        check: len(keys) for check, keys in expected.items()
    }


def test_every_rule_was_broken_and_every_check_made(report):
    broken = {each.rule for each in report.checks if each.failed}
    assert broken == {each.rule for each in report.checks}
    assert [
        each.id for each in report.checks if each.error or (each.skipped and ".mobile" not in each.id)
    ] == []


def test_no_value_is_in_the_report(report):
    told = attrs.evolve(report, rules=())  # whose words are their own
    shown = f"{told!r}{told}"
    values = [
        str(value)
        for (table, *_), _, cases in [*WRITTEN, *SEALED]
        for values, *_ in cases
        for value in values
        if table in {"users", "basiq_users", "bank_accounts"} and len(str(value)) > 6
    ]
    assert len(values) > 40
    assert [value for value in values if value in shown] == []


async def test_without_a_key_plaintext_is_judged_all_the_same(report, clean):
    await plant_and_validate(clean)
    blind = await validated(clean, categories=["australian-compliance"])
    for each in blind.checks:
        if each.id.endswith(".sealed"):
            assert "no encryption key" in (each.skipped or each.id)
        else:
            assert each.violations == result(report, each.id).violations


#: The sample's faults, and what finds them. `*`: in plain text and sealed.
SLOTS = {
    "users.phone_unnormalised": "phone-not-e164:users.phone",
    "users.phone_national_only": "phone-national-only:users.phone",
    "users.phone_invalid": "phone-invalid:users.phone",
    "users.abn_check_digit": "abn-check-digit:users.abn",
    "users.abn_malformed": "abn-malformed:users.abn",
    "users.postcode_mismatch": "postcode-mismatch",
    "users.tfn_check_digit": "tfn-check-digit:users.tfn*",
    "basiq_users.mobile_unnormalised": "phone-not-e164:basiq_users.mobile*",
    "basiq_users.mobile_invalid": "phone-invalid:basiq_users.mobile*",
    "bank_accounts.bsb_malformed": "bsb-malformed:bank_accounts.bsb*",
    "bank_accounts.account_number_malformed": "account-number-malformed:bank_accounts.account_number*",
    "bank_transactions.gst_negative": "gst-negative:bank_transactions.gst_amount",
    "bank_transactions.gst_over_amount": "gst-above-amount:bank_transactions.gst_amount",
    "bank_transactions.gst_wrong": "gst-above-rate:bank_transactions.gst_amount",
    "bank_transactions.tax_category_unknown": "tax-category-unknown:bank_transactions.tax_category",
    "receipts.gst_negative": "gst-negative:receipts.gst_amount",
    "receipts.gst_over_amount": "gst-above-amount:receipts.gst_amount",
    "receipts.gst_wrong": "gst-above-rate:receipts.gst_amount",
    "receipts.abn_check_digit": "abn-check-digit:receipts.abn",
    "receipts.tax_category_unknown": "tax-category-unknown:receipts.tax_category",
    "invoices.total_wrong": "total-mismatch:invoices.total",
    "invoices.abn_check_digit": "abn-check-digit:invoices.customerABN",
    "gst_transaction_details.gst_wrong": "gst-above-rate:gst_transaction_details.gstAmount",
    "gst_transaction_details.abn_check_digit": "abn-check-digit:gst_transaction_details.supplierABN",
    "gst_transaction_details.gst_negative": "gst-negative:gst_transaction_details.gstAmount",
}


def counted(report):
    """Violations by check, those in sealed values with those in plain text."""
    counts = defaultdict(int)
    for each in report.checks:
        counts[each.id.removesuffix(".sealed")] += each.violations
    return {check: count for check, count in counts.items() if count}


@pytest.mark.parametrize("database_with_faults", ["pristine", "sealed_sample"])
async def test_the_samples_faults_are_found_as_often_as_they_are_there(request, database_with_faults):
    dsn = request.getfixturevalue(database_with_faults)
    report = await validated(dsn, settings=KEYS, categories=["australian-compliance"])
    expected = fault_counts(1_000, faults=True)
    assert counted(report) == {check.rstrip("*"): expected[slot] for slot, check in SLOTS.items()}


async def test_after_normalize_phones_no_number_is_left_that_it_could_mend(sealed_sample):
    async with engine(sealed_sample) as runner:
        await runner.run("normalize-phones")
    report = await validated(sealed_sample, settings=KEYS, categories=["australian-compliance"])
    left = {check: count for check, count in counted(report).items() if check.startswith("phone")}
    expected = fault_counts(1_000, faults=True)
    assert left == {
        "phone-invalid:users.phone": expected["users.phone_invalid"],
        "phone-invalid:basiq_users.mobile": expected["basiq_users.mobile_invalid"],
        "phone-national-only:users.phone": expected["users.phone_national_only"],
    }
