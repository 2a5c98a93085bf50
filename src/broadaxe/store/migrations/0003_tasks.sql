-- Tasks and what belongs to them, partitioned by day on a UUIDv7 (the task's own id, or its task's).
-- Columns are ordered by alignment, so that a row carries no padding.

CREATE TABLE task (
    created_at        timestamptz NOT NULL,
    queued_at         timestamptz NOT NULL,
    assigned_at       timestamptz,
    started_at        timestamptz,
    finished_at       timestamptz,
    retry_at          timestamptz,
    timeout_at        timestamptz,
    attempt           integer NOT NULL,
    app_retries       integer NOT NULL,
    internal_retries  integer NOT NULL,
    child_index       integer,
    state             smallint NOT NULL,
    priority          smallint NOT NULL,
    slot_released     boolean NOT NULL,
    worker_id         uuid,
    output            bytea,
    error             bytea,
    -- From here on nothing changes: an update that stays on its page does not log the end that both versions share.
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    run_id            uuid NOT NULL,
    workflow_id       uuid NOT NULL,
    version_id        uuid NOT NULL,
    step_id           uuid NOT NULL,
    parent_task_id    uuid,
    parent_run_id     uuid,
    desired_worker_id uuid,
    trace             bytea NOT NULL,
    metadata          bytea NOT NULL,
    input             bytea NOT NULL,
    child_key         text,
    desired_labels    bytea,
    -- A JSON object of what started the task, for its worker.
    triggers          bytea,
    -- 4: a step that is run again and is not decided yet.
    CONSTRAINT task_state_known CHECK (state IN (1, 2, 3, 4, 10, 11, 12)),
    -- The end of a task adds a second entry for its row: with room on their pages they need no second page.
    PRIMARY KEY (tenant_id, id) WITH (fillfactor = 75)
) PARTITION BY RANGE (id);
-- Take-over reads every task that is not final, oldest first.
CREATE INDEX task_live ON task (id) WHERE state < 10;
CREATE INDEX task_parent ON task (parent_task_id) WHERE parent_task_id IS NOT NULL;
-- The run of a single task has the task's id and needs no entry.
CREATE INDEX task_run ON task (run_id) WHERE run_id <> id;
-- A take-over looks for what ended in the last seconds. Ends come nearly in the order of the rows, so block
-- ranges find them, for next to nothing a write.
CREATE INDEX task_finished ON task USING brin (finished_at) WITH (pages_per_range = 64);

CREATE TABLE attempt (
    queued_at   timestamptz NOT NULL,
    assigned_at timestamptz,
    started_at  timestamptz,
    ended_at    timestamptz NOT NULL,
    attempt     integer NOT NULL,
    outcome     smallint NOT NULL,
    tenant_id   uuid NOT NULL,
    task_id     uuid NOT NULL,
    worker_id   uuid,
    output      bytea,
    error       bytea,
    CONSTRAINT attempt_outcome_known CHECK (outcome BETWEEN 1 AND 7)
) PARTITION BY RANGE (task_id);
-- Not unique: a reassigned attempt may keep its number.
CREATE INDEX attempt_task ON attempt (task_id, attempt);
CREATE INDEX attempt_ended ON attempt USING brin (ended_at) WITH (pages_per_range = 64);

CREATE TABLE task_note (
    at        timestamptz NOT NULL,
    attempt   integer NOT NULL,
    kind      smallint NOT NULL,
    tenant_id uuid NOT NULL,
    task_id   uuid NOT NULL,
    message   bytea NOT NULL,
    CONSTRAINT task_note_kind_known CHECK (kind BETWEEN 1 AND 9)
) PARTITION BY RANGE (task_id);
CREATE INDEX task_note_task ON task_note (task_id, at);

CREATE TABLE child_claim (
    tenant_id      uuid NOT NULL,
    parent_task_id uuid NOT NULL,
    run_id         uuid NOT NULL,
    key            text NOT NULL,
    PRIMARY KEY (tenant_id, parent_task_id, key)
) PARTITION BY RANGE (parent_task_id);

CREATE TABLE log_line (
    created_at timestamptz NOT NULL,
    attempt    integer NOT NULL,
    tenant_id  uuid NOT NULL,
    task_id    uuid NOT NULL,
    level      text NOT NULL,
    -- Bytes, since a worker may print what a text column refuses.
    message    bytea NOT NULL,
    metadata   bytea NOT NULL
) PARTITION BY RANGE (task_id);
CREATE INDEX log_line_task ON log_line (task_id, created_at);
-- Lines of all tasks of a tenant.
CREATE INDEX log_line_tenant ON log_line (tenant_id, created_at);

