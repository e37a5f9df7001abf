-- Secondary indexes. Unique keys are unique indexes, not constraints, as Prisma makes them.

CREATE INDEX "accounts_provider_idx" ON "accounts" ("provider");
CREATE UNIQUE INDEX "accounts_provider_providerAccountId_key" ON "accounts" ("provider", "providerAccountId");
CREATE INDEX "accounts_userId_idx" ON "accounts" ("userId");
CREATE INDEX "accounts_userId_provider_idx" ON "accounts" ("userId", "provider");

CREATE INDEX "ai_cache_cacheKey_idx" ON "ai_cache" ("cacheKey");
CREATE UNIQUE INDEX "ai_cache_cacheKey_key" ON "ai_cache" ("cacheKey");
CREATE INDEX "ai_cache_expiresAt_idx" ON "ai_cache" ("expiresAt");
CREATE INDEX "ai_cache_operationType_idx" ON "ai_cache" ("operationType");

CREATE INDEX "ai_conversations_createdAt_idx" ON "ai_conversations" ("createdAt");
CREATE INDEX "ai_conversations_sessionId_idx" ON "ai_conversations" ("sessionId");
CREATE INDEX "ai_conversations_userId_idx" ON "ai_conversations" ("userId");

CREATE INDEX "ai_insights_category_idx" ON "ai_insights" ("category");
CREATE INDEX "ai_insights_createdAt_idx" ON "ai_insights" ("createdAt");
CREATE INDEX "ai_insights_insightType_idx" ON "ai_insights" ("insightType");
CREATE INDEX "ai_insights_isActive_idx" ON "ai_insights" ("isActive");
CREATE INDEX "ai_insights_userId_idx" ON "ai_insights" ("userId");

CREATE INDEX "ai_provider_health_circuitOpenUntil_idx" ON "ai_provider_health" ("circuitOpenUntil");
CREATE UNIQUE INDEX "ai_provider_health_provider_key" ON "ai_provider_health" ("provider");
CREATE INDEX "ai_provider_health_status_idx" ON "ai_provider_health" ("status");

CREATE INDEX "ai_usage_tracking_createdAt_idx" ON "ai_usage_tracking" ("createdAt");
CREATE INDEX "ai_usage_tracking_operationType_idx" ON "ai_usage_tracking" ("operationType");
CREATE INDEX "ai_usage_tracking_provider_idx" ON "ai_usage_tracking" ("provider");
CREATE INDEX "ai_usage_tracking_userId_idx" ON "ai_usage_tracking" ("userId");

CREATE INDEX "aml_transaction_monitoring_createdAt_idx" ON "aml_transaction_monitoring" ("createdAt");
CREATE INDEX "aml_transaction_monitoring_createdAt_requiresReview_idx" ON "aml_transaction_monitoring" ("createdAt", "requiresReview");
CREATE INDEX "aml_transaction_monitoring_monitoringType_idx" ON "aml_transaction_monitoring" ("monitoringType");
CREATE INDEX "aml_transaction_monitoring_reportedToAUSTRAC_idx" ON "aml_transaction_monitoring" ("reportedToAUSTRAC");
CREATE INDEX "aml_transaction_monitoring_requiresReview_idx" ON "aml_transaction_monitoring" ("requiresReview");
CREATE INDEX "aml_transaction_monitoring_riskScore_idx" ON "aml_transaction_monitoring" ("riskScore");
CREATE INDEX "aml_transaction_monitoring_transactionId_idx" ON "aml_transaction_monitoring" ("transactionId");
CREATE INDEX "aml_transaction_monitoring_userId_idx" ON "aml_transaction_monitoring" ("userId");
CREATE INDEX "aml_transaction_monitoring_userId_requiresReview_idx" ON "aml_transaction_monitoring" ("userId", "requiresReview");

CREATE INDEX "apra_incident_reports_detectedAt_idx" ON "apra_incident_reports" ("detectedAt");
CREATE INDEX "apra_incident_reports_incidentType_idx" ON "apra_incident_reports" ("incidentType");
CREATE INDEX "apra_incident_reports_incidentType_status_idx" ON "apra_incident_reports" ("incidentType", "status");
CREATE INDEX "apra_incident_reports_reportedAt_idx" ON "apra_incident_reports" ("reportedAt");
CREATE INDEX "apra_incident_reports_reportedToAPRA_idx" ON "apra_incident_reports" ("reportedToAPRA");
CREATE INDEX "apra_incident_reports_severity_idx" ON "apra_incident_reports" ("severity");
CREATE INDEX "apra_incident_reports_status_idx" ON "apra_incident_reports" ("status");
CREATE INDEX "apra_incident_reports_status_severity_idx" ON "apra_incident_reports" ("status", "severity");

