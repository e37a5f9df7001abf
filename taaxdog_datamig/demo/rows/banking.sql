-- Bank connections, accounts and transactions: one account a user, ten transactions an account.

-- name: basiq_users
INSERT INTO "basiq_users" (
    "id", "user_id", "basiq_user_id", "email", "mobile", "connection_status", "consent_id", "consent_status",
    "consent_expires_at", "created_at", "updated_at")
SELECT
    pg_temp.uid('basiq', i),
    pg_temp.uid('user', i)::text,
    'bu-' || i,
    pg_temp.plain_email(i),
    pg_temp.phone(
        CASE WHEN pg_temp.basiq_users_mobile_unnormalised(i) OR pg_temp.basiq_users_mobile_invalid(i)
            OR pg_temp.basiq_users_mobile_null(i) OR pg_temp.basiq_users_mobile_empty(i) THEN i % 40 ELSE 39 END,
        pg_temp.h(i, 3)),
    CASE WHEN i % 25 = 0 THEN 'expired' ELSE 'active' END,
    'consent-' || i,
    CASE WHEN i % 25 = 0 THEN 'expired' ELSE 'active' END,
    CASE WHEN i % 25 = 0 THEN pg_temp.past(r) ELSE pg_temp.future(r) END,
    pg_temp.past(r) - interval '1 year',
    pg_temp.past(r)
