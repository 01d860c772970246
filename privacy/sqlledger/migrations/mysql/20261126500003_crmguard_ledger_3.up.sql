-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_ledger_note (
	name VARBINARY(255) NOT NULL,
	sealed LONGBLOB NOT NULL,
	PRIMARY KEY (name)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('ledger', 3, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