CREATE INDEX "audit_logs_createdAt_idx" ON "audit_logs" ("createdAt");
CREATE INDEX "audit_logs_event_idx" ON "audit_logs" ("event");
CREATE INDEX "audit_logs_userId_idx" ON "audit_logs" ("userId");

CREATE INDEX "bank_accounts_account_type_idx" ON "bank_accounts" ("account_type");
CREATE UNIQUE INDEX "bank_accounts_basiq_account_id_key" ON "bank_accounts" ("basiq_account_id");
CREATE INDEX "bank_accounts_basiq_user_id_idx" ON "bank_accounts" ("basiq_user_id");
CREATE INDEX "bank_accounts_basiq_user_id_status_idx" ON "bank_accounts" ("basiq_user_id", "status");
CREATE INDEX "bank_accounts_connection_id_idx" ON "bank_accounts" ("connection_id");
CREATE INDEX "bank_accounts_is_business_account_idx" ON "bank_accounts" ("is_business_account");
CREATE INDEX "bank_accounts_last_synced_idx" ON "bank_accounts" ("last_synced");
CREATE INDEX "bank_accounts_status_idx" ON "bank_accounts" ("status");

CREATE INDEX "bank_connections_basiq_user_id_idx" ON "bank_connections" ("basiq_user_id");
CREATE UNIQUE INDEX "bank_connections_connection_id_key" ON "bank_connections" ("connection_id");
CREATE INDEX "bank_connections_institution_id_idx" ON "bank_connections" ("institution_id");
CREATE INDEX "bank_connections_last_synced_idx" ON "bank_connections" ("last_synced");
CREATE INDEX "bank_connections_status_idx" ON "bank_connections" ("status");

CREATE INDEX "bank_transactions_bank_account_id_idx" ON "bank_transactions" ("bank_account_id");
CREATE INDEX "bank_transactions_bank_account_id_is_business_expense_idx" ON "bank_transactions" ("bank_account_id", "is_business_expense");
CREATE INDEX "bank_transactions_bank_account_id_transaction_date_idx" ON "bank_transactions" ("bank_account_id", "transaction_date");
CREATE UNIQUE INDEX "bank_transactions_basiq_transaction_id_key" ON "bank_transactions" ("basiq_transaction_id");
CREATE INDEX "bank_transactions_category_idx" ON "bank_transactions" ("category");
CREATE INDEX "bank_transactions_category_subcategory_idx" ON "bank_transactions" ("category", "subcategory");
CREATE INDEX "bank_transactions_direction_idx" ON "bank_transactions" ("direction");
CREATE INDEX "bank_transactions_is_business_expense_idx" ON "bank_transactions" ("is_business_expense");
CREATE INDEX "bank_transactions_merchant_name_idx" ON "bank_transactions" ("merchant_name");
CREATE INDEX "bank_transactions_status_idx" ON "bank_transactions" ("status");
CREATE INDEX "bank_transactions_tax_category_idx" ON "bank_transactions" ("tax_category");
CREATE INDEX "bank_transactions_transaction_date_direction_idx" ON "bank_transactions" ("transaction_date", "direction");
CREATE INDEX "bank_transactions_transaction_date_idx" ON "bank_transactions" ("transaction_date");

CREATE INDEX "basiq_api_logs_created_at_idx" ON "basiq_api_logs" ("created_at");
CREATE INDEX "basiq_api_logs_endpoint_idx" ON "basiq_api_logs" ("endpoint");
CREATE INDEX "basiq_api_logs_method_idx" ON "basiq_api_logs" ("method");
CREATE INDEX "basiq_api_logs_response_status_idx" ON "basiq_api_logs" ("response_status");
CREATE INDEX "basiq_api_logs_user_id_created_at_idx" ON "basiq_api_logs" ("user_id", "created_at");
CREATE INDEX "basiq_api_logs_user_id_idx" ON "basiq_api_logs" ("user_id");

