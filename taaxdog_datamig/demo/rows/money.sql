-- Goals, budgets, receipts, subscriptions, payments, invoices, GST and tax returns.

-- name: goals
INSERT INTO "goals" (
    "id", "user_id", "title", "target_amount", "current_amount", "target_date", "category", "status", "created_at",
    "updated_at")
SELECT
    pg_temp.uid('goal', i)::text,
    CASE WHEN pg_temp.goals_orphaned(i) THEN pg_temp.uid('no-user', i) ELSE pg_temp.uid('user', 2 * i) END::text,
    ('{House deposit,New car,Holiday,Emergency fund,Tax bill}'::text[])[1 + r % 5],
    target,
    CASE
        WHEN pg_temp.goals_current_over_target(i) THEN target + 100
        WHEN pg_temp.goals_current_negative(i) THEN -50
        WHEN pg_temp.goals_completed_short(i) THEN target - 100
        WHEN completed THEN target
        ELSE (r / 5 % 200)::numeric  -- no target is lower
    END,
    CASE WHEN completed OR pg_temp.goals_overdue(i) THEN pg_temp.past(r) ELSE pg_temp.future(r) END::date,
    ('{SAVINGS,TRAVEL,TAX,OTHER}'::text[])[1 + r % 4],
    (CASE WHEN completed OR pg_temp.goals_completed_short(i) THEN 'COMPLETED' WHEN i % 10 = 8 THEN 'PAUSED'
        ELSE 'ACTIVE' END)::"GoalStatus",
    pg_temp.past(r) - interval '1 year',
    pg_temp.past(r)
FROM (
    SELECT i, i % 10 = 5 AS completed, pg_temp.h(i, 40) AS r, (500 + 100 * (pg_temp.h(i, 41) % 300))::numeric AS target
    FROM generate_series($1::int8, $2::int8) AS i
    OFFSET 0
) AS base;

-- name: budgets
INSERT INTO "budgets" (
    "id", "user_id", "name", "monthly_budget", "target_savings", "monthly_income", "predictions", "category_limits",
    "confidence_score", "ai_provider", "ai_model", "analysis_period", "prediction_period", "status", "created_at",
    "updated_at")
SELECT
    pg_temp.uid('budget', i)::text,
    pg_temp.uid('user', 10 * i)::text,
    'Household',
    2000 + r % 3000,
    200 + r % 500,
    4000 + r % 6000,
    jsonb_build_object('trend', CASE r % 2 WHEN 0 THEN 'up' ELSE 'down' END),
    jsonb_build_object('Groceries', 400 + r % 400),
    0.01 * (50 + r % 50),
    'sample-ai',
    'sample-model-1',
    '6_months',
    '3_months',
    ('{ACTIVE,ACTIVE,INACTIVE,DRAFT}'::"BudgetStatus"[])[1 + i % 4],
    pg_temp.past(r) - interval '1 year',
    pg_temp.past(r)
