-- fragment: task_columns
tenant_id, id, run_id, workflow_id, version_id, step_id, priority, created_at, input, metadata, trace,
parent_task_id, parent_run_id, child_index, child_key, desired_worker_id, desired_labels, triggers,
state, attempt, queued_at, app_retries, internal_retries, worker_id, assigned_at, started_at, finished_at,
retry_at, timeout_at, slot_released, output, error

-- fragment: new_tasks
unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::smallint[], $8::timestamptz[],
    $9::bytea[], $10::bytea[], $11::bytea[], $12::uuid[], $13::uuid[], $14::integer[], $15::text[], $16::uuid[],
    $17::bytea[], $18::bytea[], $19::smallint[], $20::integer[], $21::timestamptz[], $22::integer[], $23::integer[],
    $24::uuid[], $25::timestamptz[], $26::timestamptz[], $27::timestamptz[], $28::timestamptz[], $29::timestamptz[],
    $30::boolean[], $31::bytea[], $32::bytea[])

-- fragment: fence_of_new_tasks
fence AS (
    SELECT l.partition FROM unnest($33::smallint[], $34::bigint[]) AS f (partition, epoch)
    JOIN lease l ON l.partition = f.partition AND l.epoch = f.epoch AND l.engine_id = $35
    ORDER BY l.partition FOR SHARE OF l
)

-- name: task_create_batch (INSERT task): Creates tasks, one element of each array a task.
INSERT INTO task ({task_columns})
SELECT * FROM {new_tasks}

-- name: task_create_batch_fenced (INSERT task): The same if all leases are held still, which it holds; names the transaction.
WITH {fence_of_new_tasks}, written AS (
    INSERT INTO task ({task_columns})
    SELECT * FROM {new_tasks} WHERE (SELECT count(*) FROM fence) = cardinality($33)
    RETURNING 1
)
SELECT pg_current_xact_id()::text, (SELECT array_agg(partition) FROM fence), (SELECT count(*) FROM written)

-- name: step_create_batch (INSERT task): Creates tasks of steps that have none, and says which.
INSERT INTO task ({task_columns})
SELECT * FROM {new_tasks}
ON CONFLICT DO NOTHING
RETURNING id

-- name: step_create_batch_fenced (INSERT task): The same if all leases are held still, which it holds; names the transaction.
WITH {fence_of_new_tasks}, written AS (
    INSERT INTO task ({task_columns})
    SELECT * FROM {new_tasks} WHERE (SELECT count(*) FROM fence) = cardinality($33)
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT pg_current_xact_id()::text, (SELECT array_agg(partition) FROM fence), (SELECT array_agg(id) FROM written)

-- fragment: changed_tasks
UPDATE task t
SET state = u.state, attempt = u.attempt, queued_at = u.queued_at, app_retries = u.app_retries,
    internal_retries = u.internal_retries, worker_id = u.worker_id, assigned_at = u.assigned_at,
    started_at = u.started_at, finished_at = u.finished_at, retry_at = u.retry_at, timeout_at = u.timeout_at,
    slot_released = u.slot_released, output = u.output, error = u.error
FROM unnest(
    $1::uuid[], $2::uuid[], $3::integer[], $4::smallint[], $5::smallint[], $6::integer[], $7::timestamptz[],
    $8::integer[], $9::integer[], $10::uuid[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[],
    $14::timestamptz[], $15::timestamptz[], $16::boolean[], $17::bytea[], $18::bytea[], $19::boolean[],
    $20::timestamptz[], $21::timestamptz[], $22::boolean[]
) WITH ORDINALITY AS u (
    tenant_id, id, expect_attempt, expect_state, state, attempt, queued_at, app_retries, internal_retries,
    worker_id, assigned_at, started_at, finished_at, retry_at, timeout_at, slot_released, output, error,
    exactly, expect_started, expect_timeout, expect_released, item)
WHERE t.tenant_id = u.tenant_id AND t.id = u.id AND t.attempt = u.expect_attempt AND t.state = u.expect_state
  AND (NOT u.exactly OR (t.started_at IS NOT DISTINCT FROM u.expect_started
                         AND t.timeout_at IS NOT DISTINCT FROM u.expect_timeout
                         AND t.slot_released = u.expect_released))

-- name: task_write_batch (UPDATE task): Changes tasks that still are in the expected attempt and state.
{changed_tasks}
RETURNING u.item

-- name: task_write_batch_fenced (UPDATE task): The same if all leases are held still, which it holds; names the transaction.
WITH fence AS (
    SELECT l.partition FROM unnest($23::smallint[], $24::bigint[]) AS f (partition, epoch)
    JOIN lease l ON l.partition = f.partition AND l.epoch = f.epoch AND l.engine_id = $25
    ORDER BY l.partition FOR SHARE OF l
), written AS (
    {changed_tasks} AND (SELECT count(*) FROM fence) = cardinality($23)
    RETURNING u.item
)
SELECT pg_current_xact_id()::text, (SELECT array_agg(partition) FROM fence), (SELECT array_agg(item) FROM written)

-- name: task_lock_batch (SELECT task): Locks tasks in the order of their ids, and reads them as they are then.
SELECT {task_columns} FROM unnest($1::uuid[], $2::uuid[]) AS w (w_tenant, w_id)
JOIN task t ON t.tenant_id = w_tenant AND t.id = w_id
ORDER BY t.id
FOR UPDATE OF t

-- name: child_claim_batch (INSERT child_claim): Claims dedupe keys of children; returns those that were free.
INSERT INTO child_claim (tenant_id, parent_task_id, key, run_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[])
ON CONFLICT DO NOTHING
RETURNING run_id

-- name: child_claim_holders (SELECT child_claim): Says which runs hold keys.
SELECT u.item, c.run_id
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) WITH ORDINALITY AS u (tenant_id, parent_task_id, key, item)
JOIN child_claim c ON c.tenant_id = u.tenant_id AND c.parent_task_id = u.parent_task_id AND c.key = u.key

-- name: child_claim_withdraw (DELETE child_claim): Gives back the keys of children that were not created after all.
DELETE FROM child_claim WHERE (tenant_id, parent_task_id, key, run_id) IN (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]))