CREATE UNIQUE INDEX "basiq_users_basiq_user_id_key" ON "basiq_users" ("basiq_user_id");
CREATE INDEX "basiq_users_connection_status_idx" ON "basiq_users" ("connection_status");
CREATE INDEX "basiq_users_consent_expires_at_idx" ON "basiq_users" ("consent_expires_at");
CREATE INDEX "basiq_users_consent_status_idx" ON "basiq_users" ("consent_status");
CREATE UNIQUE INDEX "basiq_users_user_id_key" ON "basiq_users" ("user_id");

CREATE INDEX "basiq_webhooks_created_at_idx" ON "basiq_webhooks" ("created_at");
CREATE INDEX "basiq_webhooks_event_type_idx" ON "basiq_webhooks" ("event_type");
CREATE INDEX "basiq_webhooks_status_idx" ON "basiq_webhooks" ("status");
CREATE INDEX "basiq_webhooks_status_retry_count_idx" ON "basiq_webhooks" ("status", "retry_count");
CREATE UNIQUE INDEX "basiq_webhooks_webhook_id_key" ON "basiq_webhooks" ("webhook_id");

CREATE INDEX "budget_tracking_budget_id_idx" ON "budget_tracking" ("budget_id");
CREATE INDEX "budget_tracking_category_idx" ON "budget_tracking" ("category");
CREATE INDEX "budget_tracking_month_year_idx" ON "budget_tracking" ("month", "year");
CREATE INDEX "budget_tracking_user_id_idx" ON "budget_tracking" ("user_id");

CREATE INDEX "budgets_created_at_idx" ON "budgets" ("created_at");
CREATE INDEX "budgets_status_idx" ON "budgets" ("status");
CREATE INDEX "budgets_user_id_idx" ON "budgets" ("user_id");

CREATE UNIQUE INDEX "compliance_configuration_configType_key" ON "compliance_configuration" ("configType");
CREATE INDEX "compliance_configuration_isActive_idx" ON "compliance_configuration" ("isActive");

CREATE INDEX "data_access_requests_dueDate_idx" ON "data_access_requests" ("dueDate");
CREATE INDEX "data_access_requests_requestDate_idx" ON "data_access_requests" ("requestDate");
CREATE INDEX "data_access_requests_requestStatus_dueDate_idx" ON "data_access_requests" ("requestStatus", "dueDate");
CREATE INDEX "data_access_requests_requestStatus_idx" ON "data_access_requests" ("requestStatus");
CREATE INDEX "data_access_requests_requestType_idx" ON "data_access_requests" ("requestType");
CREATE INDEX "data_access_requests_userId_idx" ON "data_access_requests" ("userId");
CREATE INDEX "data_access_requests_userId_requestStatus_idx" ON "data_access_requests" ("userId", "requestStatus");

CREATE INDEX "financial_audit_logs_created_at_idx" ON "financial_audit_logs" ("created_at");
CREATE INDEX "financial_audit_logs_operationType_idx" ON "financial_audit_logs" ("operationType");
CREATE INDEX "financial_audit_logs_resourceId_idx" ON "financial_audit_logs" ("resourceId");
CREATE INDEX "financial_audit_logs_resourceType_idx" ON "financial_audit_logs" ("resourceType");
CREATE INDEX "financial_audit_logs_sessionId_idx" ON "financial_audit_logs" ("sessionId");
CREATE INDEX "financial_audit_logs_tax_year_idx" ON "financial_audit_logs" ("tax_year");
CREATE INDEX "financial_audit_logs_userId_idx" ON "financial_audit_logs" ("userId");

CREATE INDEX "financial_insights_category_idx" ON "financial_insights" ("category");
CREATE INDEX "financial_insights_created_at_idx" ON "financial_insights" ("created_at");
CREATE INDEX "financial_insights_insight_type_idx" ON "financial_insights" ("insight_type");
CREATE INDEX "financial_insights_is_active_idx" ON "financial_insights" ("is_active");
CREATE INDEX "financial_insights_priority_idx" ON "financial_insights" ("priority");
CREATE INDEX "financial_insights_user_id_idx" ON "financial_insights" ("user_id");

