-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_persons (
	idx BIGINT NOT NULL,
	k BIGINT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (idx, k),
	INDEX crmguard_audit_persons_person (k, at, idx)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 6, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
