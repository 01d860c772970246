-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_adoption_job (
	tenant VARBINARY(255) NOT NULL,
	tab VARBINARY(255) NOT NULL,
	job VARBINARY(255) NOT NULL,
	revision BIGINT NOT NULL,
	place LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	counts LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	began BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	PRIMARY KEY (tenant, tab, job)) ENGINE = InnoDB;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('adoption', 3, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