CREATE INDEX "goals_category_idx" ON "goals" ("category");
CREATE INDEX "goals_status_idx" ON "goals" ("status");
CREATE INDEX "goals_target_date_idx" ON "goals" ("target_date");
CREATE INDEX "goals_user_id_idx" ON "goals" ("user_id");
CREATE INDEX "goals_user_id_status_idx" ON "goals" ("user_id", "status");

CREATE INDEX "gst_transaction_details_gstTreatment_idx" ON "gst_transaction_details" ("gstTreatment");
CREATE INDEX "gst_transaction_details_invoiceId_idx" ON "gst_transaction_details" ("invoiceId");
CREATE INDEX "gst_transaction_details_reportedInBAS_idx" ON "gst_transaction_details" ("reportedInBAS");
CREATE INDEX "gst_transaction_details_supplierABN_idx" ON "gst_transaction_details" ("supplierABN");
CREATE INDEX "gst_transaction_details_taxCategory_idx" ON "gst_transaction_details" ("taxCategory");
CREATE INDEX "gst_transaction_details_taxCategory_inputTaxCredit_idx" ON "gst_transaction_details" ("taxCategory", "inputTaxCredit");
CREATE INDEX "gst_transaction_details_taxPeriod_idx" ON "gst_transaction_details" ("taxPeriod");
CREATE INDEX "gst_transaction_details_taxPeriod_reportedInBAS_idx" ON "gst_transaction_details" ("taxPeriod", "reportedInBAS");
CREATE INDEX "gst_transaction_details_transactionId_idx" ON "gst_transaction_details" ("transactionId");

CREATE INDEX "invoice_line_items_invoiceId_idx" ON "invoice_line_items" ("invoiceId");

CREATE INDEX "invoices_customerABN_idx" ON "invoices" ("customerABN");
CREATE INDEX "invoices_customerEmail_idx" ON "invoices" ("customerEmail");
CREATE INDEX "invoices_customerEmail_status_idx" ON "invoices" ("customerEmail", "status");
CREATE INDEX "invoices_invoiceDate_idx" ON "invoices" ("invoiceDate");
CREATE INDEX "invoices_invoiceNumber_idx" ON "invoices" ("invoiceNumber");
CREATE UNIQUE INDEX "invoices_invoiceNumber_key" ON "invoices" ("invoiceNumber");
CREATE INDEX "invoices_status_idx" ON "invoices" ("status");
CREATE INDEX "invoices_stripeInvoiceId_idx" ON "invoices" ("stripeInvoiceId");
CREATE UNIQUE INDEX "invoices_stripeInvoiceId_key" ON "invoices" ("stripeInvoiceId");

CREATE INDEX "password_reset_tokens_email_idx" ON "password_reset_tokens" ("email");
CREATE UNIQUE INDEX "password_reset_tokens_email_token_key" ON "password_reset_tokens" ("email", "token");
CREATE INDEX "password_reset_tokens_expires_idx" ON "password_reset_tokens" ("expires");
CREATE UNIQUE INDEX "password_reset_tokens_token_key" ON "password_reset_tokens" ("token");

CREATE INDEX "payments_createdAt_idx" ON "payments" ("createdAt");
CREATE INDEX "payments_status_idx" ON "payments" ("status");
CREATE UNIQUE INDEX "payments_stripePaymentIntentId_key" ON "payments" ("stripePaymentIntentId");
CREATE INDEX "payments_userId_idx" ON "payments" ("userId");
CREATE INDEX "payments_userId_status_idx" ON "payments" ("userId", "status");

CREATE INDEX "privacy_consents_consentStatus_idx" ON "privacy_consents" ("consentStatus");
CREATE INDEX "privacy_consents_consentType_consentStatus_idx" ON "privacy_consents" ("consentType", "consentStatus");
CREATE INDEX "privacy_consents_consentType_idx" ON "privacy_consents" ("consentType");
CREATE INDEX "privacy_consents_expiryDate_idx" ON "privacy_consents" ("expiryDate");
CREATE INDEX "privacy_consents_userId_consentStatus_idx" ON "privacy_consents" ("userId", "consentStatus");
CREATE UNIQUE INDEX "privacy_consents_userId_consentType_consentVersion_key" ON "privacy_consents" ("userId", "consentType", "consentVersion");
CREATE INDEX "privacy_consents_userId_idx" ON "privacy_consents" ("userId");
CREATE INDEX "privacy_consents_withdrawnAt_idx" ON "privacy_consents" ("withdrawnAt");

