-- The rights that the application's account needs on the tables of the key
-- store, and none more: whoever has the account can neither change the tables
-- nor read anything else of the database. Put your account in the place of
-- crm_app and run this as an account that may grant them, after the migrations,
-- with their database chosen.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, UPDATE ON crmguard_encryption_store TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_keyset TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_generation TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_owner TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_key TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_alias TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_index TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_encryption_mark TO crm_app;
