-- The rights that the application's account needs on the tables of the trail,
-- and none more: whoever has the account can neither delete an event nor change
-- what one says. Where a row is inserted unless it is there already, MariaDB
-- and MySQL want a right to update a column of its key, which the library
-- never changes. Put your account in the place of crm_app and run this as an
-- account that may grant them, after the migrations, with their database
-- chosen.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT, UPDATE (id, idx, sequenced, retry) ON crmguard_audit_events TO crm_app;
GRANT SELECT, INSERT, UPDATE (tenant) ON crmguard_audit_persons TO crm_app;
GRANT SELECT, INSERT, UPDATE (tenant), DELETE ON crmguard_audit_surrogates TO crm_app;
GRANT SELECT, INSERT, UPDATE (event, sealed), DELETE ON crmguard_audit_openings TO crm_app;
GRANT SELECT, INSERT, UPDATE (data) ON crmguard_audit_tiles TO crm_app;
GRANT SELECT, INSERT, UPDATE (id, size, root, published, beat, beat_size, drains) ON crmguard_audit_state TO crm_app;
