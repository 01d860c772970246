-- The rights of a role that records and does not sequence: it can neither read
-- nor change nor delete what was recorded, and Run works as another role, with
-- the rights of postgres.sql. Put your role in the place of crm_app.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT ON crmguard_audit_log TO crm_app;
GRANT SELECT (id, retry), INSERT (id, log, retry, body), UPDATE (retry) ON crmguard_audit_events TO crm_app;
GRANT SELECT, INSERT ON crmguard_audit_surrogates TO crm_app;
GRANT SELECT ON crmguard_audit_state TO crm_app;