-- The lower bound of the UUIDv7s that are made from that moment on.
CREATE FUNCTION uuid7_floor(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- All that are partitioned, those of later migrations too, in the order in which a group commit touches them,
-- so that dropping them never waits in a circle.
CREATE FUNCTION partitioned_tables() RETURNS TABLE (parent text, settings text)
LANGUAGE sql IMMUTABLE AS $$
    -- A task is inserted once and updated twice within seconds. Half a page of room keeps those versions on
    -- its page, where the next update reclaims them: measured, fuller pages grow the table and the WAL.
    SELECT * FROM (VALUES
        ('child_claim', 'fillfactor = 100'),
        ('run', 'fillfactor = 80'),
        ('task', 'fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 2000, '
                 'autovacuum_vacuum_cost_delay = 0'),
        ('run_wait', 'fillfactor = 80'),
        ('attempt', 'fillfactor = 100'),
        ('task_note', 'fillfactor = 100'),
        ('log_line', 'fillfactor = 100'),
        ('user_event', 'fillfactor = 100'),
        ('event_run', 'fillfactor = 100'),
        ('event_failure', 'fillfactor = 100')
    ) AS t (parent, settings)
$$;

-- Makes what is missing of the partitions from `first` to `last`; the names of those it made.
-- A table of its own that is attached: this takes no lock that reads or writes of the parent would wait for.
CREATE FUNCTION make_partitions(first date, last date) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    family record;
    day date;
    child text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('broadaxe.partitions'));
    FOR day IN SELECT generate_series(first, last, interval '1 day')::date LOOP
        FOR family IN SELECT * FROM partitioned_tables() LOOP
            child := family.parent || to_char(day, '"_p"YYYYMMDD');
            CONTINUE WHEN to_regclass(child) IS NOT NULL;
            EXECUTE format(
                'CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES) WITH (%s)',
                child, family.parent, family.settings);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', family.parent, child,
                uuid7_floor(day::timestamp AT TIME ZONE 'UTC'),
                uuid7_floor((day + 1)::timestamp AT TIME ZONE 'UTC'));
            RETURN NEXT child;
        END LOOP;
    END LOOP;
END
$$;

-- The days that have partitions, by their names.
CREATE FUNCTION partition_days() RETURNS SETOF date
LANGUAGE sql STABLE AS $$
    SELECT to_date(right(c.relname, 8), 'YYYYMMDD')
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'task'::regclass
    ORDER BY 1
$$;

-- Drops one day of every family; when tasks or runs of that day are not over yet, takes away the others instead,
-- at most `most` rows of each family a call. A run that is not over keeps all its tasks: those behind them need
-- their outputs. Events go in any case. Returns how many tables were dropped and how many rows deleted.
-- A drop locks the parents: it waits for that a second at most, since everybody else would wait behind it.
CREATE FUNCTION drop_partition_day(day date, most integer) RETURNS TABLE (dropped integer, emptied bigint)
LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    family record;
    suffix text := to_char(day, '"_p"YYYYMMDD');
    live boolean;
    gone bigint;
    stale text;
    kept text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('broadaxe.partitions'));
    dropped := 0;
    emptied := 0;
    IF to_regclass('task' || suffix) IS NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE state < 10) OR EXISTS (SELECT FROM %I WHERE finished_at IS NULL)',
                   'task' || suffix, 'run' || suffix) INTO live;
    kept := format('(SELECT r.id FROM %I r WHERE r.finished_at IS NULL)', 'run' || suffix);
    FOR family IN SELECT * FROM partitioned_tables() LOOP
        CONTINUE WHEN to_regclass(family.parent || suffix) IS NULL;
        IF live THEN
            CASE family.parent
            WHEN 'task' THEN
                stale := format('SELECT ctid FROM %I WHERE state >= 10 AND run_id NOT IN %s LIMIT %s',
                                'task' || suffix, kept, most);
            WHEN 'run' THEN
                stale := format('SELECT ctid FROM %I WHERE finished_at IS NOT NULL LIMIT %s', 'run' || suffix, most);
            WHEN 'user_event', 'event_run', 'event_failure' THEN
                stale := format('SELECT ctid FROM %I LIMIT %s', family.parent || suffix, most);
            WHEN 'run_wait' THEN
                stale := format('SELECT ctid FROM %I WHERE run_id NOT IN %s LIMIT %s', 'run_wait' || suffix, kept, most);
            ELSE
                stale := format(
                    'SELECT f.ctid FROM %I f WHERE NOT EXISTS (SELECT FROM %I t WHERE t.id = f.%I '
                    'AND (t.state < 10 OR t.run_id IN %s)) LIMIT %s', family.parent || suffix, 'task' || suffix,
                    CASE family.parent WHEN 'child_claim' THEN 'parent_task_id' ELSE 'task_id' END, kept, most);
            END CASE;
            EXECUTE format('DELETE FROM %I WHERE ctid = ANY (ARRAY(%s))', family.parent || suffix, stale);
            GET DIAGNOSTICS gone = ROW_COUNT;
            emptied := emptied + gone;
        ELSE
            EXECUTE format('DROP TABLE IF EXISTS %I', family.parent || suffix);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN NEXT;
END
$$;
