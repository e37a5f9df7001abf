"""What each promised fault of the sample looks like from outside, written without its generator.

`COUNTS` holds SQL for what SQL can say; `count_in_python` counts the rest: check digits, phone numbers.
"""

import re

import phonenumbers

EXACT_GST = "round({amount} / 11, 2)"
ORPHAN = 'NOT EXISTS (SELECT FROM {parent} p WHERE p."{key}" = t."{column}")'
HEX = "t.password ~ '^[0-9a-f]{{{digits}}}$'"
POSTCODE_FITS = """CASE state
    WHEN 'NSW' THEN postcode BETWEEN '2000' AND '2599' WHEN 'VIC' THEN postcode BETWEEN '3000' AND '3999'
    WHEN 'QLD' THEN postcode BETWEEN '4000' AND '4999' WHEN 'SA' THEN postcode BETWEEN '5000' AND '5999'
    WHEN 'WA' THEN postcode BETWEEN '6000' AND '6797' WHEN 'TAS' THEN postcode BETWEEN '7000' AND '7999'
    WHEN 'NT' THEN postcode BETWEEN '0800' AND '0999'
    WHEN 'ACT' THEN postcode BETWEEN '2600' AND '2618' END"""
LABEL = r"'^(D([1-9]|1[0-5])|P8|PERSONAL)$'"


def rows(table, condition):
    return f'SELECT count(*) FROM "{table}" t WHERE {condition}'


def orphans(table, column, parent="users", key="id"):
    return rows(table, ORPHAN.format(parent=parent, key=key, column=column))


