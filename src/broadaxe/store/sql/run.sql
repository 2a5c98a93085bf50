-- fragment: run_columns
tenant_id, id, workflow_id, version_id, priority, created_at, input, metadata, trace, parent_task_id, parent_run_id,
child_index, child_key, desired_worker_id, desired_labels, triggers, state, finished_at

-- fragment: new_runs
unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::smallint[], $6::timestamptz[], $7::bytea[], $8::bytea[],
    $9::bytea[], $10::uuid[], $11::uuid[], $12::integer[], $13::text[], $14::uuid[], $15::bytea[], $16::bytea[],
    $17::smallint[], $18::timestamptz[])

-- name: run_create_batch (INSERT run): Creates runs of several steps.
INSERT INTO run ({run_columns})
SELECT * FROM {new_runs}

-- name: run_create_batch_fenced (INSERT run): The same if all leases are held still, which it holds; names the transaction.
WITH fence AS (
    SELECT l.partition FROM unnest($19::smallint[], $20::bigint[]) AS f (partition, epoch)
    JOIN lease l ON l.partition = f.partition AND l.epoch = f.epoch AND l.engine_id = $21
    ORDER BY l.partition FOR SHARE OF l
), written AS (
    INSERT INTO run ({run_columns})
    SELECT * FROM {new_runs} WHERE (SELECT count(*) FROM fence) = cardinality($19)
    RETURNING 1
)
SELECT pg_current_xact_id()::text, (SELECT array_agg(partition) FROM fence), (SELECT count(*) FROM written)

-- name: run_write_batch (UPDATE run): Ends runs that are not over, and opens again those that are.
UPDATE run r
SET state = u.state, finished_at = u.finished_at
FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::timestamptz[]) AS u (tenant_id, id, state, finished_at)
WHERE r.tenant_id = u.tenant_id AND r.id = u.id AND (r.finished_at IS NULL) = (u.finished_at IS NOT NULL)
RETURNING r.id

-- name: wait_open_batch (INSERT run_wait): Opens waits of steps, in the place of those of earlier attempts.
INSERT INTO run_wait (tenant_id, run_id, step, item, attempt, kind, opened_at, key, due_at)
SELECT * FROM unnest(
    $1::uuid[], $2::uuid[], $3::integer[], $4::integer[], $5::integer[], $6::smallint[], $7::timestamptz[],
    $8::text[], $9::timestamptz[])
ON CONFLICT (run_id, step, item) DO UPDATE
SET attempt = excluded.attempt, opened_at = excluded.opened_at, due_at = excluded.due_at, met_at = NULL, data = NULL
WHERE run_wait.attempt < excluded.attempt

-- name: wait_meet_batch (UPDATE run_wait): Ends waits with what met them.
UPDATE run_wait w
SET met_at = u.met_at, data = u.data
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[], $5::timestamptz[], $6::bytea[])
    AS u (run_id, step, item, attempt, met_at, data)
WHERE w.run_id = u.run_id AND w.step = u.step AND w.item = u.item AND w.attempt = u.attempt AND w.met_at IS NULL

-- name: run_get_many (SELECT run): Reads runs by their ids.
SELECT {run_columns} FROM run WHERE tenant_id = $1 AND id = ANY($2::uuid[])

-- name: run_find (SELECT run): Finds runs by time, state and workflow, newest first.
SELECT tenant_id, id, workflow_id, version_id, priority, created_at, ''::bytea, metadata, trace, parent_task_id,
       parent_run_id, child_index, child_key, desired_worker_id, desired_labels, triggers, state, finished_at
FROM run
WHERE tenant_id = $1 AND id >= $2 AND id < $3
  AND created_at >= $4 AND ($5::timestamptz IS NULL OR created_at < $5)
  AND ($6::smallint[] IS NULL OR state = ANY($6))
  AND ($7::uuid[] IS NULL OR workflow_id = ANY($7))
ORDER BY id DESC
LIMIT $8

-- name: run_inputs (SELECT run): Reads the inputs of runs.
SELECT id, input FROM run WHERE tenant_id = $1 AND id = ANY($2::uuid[])

-- name: run_live_page (SELECT run): Reads runs that are not over, oldest first, from an id on.
SELECT {run_columns} FROM run WHERE finished_at IS NULL AND id > $1 ORDER BY id LIMIT $2

-- name: run_ended_page (SELECT run): Reads runs that ended since a moment, by id from an id on.
SELECT {run_columns} FROM run WHERE finished_at >= $1 AND id > $2 ORDER BY id LIMIT $3

-- name: run_waits (SELECT run_wait): Reads the waits of runs.
SELECT run_id, step, item, attempt, kind, opened_at, key, due_at, met_at, data
FROM run_wait WHERE run_id = ANY($1::uuid[])
