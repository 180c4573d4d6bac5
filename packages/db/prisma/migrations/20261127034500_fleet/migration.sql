-- Hundreds of hosts: what every look at a host, a list or a guest leans on, found by the bench fleet-500.
CREATE INDEX "guest_hostId_state_idx" ON "guest"("hostId", "state");
CREATE INDEX "guest_name_id_idx" ON "guest"("name", "id");
CREATE INDEX "guest_sourceGuestId_idx" ON "guest"("sourceGuestId");
CREATE INDEX "guest_templateVersionId_idx" ON "guest"("templateVersionId");
CREATE INDEX "operation_hostId_id_idx" ON "operation"("hostId", "id");
CREATE INDEX "operation_hostId_finishedAt_idx" ON "operation"("hostId", "finishedAt");
CREATE INDEX "operation_finishedAt_idx" ON "operation"("finishedAt" DESC NULLS LAST);
CREATE INDEX "operation_idempotencyKey_idx" ON "operation"("idempotencyKey");

-- Work for all hosts that any one worker does now and then: when it was last done.
CREATE TABLE "chore" (
    "name" TEXT NOT NULL,
    "doneAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "chore_pkey" PRIMARY KEY ("name")
);

-- True for one of all who ask within p_seconds. Read first: most are refused, and must not write for it.
CREATE FUNCTION offshoot_is_due(p_name text, p_seconds int) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM "chore" WHERE "name" = p_name AND "doneAt" > clock_timestamp() - make_interval(secs => p_seconds)) THEN
        RETURN false;
    END IF;
    INSERT INTO "chore" ("name", "doneAt") VALUES (p_name, clock_timestamp())
    ON CONFLICT ("name") DO UPDATE SET "doneAt" = EXCLUDED."doneAt"
        WHERE "chore"."doneAt" <= clock_timestamp() - make_interval(secs => p_seconds);
    RETURN FOUND;
END $$;

-- How each host was over time: one row per 30 seconds for an hour, then per 5 minutes for a day. Of each span what was worst.
CREATE TABLE "host_sample" (
    "hostId" TEXT NOT NULL,
    "seconds" INTEGER NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "beats" INTEGER NOT NULL,
    -- hundredths
    "load" INTEGER,
    "memoryFreeBytes" BIGINT,
    "storeFreeBytes" BIGINT,
    "running" INTEGER,

    CONSTRAINT "host_sample_pkey" PRIMARY KEY ("hostId", "seconds", "at")
);
CREATE INDEX "host_sample_seconds_at_idx" ON "host_sample"("seconds", "at");
ALTER TABLE "host_sample" ADD CONSTRAINT "host_sample_hostId_fkey" FOREIGN KEY ("hostId") REFERENCES "host"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- Whoever writes a host's heartbeat, and by whatever right, its sample is kept.
CREATE FUNCTION offshoot_sample_host() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_well boolean := NEW."problem" IS NULL AND NEW."facts" IS NOT NULL;
BEGIN
    INSERT INTO "host_sample" AS s ("hostId", "seconds", "at", "beats", "load", "memoryFreeBytes", "storeFreeBytes", "running")
    SELECT NEW."id", 30, date_bin('30 seconds', NEW."heartbeatAt", 'epoch'), 1,
        CASE WHEN v_well THEN round((NEW."facts" ->> 'load1')::numeric * 100)::int END,
        CASE WHEN v_well THEN (NEW."facts" ->> 'memoryFreeBytes')::numeric::bigint END,
        CASE WHEN v_well THEN (NEW."facts" -> 'store' ->> 'freeBytes')::numeric::bigint END,
        CASE WHEN v_well THEN (SELECT count(*) FROM "guest" g WHERE g."hostId" = NEW."id" AND g."state" = 'running')::int END
    ON CONFLICT ("hostId", "seconds", "at") DO UPDATE SET "beats" = s."beats" + 1,
        "load" = GREATEST(s."load", EXCLUDED."load"),
        "memoryFreeBytes" = LEAST(s."memoryFreeBytes", EXCLUDED."memoryFreeBytes"),
        "storeFreeBytes" = LEAST(s."storeFreeBytes", EXCLUDED."storeFreeBytes"),
        "running" = GREATEST(s."running", EXCLUDED."running");
    RETURN NULL;
END $$;
CREATE TRIGGER "host_sample" AFTER UPDATE OF "heartbeatAt" ON "host"
    FOR EACH ROW WHEN (NEW."heartbeatAt" IS NOT NULL) EXECUTE FUNCTION offshoot_sample_host();

