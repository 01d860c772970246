-- The rights that an account needs which prunes (Trail.Prune), beside those of
-- mysql.sql: it deletes entries, and what they are found by. Give them to the
-- account of the job that does it, in the place of crm_app, and to no process that
-- serves anybody: what was deleted without an entry of kind prune is found by
-- VerifyStore, and gone.
GRANT DELETE ON crmguard_audit_entries TO crm_app;
GRANT DELETE ON crmguard_audit_found TO crm_app;
GRANT DELETE ON crmguard_audit_persons TO crm_app;
