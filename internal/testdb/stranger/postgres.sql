-- A CRM as other teams have it, on PostgreSQL.
CREATE EXTENSION IF NOT EXISTS citext;

CREATE SCHEMA crm;

CREATE SCHEMA billing;

CREATE COLLATION crm.without_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);

CREATE TYPE crm.role AS ENUM ('seller', 'manager', 'admin');

CREATE TYPE crm.stage AS ENUM ('new', 'qualified', 'won', 'lost');

CREATE TYPE billing.kind AS ENUM ('standard', 'reduced', 'exempt');

CREATE TABLE crm.users (
	id         bigserial PRIMARY KEY,
	email      citext NOT NULL UNIQUE,
	name       varchar(120) NOT NULL,
	role       crm.role NOT NULL DEFAULT 'seller',
	reports_to bigint REFERENCES crm.users ON DELETE SET NULL,
	hired_on   text CHECK (hired_on ~ '^\d\d\.\d\d\.\d{4}$'),
	CHECK (reports_to <> id)
);

CREATE TABLE crm.accounts (
	id         uuid PRIMARY KEY,
	name       text NOT NULL,
	domain     text COLLATE crm.without_case UNIQUE,
	parent_id  uuid REFERENCES crm.accounts ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
	revenue    numeric(12,2) CHECK (revenue >= 0),
	custom     jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE crm.contacts (
	id         varchar(64) PRIMARY KEY CHECK (id <> ''),
	account_id uuid REFERENCES crm.accounts ON DELETE SET NULL,
	owner_id   bigint REFERENCES crm.users ON DELETE SET NULL,
	first_name text,
	last_name  text NOT NULL,
	email      citext UNIQUE CHECK (email LIKE '%@%'),
	phone      text,
	street     text,
	city       text,
	country    char(2) NOT NULL CHECK (country ~ '^[A-Z][A-Z]$'),
	birthday   text,
	stage      crm.stage NOT NULL DEFAULT 'new',
	score      integer,
	value      numeric(12,2),
	consent    boolean,
	custom     jsonb,
	created_at timestamptz NOT NULL,
	updated_at text NOT NULL,
	deleted_at timestamptz
);

CREATE INDEX contacts_by_account ON crm.contacts (account_id);

CREATE VIEW crm.live_contacts AS SELECT id, first_name, last_name, email, owner_id FROM crm.contacts WHERE deleted_at IS NULL;

CREATE TABLE crm.tags (
	name  citext PRIMARY KEY,
	color text NOT NULL DEFAULT 'grey'
);

CREATE TABLE crm.contact_tags (
	contact_id varchar(64) NOT NULL REFERENCES crm.contacts ON DELETE CASCADE,
	tag        citext NOT NULL REFERENCES crm.tags ON DELETE CASCADE ON UPDATE CASCADE,
	PRIMARY KEY (contact_id, tag)
);

CREATE TABLE crm.sources (
	code  text COLLATE crm.without_case PRIMARY KEY,
	label text
);

CREATE TABLE crm.activities (
	id           bigserial PRIMARY KEY,
	subject_type text NOT NULL CHECK (subject_type IN ('contact', 'account')),
	subject_id   text NOT NULL,
	body         text,
	due_on       text NOT NULL DEFAULT '',
	done         boolean NOT NULL DEFAULT false,
	meta         jsonb
);

CREATE INDEX activities_by_subject ON crm.activities (subject_type, subject_id);

CREATE TABLE crm.events (
	occurred_at timestamptz NOT NULL,
	id          bigint NOT NULL,
	contact_id  varchar(64),
	what        text NOT NULL,
	PRIMARY KEY (occurred_at, id)
) PARTITION BY RANGE (occurred_at);

CREATE TABLE crm.events_2024 PARTITION OF crm.events FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');

CREATE TABLE crm.events_2025 PARTITION OF crm.events FOR VALUES FROM ('2025-01-01Z') TO ('2026-01-01Z');

CREATE TABLE crm.events_rest PARTITION OF crm.events DEFAULT;

CREATE TABLE crm.contacts_history (
	contact_id varchar(64) NOT NULL,
	n          integer NOT NULL,
	op         text NOT NULL,
	was        jsonb NOT NULL,
	PRIMARY KEY (contact_id, n)
);

CREATE FUNCTION crm.keep_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO crm.contacts_history
		SELECT OLD.id, coalesce(max(n), 0) + 1, TG_OP, to_jsonb(OLD) FROM crm.contacts_history WHERE contact_id = OLD.id;
	RETURN NULL;
END $$;

CREATE TRIGGER contacts_history AFTER UPDATE OR DELETE ON crm.contacts FOR EACH ROW EXECUTE FUNCTION crm.keep_history();

CREATE TABLE billing.invoices (
	id         uuid PRIMARY KEY,
	number     varchar(20) NOT NULL UNIQUE,
	contact_id varchar(64) NOT NULL REFERENCES crm.contacts,
	issued_on  date NOT NULL,
	total      numeric(12,2) NOT NULL CHECK (total >= 0),
	address    jsonb NOT NULL
);

CREATE TABLE billing.invoice_lines (
	invoice_id uuid NOT NULL REFERENCES billing.invoices ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
	line       smallint NOT NULL CHECK (line > 0),
	text       text NOT NULL,
	amount     numeric(12,2) NOT NULL,
	PRIMARY KEY (invoice_id, line)
);

CREATE TABLE billing.rates (
	country    char(2) NOT NULL,
	kind       billing.kind NOT NULL,
	valid_from date NOT NULL,
	percent    numeric(4,2) NOT NULL,
	PRIMARY KEY (country, kind, valid_from)
);

CREATE TABLE billing."Credit Notes" (
	"No"       varchar(20) PRIMARY KEY,
	"order"    integer NOT NULL,
	invoice_id uuid REFERENCES billing.invoices ON DELETE SET NULL,
	"Why?"     text
);
