-- The 34 tables of the TAAXDOG schema: columns, types and defaults. Keys and indexes come after the
-- rows: primary_keys.sql, indexes.sql, foreign_keys.sql.

CREATE TABLE "accounts" (
    "id"                text         NOT NULL,
    "userId"            text         NOT NULL,
    "type"              text         NOT NULL,
    "provider"          text         NOT NULL,
    "providerAccountId" text         NOT NULL,
    "refresh_token"     text,
    "access_token"      text,
    "expires_at"        integer,
    "token_type"        text,
    "scope"             text,
    "id_token"          text,
    "session_state"     text,
    "createdAt"         timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"         timestamp(3) NOT NULL
);

CREATE TABLE "ai_cache" (
    "id"            text         NOT NULL,
    "cacheKey"      text         NOT NULL,
    "operationType" text         NOT NULL,
    "inputHash"     text         NOT NULL,
    "response"      jsonb        NOT NULL,
    "provider"      text         NOT NULL,
    "model"         text         NOT NULL,
    "hitCount"      integer      NOT NULL DEFAULT 0,
    "expiresAt"     timestamp(3) NOT NULL,
    "createdAt"     timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "ai_conversations" (
    "id"         text          NOT NULL,
    "userId"     text          NOT NULL,
    "sessionId"  uuid          NOT NULL,
    "provider"   text          NOT NULL,
    "model"      text          NOT NULL,
    "messages"   jsonb         NOT NULL,
    "context"    jsonb,
    "tokensUsed" integer       NOT NULL DEFAULT 0,
    "costUsd"    numeric(10,6) NOT NULL DEFAULT 0,
    "createdAt"  timestamp(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"  timestamp(3)  NOT NULL
);

CREATE TABLE "ai_insights" (
    "id"              text         NOT NULL,
    "userId"          text         NOT NULL,
    "insightType"     text         NOT NULL,
    "category"        text         NOT NULL,
    "content"         jsonb        NOT NULL,
    "confidenceScore" numeric(3,2),
    "sourceDataIds"   uuid[],
    "provider"        text         NOT NULL,
    "model"           text         NOT NULL,
    "isActive"        boolean      NOT NULL DEFAULT true,
    "expiresAt"       timestamp(3),
    "createdAt"       timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "ai_provider_health" (
    "id"                  text         NOT NULL,
    "provider"            text         NOT NULL,
    "status"              text         NOT NULL DEFAULT 'healthy',
    "consecutiveFailures" integer      NOT NULL DEFAULT 0,
    "lastFailureAt"       timestamp(3),
    "lastSuccessAt"       timestamp(3),
    "circuitOpenUntil"    timestamp(3),
    "createdAt"           timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"           timestamp(3) NOT NULL
);

CREATE TABLE "ai_usage_tracking" (
    "id"             text          NOT NULL,
    "userId"         text          NOT NULL,
    "provider"       text          NOT NULL,
    "model"          text          NOT NULL,
    "operationType"  text          NOT NULL,
    "tokensInput"    integer       NOT NULL DEFAULT 0,
    "tokensOutput"   integer       NOT NULL DEFAULT 0,
    "costUsd"        numeric(10,6) NOT NULL DEFAULT 0,
    "responseTimeMs" integer,
    "success"        boolean       NOT NULL DEFAULT true,
    "errorMessage"   text,
    "createdAt"      timestamp(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "aml_transaction_monitoring" (
    "id"                text                NOT NULL,
    "userId"            text                NOT NULL,
    "transactionId"     uuid,
    "monitoringType"    "AMLMonitoringType" NOT NULL,
    "riskScore"         numeric(3,2)        NOT NULL,
    "riskFactors"       text[],
    "amount"            numeric(15,2)       NOT NULL,
    "currency"          varchar(3)          NOT NULL DEFAULT 'AUD',
    "patternType"       varchar(100),
    "patternDetails"    jsonb,
    "velocityScore"     numeric(3,2),
    "requiresReview"    boolean             NOT NULL DEFAULT false,
    "reviewedBy"        text,
    "reviewedAt"        timestamp(3),
    "reportedToAUSTRAC" boolean             NOT NULL DEFAULT false,
    "reportReference"   varchar(255),
    "reportedAt"        timestamp(3),
    "falsePositive"     boolean             NOT NULL DEFAULT false,
    "notes"             text,
    "createdAt"         timestamp(3)        NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"         timestamp(3)        NOT NULL
);

CREATE TABLE "apra_incident_reports" (
    "id"                 text               NOT NULL,
    "incidentType"       "IncidentType"     NOT NULL,
    "severity"           "IncidentSeverity" NOT NULL,
    "status"             "IncidentStatus"   NOT NULL DEFAULT 'OPEN',
    "title"              varchar(500)       NOT NULL,
    "description"        text               NOT NULL,
    "detectedAt"         timestamp(3)       NOT NULL,
    "reportedAt"         timestamp(3),
    "resolvedAt"         timestamp(3),
    "affectedUsers"      integer            NOT NULL DEFAULT 0,
    "affectedSystems"    text[],
    "dataCompromised"    boolean            NOT NULL DEFAULT false,
    "financialImpact"    numeric(15,2),
    "immediateActions"   jsonb,
    "rootCause"          text,
    "remediation"        jsonb,
    "preventiveMeasures" jsonb,
    "reportedToAPRA"     boolean            NOT NULL DEFAULT false,
    "apraReference"      varchar(255),
    "reportedToOAIC"     boolean            NOT NULL DEFAULT false,
    "oaicReference"      varchar(255),
    "bcpActivated"       boolean            NOT NULL DEFAULT false,
    "serviceDowntime"    integer,
    "dataRecoveryTime"   integer,
    "reportedBy"         text,
    "responsibleTeam"    varchar(100),
    "createdAt"          timestamp(3)       NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"          timestamp(3)       NOT NULL
);

CREATE TABLE "audit_logs" (
    "id"        text         NOT NULL,
    "userId"    text,
    "event"     "AuthEvent"  NOT NULL,
    "ipAddress" text         NOT NULL,
    "userAgent" text,
    "metadata"  jsonb,
    "success"   boolean      NOT NULL DEFAULT true,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "bank_accounts" (
    "id"                  uuid          NOT NULL,
    "basiq_user_id"       uuid          NOT NULL,
    "connection_id"       uuid          NOT NULL,
    "basiq_account_id"    varchar(255)  NOT NULL,
    "account_holder"      varchar(255),
    "account_number"      varchar(50),
    "bsb"                 varchar(10),
    "institution_name"    varchar(255),
    "account_type"        varchar(100),
    "account_name"        varchar(255),
    "balance_available"   numeric(15,2),
    "balance_current"     numeric(15,2),
    "currency"            varchar(3) DEFAULT 'AUD',
    "status"              varchar(50) DEFAULT 'active',
    "is_business_account" boolean       NOT NULL DEFAULT false,
    "last_synced"         timestamp(3),
    "created_at"          timestamp(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at"          timestamp(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "bank_connections" (
    "id"                     uuid         NOT NULL,
    "basiq_user_id"          uuid         NOT NULL,
    "connection_id"          varchar(255) NOT NULL,
    "institution_id"         varchar(255) NOT NULL,
    "institution_name"       varchar(255) NOT NULL,
    "institution_short_name" varchar(100),
    "institution_logo_url"   text,
    "status"                 varchar(50) DEFAULT 'pending',
    "last_synced"            timestamp(3),
    "created_at"             timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at"             timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "bank_transactions" (
    "id"                   uuid          NOT NULL,
    "bank_account_id"      uuid          NOT NULL,
    "basiq_transaction_id" varchar(255)  NOT NULL,
    "description"          text,
    "amount"               numeric(15,2) NOT NULL,
    "transaction_date"     date          NOT NULL,
    "post_date"            date,
    "balance"              numeric(15,2),
    "transaction_type"     varchar(100),
    "direction"            varchar(20),
    "category"             varchar(100),
    "subcategory"          varchar(100),
    "merchant_name"        varchar(255),
    "status"               varchar(50) DEFAULT 'posted',
    "is_business_expense"  boolean       NOT NULL DEFAULT false,
    "tax_category"         varchar(100),
    "gst_amount"           numeric(15,2),
    "receipt_id"           uuid,
    "notes"                text,
    "created_at"           timestamp(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at"           timestamp(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "basiq_api_logs" (
    "id"              uuid         NOT NULL,
    "user_id"         text,
    "endpoint"        varchar(255) NOT NULL,
    "method"          varchar(10)  NOT NULL,
    "request_body"    jsonb,
    "response_status" integer,
    "response_body"   jsonb,
    "error_message"   text,
    "duration_ms"     integer,
    "created_at"      timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "basiq_users" (
    "id"                 uuid         NOT NULL,
    "user_id"            text         NOT NULL,
    "basiq_user_id"      varchar(255) NOT NULL,
    "email"              varchar(255) NOT NULL,
    "mobile"             varchar(20),
    "connection_status"  varchar(50) DEFAULT 'active',
    "consent_id"         varchar(255),
    "consent_status"     varchar(50),
    "consent_expires_at" timestamp(3),
    "created_at"         timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at"         timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "basiq_webhooks" (
    "id"            uuid         NOT NULL,
    "webhook_id"    varchar(255),
    "event_type"    varchar(100) NOT NULL,
    "resource_type" varchar(100),
    "resource_id"   varchar(255),
    "payload"       jsonb        NOT NULL,
    "status"        varchar(50) DEFAULT 'pending',
    "processed_at"  timestamp(3),
    "error_message" text,
    "retry_count"   integer      NOT NULL DEFAULT 0,
    "created_at"    timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "budget_tracking" (
    "id"               text          NOT NULL,
    "budget_id"        text          NOT NULL,
    "user_id"          text          NOT NULL,
    "month"            integer       NOT NULL,
    "year"             integer       NOT NULL,
    "predicted_amount" numeric(15,2) NOT NULL,
    "actual_amount"    numeric(15,2),
    "variance"         numeric(15,2),
    "category"         varchar(100),
    "created_at"       timestamp(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "budgets" (
    "id"                text           NOT NULL,
    "user_id"           text           NOT NULL,
    "name"              varchar(255),
    "monthly_budget"    numeric(15,2)  NOT NULL,
    "target_savings"    numeric(15,2),
    "monthly_income"    numeric(15,2),
    "predictions"       jsonb,
    "category_limits"   jsonb,
    "confidence_score"  numeric(3,2),
    "ai_provider"       varchar(50),
    "ai_model"          varchar(100),
    "analysis_period"   varchar(50),
    "prediction_period" varchar(50),
    "status"            "BudgetStatus" NOT NULL DEFAULT 'ACTIVE',
    "created_at"        timestamp(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at"        timestamp(3)   NOT NULL
);

CREATE TABLE "compliance_configuration" (
    "id"                  text         NOT NULL,
    "configType"          varchar(100) NOT NULL,
    "configData"          jsonb        NOT NULL,
    "isActive"            boolean      NOT NULL DEFAULT true,
    "amlThresholds"       jsonb,
    "dataRetentionDays"   integer,
    "consentExpireDays"   integer,
    "incidentReportHours" integer DEFAULT 72,
    "backupFrequency"     varchar(50),
    "gstRate"             numeric(5,2) DEFAULT 10.00,
    "basReportingCodes"   jsonb,
    "createdAt"           timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"           timestamp(3) NOT NULL
);

CREATE TABLE "data_access_requests" (
    "id"                 text                NOT NULL,
    "userId"             text                NOT NULL,
    "requestType"        "DataRequestType"   NOT NULL,
    "requestStatus"      "DataRequestStatus" NOT NULL DEFAULT 'PENDING',
    "requestDate"        timestamp(3)        NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "requestDetails"     jsonb,
    "verificationMethod" varchar(100),
    "verifiedAt"         timestamp(3),
    "processedBy"        text,
    "processedAt"        timestamp(3),
    "completedAt"        timestamp(3),
    "responseMethod"     varchar(100),
    "responseUrl"        text,
    "responseExpiryDate" timestamp(3),
    "dueDate"            timestamp(3)        NOT NULL,
    "extensionReason"    text,
    "extendedDueDate"    timestamp(3),
    "notes"              text,
    "createdAt"          timestamp(3)        NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"          timestamp(3)        NOT NULL
);

CREATE TABLE "financial_audit_logs" (
    "id"             text                 NOT NULL,
    "userId"         text                 NOT NULL,
    "sessionId"      uuid,
    "operationType"  "FinancialOperation" NOT NULL,
    "resourceType"   varchar(100)         NOT NULL,
    "resourceId"     uuid,
    "ipAddress"      varchar(45)          NOT NULL,
    "userAgent"      text,
    "httpMethod"     varchar(10),
    "endpoint"       varchar(500),
    "previous_data"  jsonb,
    "current_data"   jsonb,
    "changed_fields" text[],
    "amount"         numeric(15,2),
    "gst_amount"     numeric(15,2),
    "currency"       varchar(3) DEFAULT 'AUD',
    "tax_year"       varchar(10),
    "success"        boolean              NOT NULL DEFAULT true,
    "error_message"  text,
    "hash_chain"     varchar(64),
    "previous_hash"  varchar(64),
    "created_at"     timestamp(3)         NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "timezone"       varchar(50)          NOT NULL DEFAULT 'Australia/Sydney'
);

CREATE TABLE "financial_insights" (
    "id"               text              NOT NULL,
    "user_id"          text              NOT NULL,
    "insight_type"     varchar(100)      NOT NULL,
    "category"         varchar(100),
    "content"          jsonb,
    "confidence_score" numeric(3,2),
    "source_data_ids"  text[],
    "provider"         varchar(50),
    "model"            varchar(100),
    "title"            varchar(255),
    "description"      text,
    "recommendations"  jsonb,
    "priority"         "InsightPriority" NOT NULL DEFAULT 'MEDIUM',
    "is_active"        boolean           NOT NULL DEFAULT true,
    "created_at"       timestamp(3)      NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at"       timestamp(3)
);

CREATE TABLE "goals" (
    "id"             text          NOT NULL,
    "user_id"        text          NOT NULL,
    "title"          varchar(255)  NOT NULL,
    "target_amount"  numeric(15,2) NOT NULL,
    "current_amount" numeric(15,2) NOT NULL DEFAULT 0,
    "target_date"    date          NOT NULL,
    "category"       varchar(100),
    "status"         "GoalStatus"  NOT NULL DEFAULT 'ACTIVE',
    "created_at"     timestamp(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at"     timestamp(3)  NOT NULL
);

CREATE TABLE "gst_transaction_details" (
    "id"               text           NOT NULL,
    "transactionId"    uuid           NOT NULL,
    "invoiceId"        uuid,
    "baseAmount"       numeric(15,2)  NOT NULL,
    "gstRate"          numeric(5,2)   NOT NULL DEFAULT 10.00,
    "gstAmount"        numeric(15,2)  NOT NULL,
    "totalAmount"      numeric(15,2)  NOT NULL,
    "taxCategory"      varchar(100)   NOT NULL,
    "gstTreatment"     "GSTTreatment" NOT NULL,
    "inputTaxCredit"   boolean        NOT NULL DEFAULT false,
    "supplierABN"      varchar(20),
    "supplierName"     varchar(255),
    "isGSTRegistered"  boolean        NOT NULL DEFAULT true,
    "basReportingCode" varchar(10),
    "taxPeriod"        varchar(10)    NOT NULL,
    "reportedInBAS"    boolean        NOT NULL DEFAULT false,
    "basReference"     varchar(255),
    "validated"        boolean        NOT NULL DEFAULT false,
    "validationErrors" text[],
    "createdAt"        timestamp(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"        timestamp(3)   NOT NULL
);

CREATE TABLE "invoice_line_items" (
    "id"          text         NOT NULL,
    "invoiceId"   text         NOT NULL,
    "description" text         NOT NULL,
    "quantity"    integer      NOT NULL,
    "unitPrice"   integer      NOT NULL,
    "totalPrice"  integer      NOT NULL,
    "createdAt"   timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"   timestamp(3) NOT NULL
);

CREATE TABLE "invoices" (
    "id"              text         NOT NULL,
    "invoiceNumber"   text         NOT NULL,
    "stripeInvoiceId" text         NOT NULL,
    "customerName"    text         NOT NULL,
    "customerEmail"   text         NOT NULL,
    "customerABN"     text,
    "subtotal"        integer      NOT NULL,
    "gstAmount"       integer      NOT NULL,
    "total"           integer      NOT NULL,
    "status"          text         NOT NULL,
    "invoiceDate"     timestamp(3) NOT NULL,
    "paidAt"          timestamp(3),
    "createdAt"       timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"       timestamp(3) NOT NULL
);

CREATE TABLE "password_reset_tokens" (
    "id"      text         NOT NULL,
    "email"   text         NOT NULL,
    "token"   text         NOT NULL,
    "expires" timestamp(3) NOT NULL
);

CREATE TABLE "payments" (
    "id"                    text         NOT NULL,
    "userId"                text         NOT NULL,
    "stripePaymentIntentId" text         NOT NULL,
    "amount"                integer      NOT NULL,
    "currency"              text         NOT NULL,
    "status"                text         NOT NULL,
    "description"           text,
    "metadata"              jsonb,
    "createdAt"             timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"             timestamp(3) NOT NULL
);

CREATE TABLE "privacy_consents" (
    "id"               text            NOT NULL,
    "userId"           text            NOT NULL,
    "consentType"      "ConsentType"   NOT NULL,
    "consentVersion"   varchar(20)     NOT NULL,
    "consentStatus"    "ConsentStatus" NOT NULL DEFAULT 'PENDING',
    "consentDate"      timestamp(3),
    "expiryDate"       timestamp(3),
    "purposes"         text[],
    "dataCategories"   text[],
    "thirdParties"     text[],
    "withdrawnAt"      timestamp(3),
    "withdrawalReason" text,
    "legalBasis"       varchar(100)    NOT NULL,
    "jurisdiction"     varchar(10)     NOT NULL DEFAULT 'AU',
    "ipAddress"        varchar(45)     NOT NULL,
    "userAgent"        text,
    "createdAt"        timestamp(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"        timestamp(3)    NOT NULL
);

CREATE TABLE "receipts" (
    "id"                     text            NOT NULL,
    "userId"                 text            NOT NULL,
    "merchant"               varchar(255),
    "total_amount"           numeric(15,2)   NOT NULL,
    "gst_amount"             numeric(15,2),
    "date"                   date            NOT NULL,
    "items"                  jsonb,
    "image_url"              varchar(500),
    "ai_processed"           boolean         NOT NULL DEFAULT false,
    "ai_confidence"          numeric(3,2),
    "ai_provider"            varchar(50),
    "ai_model"               varchar(100),
    "processing_status"      "ReceiptStatus" NOT NULL DEFAULT 'PENDING',
    "abn"                    varchar(20),
    "tax_invoice_number"     varchar(100),
    "tax_category"           varchar(100),
    "is_gst_registered"      boolean         NOT NULL DEFAULT false,
    "matched_transaction_id" text,
    "match_confidence"       numeric(3,2),
    "created_at"             timestamp(3)    NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at"             timestamp(3)    NOT NULL
);

CREATE TABLE "sessions" (
    "id"           text         NOT NULL,
    "sessionToken" text         NOT NULL,
    "userId"       text         NOT NULL,
    "expires"      timestamp(3) NOT NULL,
    "data"         text,
    "createdAt"    timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "subscriptions" (
    "id"                     text         NOT NULL,
    "userId"                 text         NOT NULL,
    "stripeCustomerId"       text         NOT NULL,
    "stripeSubscriptionId"   text         NOT NULL,
    "stripePriceId"          text         NOT NULL,
    "status"                 text         NOT NULL,
    "plan"                   "Plan"       NOT NULL,
    "interval"               text         NOT NULL DEFAULT 'month',
    "amount"                 integer      NOT NULL,
    "currency"               text         NOT NULL DEFAULT 'aud',
    "currentPeriodStart"     timestamp(3) NOT NULL,
    "currentPeriodEnd"       timestamp(3) NOT NULL,
    "cancelAtPeriodEnd"      boolean      NOT NULL DEFAULT false,
    "cancelledAt"            timestamp(3),
    "trialEnd"               timestamp(3),
    "defaultPaymentMethodId" text,
    "lastPaymentAttempt"     timestamp(3),
    "failedPaymentCount"     integer      NOT NULL DEFAULT 0,
    "createdAt"              timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"              timestamp(3) NOT NULL
);

CREATE TABLE "tax_returns" (
    "id"          text              NOT NULL,
    "userId"      text              NOT NULL,
    "year"        text              NOT NULL,
    "data"        jsonb             NOT NULL,
    "status"      "TaxReturnStatus" NOT NULL DEFAULT 'DRAFT',
    "submittedAt" timestamp(3),
    "processedAt" timestamp(3),
    "createdAt"   timestamp(3)      NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"   timestamp(3)      NOT NULL
);

CREATE TABLE "users" (
    "id"                       text           NOT NULL,
    "email"                    text           NOT NULL,
    "emailVerified"            timestamp(3),
    "name"                     text           NOT NULL,
    "phone"                    text,
    "password"                 text,
    "image"                    text,
    "role"                     "Role"         NOT NULL DEFAULT 'USER',
    "abn"                      text,
    "businessName"             text,
    "tfn"                      text,
    "taxFileNumber"            text,
    "taxResidency"             "TaxResidency" NOT NULL DEFAULT 'RESIDENT',
    "address"                  text,
    "city"                     text,
    "state"                    text,
    "postcode"                 text,
    "preferences"              jsonb,
    "passwordChangedAt"        timestamp(3),
    "failedLoginAttempts"      integer        NOT NULL DEFAULT 0,
    "lockedUntil"              timestamp(3),
    "lastLoginAt"              timestamp(3),
    "lastLoginIp"              text,
    "twoFactorEnabled"         boolean        NOT NULL DEFAULT false,
    "twoFactorSecret"          text,
    "emailVerificationToken"   text,
    "emailVerificationExpires" timestamp(3),
    "passwordResetToken"       text,
    "passwordResetExpires"     timestamp(3),
    "createdAt"                timestamp(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"                timestamp(3)   NOT NULL
);

CREATE TABLE "verification_tokens" (
    "identifier" text         NOT NULL,
    "token"      text         NOT NULL,
    "expires"    timestamp(3) NOT NULL
);
