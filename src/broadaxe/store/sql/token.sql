-- fragment: token_columns
id, tenant_id, name, created_at, expires_at, revoked_at, last_used_at

-- name: token_add (INSERT api_token): Keeps a token's facts, never the token.
INSERT INTO api_token (id, tenant_id, name, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO NOTHING

-- name: token_get (SELECT api_token): Reads one token.
SELECT {token_columns} FROM api_token WHERE tenant_id = $1 AND id = $2

-- name: token_list (SELECT api_token): Lists the tokens of a tenant, newest first.
SELECT {token_columns} FROM api_token WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC

-- name: token_revoke (UPDATE api_token): Revokes a token, once.
UPDATE api_token SET revoked_at = $3
WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL AND expires_at > $3
RETURNING id

-- name: token_used (UPDATE api_token): Notes that tokens were used, to the minute.
UPDATE api_token t SET last_used_at = u.at
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS u (tenant_id, id, at)
WHERE t.tenant_id = u.tenant_id AND t.id = u.id
  AND (t.last_used_at IS NULL OR t.last_used_at < u.at - interval '1 minute')
