-- What readers see of tasks. $1 is the tenant, $2 and $3 bound the id from below (with) and above (without).
-- An outer fragment stands before those it uses.

-- fragment: matches
t.tenant_id = $1 AND t.id >= $2 AND t.id < $3
  AND ($4::smallint[] IS NULL OR {shown_state} = ANY($4))
  AND ($5::uuid[] IS NULL OR t.workflow_id = ANY($5))
  AND ($6::uuid IS NULL OR t.worker_id = $6)
  AND ($7::uuid IS NULL OR t.parent_task_id = $7)
  AND ($8::text[] IS NULL OR
       (SELECT count(*) FROM unnest($8::text[], $9::text[]) AS pair (key, wanted)
        WHERE {value} = pair.wanted) >= $10::integer)
  AND ($11::uuid IS NULL OR EXISTS (
       SELECT FROM event_run r WHERE r.tenant_id = $1 AND r.event_id = $11 AND r.run_id = t.run_id))
  AND run_kept(t.run_id, $12::integer)

-- fragment: shown_state
CASE WHEN t.state = 12 AND t.assigned_at IS NULL AND EXISTS (
         SELECT FROM task_note n
         WHERE n.tenant_id = t.tenant_id AND n.task_id = t.id AND n.task_id >= $2 AND n.task_id < $3
           AND n.attempt = t.attempt AND n.kind = 7)
     THEN 11::smallint ELSE t.state END

-- fragment: value
coalesce(CASE WHEN pair.key = 'traceparent' THEN engine_traceparent(t.trace, t.run_id) END, {metadata} ->> pair.key)

-- fragment: metadata
CASE WHEN substr(t.metadata, 1, 1) = '\x7b'::bytea AND
          CASE WHEN position('\x5c75'::bytea IN t.metadata) = 0 THEN true
               ELSE regexp_replace(convert_from(t.metadata, 'UTF8'),
                                   '\\u[dD][89abAB][[:xdigit:]][[:xdigit:]]\\u[dD][c-fC-F][[:xdigit:]][[:xdigit:]]', '', 'g')
                    !~ '\\u(0000|[dD][89a-fA-F])' END
     THEN convert_from(t.metadata, 'UTF8')::jsonb END

-- fragment: before_input
t.tenant_id, t.id, t.run_id, t.workflow_id, t.version_id, t.step_id, t.priority, t.created_at

-- fragment: after_input
t.metadata, t.trace, t.parent_task_id, t.parent_run_id, t.child_index, t.child_key, t.desired_worker_id,
t.desired_labels, t.triggers, t.state, t.attempt, t.queued_at, t.app_retries, t.internal_retries, t.worker_id, t.assigned_at,
t.started_at, t.finished_at, t.retry_at, t.timeout_at, t.slot_released

-- fragment: surroundings
CASE WHEN t.state = 12 AND t.assigned_at IS NULL THEN (
    SELECT n.message FROM task_note n
    WHERE n.tenant_id = t.tenant_id AND n.task_id = t.id AND n.task_id >= $2 AND n.task_id < $3
      AND n.attempt = t.attempt AND n.kind = 7 LIMIT 1) END,
(SELECT count(*) FROM child_claim c
 WHERE c.tenant_id = t.tenant_id AND c.parent_task_id = t.id AND c.parent_task_id >= $2 AND c.parent_task_id < $3)

-- fragment: run_matches
r.tenant_id = $1 AND r.id >= $2 AND r.id < $3
  AND ($4::smallint[] IS NULL OR r.state = ANY($4))
  AND ($5::uuid[] IS NULL OR r.workflow_id = ANY($5))
  AND ($6::uuid IS NULL OR EXISTS (SELECT FROM task w WHERE w.run_id = r.id AND w.run_id <> w.id AND w.worker_id = $6
                                   AND w.id >= $2 AND w.id < $3))
  AND ($7::uuid IS NULL OR r.parent_task_id = $7)
  AND ($8::text[] IS NULL OR
       (SELECT count(*) FROM unnest($8::text[], $9::text[]) AS pair (key, wanted)
        WHERE {run_value} = pair.wanted) >= $10::integer)
  AND ($11::uuid IS NULL OR EXISTS (
       SELECT FROM event_run e WHERE e.tenant_id = $1 AND e.event_id = $11 AND e.run_id = r.id))
  AND run_kept(r.id, $12::integer)

-- fragment: run_value
coalesce(CASE WHEN pair.key = 'traceparent' THEN engine_traceparent(r.trace, r.id) END, {run_metadata} ->> pair.key)

-- fragment: run_metadata
CASE WHEN substr(r.metadata, 1, 1) = '\x7b'::bytea AND
          CASE WHEN position('\x5c75'::bytea IN r.metadata) = 0 THEN true
               ELSE regexp_replace(convert_from(r.metadata, 'UTF8'),
                                   '\\u[dD][89abAB][[:xdigit:]][[:xdigit:]]\\u[dD][c-fC-F][[:xdigit:]][[:xdigit:]]', '', 'g')
                    !~ '\\u(0000|[dD][89a-fA-F])' END
     THEN convert_from(r.metadata, 'UTF8')::jsonb END

