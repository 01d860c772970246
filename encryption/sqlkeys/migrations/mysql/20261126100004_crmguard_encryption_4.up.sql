-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_encryption_generation (
	tenant VARBINARY(255) NOT NULL,
	generation BIGINT NOT NULL,
	state TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (tenant, generation)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('encryption', 4, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