-- name: task_get (SELECT task): Reads one task.
SELECT {task_columns} FROM task WHERE tenant_id = $1 AND id = $2

-- name: task_get_many (SELECT task): Reads tasks by their own ids or by their run's; the id of a step's task carries the time of its run.
SELECT {task_columns} FROM task WHERE tenant_id = $1 AND id = ANY($2::uuid[])
UNION ALL
SELECT {task_columns} FROM task
WHERE tenant_id = $1 AND run_id = ANY($2::uuid[]) AND run_id <> id AND id <> ALL($2::uuid[]) AND id >= $3 AND id < $4

-- name: task_find (SELECT task): Finds tasks by time, state, workflow and keys in their metadata, newest first.
SELECT id, state, metadata, trace, run_id FROM task
WHERE tenant_id = $1 AND id >= $2 AND id < $3
  AND created_at >= $4 AND ($5::timestamptz IS NULL OR created_at < $5)
  AND ($6::smallint[] IS NULL OR state = ANY($6))
  AND ($7::uuid[] IS NULL OR workflow_id = ANY($7))
ORDER BY id DESC
LIMIT $8

-- name: run_tasks (SELECT task): Reads the tasks of runs; $2 and $3 bound their ids, which carry the time of the run.
SELECT {task_columns} FROM task WHERE run_id = ANY($1::uuid[]) AND run_id <> id AND id >= $2 AND id < $3

-- name: task_outputs (SELECT task): Reads what tasks left.
SELECT id, output, error FROM task WHERE tenant_id = $1 AND id = ANY($2::uuid[])

-- name: task_inputs (SELECT task): Reads the inputs of tasks.
SELECT id, input FROM task WHERE tenant_id = $1 AND id = ANY($2::uuid[])

-- name: task_live_page (SELECT task): Reads tasks that are not final, oldest first, from an id on.
SELECT {task_columns} FROM task WHERE state < 10 AND id > $3
  AND ($1::integer IS NULL OR tenant_partition(tenant_id, $2) = $1) ORDER BY id LIMIT $4

-- name: task_finished_page (SELECT task): Reads tasks that became final since a moment, by id from an id on.
SELECT {task_columns} FROM task
WHERE state >= 10 AND finished_at >= $3 AND id > $4
  AND ($1::integer IS NULL OR tenant_partition(tenant_id, $2) = $1) ORDER BY id LIMIT $5

-- name: attempt_ended_page (SELECT attempt): Reads attempts that ended since a moment while their tasks went on.
SELECT {task_columns}, a_attempt, a_outcome, a_queued_at, a_assigned_at, a_started_at, a_ended_at, a_worker_id, a_error,
       NOT EXISTS (SELECT FROM attempt WHERE task_id = a_task_id AND attempt < a_attempt AND outcome >= 5) AS a_first_run
FROM (SELECT tenant_id AS a_tenant_id, task_id AS a_task_id, attempt AS a_attempt, outcome AS a_outcome,
             queued_at AS a_queued_at, assigned_at AS a_assigned_at, started_at AS a_started_at,
             ended_at AS a_ended_at, worker_id AS a_worker_id, error AS a_error
      FROM attempt WHERE ended_at >= $3 AND (task_id, attempt) > ($4, $5)
        AND ($1::integer IS NULL OR tenant_partition(tenant_id, $2) = $1)
      ORDER BY task_id, attempt LIMIT $6) a
JOIN task ON tenant_id = a_tenant_id AND id = a_task_id
ORDER BY a_task_id, a_attempt
