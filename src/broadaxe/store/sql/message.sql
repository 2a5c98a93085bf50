-- name: message_post_batch (INSERT message): Leaves messages for engines, for owners of tenants, or for all engines.
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::boolean[], $4::smallint[], $5::bytea[], $6::bytea[])
        WITH ORDINALITY AS m (tenant_id, engine_id, everybody, kind, body, trace, item)
)
INSERT INTO message (partition, engine_id, tenant_id, kind, body, trace)
SELECT CASE WHEN g.engine_id IS NULL AND NOT g.everybody THEN tenant_partition(g.tenant_id, f.partitions) END,
       CASE WHEN g.everybody THEN e.id ELSE g.engine_id END, g.tenant_id, g.kind, g.body, g.trace
FROM given g CROSS JOIN fleet f LEFT JOIN engine e ON g.everybody
WHERE NOT g.everybody OR e.id IS NOT NULL
ORDER BY g.item
RETURNING partition, engine_id

-- name: message_notify (NOTIFY message): Wakes those that listen; the payload says for whom there is something.
SELECT pg_notify($1, $2)

-- name: message_sweep (DELETE message): Says that an engine lives, takes its messages, and tells who else is there.
WITH beat AS (
    UPDATE engine SET seen_at = now(), spans_until = coalesce($2, spans_until)
    WHERE id = $1 AND seen_at < now() - interval '0.5 s'
), own AS (
    SELECT l.partition FROM unnest($3::smallint[], $4::bigint[]) AS o (partition, epoch)
    JOIN lease l ON l.partition = o.partition AND l.epoch = o.epoch AND l.engine_id = $1
), noted AS (
    INSERT INTO span_mark (partition, confirmed_until)
    SELECT own.partition, $2::timestamptz FROM own WHERE $2::timestamptz IS NOT NULL
    ON CONFLICT (partition) DO UPDATE SET confirmed_until = excluded.confirmed_until
    WHERE span_mark.confirmed_until IS DISTINCT FROM excluded.confirmed_until
), taken AS (
    DELETE FROM message WHERE id IN (
        SELECT id FROM message WHERE engine_id = $1 OR partition IN (SELECT own.partition FROM own)
        ORDER BY id LIMIT $5 FOR UPDATE SKIP LOCKED)
    RETURNING id, tenant_id, kind, body, trace
), seen AS (
    SELECT json_build_object(
        'members', (SELECT json_agg(json_build_object('id', id, 'schedules', schedules,
                    'fresh', seen_at > now() - interval '2.5 s') ORDER BY id) FROM engine
                    WHERE seen_at > now() - $6::interval),
        'silent', (SELECT json_agg(id) FROM engine WHERE seen_at <= now() - $6::interval),
        'leases', (SELECT json_agg(json_build_object('partition', partition, 'engine_id', engine_id, 'epoch', epoch,
                    'offered_to', CASE WHEN released_at > now() - interval '1.5 s' THEN offered_to END)
                    ORDER BY partition) FROM lease))::text AS told
)
SELECT 0::bigint AS id, NULL::uuid AS tenant_id, 0::smallint AS kind, convert_to(told, 'UTF8') AS body,
       NULL::bytea AS trace FROM seen
UNION ALL
SELECT id, tenant_id, kind, body, trace FROM taken
ORDER BY id
