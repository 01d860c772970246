-- The rights of an account that records and does not sequence: it can neither
-- read nor delete what was recorded, nor say where an event stands, and Run works
-- as another account, with the rights of mysql.sql. A row that is inserted unless
-- it is there already needs, on MariaDB and MySQL, the right to update its columns:
-- so here, and not on PostgreSQL, such an account can spoil a row that waits, which
-- the sequencer then sets aside. Put your account in the place of crm_app.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT ON crmguard_audit_log TO crm_app;
GRANT SELECT (id, retry), INSERT (id, log, retry, body), UPDATE (id, log, retry, body) ON crmguard_audit_events TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_surrogates TO crm_app;
GRANT SELECT ON crmguard_audit_state TO crm_app;
