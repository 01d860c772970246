-- The rights that the application's role needs on the tables of the key store,
-- and none more: whoever has the role can neither change the tables nor read
-- anything else of the schema. Put your role in the place of crm_app and run
-- this as the owner of the tables, after the migrations. Where they are not in
-- the schema public, the role needs USAGE on their schema, too.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, UPDATE ON crmguard_encryption_store TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_keyset TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_generation TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_owner TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_key TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_alias TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_index TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_mark TO crm_app;
