-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_persons (
	tenant VARBINARY(255) NOT NULL,
	surrogate VARBINARY(64) NOT NULL,
	event VARBINARY(64) NOT NULL,
	PRIMARY KEY (tenant, surrogate, event)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 3, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
