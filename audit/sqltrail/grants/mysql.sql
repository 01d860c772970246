-- The rights that the application's account needs on the tables of the trail
-- where one process records and sequences, and none more: whoever has the
-- account can delete no event and no entry. A row that is inserted unless it is
-- there already needs, on MariaDB and MySQL, the right to update its columns.
-- Where recording and sequencing are two accounts, sale-mysql.sql is enough for
-- the first. Put your account in the place of crm_app and run this as an account
-- that may grant them, after the migrations, with their database chosen.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_log TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_events TO crm_app;
GRANT SELECT, INSERT ON crmguard_audit_entries TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_found TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_persons TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_audit_openings TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_surrogates TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_audit_heads TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_audit_aside TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_tiles TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_state TO crm_app;
