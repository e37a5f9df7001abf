-- Users and what belongs to signing in. $1 and $2 are the first and last row to make.

-- name: users
INSERT INTO "users" (
    "id", "email", "emailVerified", "name", "phone", "password", "image", "role", "abn", "businessName",
    "tfn", "taxFileNumber", "taxResidency", "address", "city", "state", "postcode", "preferences",
    "passwordChangedAt", "failedLoginAttempts", "lockedUntil", "lastLoginAt", "lastLoginIp",
    "twoFactorEnabled", "twoFactorSecret", "emailVerificationToken", "emailVerificationExpires",
    "passwordResetToken", "passwordResetExpires", "createdAt", "updatedAt")
SELECT
    pg_temp.uid('user', i)::text,
    pg_temp.email(i),
    CASE WHEN NOT (unverified OR just_joined) THEN created + interval '1 hour' END,
    pg_temp.given_name(i) || ' ' || pg_temp.family_name(i),
    pg_temp.phone(
        CASE WHEN pg_temp.users_phone_unnormalised(i) OR pg_temp.users_phone_national_only(i)
            OR pg_temp.users_phone_invalid(i) OR i % 40 BETWEEN 36 AND 38 THEN i % 40 ELSE 39 END,
        pg_temp.h(i, 3)),
    -- All of them hash one published password: SAMPLE_PASSWORD in slots.py.
    CASE
        WHEN pg_temp.users_password_md5(i) THEN '9cc2ae8a1ba7a93da39b46fc1019c481'
        WHEN pg_temp.users_password_sha1(i) THEN 'abf7aad6438836dbe526aa231abde2d0eef74d42'
        WHEN pg_temp.users_password_sha256(i)
            THEN 'c4bbcb1fbec99d65bf59d85c8cb62ee2db963f0fe106f483d9afa73bd4e39a8a'
        WHEN pg_temp.users_password_sha512(i)
            THEN 'be5ef7679d88ab9a9045f6267e55f5e5784b4b8cd764b5cd855a5244f91c6269'
                '53cd46c43d7668873fd6efbd3b221249315580031963472a078781fe046e62ae'
        WHEN pg_temp.users_password_unknown(i) THEN '{X-LEGACY}n0t-4-f0rm-4ny0ne-kn0ws'
        WHEN i % 50 = 6 THEN '$2a$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W'
        WHEN i % 50 = 7 THEN '$2y$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W'
        WHEN i % 50 = 8 THEN '$argon2id$v=19$m=19456,t=2,p=1$dGFheGRvZy1zYW1wbGUhIQ'
            '$s7ZpjIKDOfdOAmtTYe7MYh0fPq56++ZeoLN2F8KkwYw'
        WHEN i % 50 = 9 THEN 'pbkdf2_sha256$600000$taaxdogsample'
            '$GeFvcpaN06zDV/YPAXnQqO3siI9BUuA8BaawTSaCQW0='
        WHEN i % 50 = 10 THEN NULL  -- signs in through a provider
        ELSE '$2b$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W'
    END,
    CASE WHEN r % 5 = 0 THEN 'https://cdn.example.com/avatars/' || i || '.png' END,
    (CASE WHEN i % 1000 = 1 THEN 'ADMIN' WHEN i % 200 = 2 THEN 'ACCOUNTANT' WHEN i % 500 = 3 THEN 'SUPPORT'
        ELSE 'USER' END)::"Role",
    CASE
        WHEN pg_temp.users_abn_check_digit(i) THEN pg_temp.misread(pg_temp.abn(pg_temp.h(i, 4)))
        WHEN pg_temp.users_abn_malformed(i) THEN left(pg_temp.abn(pg_temp.h(i, 4)), 10)
        WHEN sole_trader THEN pg_temp.abn(pg_temp.h(i, 4))
    END,
    CASE WHEN sole_trader THEN pg_temp.family_name(i) || ' & Co' END,
    CASE
        WHEN pg_temp.users_tfn_null(i) THEN NULL
        WHEN pg_temp.users_tfn_empty(i) THEN ''
        WHEN legacy."tfn" IS NOT NULL THEN legacy."tfn"
        WHEN pg_temp.users_tfn_check_digit(i) THEN pg_temp.misread(pg_temp.tfn(i))
        ELSE pg_temp.tfn(i)
    END,
    CASE
        WHEN legacy."taxFileNumber" IS NOT NULL THEN legacy."taxFileNumber"
        WHEN pg_temp.users_taxfilenumber_given(i) THEN pg_temp.older_tfn(i)
        WHEN pg_temp.users_taxfilenumber_empty(i) THEN ''
    END,
    (CASE WHEN r % 40 = 0 THEN 'NON_RESIDENT' WHEN r % 40 = 1 THEN 'TEMPORARY_RESIDENT' ELSE 'RESIDENT' END
        )::"TaxResidency",
    (1 + r % 300) || ' ' || ('{Wattle,Banksia,Station,Victoria,George,King,Queen,Church}'::text[])[1 + r / 300 % 8]
        || ' St',
    ('{Sydney,Melbourne,Brisbane,Adelaide,Perth,Hobart,Darwin,Canberra}'::text[])[1 + place],
    CASE WHEN pg_temp.users_postcode_mismatch(i) THEN 'TAS'
        ELSE ('{NSW,VIC,QLD,SA,WA,TAS,NT,ACT}'::text[])[1 + place] END,
    CASE WHEN pg_temp.users_postcode_mismatch(i) THEN '2000'
        ELSE lpad((('{2000,3000,4000,5000,6000,7000,800,2600}'::int[])[1 + place]
            + pg_temp.h(i, 5) % ('{600,1000,1000,1000,798,1000,100,19}'::int[])[1 + place])::text, 4, '0') END,
    jsonb_build_object('currency', 'AUD', 'newsletter', r % 3 = 0, 'theme', CASE r % 2 WHEN 0 THEN 'dark' ELSE 'light' END),
    created + interval '1 day',
    (CASE WHEN i % 97 = 0 THEN 5 ELSE 0 END),
    CASE WHEN i % 97 = 0 THEN pg_temp.past(r) END,
    CASE WHEN i % 20 <> 18 THEN created + (r % 86400) * interval '1 second' END,
    '203.0.113.' || r % 254,  -- a block reserved for documentation
    pg_temp.users_twofactorsecret_given(i),
    CASE
        WHEN legacy."twoFactorSecret" IS NOT NULL THEN legacy."twoFactorSecret"
        WHEN pg_temp.users_twofactorsecret_given(i) THEN pg_temp.two_factor_secret(i)
        WHEN pg_temp.users_twofactorsecret_empty(i) THEN ''
    END,
    CASE WHEN unverified OR just_joined THEN pg_temp.uid('verify', i)::text END,
    CASE WHEN unverified THEN pg_temp.past(r) WHEN just_joined THEN pg_temp.future(r) END,
    CASE WHEN expired_reset OR i % 50 = 29 THEN pg_temp.uid('reset', i)::text END,
    CASE WHEN expired_reset THEN pg_temp.past(r) WHEN i % 50 = 29 THEN pg_temp.future(r) END,
    created,
    created + interval '2 days'
