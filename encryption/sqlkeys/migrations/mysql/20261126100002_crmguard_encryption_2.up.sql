-- +goose Up
CREATE TABLE IF NOT EXISTS crmguard_encryption_store (
	one INTEGER NOT NULL CHECK (one = 1),
	store TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	epoch BIGINT NOT NULL,
	sequence BIGINT NOT NULL,
	mark VARBINARY(22) NOT NULL,
	barrier BIGINT NOT NULL,
	taken BIGINT NOT NULL,
	returned BIGINT NOT NULL,
	kek TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	retiring TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	lease BIGINT NOT NULL,
	lease_wait BIGINT NOT NULL,
	lease_since BIGINT NOT NULL,
	longest BIGINT NOT NULL,
	PRIMARY KEY (one)) ENGINE = InnoDB;
INSERT INTO crmguard_encryption_store (one, store, epoch, sequence, mark, barrier, taken, returned, kek, retiring, lease, lease_wait, lease_since, longest) VALUES (1, '', 0, 0, '', 0, 0, 0, '', '', 0, 0, 0, 0) ON DUPLICATE KEY UPDATE one = 1;
INSERT INTO crmguard_schema (package, version, installed) VALUES ('encryption', 2, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) ON DUPLICATE KEY UPDATE installed = installed;
