-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_encryption_mark (
	sequence BIGINT NOT NULL,
	mark VARBINARY(22) NOT NULL,
	created BIGINT NOT NULL,
	position INTEGER NOT NULL,
	narrows TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	PRIMARY KEY (sequence)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('encryption', 9, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