FROM (
    SELECT
        i,
        pg_temp.h(i, 2) AS r,
        pg_temp.h(i, 6) % 8 AS place,
        i % 10 IN (0, 3, 6) AS sole_trader,
        pg_temp.users_email_unverified(i) AS unverified,
        i % 100 = 39 AS just_joined,
        pg_temp.users_reset_token_expired(i) AS expired_reset,
        CASE WHEN i % 100 = 39 THEN pg_temp.future(pg_temp.h(i, 7)) ELSE pg_temp.past(pg_temp.h(i, 7)) END AS created
    FROM generate_series($1::int8, $2::int8) AS i
    OFFSET 0  -- keeps the planner from working the columns above out once for each use
) AS base
LEFT JOIN pg_temp.legacy USING (i)
ORDER BY i;

-- name: accounts
INSERT INTO "accounts" (
    "id", "userId", "type", "provider", "providerAccountId", "access_token", "expires_at", "token_type", "scope",
    "createdAt", "updatedAt")
SELECT
    pg_temp.uid('oauth', i)::text,
    pg_temp.uid('user', 4 * i)::text,
    'oauth',
    CASE i % 3 WHEN 0 THEN 'google' WHEN 1 THEN 'apple' ELSE 'microsoft' END,
    'subject-' || i,
    'sample-access-' || md5(i::text),
    2145916800,  -- 2038: the column is a 32-bit integer
    'Bearer',
    'openid email profile',
    pg_temp.past(pg_temp.h(i, 12)),
    pg_temp.past(pg_temp.h(i, 12)) + interval '1 day'
