-- fragment: worker_columns
tenant_id, id, name, actions, slots, labels, runtime, registered_at, last_heartbeat_at, listening_since, paused,
engine_id

-- name: worker_add (INSERT worker): Registers a worker.
INSERT INTO worker ({worker_columns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (tenant_id, id) DO NOTHING

-- name: worker_get (SELECT worker): Reads one worker.
SELECT {worker_columns} FROM worker WHERE tenant_id = $1 AND id = $2

-- name: worker_session_open (UPDATE worker): Notes that a session opened, unless a newer one did.
UPDATE worker SET listening_since = $3, engine_id = $4,
    last_heartbeat_at = greatest(last_heartbeat_at, $3)
WHERE tenant_id = $1 AND id = $2 AND (listening_since IS NULL OR listening_since <= $3)
RETURNING id

-- name: worker_session_close (UPDATE worker): Notes that the newest session closed.
UPDATE worker SET listening_since = NULL, engine_id = NULL
WHERE tenant_id = $1 AND id = $2 AND listening_since = $3
RETURNING id

-- name: worker_put_labels (UPDATE worker): Sets labels by key and returns all of them.
UPDATE worker SET labels = labels || $3::jsonb WHERE tenant_id = $1 AND id = $2 RETURNING labels

-- name: worker_set_paused (UPDATE worker): Pauses or resumes a worker.
UPDATE worker SET paused = $3 WHERE tenant_id = $1 AND id = $2 RETURNING id

-- name: worker_heartbeats (UPDATE worker): Notes heartbeats, never back in time.
UPDATE worker w SET last_heartbeat_at = u.at
FROM (SELECT tenant_id, id, max(at) AS at
      FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS b (tenant_id, id, at)
      GROUP BY tenant_id, id) u
WHERE w.tenant_id = u.tenant_id AND w.id = u.id
  AND (w.last_heartbeat_at IS NULL OR w.last_heartbeat_at < u.at)

-- name: worker_load (SELECT worker): Reads workers that were seen since a moment or hold assigned tasks.
SELECT {worker_columns} FROM worker
WHERE (registered_at >= $3 OR last_heartbeat_at >= $3 OR listening_since >= $3
       OR id IN (SELECT worker_id FROM task WHERE state < 10 AND state = 3))
  AND ($1::integer IS NULL OR tenant_partition(tenant_id, $2) = $1)
ORDER BY registered_at, id
