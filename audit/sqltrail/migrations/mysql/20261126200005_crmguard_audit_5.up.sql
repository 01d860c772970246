-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_openings (
	event VARBINARY(64) NOT NULL,
	owner VARBINARY(64) NOT NULL,
	tenant VARBINARY(255) NOT NULL,
	sealed LONGBLOB NOT NULL,
	PRIMARY KEY (event, owner),
	INDEX crmguard_audit_openings_owner (tenant, owner)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 5, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