-- Folds what is older than an hour into spans of 5 minutes, and drops what is older than a day.
CREATE FUNCTION offshoot_thin_samples() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH old AS (
        DELETE FROM "host_sample" WHERE "seconds" = 30 AND "at" < date_bin('5 minutes', clock_timestamp(), 'epoch') - interval '1 hour' RETURNING *)
    INSERT INTO "host_sample" AS s ("hostId", "seconds", "at", "beats", "load", "memoryFreeBytes", "storeFreeBytes", "running")
    SELECT "hostId", 300, date_bin('5 minutes', "at", 'epoch') AS bin, sum("beats"), max("load"), min("memoryFreeBytes"), min("storeFreeBytes"), max("running")
    FROM old GROUP BY "hostId", bin
    ON CONFLICT ("hostId", "seconds", "at") DO UPDATE SET "beats" = s."beats" + EXCLUDED."beats",
        "load" = GREATEST(s."load", EXCLUDED."load"),
        "memoryFreeBytes" = LEAST(s."memoryFreeBytes", EXCLUDED."memoryFreeBytes"),
        "storeFreeBytes" = LEAST(s."storeFreeBytes", EXCLUDED."storeFreeBytes"),
        "running" = GREATEST(s."running", EXCLUDED."running");
    DELETE FROM "host_sample" WHERE "seconds" = 300 AND "at" < clock_timestamp() - interval '24 hours';
$$;

-- What must be unique of each guest, kept beside it: working it out of all guests at every look took 0.2 s for 10,000.
CREATE TABLE "guest_identity" (
    "guestId" UUID NOT NULL,
    "field" TEXT NOT NULL,
    "value" TEXT NOT NULL,

    CONSTRAINT "guest_identity_pkey" PRIMARY KEY ("guestId", "field", "value")
);
CREATE INDEX "guest_identity_field_value_idx" ON "guest_identity"("field", "value");
ALTER TABLE "guest_identity" ADD CONSTRAINT "guest_identity_guestId_fkey" FOREIGN KEY ("guestId") REFERENCES "guest"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- As the view of the migration identity had it.
CREATE FUNCTION offshoot_identity_values(p_state text, p_uuid uuid, p_macs text[], p_attested jsonb) RETURNS TABLE ("field" text, "value" text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT DISTINCT v."field", v."value" FROM (
        SELECT 'mac'::text AS "field", lower(m) AS "value" FROM unnest(p_macs) m
        UNION ALL SELECT 'uuid', p_uuid::text
        UNION ALL SELECT 'machine-id', lower(p_attested ->> 'machineId')
        UNION ALL SELECT 'sid', p_attested ->> 'sid'
        UNION ALL SELECT 'ssh-host-key', k ->> 'fingerprint'
            FROM jsonb_array_elements(CASE WHEN jsonb_typeof(p_attested -> 'sshHostKeys') = 'array' THEN p_attested -> 'sshHostKeys' ELSE '[]' END) k
    ) v
    WHERE p_state NOT IN ('creating', 'deleting', 'missing') AND v."value" <> ''
      AND (v."field" <> 'mac' OR v."value" ~ '^([0-9a-f]{2}:){5}[0-9a-f]{2}$' AND v."value" <> '00:00:00:00:00:00')
      AND (v."field" <> 'machine-id' OR v."value" ~ '^[0-9a-f]{32}$' AND v."value" <> repeat('0', 32))
      AND (v."field" <> 'uuid' OR v."value" <> '00000000-0000-0000-0000-000000000000')
$$;

INSERT INTO "guest_identity" ("guestId", "field", "value")
SELECT g."id", v."field", v."value" FROM "guest" g CROSS JOIN LATERAL offshoot_identity_values(g."state", g."uuid", g."macs", g."attested") v;

CREATE FUNCTION offshoot_keep_identity() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM "guest_identity" i WHERE i."guestId" = NEW."id"
        AND (i."field", i."value") NOT IN (SELECT v."field", v."value" FROM offshoot_identity_values(NEW."state", NEW."uuid", NEW."macs", NEW."attested") v);
    INSERT INTO "guest_identity" ("guestId", "field", "value")
    SELECT NEW."id", v."field", v."value" FROM offshoot_identity_values(NEW."state", NEW."uuid", NEW."macs", NEW."attested") v
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER "guest_identity_added" AFTER INSERT ON "guest" FOR EACH ROW EXECUTE FUNCTION offshoot_keep_identity();
CREATE TRIGGER "guest_identity_changed" AFTER UPDATE OF "state", "uuid", "macs", "attested" ON "guest" FOR EACH ROW
    WHEN (OLD."state" IS DISTINCT FROM NEW."state" OR OLD."uuid" IS DISTINCT FROM NEW."uuid"
       OR OLD."macs" IS DISTINCT FROM NEW."macs" OR OLD."attested" IS DISTINCT FROM NEW."attested")
    EXECUTE FUNCTION offshoot_keep_identity();

CREATE OR REPLACE VIEW "identity_value" AS
    SELECT i."guestId", g."hostId", g."name", g."state", i."field", i."value"
    FROM "guest_identity" i JOIN "guest" g ON g."id" = i."guestId";
