-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_audit_aside (
	n BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	id BINARY(16) NOT NULL,
	body LONGBLOB NOT NULL,
	why VARBINARY(255) NOT NULL,
	at BIGINT NOT NULL,
	INDEX crmguard_audit_aside_why (why, n)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('audit', 10, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
