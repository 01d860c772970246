-- The rights that the application's role needs on the tables of the trail, and
-- none more: whoever has the role can neither delete an event nor change what
-- one says. Put your role in the place of crm_app and run this as the owner of
-- the tables, after the migrations. Where they are not in the schema public,
-- the role needs USAGE on their schema, too.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT, UPDATE (idx, sequenced, tag, retry) ON crmguard_audit_events TO crm_app;
GRANT SELECT, INSERT ON crmguard_audit_persons TO crm_app;
GRANT SELECT, INSERT, DELETE ON crmguard_audit_surrogates TO crm_app;
GRANT SELECT, INSERT, UPDATE (tenant, sealed), DELETE ON crmguard_audit_openings TO crm_app;
GRANT SELECT, INSERT, UPDATE (data) ON crmguard_audit_tiles TO crm_app;
GRANT SELECT, INSERT, UPDATE (size, root, published, beat, beat_size, drains, tag) ON crmguard_audit_state TO crm_app;
