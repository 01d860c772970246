-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_assignment (
	tenant VARBINARY(255) NOT NULL,
	principal VARBINARY(255) NOT NULL,
	role VARBINARY(255) NOT NULL,
	scope VARBINARY(300) NOT NULL,
	not_before BIGINT NOT NULL,
	not_after BIGINT NOT NULL,
	given_by VARBINARY(255) NOT NULL,
	reason VARBINARY(1000) NOT NULL,
	may_give BIGINT NOT NULL,
	id VARBINARY(64) NOT NULL,
	source VARBINARY(64) NOT NULL,
	tag VARBINARY(255) NOT NULL,
	PRIMARY KEY (tenant, principal, role, scope, given_by),
	UNIQUE KEY crmguard_accesscontrol_assignment_id (tenant, id),
	KEY crmguard_accesscontrol_assignment_source (tenant, source),
	KEY crmguard_accesscontrol_assignment_role (tenant, role)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('accesscontrol', 5, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
