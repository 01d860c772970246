-- The rights of an account that records and does not sequence: it can neither
-- read nor change nor delete what was recorded, and Run works as another
-- account, with the rights of mysql.sql. Put your account in the place of
-- crm_app.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT ON crmguard_audit_log TO crm_app;
GRANT SELECT (id, retry), INSERT (id, log, retry, body), UPDATE (retry) ON crmguard_audit_events TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_surrogates TO crm_app;
GRANT SELECT ON crmguard_audit_state TO crm_app;
