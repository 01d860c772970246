-- A CRM as other teams have it, on MariaDB and MySQL. {crm} and {billing} are
-- two databases, {exact} is the collation that tells every text from every
-- other one: utf8mb4_nopad_bin of MariaDB, utf8mb4_0900_bin of MySQL.
CREATE DATABASE {billing} CHARACTER SET utf8mb4;

CREATE TABLE {crm}.users (
	id         BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
	email      VARCHAR(190) COLLATE utf8mb4_general_ci NOT NULL UNIQUE,
	name       VARCHAR(120) NOT NULL,
	role       ENUM('seller', 'manager', 'admin') NOT NULL DEFAULT 'seller',
	reports_to BIGINT UNSIGNED,
	hired_on   VARCHAR(10) CHECK (hired_on REGEXP '^[0-9]{2}[.][0-9]{2}[.][0-9]{4}$'),
	FOREIGN KEY (reports_to) REFERENCES {crm}.users (id) ON DELETE SET NULL
);

CREATE TABLE {crm}.accounts (
	id        CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci PRIMARY KEY,
	name      VARCHAR(190) NOT NULL,
	domain    VARCHAR(190) COLLATE utf8mb4_general_ci UNIQUE,
	parent_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci,
	revenue   DECIMAL(12,2) CHECK (revenue >= 0),
	custom    JSON NOT NULL,
	FOREIGN KEY (parent_id) REFERENCES {crm}.accounts (id) ON DELETE SET NULL
);

CREATE TABLE {crm}.contacts (
	id         VARCHAR(64) COLLATE {exact} PRIMARY KEY CHECK (id <> ''),
	account_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci,
	owner_id   BIGINT UNSIGNED,
	first_name VARCHAR(190),
	last_name  VARCHAR(190) NOT NULL,
	email      VARCHAR(190) COLLATE utf8mb4_general_ci UNIQUE CHECK (email LIKE '%@%'),
	phone      VARCHAR(40),
	street     VARCHAR(190),
	city       VARCHAR(190),
	country    CHAR(2) CHARACTER SET ascii COLLATE ascii_bin NOT NULL CHECK (country REGEXP '^[A-Z][A-Z]$'),
	birthday   VARCHAR(10),
	stage      ENUM('new', 'qualified', 'won', 'lost') NOT NULL DEFAULT 'new',
	score      INT,
	value      DECIMAL(12,2),
	consent    BOOLEAN,
	custom     JSON,
	created_at DATETIME(6) NOT NULL,
	updated_at VARCHAR(40) NOT NULL,
	deleted_at DATETIME(6),
	INDEX contacts_by_account (account_id),
	FOREIGN KEY (account_id) REFERENCES {crm}.accounts (id) ON DELETE SET NULL,
	FOREIGN KEY (owner_id) REFERENCES {crm}.users (id) ON DELETE SET NULL
);

CREATE VIEW {crm}.live_contacts AS SELECT id, first_name, last_name, email, owner_id FROM {crm}.contacts WHERE deleted_at IS NULL;

CREATE TABLE {crm}.tags (
	name  VARCHAR(60) COLLATE utf8mb4_general_ci PRIMARY KEY,
	color VARCHAR(20) NOT NULL DEFAULT 'grey'
);

CREATE TABLE {crm}.contact_tags (
	contact_id VARCHAR(64) COLLATE {exact} NOT NULL,
	tag        VARCHAR(60) COLLATE utf8mb4_general_ci NOT NULL,
	PRIMARY KEY (contact_id, tag),
	FOREIGN KEY (contact_id) REFERENCES {crm}.contacts (id) ON DELETE CASCADE,
	FOREIGN KEY (tag) REFERENCES {crm}.tags (name) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE {crm}.sources (
	code  VARCHAR(60) COLLATE utf8mb4_unicode_ci PRIMARY KEY,
	label VARCHAR(190)
);

CREATE TABLE {crm}.activities (
	id           BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
	subject_type VARCHAR(20) NOT NULL CHECK (subject_type IN ('contact', 'account')),
	subject_id   VARCHAR(64) NOT NULL,
	body         TEXT,
	due_on       VARCHAR(10) NOT NULL DEFAULT '',
	done         BOOLEAN NOT NULL DEFAULT false,
	meta         JSON,
	INDEX activities_by_subject (subject_type, subject_id)
);

CREATE TABLE {crm}.events (
	occurred_at DATETIME(6) NOT NULL,
	id          BIGINT NOT NULL,
	contact_id  VARCHAR(64) COLLATE {exact},
	what        VARCHAR(190) NOT NULL,
	PRIMARY KEY (occurred_at, id)
) PARTITION BY RANGE COLUMNS (occurred_at) (
	PARTITION events_2024 VALUES LESS THAN ('2025-01-01'),
	PARTITION events_2025 VALUES LESS THAN ('2026-01-01'),
	PARTITION events_rest VALUES LESS THAN (MAXVALUE)
);

CREATE TABLE {crm}.contacts_history (
	contact_id VARCHAR(64) COLLATE {exact} NOT NULL,
	n          INT NOT NULL,
	op         VARCHAR(10) NOT NULL,
	was        JSON NOT NULL,
	PRIMARY KEY (contact_id, n)
);

CREATE TRIGGER {crm}.contacts_updated AFTER UPDATE ON {crm}.contacts FOR EACH ROW
	INSERT INTO {crm}.contacts_history
		SELECT OLD.id, COALESCE(MAX(n), 0) + 1, 'UPDATE', JSON_OBJECT('email', OLD.email, 'last_name', OLD.last_name) FROM {crm}.contacts_history WHERE contact_id = OLD.id;

CREATE TRIGGER {crm}.contacts_deleted AFTER DELETE ON {crm}.contacts FOR EACH ROW
	INSERT INTO {crm}.contacts_history
		SELECT OLD.id, COALESCE(MAX(n), 0) + 1, 'DELETE', JSON_OBJECT('email', OLD.email, 'last_name', OLD.last_name) FROM {crm}.contacts_history WHERE contact_id = OLD.id;

CREATE TABLE {billing}.invoices (
	id         BINARY(16) PRIMARY KEY,
	number     VARCHAR(20) NOT NULL UNIQUE,
	contact_id VARCHAR(64) COLLATE {exact} NOT NULL,
	issued_on  DATE NOT NULL,
	total      DECIMAL(12,2) NOT NULL CHECK (total >= 0),
	address    JSON NOT NULL,
	FOREIGN KEY (contact_id) REFERENCES {crm}.contacts (id)
);

CREATE TABLE {billing}.invoice_lines (
	invoice_id BINARY(16) NOT NULL,
	line       SMALLINT NOT NULL CHECK (line > 0),
	text       TEXT NOT NULL,
	amount     DECIMAL(12,2) NOT NULL,
	PRIMARY KEY (invoice_id, line),
	FOREIGN KEY (invoice_id) REFERENCES {billing}.invoices (id) ON DELETE CASCADE
);

CREATE TABLE {billing}.rates (
	country    CHAR(2) NOT NULL,
	kind       ENUM('standard', 'reduced', 'exempt') NOT NULL,
	valid_from DATE NOT NULL,
	percent    DECIMAL(4,2) NOT NULL,
	PRIMARY KEY (country, kind, valid_from)
);

CREATE TABLE {billing}.`Credit Notes` (
	`No`       VARCHAR(20) PRIMARY KEY,
	`order`    INT NOT NULL,
	invoice_id BINARY(16),
	`Why?`     TEXT,
	FOREIGN KEY (invoice_id) REFERENCES {billing}.invoices (id) ON DELETE SET NULL
);
