-- name: message_post_batch (INSERT message): Leaves messages for the owner.
INSERT INTO message (partition, tenant_id, kind, body, trace)
SELECT $1, * FROM unnest($2::uuid[], $3::smallint[], $4::bytea[], $5::bytea[])

-- name: message_notify (NOTIFY message): Wakes whoever listens.
SELECT pg_notify($1, '')

-- name: message_sweep (DELETE message): Takes the messages that wait, if still the owner, and notes the spans that left.
WITH own AS (
    SELECT 1 FROM lease WHERE partition = $1 AND epoch = $2
), noted AS (
    INSERT INTO span_mark (partition, confirmed_until)
    SELECT $1, $3::timestamptz FROM own WHERE $3::timestamptz IS NOT NULL
    ON CONFLICT (partition) DO UPDATE SET confirmed_until = excluded.confirmed_until
    WHERE span_mark.confirmed_until IS DISTINCT FROM excluded.confirmed_until
), taken AS (
    DELETE FROM message WHERE id IN (
        SELECT id FROM message WHERE partition = $1 AND EXISTS (SELECT FROM own)
        ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED)
    RETURNING id, tenant_id, kind, body, trace
)
SELECT tenant_id, kind, body, trace FROM taken ORDER BY id
