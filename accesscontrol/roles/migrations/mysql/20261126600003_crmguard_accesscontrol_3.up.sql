-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_accesscontrol_role (
	tenant VARBINARY(255) NOT NULL,
	role VARBINARY(255) NOT NULL,
	given_by VARBINARY(255) NOT NULL,
	tag VARBINARY(255) NOT NULL,
	PRIMARY KEY (tenant, role)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('accesscontrol', 3, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
