-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_ledger_line (
	n BIGINT NOT NULL,
	line LONGBLOB NOT NULL,
	PRIMARY KEY (n)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('ledger', 2, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
