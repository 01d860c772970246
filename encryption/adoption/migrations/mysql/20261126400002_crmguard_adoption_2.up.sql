-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_adoption (
	tenant VARBINARY(255) NOT NULL,
	tab VARBINARY(255) NOT NULL,
	stage VARBINARY(255) NOT NULL,
	settled INTEGER NOT NULL,
	revision BIGINT NOT NULL,
	digest VARBINARY(255) NOT NULL,
	lease BIGINT NOT NULL,
	gone BIGINT NOT NULL,
	clean BIGINT NOT NULL,
	changed BIGINT NOT NULL,
	tag VARBINARY(255) NOT NULL,
	PRIMARY KEY (tenant, tab)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('adoption', 2, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
