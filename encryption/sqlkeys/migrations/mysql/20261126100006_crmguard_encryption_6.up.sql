-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_encryption_key (
	tenant VARBINARY(255) NOT NULL,
	owner VARBINARY(255) NOT NULL,
	generation BIGINT NOT NULL,
	wrapped LONGBLOB NOT NULL,
	seals BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant, owner, generation)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('encryption', 6, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
