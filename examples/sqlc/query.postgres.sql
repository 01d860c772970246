-- name: AddContact :one
INSERT INTO contacts (person, email, email_idx, notes)
VALUES ($1, $2, $3, $4)
RETURNING id;

-- name: ChangeEmail :execrows
UPDATE contacts SET email = $1, email_idx = $2
WHERE id = $3 AND person = $4;

-- name: FindByEmail :many
SELECT id, person, email, notes FROM contacts
WHERE email_idx = ANY(@values::bigint[])
ORDER BY id;

-- name: ListContacts :many
SELECT id, person, email, notes FROM contacts
WHERE id > @after
ORDER BY id
LIMIT @page;
