-- Several engines on one database: who is alive, and how tenants are spread.

CREATE TABLE engine (
    seen_at     timestamptz NOT NULL,
    started_at  timestamptz NOT NULL,
    -- Up to when its spans had left it: after its death the owners tell later ends again.
    spans_until timestamptz,
    id          uuid PRIMARY KEY,
    schedules   boolean NOT NULL,
    name        text NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500);

-- One row. All engines that are alive agree on the number, since a tenant must not belong to two partitions.
CREATE TABLE fleet (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    partitions smallint NOT NULL
);
INSERT INTO fleet (partitions) VALUES (1);

-- The partition of a tenant; the engine computes the same (`domain.fleet.partition_of`).
CREATE FUNCTION tenant_partition(tenant uuid, partitions integer) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (((get_byte(uuid_send(tenant), 14) << 8) + get_byte(uuid_send(tenant), 15)) % partitions)::smallint
$$;