FROM (SELECT i, pg_temp.h(i, 20) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: bank_connections
INSERT INTO "bank_connections" (
    "id", "basiq_user_id", "connection_id", "institution_id", "institution_name", "institution_short_name",
    "institution_logo_url", "status", "last_synced", "created_at", "updated_at")
SELECT
    pg_temp.uid('connection', i),
    pg_temp.uid('basiq', i),
    'conn-' || i,
    'AU0000' || bank,
    ('{First Sample Bank,Second Sample Bank,Sample Credit Union,Sample Mutual,Sample Direct}'::text[])[1 + bank],
    ('{FSB,SSB,SCU,SM,SD}'::text[])[1 + bank],
    'https://cdn.example.com/banks/' || bank || '.svg',
    CASE WHEN i % 25 = 0 THEN 'invalid' ELSE 'active' END,
    pg_temp.past(r),
    pg_temp.past(r) - interval '1 year',
    pg_temp.past(r)
FROM (
    SELECT i, pg_temp.h(i, 21) AS r, pg_temp.h(i, 22) % 5 AS bank FROM generate_series($1::int8, $2::int8) AS i OFFSET 0
) AS base;

-- name: bank_accounts
INSERT INTO "bank_accounts" (
    "id", "basiq_user_id", "connection_id", "basiq_account_id", "account_holder", "account_number", "bsb",
    "institution_name", "account_type", "account_name", "balance_available", "balance_current", "currency", "status",
    "is_business_account", "last_synced", "created_at", "updated_at")
SELECT
    pg_temp.uid('account', i),
    CASE WHEN pg_temp.bank_accounts_orphaned(i) THEN pg_temp.uid('no-basiq', i) ELSE pg_temp.uid('basiq', i) END,
    pg_temp.uid('connection', i),
    'acc-' || i,
    pg_temp.given_name(i) || ' ' || pg_temp.family_name(i),
    CASE
        WHEN pg_temp.bank_accounts_account_number_null(i) THEN NULL
        WHEN pg_temp.bank_accounts_account_number_empty(i) THEN ''
        WHEN pg_temp.bank_accounts_account_number_malformed(i) THEN 'X-' || r % 1000
        ELSE (10000000 + r % 990000000)::text  -- eight or nine digits
    END,
    CASE
        WHEN pg_temp.bank_accounts_bsb_null(i) THEN NULL
        WHEN pg_temp.bank_accounts_bsb_empty(i) THEN ''
        WHEN pg_temp.bank_accounts_bsb_malformed(i) THEN '06-20' || r % 10
        ELSE lpad((60 + r % 40)::text, 3, '0') || CASE WHEN i % 3 = 0 THEN '' ELSE '-' END
            || lpad((r / 40 % 1000)::text, 3, '0')
    END,
    ('{First Sample Bank,Second Sample Bank,Sample Credit Union,Sample Mutual,Sample Direct}'::text[]
        )[1 + pg_temp.h(i, 22) % 5],
    CASE WHEN credit THEN 'credit-card' ELSE ('{transaction,savings,term-deposit}'::text[])[1 + i % 3] END,
    'Everyday ' || r % 10,
    0.01 * (CASE
        WHEN pg_temp.bank_accounts_balance_negative(i) THEN -cents - 500
        WHEN pg_temp.bank_accounts_available_over_current(i) THEN cents + 500
        WHEN credit THEN 1000000 - cents
        ELSE cents - cents / 10
    END),
    0.01 * (CASE WHEN credit OR pg_temp.bank_accounts_balance_negative(i) THEN -cents ELSE cents END),
    'AUD',
    CASE WHEN r % 50 = 0 THEN 'closed' ELSE 'active' END,
    i % 10 IN (0, 3, 6),
    pg_temp.past(r),
    pg_temp.past(r) - interval '1 year',
    pg_temp.past(r)
FROM (
    SELECT i, pg_temp.h(i, 23) AS r, 100 + pg_temp.h(i, 24) % 900000 AS cents, i % 10 = 7 AS credit
    FROM generate_series($1::int8, $2::int8) AS i
    OFFSET 0
) AS base;

-- name: bank_transactions
INSERT INTO "bank_transactions" (
    "id", "bank_account_id", "basiq_transaction_id", "description", "amount", "transaction_date", "post_date",
    "balance", "transaction_type", "direction", "category", "subcategory", "merchant_name", "status",
    "is_business_expense", "tax_category", "gst_amount", "receipt_id", "notes", "created_at", "updated_at")
SELECT
    pg_temp.uid('transaction', i),
    CASE WHEN pg_temp.bank_transactions_orphaned(i) THEN pg_temp.uid('no-account', i)
        ELSE pg_temp.uid('account', owner) END,
    'txn-' || i,
    CASE WHEN pg_temp.bank_transactions_description_tfn(i)
        THEN 'ATO PAYMENT TFN ' || pg_temp.in_threes(pg_temp.tfn9(pg_temp.h(i, 31)))
        ELSE pg_temp.merchant(m) || ' ' || r / 1000 % 10000 END,
    0.01 * (CASE WHEN income THEN cents ELSE -cents END),
    day,
    day + 1,
    0.01 * (r / 7 % 1000000),
    CASE WHEN income THEN 'direct-credit' ELSE 'payment' END,
    CASE WHEN income <> pg_temp.bank_transactions_direction_mismatch(i) THEN 'credit' ELSE 'debit' END,
    ('{Income,Income,Groceries,Groceries,Groceries,Home,Office,Fuel,Fuel,Fuel,Utilities,Utilities,Travel,Travel,'
        'Transport,Transport,Utilities,Utilities,Health,Electronics,Shopping,Dining,Education,Fees}'::text[])[1 + m],
    ('{Salary,Sales,Food,Food,Food,Tools,Stationery,Petrol,Petrol,Petrol,Phone,Phone,Flights,Flights,'
        'Rideshare,Public,Power,Power,Insurance,Devices,Clothing,Meals,Course,Membership}'::text[])[1 + m],
    pg_temp.merchant(m),
    CASE WHEN r / 24 % 100 = 0 THEN 'pending' ELSE 'posted' END,
    business,
    CASE WHEN pg_temp.bank_transactions_tax_category_unknown(i) THEN 'D99' WHEN business THEN pg_temp.tax_category(m) END,
    0.01 * (CASE
        WHEN pg_temp.bank_transactions_gst_negative(i) THEN -gst_cents
        WHEN pg_temp.bank_transactions_gst_over_amount(i) THEN cents + 100
        WHEN pg_temp.bank_transactions_gst_wrong(i) THEN gst_cents + 100
        WHEN business THEN gst_cents
    END),
    CASE WHEN i % 10 = 1 AND owner % 6 = 0 THEN pg_temp.uid('receipt', owner / 3) END,
    CASE WHEN pg_temp.bank_transactions_notes_tfn(i)
        THEN 'tax file number ' || pg_temp.tfn9(pg_temp.h(i, 32)) || ' given by phone' END,
    day + time '09:00',
    day + time '21:00'
FROM (
    SELECT
        i, owner, r, m, cents, income, day,
        (2 * cents + 11) / 22 AS gst_cents,  -- a eleventh, half a cent rounds up
        NOT income AND cents > 0 AND (forced OR r / 48 % 10 = 0) AS business
    FROM (
        SELECT
            i,
            (i - 1) / 10 + 1 AS owner,
            r,
            m,
            m < 2 AS income,
            forced,
            CASE WHEN pg_temp.bank_transactions_amount_zero(i) THEN 0 ELSE 500 + r / 24 % 20000 END AS cents,
            date '2023-07-01' + (r / 480000 % 366)::int AS day
        FROM (
            SELECT
                i,
                r,
                forced,
                CASE WHEN forced THEN 6 ELSE r % 24 END AS m  -- GST slips are on office supplies
            FROM (
                SELECT
                    i,
                    pg_temp.h(i, 30) AS r,
                    pg_temp.bank_transactions_gst_negative(i) OR pg_temp.bank_transactions_gst_over_amount(i)
                        OR pg_temp.bank_transactions_gst_wrong(i) AS forced
                FROM generate_series($1::int8, $2::int8) AS i
                OFFSET 0
            ) AS rows
        ) AS bought
        OFFSET 0
    ) AS priced
    OFFSET 0
) AS base;

-- name: basiq_api_logs
INSERT INTO "basiq_api_logs" (
    "id", "user_id", "endpoint", "method", "request_body", "response_status", "response_body", "error_message",
    "duration_ms", "created_at")
SELECT
    pg_temp.uid('api-log', i),
    CASE WHEN i % 10 <> 0 THEN pg_temp.uid('user', 10 * i)::text END,
    ('{/users,/connections,/accounts,/transactions}'::text[])[1 + r % 4],
    CASE WHEN r % 4 = 0 THEN 'POST' ELSE 'GET' END,
    CASE WHEN r % 4 = 0 THEN '{"sample": true}'::jsonb END,
    CASE WHEN i % 20 = 0 THEN 500 ELSE 200 END,
    jsonb_build_object('count', r % 100),
    CASE WHEN i % 20 = 0 THEN 'upstream timeout' END,
    (20 + r % 900)::int,
    pg_temp.past(r)
FROM (SELECT i, pg_temp.h(i, 33) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: basiq_webhooks
INSERT INTO "basiq_webhooks" (
    "id", "webhook_id", "event_type", "resource_type", "resource_id", "payload", "status", "processed_at",
    "error_message", "retry_count", "created_at")
SELECT
    pg_temp.uid('webhook', i),
    'wh-' || i,
    CASE i % 2 WHEN 0 THEN 'transactions.updated' ELSE 'connection.created' END,
    CASE i % 2 WHEN 0 THEN 'account' ELSE 'connection' END,
    CASE i % 2 WHEN 0 THEN 'acc-' ELSE 'conn-' END || 20 * i,
    jsonb_build_object('sequence', i),
    CASE WHEN i % 20 = 0 THEN 'failed' ELSE 'processed' END,
    CASE WHEN i % 20 <> 0 THEN pg_temp.past(r) + interval '1 minute' END,
    CASE WHEN i % 20 = 0 THEN 'handler timeout' END,
    CASE WHEN i % 20 = 0 THEN 3 ELSE 0 END,
    pg_temp.past(r)
FROM (SELECT i, pg_temp.h(i, 34) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;
