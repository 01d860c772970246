-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package TEXT NOT NULL, version INTEGER NOT NULL, installed INTEGER NOT NULL, PRIMARY KEY (package, version)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_tenant (
	tenant TEXT NOT NULL,
	changes INTEGER NOT NULL,
	changed INTEGER NOT NULL,
	PRIMARY KEY (tenant)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_role (
	tenant TEXT NOT NULL,
	role TEXT NOT NULL,
	given_by TEXT NOT NULL,
	tag BLOB NOT NULL,
	PRIMARY KEY (tenant, role)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_role_parent (
	tenant TEXT NOT NULL,
	role TEXT NOT NULL,
	parent TEXT NOT NULL,
	PRIMARY KEY (tenant, role, parent)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_assignment (
	tenant TEXT NOT NULL,
	principal TEXT NOT NULL,
	role TEXT NOT NULL,
	scope TEXT NOT NULL,
	not_before INTEGER NOT NULL,
	not_after INTEGER NOT NULL,
	given_by TEXT NOT NULL,
	reason BLOB NOT NULL,
	may_give INTEGER NOT NULL,
	id TEXT NOT NULL,
	source TEXT NOT NULL,
	tag BLOB NOT NULL,
	PRIMARY KEY (tenant, principal, role, scope, given_by)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS crmguard_accesscontrol_assignment_id ON crmguard_accesscontrol_assignment (tenant, id);
CREATE INDEX IF NOT EXISTS crmguard_accesscontrol_assignment_source ON crmguard_accesscontrol_assignment (tenant, source);
CREATE INDEX IF NOT EXISTS crmguard_accesscontrol_assignment_role ON crmguard_accesscontrol_assignment (tenant, role);
INSERT INTO crmguard_schema (package, version, installed) VALUES ('accesscontrol', 1, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) ON CONFLICT DO NOTHING;
