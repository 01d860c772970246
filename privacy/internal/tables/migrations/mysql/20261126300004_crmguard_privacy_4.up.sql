-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_privacy_retired (
	tenant VARBINARY(255) NOT NULL,
	owner VARBINARY(255) NOT NULL,
	PRIMARY KEY (tenant, owner)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 4, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
