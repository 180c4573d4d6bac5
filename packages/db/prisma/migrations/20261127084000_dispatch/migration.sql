-- What each clone and each look at a host leans on, found by the bench fleet-500.

-- Which of these MACs guests of other hosts have. All of them were sent to the worker before: 10,000 for each clone.
CREATE FUNCTION offshoot_lower(p_texts text[]) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg(lower(t)) FROM unnest(p_texts) t
$$;
CREATE INDEX "guest_macs_idx" ON "guest" USING gin (offshoot_lower("macs")) WHERE "macs" <> '{}';
CREATE FUNCTION offshoot_macs_taken_elsewhere(p_host text, p_macs text[]) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT m FROM unnest(p_macs) m
    WHERE EXISTS (SELECT 1 FROM "guest" g WHERE g."macs" <> '{}' AND offshoot_lower(g."macs") && ARRAY[m] AND g."hostId" <> p_host)
$$;

-- Guests on their way to a host: looked for among everything queued before.
CREATE INDEX "operation_moving_idx" ON "operation" (("request" ->> 'targetHostId')) WHERE "kind" = 'migrate';
