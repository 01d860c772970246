-- The rights that the application's role needs on the tables of the ledger, and
-- none more: it can add lines, and neither change nor remove one. Put your role
-- in the place of crm_app and run this as the owner of the tables, after the
-- migrations. Where they are not in the schema public, the role needs USAGE on
-- their schema, too.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT ON crmguard_ledger_line TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_ledger_note TO crm_app;
