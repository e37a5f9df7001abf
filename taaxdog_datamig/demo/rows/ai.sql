-- What the application's assistants leave behind.

-- name: ai_cache
INSERT INTO "ai_cache" (
    "id", "cacheKey", "operationType", "inputHash", "response", "provider", "model", "hitCount", "expiresAt",
    "createdAt")
SELECT
    pg_temp.uid('ai-cache', i)::text,
    'categorise:' || i,
    'categorise',
    md5('input:' || i),
    jsonb_build_object('category', pg_temp.tax_category(r % 24)),
    'sample-ai',
    'sample-model-1',
    (r % 50)::int,
    CASE WHEN i % 2 = 0 THEN pg_temp.past(r) ELSE pg_temp.future(r) END,
    pg_temp.past(r) - interval '1 day'
FROM (SELECT i, pg_temp.h(i, 80) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: ai_conversations
INSERT INTO "ai_conversations" (
    "id", "userId", "sessionId", "provider", "model", "messages", "context", "tokensUsed", "costUsd", "createdAt",
    "updatedAt")
SELECT
    pg_temp.uid('conversation', i)::text,
    pg_temp.uid('user', 50 * i)::text,
    pg_temp.uid('conversation-session', i),
    'sample-ai',
    'sample-model-1',
    '[{"role": "user", "content": "Can I claim my home office?"}]',
    '{"page": "deductions"}',
    (100 + r % 900)::int,
    0.000002 * (100 + r % 900),
    pg_temp.past(r),
    pg_temp.past(r)
FROM (SELECT i, pg_temp.h(i, 81) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: ai_insights
INSERT INTO "ai_insights" (
    "id", "userId", "insightType", "category", "content", "confidenceScore", "sourceDataIds", "provider", "model",
    "isActive", "expiresAt", "createdAt")
SELECT
    pg_temp.uid('ai-insight', i)::text,
    pg_temp.uid('user', 20 * i)::text,
    CASE i % 2 WHEN 0 THEN 'deduction' ELSE 'saving' END,
    pg_temp.tax_category(r % 24),
    jsonb_build_object('dollars', r % 500),
    0.01 * (50 + r % 50),
    ARRAY[pg_temp.uid('transaction', (20 * i - 1) * 10 + 5)],
    'sample-ai',
    'sample-model-1',
    i % 3 <> 0,
    pg_temp.future(r),
    pg_temp.past(r)
FROM (SELECT i, pg_temp.h(i, 82) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: ai_provider_health
INSERT INTO "ai_provider_health" (
    "id", "provider", "status", "consecutiveFailures", "lastFailureAt", "lastSuccessAt", "createdAt", "updatedAt")
SELECT
    pg_temp.uid('ai-health', i)::text,
    'sample-ai-' || i,
    CASE WHEN i = 3 THEN 'degraded' ELSE 'healthy' END,
    CASE WHEN i = 3 THEN 2 ELSE 0 END,
    CASE WHEN i = 3 THEN timestamp '2024-06-29' END,
    timestamp '2024-06-30',
    timestamp '2023-07-01',
    timestamp '2024-06-30'
FROM generate_series($1::int8, $2::int8) AS i;

-- name: ai_usage_tracking
INSERT INTO "ai_usage_tracking" (
    "id", "userId", "provider", "model", "operationType", "tokensInput", "tokensOutput", "costUsd", "responseTimeMs",
    "success", "errorMessage", "createdAt")
SELECT
    pg_temp.uid('ai-usage', i)::text,
    pg_temp.uid('user', 10 * i)::text,
    'sample-ai',
    'sample-model-1',
    ('{categorise,chat,receipt}'::text[])[1 + r % 3],
    (50 + r % 500)::int,
    (20 + r % 300)::int,
    0.000002 * (70 + r % 800),
    (200 + r % 3000)::int,
    i % 50 <> 0,
    CASE WHEN i % 50 = 0 THEN 'rate limited' END,
    pg_temp.past(r)
FROM (SELECT i, pg_temp.h(i, 83) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;