COUNTS = {
    "users.email_duplicate_second": (
        "SELECT count(*) FROM (SELECT FROM users GROUP BY lower(email) HAVING count(*) > 1) AS groups"
    ),
    "users.email_duplicate_third": (
        "SELECT count(*) FROM (SELECT FROM users GROUP BY lower(email) HAVING count(*) = 3) AS groups"
    ),
    "users.email_malformed": rows("users", r"email !~ '^[^@\s]+@[^@\s]+\.[^@\s]+$'"),
    "users.email_unverified": rows(
        "users",
        """"emailVerified" IS NULL AND "createdAt" < now() - interval '30 days'
           AND "emailVerificationExpires" < now()""",
    ),
    "users.password_md5": rows("users", HEX.format(digits=32)),
    "users.password_sha1": rows("users", HEX.format(digits=40)),
    "users.password_sha256": rows("users", HEX.format(digits=64)),
    "users.password_sha512": rows("users", HEX.format(digits=128)),
    "users.password_unknown": rows(
        "users", r"password !~ '^([0-9a-f]+$|\$2[aby]\$\d\d\$.{53}$|\$argon2id\$|pbkdf2_sha256\$)'"
    ),
    "users.abn_malformed": rows("users", r"abn !~ '^\d{11}$'"),
    "users.postcode_mismatch": rows("users", f"NOT {POSTCODE_FITS}"),
    "users.reset_token_expired": rows("users", '"passwordResetExpires" < now()'),
    "bank_accounts.orphaned": orphans("bank_accounts", "basiq_user_id", "basiq_users"),
    "bank_accounts.balance_negative": rows(
        "bank_accounts", "account_type <> 'credit-card' AND balance_current < 0"
    ),
    "bank_accounts.available_over_current": rows(
        "bank_accounts", "account_type <> 'credit-card' AND balance_available > balance_current"
    ),
    "bank_accounts.bsb_malformed": rows("bank_accounts", r"bsb <> '' AND bsb !~ '^\d{3}-?\d{3}$'"),
    "bank_accounts.account_number_malformed": rows(
        "bank_accounts", r"account_number <> '' AND account_number !~ '^\d{6,10}$'"
    ),
    "bank_transactions.orphaned": orphans("bank_transactions", "bank_account_id", "bank_accounts"),
    "bank_transactions.amount_zero": rows("bank_transactions", "amount = 0"),
    "bank_transactions.direction_mismatch": rows(
        "bank_transactions", "amount <> 0 AND (direction = 'credit') <> (amount > 0)"
    ),
    "bank_transactions.gst_negative": rows("bank_transactions", "gst_amount < 0"),
    "bank_transactions.gst_over_amount": rows("bank_transactions", "gst_amount > abs(amount)"),
    "bank_transactions.gst_wrong": rows(
        "bank_transactions",
        f"gst_amount BETWEEN 0 AND abs(amount) AND gst_amount <> {EXACT_GST.format(amount='abs(amount)')}",
    ),
    "bank_transactions.tax_category_unknown": rows("bank_transactions", f"tax_category !~ {LABEL}"),
    "bank_transactions.description_tfn": rows("bank_transactions", r"description ~ 'TFN \d{3} \d{3} \d{3}$'"),
    "bank_transactions.notes_tfn": rows("bank_transactions", r"notes ~ 'tax file number \d{9} '"),
    "sessions.orphaned": orphans("sessions", "userId"),
    "sessions.expired": rows("sessions", "expires < now()"),
    "verification_tokens.expired": rows("verification_tokens", "expires < now()"),
    "password_reset_tokens.expired": rows("password_reset_tokens", "expires < now()"),
    "audit_logs.old": rows("audit_logs", "\"createdAt\" < now() - interval '90 days'"),
    "goals.current_over_target": rows("goals", "status <> 'COMPLETED' AND current_amount > target_amount"),
    "goals.current_negative": rows("goals", "current_amount < 0"),
    "goals.completed_short": rows("goals", "status = 'COMPLETED' AND current_amount < target_amount"),
    "goals.overdue": rows("goals", "status = 'ACTIVE' AND target_date < current_date"),
    "goals.orphaned": orphans("goals", "user_id"),
    "receipts.gst_negative": rows("receipts", "gst_amount < 0"),
    "receipts.gst_over_amount": rows("receipts", "gst_amount > total_amount"),
    "receipts.gst_wrong": rows(
        "receipts",
        f"gst_amount BETWEEN 0 AND total_amount AND gst_amount <> {EXACT_GST.format(amount='total_amount')}",
    ),
    "receipts.orphaned": orphans("receipts", "userId"),
    "receipts.match_dangling": rows(
        "receipts",
        "matched_transaction_id IS NOT NULL AND NOT EXISTS "
        "(SELECT FROM bank_transactions p WHERE p.id = t.matched_transaction_id::uuid)",
    ),
    "receipts.tax_category_unknown": rows("receipts", f"tax_category !~ {LABEL}"),
    "subscriptions.active_past_end": rows(
        "subscriptions", "status = 'active' AND \"currentPeriodEnd\" < now()"
    ),
    "subscriptions.orphaned": orphans("subscriptions", "userId"),
    "payments.failed_old": rows(
        "payments", "status = 'failed' AND \"createdAt\" < now() - interval '6 months'"
    ),
    "payments.orphaned": orphans("payments", "userId"),
    "invoices.total_wrong": rows("invoices", 'total <> subtotal + "gstAmount"'),
    "gst_transaction_details.gst_wrong": rows(
        "gst_transaction_details",
        '"gstAmount" >= 0 AND "gstAmount" <> round("baseAmount" * "gstRate" / 100, 2)',
    ),
    "gst_transaction_details.gst_negative": rows("gst_transaction_details", '"gstAmount" < 0'),
    "tax_returns.data_tfn": rows("tax_returns", "data ? 'tfn'"),
    "foreign_keys.not_valid": "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated",
    "foreign_keys.missing": "SELECT 26 - count(*) FROM pg_constraint WHERE contype = 'f'",
}

