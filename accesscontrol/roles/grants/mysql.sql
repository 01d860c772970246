-- The rights that the application's account needs on the tables of the roles, and
-- none more: an assignment is added or removed, and never changed. Put your
-- account in the place of crm_app and run this as an account that may grant
-- them, after the migrations, with their database chosen.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT, UPDATE (tenant, changes, changed) ON crmguard_accesscontrol_tenant TO crm_app;
GRANT SELECT, INSERT, DELETE ON crmguard_accesscontrol_role TO crm_app;
GRANT SELECT, INSERT, DELETE ON crmguard_accesscontrol_role_parent TO crm_app;
GRANT SELECT, INSERT, DELETE ON crmguard_accesscontrol_assignment TO crm_app;