FROM generate_series($1::int8, $2::int8) AS i;

-- name: sessions
INSERT INTO "sessions" ("id", "sessionToken", "userId", "expires", "data", "createdAt")
SELECT
    pg_temp.uid('session', i)::text,
    'st_' || pg_temp.uid('session-token', i)::text,
    CASE WHEN pg_temp.sessions_orphaned(i) THEN pg_temp.uid('no-user', i) ELSE pg_temp.uid('user', 2 * i) END::text,
    CASE WHEN pg_temp.sessions_expired(i) THEN pg_temp.past(r) ELSE pg_temp.future(r) END,
    CASE WHEN r % 2 = 0 THEN '{"device":"web"}' END,
    pg_temp.past(r) - interval '30 days'
FROM (SELECT i, pg_temp.h(i, 13) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;

-- name: verification_tokens
INSERT INTO "verification_tokens" ("identifier", "token", "expires")
SELECT
    pg_temp.plain_email(20 * i),
    pg_temp.uid('verification', i)::text,
    CASE WHEN pg_temp.verification_tokens_expired(i) THEN pg_temp.past(pg_temp.h(i, 14))
        ELSE pg_temp.future(pg_temp.h(i, 14)) END
FROM generate_series($1::int8, $2::int8) AS i;

-- name: password_reset_tokens
INSERT INTO "password_reset_tokens" ("id", "email", "token", "expires")
SELECT
    pg_temp.uid('password-reset', i)::text,
    pg_temp.plain_email(20 * i),
    pg_temp.uid('password-reset-token', i)::text,
    CASE WHEN pg_temp.password_reset_tokens_expired(i) THEN pg_temp.past(pg_temp.h(i, 15))
        ELSE pg_temp.future(pg_temp.h(i, 15)) END
FROM generate_series($1::int8, $2::int8) AS i;

-- name: audit_logs
INSERT INTO "audit_logs" ("id", "userId", "event", "ipAddress", "userAgent", "metadata", "success", "createdAt")
SELECT
    pg_temp.uid('audit', i)::text,
    CASE WHEN i % 10 <> 9 THEN pg_temp.uid('user', 2 * i)::text END,
    ('{LOGIN_SUCCESS,LOGIN_FAILED,LOGOUT,PASSWORD_CHANGE,TOKEN_REFRESH,SESSION_CREATED}'::"AuthEvent"[])[1 + i % 6],
    '203.0.113.' || r % 254,
    'Mozilla/5.0 (sample)',
    jsonb_build_object('attempt', 1 + r % 3),
    i % 6 <> 1,
    CASE WHEN pg_temp.audit_logs_old(i) THEN pg_temp.past(r) ELSE pg_temp.future(r) END
FROM (SELECT i, pg_temp.h(i, 16) AS r FROM generate_series($1::int8, $2::int8) AS i OFFSET 0) AS base;
