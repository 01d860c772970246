-- The rights that the application's role needs on the tables of the stages, and
-- none more. Put your role in the place of crm_app and run this as the owner of
-- the tables, after the migrations. The jobs need SELECT and UPDATE on the
-- application's own table besides, and none to change it.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_adoption TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_adoption_job TO crm_app;
