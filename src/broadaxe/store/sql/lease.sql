-- name: lease_try_lock (SELECT lease): Takes the session lock of a partition of tenants if it is free.
SELECT pg_try_advisory_lock($1::integer, $2::integer)

-- name: lease_unlock (SELECT lease): Gives the session lock back.
SELECT pg_advisory_unlock($1::integer, $2::integer)

-- name: lease_read (SELECT lease): Reads a lease and waits for commits that are fenced by it.
SELECT epoch, engine_id, released_at FROM lease WHERE partition = $1 FOR UPDATE

-- name: lease_take (INSERT lease): Writes the owner and the epoch, in database time.
INSERT INTO lease (partition, epoch, engine_id, acquired_at) VALUES ($1, $2, $3, now())
ON CONFLICT (partition) DO UPDATE
SET epoch = excluded.epoch, engine_id = excluded.engine_id, acquired_at = excluded.acquired_at, released_at = NULL

-- name: lease_released (UPDATE lease): Notes that the owner gave the lease back.
UPDATE lease SET released_at = now() WHERE partition = $1 AND epoch = $2

-- name: lease_fence (SELECT lease): Holds the lease for this transaction and names the transaction; no row if it is lost.
SELECT pg_current_xact_id()::text FROM lease WHERE partition = $1 AND epoch = $2 AND engine_id = $3 FOR SHARE

-- name: span_mark_read (SELECT span_mark): Reads up to when the owner's spans had left it.
SELECT confirmed_until FROM span_mark WHERE partition = $1

-- name: span_mark_set (INSERT span_mark): Notes up to when the owner's spans left it.
INSERT INTO span_mark (partition, confirmed_until) VALUES ($1, $2)
ON CONFLICT (partition) DO UPDATE SET confirmed_until = excluded.confirmed_until
WHERE span_mark.confirmed_until IS DISTINCT FROM excluded.confirmed_until

-- name: transaction_status (SELECT transaction): Says what became of a transaction whose commit was cut.
SELECT pg_xact_status($1::text::xid8)

-- name: backend_terminate (SELECT transaction): Ends the backend of a cut connection that still runs.
SELECT pg_terminate_backend($1::integer)
