-- User events, the filters that decide what they start, and idempotency keys.

-- The newest version's event keys, so that all of a tenant's can be read without its definitions.
ALTER TABLE workflow ADD COLUMN event_keys text[] NOT NULL DEFAULT '{}';

-- A JSON object of what started the task, for its worker.
ALTER TABLE task ADD COLUMN triggers bytea;

CREATE TABLE user_event (
    at        timestamptz NOT NULL,
    priority  smallint,
    tenant_id uuid NOT NULL,
    id        uuid NOT NULL,
    trace     bytea NOT NULL,
    key       text NOT NULL,
    scope     text,
    payload   bytea NOT NULL,
    metadata  bytea NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);

-- Which runs an event started, and by which filters.
CREATE TABLE event_run (
    tenant_id uuid NOT NULL,
    event_id  uuid NOT NULL,
    run_id    uuid NOT NULL,
    filter_id uuid,
    PRIMARY KEY (tenant_id, event_id, run_id)
) PARTITION BY RANGE (event_id);

-- Expressions that failed, so that an event did not start a run.
CREATE TABLE event_failure (
    source      smallint NOT NULL,
    tenant_id   uuid NOT NULL,
    event_id    uuid NOT NULL,
    workflow_id uuid NOT NULL,
    filter_id   uuid,
    message     bytea NOT NULL,
    CONSTRAINT event_failure_source_known CHECK (source IN (1, 2))
) PARTITION BY RANGE (event_id);
CREATE INDEX event_failure_event ON event_failure (event_id);

CREATE TABLE event_filter (
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    declared    boolean NOT NULL,
    tenant_id   uuid NOT NULL,
    id          uuid NOT NULL,
    workflow_id uuid NOT NULL,
    scope       text NOT NULL,
    expression  text NOT NULL,
    payload     bytea NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflow (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX event_filter_workflow ON event_filter (tenant_id, workflow_id);

CREATE TABLE idempotency_key (
    expires_at timestamptz NOT NULL,
    until_end  boolean NOT NULL,
    tenant_id  uuid NOT NULL,
    run_id     uuid NOT NULL,
    key        text NOT NULL,
    PRIMARY KEY (tenant_id, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
-- The end of a run frees its key.
CREATE INDEX idempotency_key_run ON idempotency_key (run_id) WHERE until_end;
CREATE INDEX idempotency_key_expiry ON idempotency_key (expires_at);

-- Whether readers see a run, when they are to see a share of runs only (of 65,536; NULL = all).
-- The last two bytes of an id are random.
CREATE FUNCTION run_kept(id uuid, below integer) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT below IS NULL OR get_byte(uuid_send(id), 14) * 256 + get_byte(uuid_send(id), 15) < below
$$;

CREATE OR REPLACE FUNCTION partitioned_tables() RETURNS TABLE (parent text, settings text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT * FROM (VALUES
        ('child_claim', 'fillfactor = 100'),
        ('task', 'fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 2000, '
                 'autovacuum_vacuum_cost_delay = 0'),
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

-- As before; events need no task of their day, so they go even while one of that day is not final.
CREATE OR REPLACE FUNCTION drop_partition_day(day date, most integer)
RETURNS TABLE (dropped integer, emptied bigint)
LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    family record;
    suffix text := to_char(day, '"_p"YYYYMMDD');
    live boolean;
    gone bigint;
    stale text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('broadaxe.partitions'));
    dropped := 0;
    emptied := 0;
    IF to_regclass('task' || suffix) IS NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE state < 10)', 'task' || suffix) INTO live;
    FOR family IN SELECT * FROM partitioned_tables() LOOP
        CONTINUE WHEN to_regclass(family.parent || suffix) IS NULL;
        IF live THEN
            IF family.parent = 'task' THEN
                stale := format('SELECT ctid FROM %I WHERE state >= 10 LIMIT %s', 'task' || suffix, most);
            ELSIF family.parent IN ('user_event', 'event_run', 'event_failure') THEN
                stale := format('SELECT ctid FROM %I LIMIT %s', family.parent || suffix, most);
            ELSE
                stale := format(
                    'SELECT f.ctid FROM %I f WHERE NOT EXISTS (SELECT FROM %I t WHERE t.id = f.%I AND t.state < 10) '
                    'LIMIT %s', family.parent || suffix, 'task' || suffix,
                    CASE family.parent WHEN 'child_claim' THEN 'parent_task_id' ELSE 'task_id' END, most);
            END IF;
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
