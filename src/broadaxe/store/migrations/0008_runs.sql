-- Runs of several steps. Their tasks have ids that carry the run's time, so all of a run is in one day's partition.

CREATE TABLE run (
    created_at        timestamptz NOT NULL,
    finished_at       timestamptz,
    child_index       integer,
    state             smallint NOT NULL,
    priority          smallint NOT NULL,
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    workflow_id       uuid NOT NULL,
    version_id        uuid NOT NULL,
    parent_task_id    uuid,
    parent_run_id     uuid,
    desired_worker_id uuid,
    trace             bytea NOT NULL,
    metadata          bytea NOT NULL,
    input             bytea NOT NULL,
    child_key         text,
    desired_labels    bytea,
    triggers          bytea,
    -- 3: not over.
    CONSTRAINT run_state_known CHECK (state IN (3, 10, 11, 12)),
    CONSTRAINT run_over CHECK ((state = 3) = (finished_at IS NULL)),
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
-- Take-over reads every run that is not over, oldest first.
CREATE INDEX run_live ON run (id) WHERE finished_at IS NULL;
CREATE INDEX run_parent ON run (parent_task_id) WHERE parent_task_id IS NOT NULL;
CREATE INDEX run_finished ON run USING brin (finished_at) WITH (pages_per_range = 64);

-- What steps wait for. A wait of an older attempt of its step is as good as none.
CREATE TABLE run_wait (
    opened_at timestamptz NOT NULL,
    due_at    timestamptz,
    met_at    timestamptz,
    step      integer NOT NULL,
    item      integer NOT NULL,
    attempt   integer NOT NULL,
    kind      smallint NOT NULL,
    tenant_id uuid NOT NULL,
    run_id    uuid NOT NULL,
    key       text NOT NULL,
    data      bytea,
    CONSTRAINT run_wait_kind_known CHECK (kind IN (1, 2)),
    PRIMARY KEY (run_id, step, item)
) PARTITION BY RANGE (run_id);

-- PENDING (4): a step that is run again and is not decided yet.
DO $$
DECLARE
    part text;
BEGIN
    ALTER TABLE task DROP CONSTRAINT task_state_known;
    FOR part IN SELECT c.oid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'task'::regclass LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS task_state_known', part);
    END LOOP;
    ALTER TABLE task ADD CONSTRAINT task_state_known CHECK (state IN (1, 2, 3, 4, 10, 11, 12));
END
$$;

CREATE OR REPLACE FUNCTION partitioned_tables() RETURNS TABLE (parent text, settings text)
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

-- The days that have partitions already get those of the new tables.
SELECT make_partitions(min(day), max(day)) FROM partition_days() AS day HAVING min(day) IS NOT NULL;

-- As before, and a run that is not over keeps all its tasks: those behind them need their outputs.
CREATE OR REPLACE FUNCTION drop_partition_day(day date, most integer) RETURNS TABLE (dropped integer, emptied bigint)
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