-- fragment: run_as_task
r.created_at, r.created_at AS queued_at, 0 AS attempt, 0 AS app_retries, 0 AS internal_retries, r.state, r.priority,
NULL::timestamptz AS assigned_at, NULL::timestamptz AS started_at, r.finished_at, NULL::timestamptz AS retry_at,
NULL::timestamptz AS timeout_at, r.child_index, r.tenant_id, r.id, r.id AS run_id, r.workflow_id, r.version_id,
NULL::uuid AS step_id, false AS slot_released, NULL::uuid AS worker_id, r.parent_task_id, r.parent_run_id,
r.desired_worker_id, r.trace, r.metadata, r.input, NULL::bytea AS output, NULL::bytea AS error, r.child_key,
r.desired_labels, r.triggers

-- fragment: task_as_task
t.created_at, t.queued_at, t.attempt, t.app_retries, t.internal_retries, t.state, t.priority, t.assigned_at,
t.started_at, t.finished_at, t.retry_at, t.timeout_at, t.child_index, t.tenant_id, t.id, t.run_id, t.workflow_id,
t.version_id, t.step_id, t.slot_released, t.worker_id, t.parent_task_id, t.parent_run_id, t.desired_worker_id,
t.trace, t.metadata, {own_input} AS input, t.output, t.error, t.child_key, t.desired_labels, t.triggers

-- fragment: own_input
CASE WHEN t.run_id = t.id THEN t.input
     ELSE coalesce((SELECT r.input FROM run r WHERE r.tenant_id = t.tenant_id AND r.id = t.run_id
                    AND r.id >= $2 AND r.id < $3), ''::bytea) END

-- fragment: any_input
CASE WHEN t.run_id = t.id THEN t.input
     ELSE coalesce((SELECT r.input FROM run r WHERE r.tenant_id = t.tenant_id AND r.id = t.run_id), ''::bytea) END

-- name: view_task_page (SELECT task): Lists tasks, newest first, with payloads while all of them together are small enough.
SELECT {before_input}, CASE WHEN t.bytes <= $15 THEN t.input ELSE ''::bytea END, {after_input},
       CASE WHEN t.bytes <= $15 THEN t.output END, t.error, {surroundings}, t.bytes
FROM (SELECT p.*, sum(octet_length(p.input)::bigint + coalesce(octet_length(p.output), 0)) OVER () AS bytes
      FROM (SELECT {task_as_task} FROM (SELECT * FROM task t WHERE {matches} ORDER BY t.id DESC LIMIT $13 OFFSET $14) t) p) t
ORDER BY t.id DESC

-- name: view_run_page (SELECT task): Lists runs, those of one task as their task, newest first.
SELECT {before_input}, CASE WHEN t.bytes <= $15 THEN t.input ELSE ''::bytea END, {after_input},
       CASE WHEN t.bytes <= $15 THEN t.output END, t.error, {surroundings}, t.bytes
FROM (SELECT p.*, sum(octet_length(p.input)::bigint + coalesce(octet_length(p.output), 0)) OVER () AS bytes
      FROM (SELECT * FROM (
                (SELECT {task_as_task} FROM task t WHERE {matches} AND t.run_id = t.id
                 ORDER BY t.id DESC LIMIT $13::bigint + $14::bigint)
                UNION ALL
                (SELECT {run_as_task} FROM run r WHERE {run_matches} ORDER BY r.id DESC LIMIT $13::bigint + $14::bigint)
            ) u ORDER BY u.id DESC LIMIT $13 OFFSET $14) p) t
ORDER BY t.id DESC

-- name: view_run_count (SELECT task): Counts runs.
SELECT (SELECT count(*) FROM task t WHERE {matches} AND t.run_id = t.id) + (SELECT count(*) FROM run r WHERE {run_matches})

-- name: view_run_ids (SELECT task): Lists the ids of runs, newest first.
SELECT u.id FROM (
    SELECT t.id FROM task t WHERE {matches} AND t.run_id = t.id
    UNION ALL
    SELECT r.id FROM run r WHERE {run_matches}) u
ORDER BY u.id DESC

-- name: view_run_get (SELECT run): Reads one run of several tasks; $2 is its id and $3 the next.
SELECT {before_input}, t.input, {after_input}, t.output, t.error, NULL::bytea, 0::bigint, 0
FROM (SELECT {run_as_task} FROM run r WHERE r.tenant_id = $1 AND r.id >= $2 AND r.id < $3) t

-- name: view_run_tasks (SELECT task): Lists the tasks of runs, without inputs; $2 and $3 bound their ids.
SELECT {before_input}, ''::bytea, {after_input}, CASE WHEN $5 THEN t.output END, t.error, {surroundings}, 0
FROM task t WHERE t.tenant_id = $1 AND t.run_id = ANY($4::uuid[]) AND t.run_id <> t.id AND t.id >= $2 AND t.id < $3
ORDER BY t.created_at, t.id LIMIT $6

