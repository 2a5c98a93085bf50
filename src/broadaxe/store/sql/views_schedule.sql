-- What readers see of crons and planned runs. An outer fragment stands before those it uses.

-- fragment: cron_view
SELECT x.tenant_id, x.id, x.workflow_id, w.name, {newest_version}, x.expression, x.name, x.method, x.enabled, x.priority,
       x.input, x.metadata, x.created_at, x.updated_at

-- fragment: crons
FROM cron x JOIN workflow w ON w.tenant_id = x.tenant_id AND w.id = x.workflow_id AND w.deleted_at IS NULL
WHERE x.tenant_id = $1
  AND ($2::uuid IS NULL OR x.id = $2)
  AND ($3::uuid IS NULL OR x.workflow_id = $3)
  AND ($4::text IS NULL OR w.name = $4)
  AND ($5::text IS NULL OR x.name = $5)
  AND ($6::text[] IS NULL OR {has_pairs})

-- fragment: cron_order
CASE WHEN $8 = 'name' THEN lower(x.name) END

-- fragment: scheduled_view
SELECT x.tenant_id, x.id, x.workflow_id, w.name, {newest_version}, x.trigger_at, x.priority, x.input, x.metadata,
       x.created_at, x.updated_at, x.settled_at, x.run_id, r.created_at AS run_created_at, r.state

-- fragment: scheduled
FROM scheduled_run x JOIN workflow w ON w.tenant_id = x.tenant_id AND w.id = x.workflow_id
LEFT JOIN LATERAL (
    SELECT t.created_at,
           CASE WHEN t.state = 12 AND t.assigned_at IS NULL AND EXISTS (
                    SELECT FROM task_note n WHERE n.tenant_id = t.tenant_id AND n.task_id = t.id
                      AND n.attempt = t.attempt AND n.kind = 7)
                THEN 11 ELSE t.state END AS state
    FROM task t WHERE t.tenant_id = x.tenant_id AND t.id = x.run_id
    UNION ALL
    SELECT q.created_at, q.state FROM run q WHERE q.tenant_id = x.tenant_id AND q.id = x.run_id) r ON true
WHERE x.tenant_id = $1
  AND ($2::uuid IS NULL OR x.id = $2)
  AND ($3::uuid IS NULL OR x.workflow_id = $3)
  AND ($4::uuid IS NULL OR x.parent_run_id = $4)
  AND ($5::uuid IS NULL OR x.parent_task_id = $5)
  AND ($6::text[] IS NULL OR {has_pairs})
  AND ($8::smallint[] IS NULL
       OR CASE WHEN x.settled_at IS NULL THEN 0 ELSE coalesce(r.state, -1) END = ANY ($8))

-- fragment: scheduled_order
CASE WHEN $9 = 'createdAt' THEN x.created_at ELSE x.trigger_at END

-- fragment: newest_version
(SELECT v.id FROM workflow_version v WHERE v.tenant_id = x.tenant_id AND v.workflow_id = x.workflow_id
 ORDER BY v.ordinal DESC LIMIT 1)

-- fragment: has_pairs
(SELECT count(*) FROM unnest($6::text[], $7::text[]) AS pair (key, wanted)
 WHERE {metadata} ->> pair.key = pair.wanted) >= cardinality($6::text[])

-- fragment: metadata
CASE WHEN substr(x.metadata, 1, 1) = '\x7b'::bytea AND
          CASE WHEN position('\x5c75'::bytea IN x.metadata) = 0 THEN true
               ELSE regexp_replace(convert_from(x.metadata, 'UTF8'),
                                   '\\u[dD][89abAB][[:xdigit:]][[:xdigit:]]\\u[dD][c-fC-F][[:xdigit:]][[:xdigit:]]', '', 'g')
                    !~ '\\u(0000|[dD][89a-fA-F])' END
     THEN convert_from(x.metadata, 'UTF8')::jsonb END

-- name: view_crons_up (SELECT cron): Lists crons by name or age, from the first on.
{cron_view} {crons} ORDER BY {cron_order}, x.created_at, x.id LIMIT $9 OFFSET $10

-- name: view_crons_down (SELECT cron): Lists crons by name or age, from the last on.
{cron_view} {crons} ORDER BY {cron_order} DESC, x.created_at DESC, x.id DESC LIMIT $9 OFFSET $10

-- name: view_cron_count (SELECT cron): Counts crons.
SELECT count(*) {crons}

-- name: view_scheduled_up (SELECT scheduled_run): Lists planned runs by time or age, from the first on.
{scheduled_view} {scheduled} ORDER BY {scheduled_order}, x.id LIMIT $10 OFFSET $11

-- name: view_scheduled_down (SELECT scheduled_run): Lists planned runs by time or age, from the last on.
{scheduled_view} {scheduled} ORDER BY {scheduled_order} DESC, x.id DESC LIMIT $10 OFFSET $11

-- name: view_scheduled_count (SELECT scheduled_run): Counts planned runs.
SELECT count(*) {scheduled}

-- name: view_scheduled_waiting (SELECT scheduled_run): Lists the ids of planned runs that wait.
SELECT x.id FROM scheduled_run x
WHERE x.tenant_id = $1 AND x.settled_at IS NULL
  AND ($2::uuid IS NULL OR x.id = $2)
  AND ($3::uuid IS NULL OR x.workflow_id = $3)
  AND ($4::uuid IS NULL OR x.parent_run_id = $4)
  AND ($5::uuid IS NULL OR x.parent_task_id = $5)
  AND ($6::text[] IS NULL OR {has_pairs})
ORDER BY x.trigger_at, x.id LIMIT $8
