-- What rows leave out, for filters: see `store/derived.py`, which writes them.

-- The `traceparent` that the engine added to the metadata of a run; NULL where it added none. The last byte of
-- a trace holds flags (2: it added one); a trace of that byte alone is the one that follows from the run's id.
CREATE FUNCTION engine_traceparent(trace bytea, run_id uuid) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN get_byte(trace, octet_length(trace) - 1) & 2 <> 0 THEN
        '00-' || encode(substr(CASE WHEN octet_length(trace) = 1
                                    THEN sha256('hatchet-engine-wf-trace:'::bytea || uuid_send(run_id))
                                    ELSE trace END, 1, 16), 'hex')
        || '-' || encode(substr(sha256('hatchet-engine-wf-span:'::bytea || uuid_send(run_id)), 1, 8), 'hex') || '-01'
    END
$$;
