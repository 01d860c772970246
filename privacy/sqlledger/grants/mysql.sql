-- The rights that the application's account needs on the tables of the ledger,
-- and none more: it can add lines, and neither change nor remove one. Put your
-- account in the place of crm_app and run this as an account that may grant
-- them, after the migrations, with their database chosen.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT ON crmguard_ledger_line TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON crmguard_ledger_note TO crm_app;