CREATE INDEX "idx_receipts_date" ON "receipts" ("date");
CREATE INDEX "idx_receipts_merchant" ON "receipts" ("merchant");
CREATE INDEX "idx_receipts_processed_at" ON "receipts" ("created_at");
CREATE INDEX "idx_receipts_processing_status" ON "receipts" ("processing_status");
CREATE INDEX "idx_receipts_user_id" ON "receipts" ("userId");

CREATE INDEX "sessions_expires_idx" ON "sessions" ("expires");
CREATE UNIQUE INDEX "sessions_sessionToken_key" ON "sessions" ("sessionToken");
CREATE INDEX "sessions_userId_expires_idx" ON "sessions" ("userId", "expires");
CREATE INDEX "sessions_userId_idx" ON "sessions" ("userId");

CREATE INDEX "subscriptions_cancelAtPeriodEnd_idx" ON "subscriptions" ("cancelAtPeriodEnd");
CREATE INDEX "subscriptions_currentPeriodEnd_idx" ON "subscriptions" ("currentPeriodEnd");
CREATE INDEX "subscriptions_plan_idx" ON "subscriptions" ("plan");
CREATE INDEX "subscriptions_status_currentPeriodEnd_idx" ON "subscriptions" ("status", "currentPeriodEnd");
CREATE INDEX "subscriptions_status_idx" ON "subscriptions" ("status");
CREATE INDEX "subscriptions_stripeCustomerId_idx" ON "subscriptions" ("stripeCustomerId");
CREATE UNIQUE INDEX "subscriptions_stripeCustomerId_key" ON "subscriptions" ("stripeCustomerId");
CREATE UNIQUE INDEX "subscriptions_stripeSubscriptionId_key" ON "subscriptions" ("stripeSubscriptionId");
CREATE INDEX "subscriptions_userId_idx" ON "subscriptions" ("userId");
CREATE UNIQUE INDEX "subscriptions_userId_key" ON "subscriptions" ("userId");
CREATE INDEX "subscriptions_userId_status_idx" ON "subscriptions" ("userId", "status");

CREATE INDEX "tax_returns_status_idx" ON "tax_returns" ("status");
CREATE INDEX "tax_returns_submittedAt_idx" ON "tax_returns" ("submittedAt");
CREATE INDEX "tax_returns_userId_idx" ON "tax_returns" ("userId");
CREATE INDEX "tax_returns_userId_status_idx" ON "tax_returns" ("userId", "status");
CREATE UNIQUE INDEX "tax_returns_userId_year_key" ON "tax_returns" ("userId", "year");
CREATE INDEX "tax_returns_year_idx" ON "tax_returns" ("year");

CREATE INDEX "users_abn_idx" ON "users" ("abn");
CREATE INDEX "users_createdAt_idx" ON "users" ("createdAt");
CREATE INDEX "users_createdAt_role_idx" ON "users" ("createdAt", "role");
CREATE UNIQUE INDEX "users_emailVerificationToken_key" ON "users" ("emailVerificationToken");
CREATE INDEX "users_emailVerified_idx" ON "users" ("emailVerified");
CREATE INDEX "users_email_idx" ON "users" ("email");
CREATE UNIQUE INDEX "users_email_key" ON "users" ("email");
CREATE INDEX "users_email_role_idx" ON "users" ("email", "role");
CREATE INDEX "users_failedLoginAttempts_idx" ON "users" ("failedLoginAttempts");
CREATE INDEX "users_lastLoginAt_idx" ON "users" ("lastLoginAt");
CREATE INDEX "users_lockedUntil_idx" ON "users" ("lockedUntil");
CREATE UNIQUE INDEX "users_passwordResetToken_key" ON "users" ("passwordResetToken");
CREATE INDEX "users_role_idx" ON "users" ("role");
CREATE INDEX "users_taxResidency_idx" ON "users" ("taxResidency");

CREATE INDEX "verification_tokens_expires_idx" ON "verification_tokens" ("expires");
CREATE UNIQUE INDEX "verification_tokens_identifier_token_key" ON "verification_tokens" ("identifier", "token");
CREATE UNIQUE INDEX "verification_tokens_token_key" ON "verification_tokens" ("token");