FROM (SELECT i, pg_temp.h(i, 42) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: budget_tracking
-- Three months for each budget.
INSERT INTO "budget_tracking" (
    "id", "budget_id", "user_id", "month", "year", "predicted_amount", "actual_amount", "variance", "category",
    "created_at")
SELECT
    pg_temp.uid('tracking', i)::text,
    pg_temp.uid('budget', budget)::text,
    pg_temp.uid('user', 10 * budget)::text,
    1 + ((i - 1) % 3)::int,
    2024,
    predicted,
    actual,
    actual - predicted,
    'Groceries',
    timestamp '2024-04-01'
FROM (
    SELECT
        i,
        (i - 1) / 3 + 1 AS budget,
        (400 + pg_temp.h(i, 43) % 400)::numeric AS predicted,
        (380 + pg_temp.h(i, 44) % 440)::numeric AS actual
    FROM generate_series($1::int8, $2::int8) AS i
    OFFSET 0
) AS base;

-- name: receipts
-- Every second one matches the first transaction of its user.
INSERT INTO "receipts" (
    "id", "userId", "merchant", "total_amount", "gst_amount", "date", "items", "image_url", "ai_processed",
    "ai_confidence", "ai_provider", "ai_model", "processing_status", "abn", "tax_invoice_number", "tax_category",
    "is_gst_registered", "matched_transaction_id", "match_confidence", "created_at", "updated_at")
SELECT
    pg_temp.uid('receipt', i)::text,
    CASE WHEN pg_temp.receipts_orphaned(i) THEN pg_temp.uid('no-user', i) ELSE pg_temp.uid('user', 3 * i) END::text,
    pg_temp.merchant(m),
    0.01 * cents,
    0.01 * (CASE
        WHEN pg_temp.receipts_gst_negative(i) THEN -gst_cents
        WHEN pg_temp.receipts_gst_over_amount(i) THEN cents + 100
        WHEN pg_temp.receipts_gst_wrong(i) THEN gst_cents + 100
        ELSE gst_cents
    END),
    pg_temp.past(r)::date,
    jsonb_build_array(jsonb_build_object('description', 'item', 'cents', cents)),
    'https://cdn.example.com/receipts/' || i || '.jpg',
    true,
    0.01 * (60 + r % 40),
    'sample-ai',
    'sample-model-1',
    (CASE WHEN matched THEN 'MATCHED' WHEN i % 10 = 9 THEN 'MANUAL_REVIEW' ELSE 'PROCESSED' END)::"ReceiptStatus",
    CASE WHEN pg_temp.receipts_abn_check_digit(i) THEN pg_temp.misread(pg_temp.abn(pg_temp.h(m, 45)))
        ELSE pg_temp.abn(pg_temp.h(m, 45)) END,
    'TI-' || i,
    CASE WHEN pg_temp.receipts_tax_category_unknown(i) THEN 'MISC' ELSE pg_temp.tax_category(m) END,
    true,
    CASE WHEN pg_temp.receipts_match_dangling(i) THEN pg_temp.uid('no-transaction', i)
        WHEN matched THEN pg_temp.uid('transaction', (3 * i - 1) * 10 + 1) END::text,
    CASE WHEN matched THEN 0.95 END,
    pg_temp.past(r),
    pg_temp.past(r) + interval '1 hour'
FROM (
    SELECT i, r, m, cents, (2 * cents + 11) / 22 AS gst_cents, i % 2 = 0 AS matched
    FROM (
        SELECT i, r, 2 + r % 22 AS m, 500 + r / 24 % 20000 AS cents
        FROM (SELECT i, pg_temp.h(i, 46) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS rows
    ) AS bought
    OFFSET 0
) AS base;

-- name: subscriptions
INSERT INTO "subscriptions" (
    "id", "userId", "stripeCustomerId", "stripeSubscriptionId", "stripePriceId", "status", "plan", "interval", "amount",
    "currency", "currentPeriodStart", "currentPeriodEnd", "cancelAtPeriodEnd", "cancelledAt", "trialEnd",
    "defaultPaymentMethodId", "lastPaymentAttempt", "failedPaymentCount", "createdAt", "updatedAt")
SELECT
    pg_temp.uid('subscription', i)::text,
    CASE WHEN pg_temp.subscriptions_orphaned(i) THEN pg_temp.uid('no-user', i) ELSE pg_temp.uid('user', 4 * i)
        END::text,
    'cus_' || i,
    'sub_' || i,
    'price_' || i % 4,
    CASE WHEN cancelled THEN 'canceled' ELSE 'active' END,
    (CASE i % 3 WHEN 0 THEN 'PRO' ELSE 'SMART' END)::"Plan",
    CASE i % 2 WHEN 0 THEN 'month' ELSE 'year' END,
    CASE i % 3 WHEN 0 THEN 1899 ELSE 999 END,
    'aud',
    pg_temp.past(r),
    CASE WHEN cancelled OR pg_temp.subscriptions_active_past_end(i) THEN pg_temp.past(r) + interval '1 month'
        ELSE pg_temp.future(r) END,
    cancelled,
    CASE WHEN cancelled THEN pg_temp.past(r) + interval '1 month' END,
    pg_temp.past(r) - interval '3 days',
    'pm_' || i,
    pg_temp.past(r),
    0,
    pg_temp.past(r) - interval '1 year',
    pg_temp.past(r)
FROM (
    SELECT i, i % 10 = 9 AS cancelled, pg_temp.h(i, 47) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0
) AS base;

-- name: payments
INSERT INTO "payments" (
    "id", "userId", "stripePaymentIntentId", "amount", "currency", "status", "description", "metadata", "createdAt",
    "updatedAt")
SELECT
    pg_temp.uid('payment', i)::text,
    CASE WHEN pg_temp.payments_orphaned(i) THEN pg_temp.uid('no-user', i) ELSE pg_temp.uid('user', 2 * i) END::text,
    'pi_' || i,
    CASE i % 3 WHEN 0 THEN 1899 ELSE 999 END,
    'aud',
    CASE WHEN pg_temp.payments_failed_old(i) OR just_failed THEN 'failed' ELSE 'succeeded' END,
    'Subscription',
    CASE WHEN r % 4 = 0 THEN '{"source": "web"}'::jsonb END,
    CASE WHEN just_failed THEN pg_temp.future(r) ELSE pg_temp.past(r) END,
    CASE WHEN just_failed THEN pg_temp.future(r) ELSE pg_temp.past(r) END
FROM (
    SELECT i, i % 20 = 13 AS just_failed, pg_temp.h(i, 48) AS r
    FROM generate_series($1::int8, $2::int8) AS i
    OFFSET 0
) AS base;

-- name: invoices
-- Amounts in cents; two lines each.
INSERT INTO "invoices" (
    "id", "invoiceNumber", "stripeInvoiceId", "customerName", "customerEmail", "customerABN", "subtotal", "gstAmount",
    "total", "status", "invoiceDate", "paidAt", "createdAt", "updatedAt")
SELECT
    pg_temp.uid('invoice', i)::text,
    'INV-' || lpad(i::text, 8, '0'),
    'in_' || i,
    pg_temp.given_name(10 * i) || ' ' || pg_temp.family_name(10 * i),
    pg_temp.plain_email(10 * i),
    CASE WHEN pg_temp.invoices_abn_check_digit(i) THEN pg_temp.misread(pg_temp.abn(pg_temp.h(10 * i, 4)))
        ELSE pg_temp.abn(pg_temp.h(10 * i, 4)) END,
    subtotal,
    subtotal / 10,
    subtotal + subtotal / 10 + CASE WHEN pg_temp.invoices_total_wrong(i) THEN 100 ELSE 0 END,
    CASE WHEN i % 5 = 0 THEN 'open' ELSE 'paid' END,
    pg_temp.past(r),
    CASE WHEN i % 5 <> 0 THEN pg_temp.past(r) + interval '7 days' END,
    pg_temp.past(r),
    pg_temp.past(r)
FROM (
    SELECT
        i,
        pg_temp.h(i, 49) AS r,
        pg_temp.line_quantity(2 * i - 1) * pg_temp.line_price(2 * i - 1)
            + pg_temp.line_quantity(2 * i) * pg_temp.line_price(2 * i) AS subtotal
    FROM generate_series($1::int8, $2::int8) AS i
    OFFSET 0
) AS base;

-- name: invoice_line_items
INSERT INTO "invoice_line_items" (
    "id", "invoiceId", "description", "quantity", "unitPrice", "totalPrice", "createdAt", "updatedAt")
SELECT
    pg_temp.uid('invoice-line', i)::text,
    pg_temp.uid('invoice', (i + 1) / 2)::text,
    CASE i % 2 WHEN 0 THEN 'Bookkeeping' ELSE 'Tax advice' END,
    pg_temp.line_quantity(i),
    pg_temp.line_price(i),
    pg_temp.line_quantity(i) * pg_temp.line_price(i),
    pg_temp.past(pg_temp.h((i + 1) / 2, 49)),
    pg_temp.past(pg_temp.h((i + 1) / 2, 49))
FROM generate_series($1::int8, $2::int8) AS i;

-- name: gst_transaction_details
-- Of the second transaction of every second user. `transactionId` is a reference without a foreign key.
INSERT INTO "gst_transaction_details" (
    "id", "transactionId", "baseAmount", "gstRate", "gstAmount", "totalAmount", "taxCategory", "gstTreatment",
    "inputTaxCredit", "supplierABN", "supplierName", "isGSTRegistered", "basReportingCode", "taxPeriod",
    "reportedInBAS", "basReference", "validated", "createdAt", "updatedAt")
SELECT
    pg_temp.uid('gst', i)::text,
    pg_temp.uid('transaction', (2 * i - 1) * 10 + 2),
    0.01 * base_cents,
    CASE WHEN taxable THEN 10.00 ELSE 0.00 END,
    0.01 * gst_cents,
    0.01 * (base_cents + gst_cents),
    pg_temp.tax_category(m),
    (CASE WHEN taxable THEN 'TAXABLE_SUPPLY' ELSE 'GST_FREE' END)::"GSTTreatment",
    taxable,
    CASE WHEN pg_temp.gst_transaction_details_abn_check_digit(i) THEN pg_temp.misread(pg_temp.abn(pg_temp.h(m, 45)))
        ELSE pg_temp.abn(pg_temp.h(m, 45)) END,
    pg_temp.merchant(m),
    true,
    CASE WHEN taxable THEN '1B' ELSE 'G14' END,
    '2024-Q' || 1 + i % 4,
    i % 4 = 0,
    CASE WHEN i % 4 = 0 THEN 'BAS-' || i END,
    true,
    pg_temp.past(r),
    pg_temp.past(r)
FROM (
    SELECT
        i, r, m, base_cents, taxable,
        CASE
            WHEN pg_temp.gst_transaction_details_gst_negative(i) THEN -base_cents / 10
            WHEN pg_temp.gst_transaction_details_gst_wrong(i) THEN base_cents / 10 + 100
            WHEN taxable THEN base_cents / 10
            ELSE 0
        END AS gst_cents
    FROM (
        SELECT i, r, 2 + r % 22 AS m, 500 + 10 * (r / 24 % 2000) AS base_cents, i % 5 <> 0 AS taxable
        FROM (SELECT i, pg_temp.h(i, 50) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS rows
    ) AS priced
    OFFSET 0
) AS base;

-- name: tax_returns
INSERT INTO "tax_returns" (
    "id", "userId", "year", "data", "status", "submittedAt", "processedAt", "createdAt", "updatedAt")
SELECT
    pg_temp.uid('tax-return', i)::text,
    pg_temp.uid('user', 5 * i)::text,
    '2023',
    jsonb_build_object('income', 40000 + r % 90000, 'deductions', jsonb_build_object('D1', r % 900, 'D5', r % 700))
        || CASE WHEN pg_temp.tax_returns_data_tfn(i) THEN jsonb_build_object('tfn', pg_temp.tfn9(pg_temp.h(i, 52)))
            ELSE '{}' END,
    ('{DRAFT,SUBMITTED,PROCESSING,COMPLETED}'::"TaxReturnStatus"[])[1 + i % 4],
    CASE WHEN i % 4 > 0 THEN timestamp '2023-09-01' + (r % 5000000) * interval '1 second' END,
    CASE WHEN i % 4 = 3 THEN timestamp '2023-12-01' + (r % 5000000) * interval '1 second' END,
    timestamp '2023-07-10',
    timestamp '2023-07-11'
FROM (SELECT i, pg_temp.h(i, 51) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: financial_insights
INSERT INTO "financial_insights" (
    "id", "user_id", "insight_type", "category", "content", "confidence_score", "source_data_ids", "provider", "model",
    "title", "description", "recommendations", "priority", "is_active", "created_at", "expires_at")
SELECT
    pg_temp.uid('financial-insight', i)::text,
    pg_temp.uid('user', 20 * i)::text,
    'spending',
    'Groceries',
    jsonb_build_object('change', r % 40),
    0.01 * (50 + r % 50),
    ARRAY[pg_temp.uid('transaction', (20 * i - 1) * 10 + 1)::text],
    'sample-ai',
    'sample-model-1',
    'Groceries went up',
    'You spent more on groceries than in the month before.',
    '["Set a limit"]',
    ('{HIGH,MEDIUM,LOW}'::"InsightPriority"[])[1 + i % 3],
    i % 4 <> 0,
    pg_temp.past(r),
    CASE WHEN i % 4 <> 0 THEN pg_temp.future(r) ELSE pg_temp.past(r) + interval '30 days' END
FROM (SELECT i, pg_temp.h(i, 53) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;
