-- What readers see of events and filters. $1 is the tenant, $2 and $3 bound the id from below (with) and above (without).

-- fragment: event_matches
e.tenant_id = $1 AND e.id >= $2 AND e.id < $3
  AND ($4::text[] IS NULL OR e.key = ANY($4))
  AND ($5::uuid[] IS NULL OR e.id = ANY($5))
  AND ($6::text[] IS NULL OR e.scope = ANY($6))
  AND ($7::text[] IS NULL OR NOT EXISTS (
       SELECT FROM unnest($7::text[], $8::text[]) AS pair (key, wanted)
       WHERE ({event_metadata} ->> pair.key) IS DISTINCT FROM pair.wanted))
  AND (($9::uuid[] IS NULL AND $10::smallint[] IS NULL) OR EXISTS (
       SELECT FROM event_run r
       LEFT JOIN task t ON t.tenant_id = r.tenant_id AND t.id = r.run_id
       LEFT JOIN run w ON w.tenant_id = r.tenant_id AND w.id = r.run_id
       WHERE r.tenant_id = $1 AND r.event_id = e.id
         AND ($9::uuid[] IS NULL OR coalesce(t.workflow_id, w.workflow_id) = ANY($9))
         AND ($10::smallint[] IS NULL OR coalesce(t.state, w.state) = ANY($10))))

-- fragment: event_metadata
CASE WHEN substr(e.metadata, 1, 1) = '\x7b'::bytea AND
          CASE WHEN position('\x5c75'::bytea IN e.metadata) = 0 THEN true
               ELSE regexp_replace(convert_from(e.metadata, 'UTF8'),
                                   '\\u[dD][89abAB][[:xdigit:]][[:xdigit:]]\\u[dD][c-fC-F][[:xdigit:]][[:xdigit:]]', '', 'g')
                    !~ '\\u(0000|[dD][89a-fA-F])' END
     THEN convert_from(e.metadata, 'UTF8')::jsonb END

-- name: view_event_page (SELECT user_event): Lists events, newest first, with payloads while all of them together are small enough.
SELECT e.tenant_id, e.id, e.key, CASE WHEN e.bytes <= $13 THEN e.payload ELSE ''::bytea END, e.metadata, e.at, e.scope,
       e.priority, e.bytes
FROM (SELECT p.*, sum(octet_length(p.payload)::bigint) OVER () AS bytes
      FROM (SELECT * FROM user_event e WHERE {event_matches} ORDER BY e.id DESC LIMIT $11 OFFSET $12) p) e
ORDER BY e.id DESC

-- name: view_event_count (SELECT user_event): Counts events.
SELECT count(*) FROM user_event e WHERE {event_matches}

-- name: view_event_runs (SELECT event_run): Reads what events started, and how it stands.
SELECT r.event_id, r.run_id, r.filter_id, coalesce(t.state, w.state)
FROM event_run r
LEFT JOIN task t ON t.tenant_id = r.tenant_id AND t.id = r.run_id
LEFT JOIN run w ON w.tenant_id = r.tenant_id AND w.id = r.run_id
WHERE r.tenant_id = $1 AND r.event_id = ANY($2::uuid[]) AND run_kept(r.run_id, $4::integer)
ORDER BY r.event_id DESC, r.run_id LIMIT $3

-- name: view_event_keys (SELECT user_event): Reads the keys of the newest events.
SELECT DISTINCT key FROM (SELECT key FROM user_event WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2) e ORDER BY key

-- fragment: filter_columns
f.tenant_id, f.id, f.workflow_id, f.scope, f.expression, f.payload, f.declared, f.created_at, f.updated_at

-- fragment: filter_matches
f.tenant_id = $1 AND ($2::uuid[] IS NULL OR EXISTS (
    SELECT FROM unnest($2::uuid[], $3::text[]) AS pair (workflow_id, scope)
    WHERE coalesce(pair.workflow_id, f.workflow_id) = f.workflow_id AND coalesce(pair.scope, f.scope) = f.scope))

-- name: view_filter_page (SELECT event_filter): Lists filters, oldest first.
SELECT {filter_columns} FROM event_filter f WHERE {filter_matches} ORDER BY f.id LIMIT $4 OFFSET $5

-- name: view_filter_count (SELECT event_filter): Counts filters.
SELECT count(*) FROM event_filter f WHERE {filter_matches}

-- name: view_filter (SELECT event_filter): Reads one filter.
SELECT {filter_columns} FROM event_filter f WHERE f.tenant_id = $1 AND f.id = $2
