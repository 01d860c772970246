-- The rights that the application's account needs on the desk's tables, and
-- none more: whoever has the account can delete neither a plan nor the
-- high-water mark. A row that is inserted unless it is there already needs, on
-- MariaDB and MySQL, the right to update it. Put your account in the place of
-- crm_app and run this as an account that may grant them, after the migrations,
-- with their database chosen. What it needs on the tables of the data map,
-- sqlstore.Grants says.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT, UPDATE (state, intent, body, approval, erased, outcome, certificate, mac, changed) ON crmguard_privacy_plan TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_privacy_mark TO crm_app;
GRANT SELECT, INSERT, UPDATE ON crmguard_privacy_opening TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_privacy_retired TO crm_app;
