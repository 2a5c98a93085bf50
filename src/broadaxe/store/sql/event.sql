-- name: event_add_batch (INSERT user_event): Stores events.
INSERT INTO user_event (tenant_id, id, at, key, scope, priority, trace, payload, metadata)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::smallint[], $7::bytea[],
                     $8::bytea[], $9::bytea[])

-- name: event_run_add_batch (INSERT event_run): Links events with the runs they started.
INSERT INTO event_run (tenant_id, event_id, run_id, filter_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[])

-- name: event_failure_add_batch (INSERT event_failure): Notes expressions that failed.
INSERT INTO event_failure (tenant_id, event_id, source, workflow_id, filter_id, message)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::uuid[], $5::uuid[], $6::bytea[])

-- name: event_since_page (SELECT user_event): Reads events since an id, from an id on, oldest first, without payloads.
SELECT e.tenant_id, e.id, e.at, e.key, e.trace,
       (SELECT r.run_id FROM event_run r WHERE r.tenant_id = e.tenant_id AND r.event_id = e.id
        ORDER BY r.run_id DESC LIMIT 1)
FROM user_event e WHERE e.id >= $1 AND e.id > $2 ORDER BY e.id LIMIT $3

-- name: event_find (SELECT user_event): Finds the next events of keys and scopes, each the oldest first, so many and so many bytes.
SELECT w.number, e.id, e.payload
FROM unnest($1::integer[], $2::uuid[], $3::text[], $4::text[], $5::uuid[]) AS w (number, tenant_id, key, scope, after)
CROSS JOIN LATERAL (
    SELECT p.id, p.payload, sum(length(p.payload)) OVER (ORDER BY p.id) - length(p.payload) AS bytes_before
    FROM (SELECT c.id, c.payload FROM user_event c
          WHERE c.tenant_id = w.tenant_id AND c.id > w.after AND c.scope IS NOT NULL
            AND event_place(c.key, c.scope) = event_place(w.key, w.scope) AND c.key = w.key AND c.scope = w.scope
          ORDER BY c.id LIMIT $6) p) e
WHERE e.bytes_before < $7 ORDER BY w.number, e.id

-- name: event_trace (SELECT user_event): Reads what is above an event in its trace.
SELECT trace FROM user_event WHERE tenant_id = $1 AND id = $2

-- name: event_subscriptions (SELECT workflow): Reads which workflows ask for events, and for which.
SELECT id, name, event_keys FROM workflow
WHERE tenant_id = $1 AND deleted_at IS NULL AND cardinality(event_keys) > 0
ORDER BY name

-- fragment: filter_columns
tenant_id, id, workflow_id, scope, expression, payload, declared, created_at, updated_at

-- name: filter_load (SELECT event_filter): Reads all filters of a tenant.
SELECT {filter_columns} FROM event_filter WHERE tenant_id = $1 ORDER BY id

-- name: filter_count (SELECT event_filter): Counts the filters of a tenant that were made by the API.
SELECT count(*) FROM event_filter WHERE tenant_id = $1 AND NOT declared

-- name: filter_add (INSERT event_filter): Makes a filter of a workflow that is there.
INSERT INTO event_filter (tenant_id, id, workflow_id, scope, expression, payload, declared, created_at, updated_at)
SELECT $1, $2, w.id, $4, $5, $6, false, $7, $7
FROM workflow w WHERE w.tenant_id = $1 AND w.id = $3 AND w.deleted_at IS NULL
RETURNING {filter_columns}

-- name: filter_update (UPDATE event_filter): Changes what is given of a filter.
UPDATE event_filter
SET scope = coalesce($3, scope), expression = coalesce($4, expression), payload = coalesce($5, payload), updated_at = $6
WHERE tenant_id = $1 AND id = $2
RETURNING {filter_columns}

-- name: filter_delete (DELETE event_filter): Takes a filter away.
DELETE FROM event_filter WHERE tenant_id = $1 AND id = $2
RETURNING {filter_columns}

-- name: filter_forget_declared (DELETE event_filter): Takes the filters away that came with a workflow's definition.
DELETE FROM event_filter WHERE tenant_id = $1 AND workflow_id = $2 AND declared

-- name: filter_declare_batch (INSERT event_filter): Stores the filters that come with a workflow's definition.
INSERT INTO event_filter (tenant_id, id, workflow_id, scope, expression, payload, declared, created_at, updated_at)
SELECT $1, u.id, $2, u.scope, u.expression, u.payload, true, $7, $7
FROM unnest($3::uuid[], $4::text[], $5::text[], $6::bytea[]) AS u (id, scope, expression, payload)

-- name: workflow_event_keys (UPDATE workflow): Notes the newest version's event keys.
UPDATE workflow SET event_keys = $3::text[] WHERE tenant_id = $1 AND id = $2
