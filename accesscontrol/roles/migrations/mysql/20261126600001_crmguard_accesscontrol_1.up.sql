-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_schema (
	package VARBINARY(64) NOT NULL, version INTEGER NOT NULL, installed BIGINT NOT NULL, PRIMARY KEY (package, version)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('accesscontrol', 1, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
