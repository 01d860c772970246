-- The rights that the application's role needs on the desk's tables, and none
-- more: whoever has the role can delete neither a plan nor the high-water mark.
-- Put your role in the place of crm_app and run this as the owner of the
-- tables, after the migrations. Where they are not in the schema public, the
-- role needs USAGE on their schema, too. What it needs on the tables of the
-- data map, sqlstore.Grants says.
GRANT SELECT ON crmguard_schema TO crm_app;
GRANT SELECT, INSERT, UPDATE (state, intent, body, approval, erased, outcome, certificate, mac, changed) ON crmguard_privacy_plan TO crm_app;
GRANT SELECT, INSERT, UPDATE (n, hash, seen, replayed, trace, tag) ON crmguard_privacy_mark TO crm_app;
GRANT SELECT, INSERT, UPDATE (body, tag) ON crmguard_privacy_opening TO crm_app;
GRANT SELECT, INSERT, DELETE ON crmguard_privacy_retired TO crm_app;
