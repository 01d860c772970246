-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_encryption_index (
	tenant VARBINARY(255) NOT NULL,
	tab VARBINARY(255) NOT NULL,
	idx VARBINARY(255) NOT NULL,
	version BIGINT NOT NULL,
	root BIGINT NOT NULL,
	normaliser TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	bits BIGINT NOT NULL,
	state TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	PRIMARY KEY (tenant, tab, idx, version)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('encryption', 8, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
