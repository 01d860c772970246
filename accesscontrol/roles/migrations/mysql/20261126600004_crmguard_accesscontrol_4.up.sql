-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_role_parent (
	tenant VARBINARY(255) NOT NULL,
	role VARBINARY(255) NOT NULL,
	parent VARBINARY(255) NOT NULL,
	PRIMARY KEY (tenant, role, parent)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('accesscontrol', 4, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
