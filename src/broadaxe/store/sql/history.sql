-- name: attempt_add_batch (INSERT attempt): Keeps attempts that ended while their tasks go on.
INSERT INTO attempt (tenant_id, task_id, attempt, outcome, queued_at, assigned_at, started_at, ended_at, worker_id,
                     output, error)
SELECT * FROM unnest(
    $1::uuid[], $2::uuid[], $3::integer[], $4::smallint[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::uuid[], $10::bytea[], $11::bytea[])

-- name: note_add_batch (INSERT task_note): Keeps entries of timelines.
INSERT INTO task_note (tenant_id, task_id, kind, attempt, at, message)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::integer[], $5::timestamptz[], $6::bytea[])

-- name: log_add_batch (INSERT log_line): Keeps log lines of tasks.
INSERT INTO log_line (tenant_id, task_id, attempt, created_at, level, message, metadata)
SELECT * FROM unnest(
    $1::uuid[], $2::uuid[], $3::integer[], $4::timestamptz[], $5::text[], $6::bytea[], $7::bytea[])
