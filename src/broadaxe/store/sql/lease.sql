-- name: lease_try_locks (SELECT lease): Takes the session locks of those of the partitions that are free.
SELECT p FROM unnest($2::integer[]) AS p WHERE pg_try_advisory_lock($1::integer, p)

-- name: lease_expired (SELECT lease): Without session locks: those of the partitions that nobody keeps up.
SELECT p FROM unnest($1::integer[]) AS p
LEFT JOIN lease l ON l.partition = p
LEFT JOIN engine e ON e.id = l.engine_id
WHERE (l.partition IS NULL OR l.released_at IS NOT NULL OR l.engine_id = $2
       OR coalesce(e.seen_at, l.acquired_at) < now() - $3::interval)
  AND (l.offered_to IS NULL OR l.offered_to = $2 OR l.released_at < now() - interval '1.5 s')

-- name: lease_unlock (SELECT lease): Gives a session lock back.
SELECT pg_advisory_unlock($1::integer, $2::integer)

-- name: lease_read (SELECT lease): Reads a lease and waits for commits that are fenced by it.
SELECT epoch, engine_id, released_at FROM lease WHERE partition = $1 FOR UPDATE

-- name: lease_take (INSERT lease): Writes the owner and the epoch, in database time.
INSERT INTO lease (partition, epoch, engine_id, acquired_at) VALUES ($1, $2, $3, now())
ON CONFLICT (partition) DO UPDATE
SET epoch = excluded.epoch, engine_id = excluded.engine_id, acquired_at = excluded.acquired_at, released_at = NULL,
    offered_to = NULL

-- name: lease_released (UPDATE lease): Notes that the owner gave the lease back, and for whom.
UPDATE lease SET released_at = now(), offered_to = $3 WHERE partition = $1 AND epoch = $2

-- name: lease_fence (SELECT lease): Holds leases for this transaction and names the transaction; lost ones are missing.
SELECT pg_current_xact_id()::text, l.partition
FROM unnest($1::smallint[], $2::bigint[]) AS f (partition, epoch)
JOIN lease l ON l.partition = f.partition AND l.epoch = f.epoch AND l.engine_id = $3
ORDER BY l.partition
FOR SHARE OF l

-- name: transaction_name (SELECT transaction): Names this transaction.
SELECT pg_current_xact_id()::text

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
