-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_encryption_keyset (
	tenant VARBINARY(255) NOT NULL,
	purpose VARBINARY(255) NOT NULL,
	epoch BIGINT NOT NULL,
	kek TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	version BIGINT NOT NULL,
	former LONGBLOB NOT NULL,
	wrapped LONGBLOB NOT NULL,
	PRIMARY KEY (tenant, purpose)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('encryption', 3, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
