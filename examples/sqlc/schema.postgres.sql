-- Sealed columns are bytea and nullable: erasing a person clears them.
CREATE TABLE contacts (
    id        bigserial PRIMARY KEY,
    person    text NOT NULL,
    email     bytea,
    email_idx bigint,
    notes     bytea
);

CREATE INDEX contacts_email_idx ON contacts (email_idx);
