-- The rights that the application's account needs on the tables of the stages,
-- and none more. Put your account in the place of crm_app and run this as an
-- account that may grant them, after the migrations, with their database chosen.
-- The jobs need SELECT and UPDATE on the application's own table besides, and who
-- moves needs LOCK TABLES on its database.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_adoption TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_adoption_job TO crm_app;
