-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package text COLLATE "C" NOT NULL, version integer NOT NULL, installed bigint NOT NULL, PRIMARY KEY (package, version));
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_tenant (
	tenant text COLLATE "C" NOT NULL,
	changes bigint NOT NULL,
	changed bigint NOT NULL,
	PRIMARY KEY (tenant));
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_role (
	tenant text COLLATE "C" NOT NULL,
	role text COLLATE "C" NOT NULL,
	given_by text COLLATE "C" NOT NULL,
	tag bytea NOT NULL,
	PRIMARY KEY (tenant, role));
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_role_parent (
	tenant text COLLATE "C" NOT NULL,
	role text COLLATE "C" NOT NULL,
	parent text COLLATE "C" NOT NULL,
	PRIMARY KEY (tenant, role, parent));
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_assignment (
	tenant text COLLATE "C" NOT NULL,
	principal text COLLATE "C" NOT NULL,
	role text COLLATE "C" NOT NULL,
	scope text COLLATE "C" NOT NULL,
	not_before bigint NOT NULL,
	not_after bigint NOT NULL,
	given_by text COLLATE "C" NOT NULL,
	reason bytea NOT NULL,
	may_give bigint NOT NULL,
	id text COLLATE "C" NOT NULL,
	source text COLLATE "C" NOT NULL,
	tag bytea NOT NULL,
	PRIMARY KEY (tenant, principal, role, scope, given_by));
CREATE UNIQUE INDEX IF NOT EXISTS crmguard_accesscontrol_assignment_id ON crmguard_accesscontrol_assignment (tenant, id);
CREATE INDEX IF NOT EXISTS crmguard_accesscontrol_assignment_source ON crmguard_accesscontrol_assignment (tenant, source);
CREATE INDEX IF NOT EXISTS crmguard_accesscontrol_assignment_role ON crmguard_accesscontrol_assignment (tenant, role);
INSERT INTO crmguard_schema (package, version, installed) VALUES ('accesscontrol', 1, (extract(epoch FROM now()) * 1000000)::bigint) ON CONFLICT DO NOTHING;
