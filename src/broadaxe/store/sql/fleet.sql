-- name: fleet_lock (SELECT fleet): Lets one engine at a time look at the number of partitions.
SELECT partitions FROM fleet FOR UPDATE

-- name: fleet_others (SELECT engine): Counts the other engines that are alive.
SELECT count(*) FROM engine WHERE id <> $1 AND seen_at > now() - $2::interval

-- name: fleet_resize (UPDATE fleet): Spreads tenants anew; whoever owned anything before owns it no more.
WITH counted AS (
    UPDATE fleet SET partitions = $1::smallint
), oldest AS (
    SELECT min(confirmed_until) AS at FROM span_mark WHERE confirmed_until IS NOT NULL
), dropped AS (
    DELETE FROM span_mark WHERE partition >= $1
), marked AS (
    INSERT INTO span_mark (partition, confirmed_until)
    SELECT p, at FROM oldest, generate_series(0, $1 - 1) AS p WHERE at IS NOT NULL
    ON CONFLICT (partition) DO UPDATE SET confirmed_until = excluded.confirmed_until
), addressed AS (
    UPDATE message SET partition = tenant_partition(tenant_id, $1) WHERE partition IS NOT NULL
)
UPDATE lease SET epoch = epoch + 1, released_at = now(), offered_to = NULL,
    engine_id = '00000000-0000-0000-0000-000000000000'

-- name: engine_join (INSERT engine): Says that an engine is alive, and tells how many partitions there are.
WITH counted AS (
    SELECT partitions FROM fleet FOR SHARE
), joined AS (
    INSERT INTO engine (id, name, schedules, started_at, seen_at) VALUES ($1, $2, $3, now(), now())
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, schedules = excluded.schedules
)
SELECT partitions FROM counted

-- name: engine_suspect (UPDATE engine): Counts an engine as silent whose locks were freed; if it lives it says so again.
UPDATE engine SET seen_at = least(seen_at, now() - $2::interval) WHERE id = $1

-- name: engine_leave (DELETE engine): Says that an engine is gone, and drops what was meant for it.
WITH dropped AS (
    DELETE FROM message WHERE engine_id = $1
)
DELETE FROM engine WHERE id = $1

-- name: engine_silence (SELECT engine): Reads up to when the spans of an engine had left it that was not heard of for long.
SELECT coalesce(spans_until, started_at) FROM engine WHERE id = $1 AND seen_at < now() - $2::interval

-- name: engine_bury (DELETE engine): Takes an engine away that was not heard of for long, and what was meant for it.
WITH gone AS (
    DELETE FROM engine WHERE id = $1 AND seen_at < now() - $2::interval RETURNING id
), dropped AS (
    DELETE FROM message WHERE engine_id IN (SELECT id FROM gone)
)
SELECT id FROM gone
