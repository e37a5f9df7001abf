-- Consents, data requests, audit of money and money laundering, incidents, configuration.

-- name: privacy_consents
INSERT INTO "privacy_consents" (
    "id", "userId", "consentType", "consentVersion", "consentStatus", "consentDate", "expiryDate", "purposes",
    "dataCategories", "thirdParties", "withdrawnAt", "withdrawalReason", "legalBasis", "ipAddress", "userAgent",
    "createdAt", "updatedAt")
SELECT
    pg_temp.uid('consent', i)::text,
    pg_temp.uid('user', 2 * i)::text,
    'PRIVACY_POLICY',
    '1.0',
    (CASE WHEN withdrawn THEN 'WITHDRAWN' ELSE 'GRANTED' END)::"ConsentStatus",
    pg_temp.past(r),
    pg_temp.future(r),
    '{tax,budgeting}',
    '{identity,financial}',
    '{basiq}',
    CASE WHEN withdrawn THEN pg_temp.past(r) + interval '60 days' END,
    CASE WHEN withdrawn THEN 'Left the service' END,
    'consent',
    '203.0.113.' || r % 254,
    'Mozilla/5.0 (sample)',
    pg_temp.past(r),
    pg_temp.past(r)
FROM (
    SELECT i, i % 25 = 0 AS withdrawn, pg_temp.h(i, 60) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0
) AS base;

-- name: data_access_requests
INSERT INTO "data_access_requests" (
    "id", "userId", "requestType", "requestStatus", "requestDate", "requestDetails", "verificationMethod", "verifiedAt",
    "completedAt", "dueDate", "notes", "createdAt", "updatedAt")
SELECT
    pg_temp.uid('data-request', i)::text,
    pg_temp.uid('user', 50 * i)::text,
    ('{ACCESS_REQUEST,PORTABILITY_REQUEST,CORRECTION_REQUEST}'::"DataRequestType"[])[1 + i % 3],
    (CASE i % 2 WHEN 0 THEN 'COMPLETED' ELSE 'PENDING' END)::"DataRequestStatus",
    pg_temp.past(r),
    '{"scope": "all"}',
    'email',
    pg_temp.past(r) + interval '1 day',
    CASE i % 2 WHEN 0 THEN pg_temp.past(r) + interval '9 days' END,
    CASE i % 2 WHEN 0 THEN pg_temp.past(r) + interval '30 days' ELSE pg_temp.future(r) END,
    'Asked through the app',
    pg_temp.past(r),
    pg_temp.past(r)
FROM (SELECT i, pg_temp.h(i, 61) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: financial_audit_logs
-- Each entry carries the hash of the one before.
INSERT INTO "financial_audit_logs" (
    "id", "userId", "sessionId", "operationType", "resourceType", "resourceId", "ipAddress", "userAgent", "httpMethod",
    "endpoint", "previous_data", "current_data", "changed_fields", "amount", "tax_year", "success", "hash_chain",
    "previous_hash", "created_at")
SELECT
    pg_temp.uid('financial-audit', i)::text,
    pg_temp.uid('user', 5 * i)::text,
    pg_temp.uid('session-of', i),
    ('{GOAL_UPDATE,TRANSACTION_CATEGORIZE,RECEIPT_UPLOAD,BANK_SYNC,TAX_RETURN_UPDATE}'::"FinancialOperation"[]
        )[1 + r % 5],
    'transaction',
    pg_temp.uid('transaction', (5 * i - 1) * 10 + 3),
    '203.0.113.' || r % 254,
    'Mozilla/5.0 (sample)',
    'PATCH',
    '/api/transactions',
    '{"category": null}',
    '{"category": "Office"}',
    '{category}',
    0.01 * (r % 100000),
    '2023-24',
    true,
    encode(sha256(pg_temp.uid('financial-audit', i)::text::bytea), 'hex'),
    CASE WHEN i > 1 THEN encode(sha256(pg_temp.uid('financial-audit', i - 1)::text::bytea), 'hex') END,
    pg_temp.past(r)
FROM (SELECT i, pg_temp.h(i, 62) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: aml_transaction_monitoring
INSERT INTO "aml_transaction_monitoring" (
    "id", "userId", "transactionId", "monitoringType", "riskScore", "riskFactors", "amount", "currency", "patternType",
    "patternDetails", "velocityScore", "requiresReview", "reviewedBy", "reviewedAt", "falsePositive", "notes",
    "createdAt", "updatedAt")
SELECT
    pg_temp.uid('aml', i)::text,
    pg_temp.uid('user', 20 * i)::text,
    pg_temp.uid('transaction', (20 * i - 1) * 10 + 4),
    ('{THRESHOLD_EXCEEDED,VELOCITY_CHECK,PATTERN_DETECTION}'::"AMLMonitoringType"[])[1 + i % 3],
    0.01 * (r % 100),
    '{large-amount}',
    10000 + r % 50000,
    'AUD',
    'structuring',
    '{"window_days": 7}',
    0.01 * (r / 100 % 100),
    i % 4 = 0,
    CASE WHEN i % 4 <> 0 THEN 'compliance@example.com' END,
    CASE WHEN i % 4 <> 0 THEN pg_temp.past(r) + interval '2 days' END,
    i % 4 = 1,
    'Looked at by the sample',
    pg_temp.past(r),
    pg_temp.past(r)
FROM (SELECT i, pg_temp.h(i, 63) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: apra_incident_reports
INSERT INTO "apra_incident_reports" (
    "id", "incidentType", "severity", "status", "title", "description", "detectedAt", "reportedAt", "resolvedAt",
    "affectedUsers", "affectedSystems", "financialImpact", "immediateActions", "rootCause", "reportedToAPRA",
    "serviceDowntime", "reportedBy", "responsibleTeam", "createdAt", "updatedAt")
SELECT
    pg_temp.uid('incident', i)::text,
    ('{SYSTEM_OUTAGE,THIRD_PARTY_FAILURE,OPERATIONAL_FAILURE}'::"IncidentType"[])[1 + i % 3],
    ('{CRITICAL,HIGH,MEDIUM,LOW}'::"IncidentSeverity"[])[1 + i % 4],
    'CLOSED',
    'Sample incident ' || i,
    'Bank feeds were late.',
    pg_temp.past(r),
    pg_temp.past(r) + interval '1 day',
    pg_temp.past(r) + interval '2 days',
    (r % 1000)::int,
    '{bank-feeds}',
    0,
    '["Restarted the feed"]',
    'Upstream outage',
    true,
    (10 + r % 200)::int,
    'ops@example.com',
    'Platform',
    pg_temp.past(r),
    pg_temp.past(r) + interval '3 days'
FROM (SELECT i, pg_temp.h(i, 64) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: compliance_configuration
INSERT INTO "compliance_configuration" (
    "id", "configType", "configData", "amlThresholds", "dataRetentionDays", "consentExpireDays", "backupFrequency",
    "createdAt", "updatedAt")
SELECT
    pg_temp.uid('configuration', i)::text,
    ('{AML,PRIVACY,APRA,GST,RETENTION}'::text[])[i],
    '{"enabled": true}',
    CASE WHEN i = 1 THEN '{"cash": 10000}'::jsonb END,
    2555,
    365,
    'daily',
    timestamp '2023-07-01',
    timestamp '2023-07-01'
FROM generate_series($1::int8, $2::int8) AS i;
