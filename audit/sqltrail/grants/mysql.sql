-- The rights that the application's account needs on the tables of the trail,
-- and none more: whoever has the account can delete no event. A row that is
-- inserted unless it is there already needs, on MariaDB and MySQL, the right to
-- update all of its columns; so here, and not on PostgreSQL, it is the
-- published log alone that proves that no event was changed. Put your account
-- in the place of crm_app and run this as an account that may grant them, after
-- the migrations, with their database chosen.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_events TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_persons TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_audit_surrogates TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_audit_openings TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_tiles TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_audit_state TO crm_app;