-- name: view_task_count (SELECT task): Counts tasks.
SELECT count(*) FROM task t WHERE {matches}

-- name: view_task_ids (SELECT task): Lists the ids of tasks, newest first.
SELECT t.id FROM task t WHERE {matches} ORDER BY t.id DESC

-- name: view_task_states (SELECT task): Counts tasks by state as shown.
SELECT {shown_state}, count(*) FROM task t WHERE {matches} GROUP BY 1

-- name: view_task_get (SELECT task): Reads one task; $2 is its id and $3 the next.
SELECT {before_input}, {any_input}, {after_input}, t.output, t.error, {surroundings}, 0
FROM task t WHERE t.tenant_id = $1 AND t.id >= $2 AND t.id < $3

-- name: view_task_children (SELECT task): Lists what tasks spawned, without payloads; no task is an hour older than its parent.
SELECT {before_input}, ''::bytea, {after_input}, NULL::bytea, t.error, {surroundings}, 0
FROM (SELECT c.* FROM task c WHERE c.tenant_id = $1 AND c.parent_task_id = ANY($4::uuid[]) AND c.id >= $2 AND c.id < $3
      UNION ALL
      SELECT c.* FROM run r JOIN task c ON c.run_id = r.id AND c.run_id <> c.id AND c.id >= $2 AND c.id < $3
      WHERE r.tenant_id = $1 AND r.parent_task_id = ANY($4::uuid[]) AND r.id >= $2 AND r.id < $3) t
ORDER BY t.id LIMIT $5

-- name: view_task_labels (SELECT task): Reads what tasks are called by.
SELECT id, version_id, step_id, created_at FROM task
WHERE tenant_id = $1 AND id = ANY($2::uuid[]) AND run_kept(run_id, $3::integer)
UNION ALL
SELECT id, version_id, NULL, created_at FROM run
WHERE tenant_id = $1 AND id = ANY($2::uuid[]) AND run_kept(id, $3::integer)

-- name: view_task_live (SELECT task): Counts tasks that are not final by step and state.
SELECT version_id, step_id, state, count(*), min(queued_at), min(queued_at) FILTER (WHERE attempt = 0)
FROM task WHERE tenant_id = $1 AND state < 10
GROUP BY version_id, step_id, state

-- name: view_held_slots (SELECT task): Counts the tasks that hold slots of workers.
SELECT worker_id, version_id, step_id, count(*)
FROM task WHERE tenant_id = $1 AND state < 10 AND state = 3 AND NOT slot_released AND worker_id = ANY($2::uuid[])
GROUP BY worker_id, version_id, step_id

-- name: view_attempts (SELECT attempt): Reads the ended attempts of a task.
SELECT attempt, outcome, queued_at, assigned_at, started_at, ended_at, worker_id, output, error
FROM attempt WHERE tenant_id = $1 AND task_id = $2 ORDER BY attempt, ended_at

-- name: view_attempts_of (SELECT attempt): Reads the ended attempts of several tasks.
SELECT task_id, attempt, outcome, queued_at, assigned_at, started_at, ended_at, worker_id, NULL::bytea, error
FROM attempt WHERE tenant_id = $1 AND task_id = ANY($2::uuid[]) ORDER BY task_id, attempt, ended_at LIMIT $3

-- name: view_notes_of (SELECT task_note): Reads the notes of several tasks.
SELECT task_id, kind, attempt, at, message FROM task_note
WHERE tenant_id = $1 AND task_id = ANY($2::uuid[]) ORDER BY task_id, at LIMIT $3

-- name: view_notes (SELECT task_note): Reads the notes of a task.
SELECT kind, attempt, at, message FROM task_note WHERE tenant_id = $1 AND task_id = $2 ORDER BY at

-- fragment: log_lines
SELECT tenant_id, task_id, attempt, created_at, level, message, metadata FROM log_line
WHERE tenant_id = $1 AND task_id = $2
  AND ($3::timestamptz IS NULL OR created_at >= $3)
  AND ($4::timestamptz IS NULL OR created_at < $4)
  AND ($5::text[] IS NULL OR level = ANY($5))
  AND ($6::integer IS NULL OR attempt = $6)
  AND ($7::text IS NULL OR CASE WHEN position('\x00'::bytea IN message) = 0
       THEN position(lower($7) IN lower(convert_from(message, 'UTF8'))) > 0
       ELSE position(convert_to($7, 'UTF8') IN message) > 0 END)

-- name: view_logs_oldest (SELECT log_line): Reads log lines of a task, oldest first.
{log_lines} ORDER BY created_at LIMIT $8 OFFSET $9

-- name: view_logs_newest (SELECT log_line): Reads log lines of a task, newest first.
{log_lines} ORDER BY created_at DESC LIMIT $8 OFFSET $9
