-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_encryption_alias (
	tenant VARBINARY(255) NOT NULL,
	alias VARBINARY(255) NOT NULL,
	owner VARBINARY(255) NOT NULL,
	PRIMARY KEY (tenant, alias),
	INDEX crmguard_encryption_alias_owner (tenant, owner)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('encryption', 7, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
