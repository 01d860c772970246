-- The rights that the application's role needs on the tables of the trail where
-- one process records and sequences, and none more: whoever has the role can
-- neither delete an event or an entry nor change what one says. Where recording
-- and sequencing are two roles, sale-postgres.sql is enough for the first. Put
-- your role in the place of crm_app and run this as the owner of the tables,
-- after the migrations. Where they are not in the schema public, the role needs
-- USAGE on their schema, too.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT ON crmguard_audit_log TO crm_app;
GRANT SELECT, INSERT, UPDATE (retry, body, tx, idx) ON crmguard_audit_events TO crm_app;
GRANT SELECT, INSERT ON crmguard_audit_entries TO crm_app;
GRANT SELECT, INSERT ON crmguard_audit_found TO crm_app;
GRANT SELECT, INSERT ON crmguard_audit_persons TO crm_app;
GRANT SELECT, INSERT, DELETE ON crmguard_audit_openings TO crm_app;
GRANT SELECT, INSERT, UPDATE (person, head, state, into_surrogate, tag) ON crmguard_audit_surrogates TO crm_app;
GRANT SELECT, INSERT, DELETE ON crmguard_audit_heads TO crm_app;
GRANT SELECT, INSERT, UPDATE (body, tag), DELETE ON crmguard_audit_aside TO crm_app;
GRANT SELECT, INSERT, UPDATE (data) ON crmguard_audit_tiles TO crm_app;
GRANT SELECT, INSERT, UPDATE (size, root, published, beat, beat_size, found, mirrored, people, drained, pruned, swept, drains, tag) ON crmguard_audit_state TO crm_app;
