-- name: key_claim_batch (INSERT idempotency_key): Takes keys that are free or have expired; returns whose they are now.
INSERT INTO idempotency_key AS held (tenant_id, key, run_id, expires_at, until_end)
SELECT u.tenant_id, u.key, u.run_id, u.expires_at, u.until_end
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::boolean[])
     AS u (tenant_id, key, run_id, expires_at, until_end)
ON CONFLICT (tenant_id, key) DO UPDATE
SET run_id = excluded.run_id, expires_at = excluded.expires_at, until_end = excluded.until_end
WHERE held.expires_at <= $6::timestamptz
RETURNING run_id

-- name: key_holders (SELECT idempotency_key): Says which runs hold keys.
SELECT u.item, h.run_id
FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS u (tenant_id, key, item)
JOIN idempotency_key h ON h.tenant_id = u.tenant_id AND h.key = u.key

-- name: key_release_batch (DELETE idempotency_key): Frees the keys of runs that ended.
DELETE FROM idempotency_key WHERE run_id = ANY($1::uuid[]) AND until_end

-- name: key_expire (DELETE idempotency_key): Takes expired keys away, so many at most.
DELETE FROM idempotency_key WHERE (tenant_id, key) IN (
    SELECT tenant_id, key FROM idempotency_key WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)
RETURNING 1
