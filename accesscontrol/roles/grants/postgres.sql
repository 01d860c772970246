-- The rights that the application's role needs on the tables of the roles, and
-- none more: an assignment is added or removed, and never changed. Put your
-- role in the place of crm_app and run this as the owner of the tables, after the
-- migrations. Where they are not in the schema public, the role needs USAGE on
-- their schema, too.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT, UPDATE (changes, changed) ON crmguard_accesscontrol_tenant TO crm_app;
GRANT SELECT, INSERT, DELETE ON crmguard_accesscontrol_role TO crm_app;
GRANT SELECT, INSERT, DELETE ON crmguard_accesscontrol_role_parent TO crm_app;
GRANT SELECT, INSERT, DELETE ON crmguard_accesscontrol_assignment TO crm_app;