#: Consistency that no fault breaks; each counts rows that would be wrong.
NEVER = {
    "a receipt and its transaction name each other": """
        SELECT count(*) FROM bank_transactions t LEFT JOIN receipts r ON r.id = t.receipt_id::text
        WHERE t.receipt_id IS NOT NULL AND (r.id IS NULL OR r.matched_transaction_id <> t.id::text
              AND EXISTS (SELECT FROM bank_transactions x WHERE x.id = r.matched_transaction_id::uuid))""",
    "an invoice is the sum of its lines": """
        SELECT count(*) FROM invoices i WHERE subtotal <> (
            SELECT sum("totalPrice") FROM invoice_line_items l WHERE l."invoiceId" = i.id)""",
    "GST details belong to a transaction": """
        SELECT count(*) FROM gst_transaction_details g
        WHERE NOT EXISTS (SELECT FROM bank_transactions t WHERE t.id = g."transactionId")""",
    "duplicate users meet in every unique key of their records": """
        SELECT count(*) FROM users u
        WHERE EXISTS (SELECT FROM users o WHERE lower(o.email) = lower(u.email) AND o.id <> u.id) AND NOT (
            EXISTS (SELECT FROM subscriptions s WHERE s."userId" = u.id)
            AND EXISTS (SELECT FROM basiq_users b WHERE b.user_id = u.id)
            AND EXISTS (SELECT FROM tax_returns r WHERE r."userId" = u.id AND year = '2023')
            AND EXISTS (SELECT FROM privacy_consents c WHERE c."userId" = u.id
                        AND "consentType" = 'PRIVACY_POLICY' AND "consentVersion" = '1.0'))""",
    "the financial audit is a chain": """
        SELECT count(*) - 1 FROM financial_audit_logs a
        WHERE NOT EXISTS (SELECT FROM financial_audit_logs b WHERE b.hash_chain = a.previous_hash)""",
}


def tfn_valid(text):
    if not re.fullmatch(r"\d{8,9}", text):
        return False
    weights = (1, 4, 3, 7, 5, 8, 6, 9, 10) if len(text) == 9 else (10, 7, 8, 4, 6, 3, 5, 1)
    return sum(int(digit) * weight for digit, weight in zip(text, weights, strict=True)) % 11 == 0


def abn_valid(text):
    digits = [int(digit) for digit in text]
    digits[0] -= 1
    weights = (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)
    return sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) % 89 == 0


def phone_kind(text):
    """One of e164, unnormalised, national_only, invalid."""
    try:
        number = phonenumbers.parse(text, "AU")
    except phonenumbers.NumberParseException:
        return "invalid"
    if not phonenumbers.is_valid_number(number):
        return "invalid"
    national = re.sub(r"\D", "", text)
    if number.country_code == 61 and re.match(r"1[38]", national):
        return "national_only"
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return "e164" if text == e164 else "unnormalised"


async def values(connection, table, column):
    query = f'SELECT "{column}" AS value FROM "{table}" WHERE "{column}" <> \'\''
    return [row["value"] for row in await connection.fetch(query)]


async def count_in_python(connection):
    """The faults that need more than SQL, by key."""
    counts = {}
    phones = [phone_kind(value) for value in await values(connection, "users", "phone")]
    mobiles = [phone_kind(value) for value in await values(connection, "basiq_users", "mobile")]
    for kind in ("unnormalised", "national_only", "invalid"):
        counts[f"users.phone_{kind}"] = phones.count(kind)
    for kind in ("unnormalised", "invalid"):
        counts[f"basiq_users.mobile_{kind}"] = mobiles.count(kind)
    tfns = await values(connection, "users", "tfn")
    counts["users.tfn_check_digit"] = sum(not tfn_valid(tfn) for tfn in tfns)
    for table, column in (
        ("users", "abn"),
        ("receipts", "abn"),
        ("invoices", "customerABN"),
        ("gst_transaction_details", "supplierABN"),
    ):
        abns = [abn for abn in await values(connection, table, column) if len(abn) == 11]
        counts[f"{table}.abn_check_digit"] = sum(not abn_valid(abn) for abn in abns)
    return counts
