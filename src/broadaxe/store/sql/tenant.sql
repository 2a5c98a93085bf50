-- fragment: tenant_columns
id, name, slug, created_at, updated_at

-- name: tenant_add (INSERT tenant): Makes a tenant unless its slug is taken.
INSERT INTO tenant (id, name, slug, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
ON CONFLICT DO NOTHING
RETURNING {tenant_columns}

-- name: tenant_get (SELECT tenant): Reads a tenant.
SELECT {tenant_columns} FROM tenant WHERE id = $1 AND deleted_at IS NULL

-- name: tenant_by_slug (SELECT tenant): Reads the tenant of a slug.
SELECT {tenant_columns} FROM tenant WHERE slug = $1 AND deleted_at IS NULL

-- name: tenant_list (SELECT tenant): Lists tenants, oldest first.
SELECT {tenant_columns} FROM tenant WHERE deleted_at IS NULL ORDER BY created_at, id

-- fragment: user_columns
id, email, name, password_hash, created_at

-- name: user_add (INSERT user_account): Makes an account unless its address is taken.
INSERT INTO user_account (id, email, name, password_hash, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT DO NOTHING
RETURNING {user_columns}

-- name: user_by_email (SELECT user_account): Reads the account of an address, whatever its case.
SELECT {user_columns} FROM user_account WHERE lower(email) = lower($1)

-- name: user_get (SELECT user_account): Reads an account.
SELECT {user_columns} FROM user_account WHERE id = $1

-- name: user_set_password (UPDATE user_account): Replaces the hash of a password.
UPDATE user_account SET password_hash = $2, updated_at = $3 WHERE id = $1 RETURNING id

-- name: member_put (INSERT tenant_member): Makes somebody a member, or changes the role.
INSERT INTO tenant_member (tenant_id, user_id, id, role, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, user_id) DO UPDATE SET role = excluded.role

-- name: member_add (INSERT tenant_member): Makes somebody a member who is none.
INSERT INTO tenant_member (tenant_id, user_id, id, role, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, user_id) DO NOTHING

-- name: member_list (SELECT tenant_member): Lists the members of a tenant.
SELECT m.tenant_id, m.id, m.role, m.created_at, u.id, u.email, u.name
FROM tenant_member m JOIN user_account u ON u.id = m.user_id
WHERE m.tenant_id = $1 ORDER BY m.created_at, m.id

-- name: member_of (SELECT tenant_member): Lists the memberships of an account.
SELECT m.tenant_id, m.id, m.role, m.created_at, u.id, u.email, u.name
FROM tenant_member m JOIN user_account u ON u.id = m.user_id
WHERE m.user_id = $1 ORDER BY m.created_at, m.id
