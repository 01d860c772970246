-- A CRM as other teams have it, on PostgreSQL.
CREATE EXTENSION IF NOT EXISTS citext;

CREATE SCHEMA billing;

CREATE TYPE stage AS ENUM ('lead', 'open', 'won', 'lost');

CREATE TABLE schema_migrations (
	version bigint PRIMARY KEY,
	dirty   boolean NOT NULL
);

CREATE TABLE products (
	sku   varchar(20) PRIMARY KEY,
	name  text NOT NULL,
	price numeric(12,2) NOT NULL
);

CREATE TABLE users (
	id        integer PRIMARY KEY,
	tenant_id bigint NOT NULL,
	login     varchar(40) NOT NULL UNIQUE
);

CREATE TABLE companies (
	id        uuid PRIMARY KEY,
	tenant_id bigint NOT NULL,
	name      text NOT NULL,
	parent_id uuid REFERENCES companies ON DELETE SET NULL,
	attribs   jsonb NOT NULL
);

CREATE TABLE contacts (
	id          bigserial PRIMARY KEY,
	tenant_id   bigint NOT NULL,
	company_id  uuid REFERENCES companies ON DELETE SET NULL,
	owner_id    integer NOT NULL REFERENCES users,
	reports_to  bigint REFERENCES contacts,
	merged_into bigint REFERENCES contacts,
	email       citext NOT NULL UNIQUE CHECK (email LIKE '%_@_%'),
	name        text NOT NULL,
	nickname    text,
	phone       text CHECK (phone ~ '^\+[0-9 ]{7,24}$'),
	born        date,
	income      numeric(14,2),
	last_ip     inet,
	stage       stage NOT NULL,
	attribs     jsonb NOT NULL,
	bio         text,
	photo       bytea,
	created_at  timestamptz NOT NULL,
	CHECK (reports_to <> id)
);

CREATE INDEX contacts_by_company ON contacts (company_id);
CREATE INDEX contacts_by_chief ON contacts (reports_to);
CREATE INDEX contacts_by_survivor ON contacts (merged_into);

CREATE TABLE emails (
	id         bigserial PRIMARY KEY,
	contact_id bigint NOT NULL REFERENCES contacts ON DELETE CASCADE,
	address    citext NOT NULL,
	created_at timestamptz NOT NULL
);

CREATE INDEX emails_by_contact ON emails (contact_id);
CREATE INDEX emails_by_address ON emails (address);

CREATE TABLE portal_accounts (
	id         bigserial PRIMARY KEY,
	tenant_id  bigint NOT NULL,
	contact_id bigint UNIQUE,
	login      citext NOT NULL UNIQUE CHECK (login LIKE '%_@_%'),
	display    varchar(60) NOT NULL CHECK (char_length(display) >= 2),
	phone      text CHECK (phone ~ '^\+[0-9 ]{7,24}$'),
	settings   jsonb NOT NULL,
	created_at timestamptz NOT NULL
);

CREATE TABLE portal_orders (
	id         uuid PRIMARY KEY,
	account_id bigint NOT NULL REFERENCES portal_accounts,
	sku        varchar(20) NOT NULL REFERENCES products,
	created_at timestamptz NOT NULL
);

CREATE INDEX portal_orders_by_account ON portal_orders (account_id);

CREATE TABLE notes (
	id         bigserial PRIMARY KEY,
	contact_id bigint NOT NULL REFERENCES contacts,
	mentioned  bigint REFERENCES contacts ON DELETE SET NULL,
	author_id  integer NOT NULL REFERENCES users,
	body       text NOT NULL,
	created_at timestamptz NOT NULL
);

CREATE INDEX notes_by_contact ON notes (contact_id);
CREATE INDEX notes_by_mentioned ON notes (mentioned);

CREATE TABLE deals (
	id         bigserial PRIMARY KEY,
	tenant_id  bigint NOT NULL,
	company_id uuid REFERENCES companies ON DELETE SET NULL,
	title      text NOT NULL,
	summary    text,
	amount     numeric(12,2),
	stage      stage NOT NULL,
	created_at timestamptz NOT NULL
);

CREATE TABLE deal_persons (
	deal_id    bigint NOT NULL REFERENCES deals ON DELETE CASCADE,
	contact_id bigint NOT NULL REFERENCES contacts,
	role       text NOT NULL,
	remark     text,
	created_at timestamptz NOT NULL,
	PRIMARY KEY (deal_id, contact_id)
);

CREATE INDEX deal_persons_by_contact ON deal_persons (contact_id);

CREATE TABLE comments (
	id           bigserial PRIMARY KEY,
	subject_type text NOT NULL CHECK (subject_type IN ('Contact', 'Company', 'Deal')),
	subject_id   varchar(64) NOT NULL,
	author_id    integer NOT NULL REFERENCES users,
	body         text NOT NULL,
	created_at   timestamptz NOT NULL
);

CREATE INDEX comments_by_subject ON comments (subject_type, subject_id);

CREATE TABLE billing.invoices (
	tenant_id  bigint NOT NULL,
	number     integer NOT NULL,
	contact_id bigint NOT NULL{cascade},
	bill_name  text NOT NULL,
	address    jsonb NOT NULL,
	reminder   text,
	total      numeric(12,2) NOT NULL CHECK (total >= 0),
	issued_on  date NOT NULL,
	created_at timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, number)
);

CREATE INDEX invoices_by_contact ON billing.invoices (contact_id);

CREATE TABLE billing.invoice_lines (
	tenant_id bigint NOT NULL,
	number    integer NOT NULL,
	line      smallint NOT NULL CHECK (line > 0),
	text      text NOT NULL,
	amount    numeric(12,2) NOT NULL,
	PRIMARY KEY (tenant_id, number, line),
	FOREIGN KEY (tenant_id, number) REFERENCES billing.invoices DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE mailing_list (
	id         bigserial PRIMARY KEY,
	tenant_id  bigint NOT NULL,
	list       varchar(40) NOT NULL,
	address    varchar(190) NOT NULL,
	opt_in_ip  inet,
	created_at timestamptz NOT NULL,
	UNIQUE (tenant_id, list, address)
);

CREATE INDEX mailing_list_by_address ON mailing_list (lower(address));

CREATE TABLE preferences (
	contact_id bigint PRIMARY KEY REFERENCES contacts ON DELETE CASCADE,
	gift       text,
	score      integer NOT NULL
);

CREATE TABLE outbox (
	id         bigserial PRIMARY KEY,
	tenant_id  bigint NOT NULL,
	contact_id bigint NOT NULL,
	payload    jsonb NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX outbox_by_contact ON outbox (contact_id);
