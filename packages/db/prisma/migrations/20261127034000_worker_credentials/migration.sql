-- Each worker signs in with a role of its own and can touch its own host's rows only. The portal's role owns the tables,
-- so none of this binds it. Workers' roles are made when they join; what they are granted is in src/workers.ts.

CREATE TABLE "worker" (
    "id" UUID NOT NULL,
    "role" TEXT NOT NULL,
    "hostId" TEXT NOT NULL,
    "machine" TEXT,
    "queueHash" TEXT NOT NULL,
    "joinedAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "revokedAt" TIMESTAMPTZ(3),

    CONSTRAINT "worker_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX "worker_role_key" ON "worker"("role");
CREATE INDEX "worker_hostId_idx" ON "worker"("hostId");
ALTER TABLE "worker" ADD CONSTRAINT "worker_hostId_fkey" FOREIGN KEY ("hostId") REFERENCES "host"("id") ON DELETE CASCADE ON UPDATE CASCADE;
-- One worker a host.
CREATE UNIQUE INDEX "worker_serving_key" ON "worker"("hostId") WHERE "revokedAt" IS NULL;

CREATE TABLE "join_token" (
    "id" UUID NOT NULL,
    "hash" TEXT NOT NULL,
    "hostId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "createdById" TEXT,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expiresAt" TIMESTAMPTZ(3) NOT NULL,
    "usedAt" TIMESTAMPTZ(3),

    CONSTRAINT "join_token_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX "join_token_hash_key" ON "join_token"("hash");
CREATE INDEX "join_token_hostId_idx" ON "join_token"("hostId");

-- serving: all is well; draining: it is asked for nothing new and finishes what it was asked for; maintenance: it begins
-- nothing either.
ALTER TABLE "host" ADD COLUMN "duty" TEXT NOT NULL DEFAULT 'serving';
ALTER TABLE "host" ADD CONSTRAINT "host_duty_check" CHECK ("duty" IN ('serving', 'draining', 'maintenance'));

-- What workers may rely on in this database. A migration that changes it gives another number; workers of another one then
-- say so and don't begin.
CREATE FUNCTION offshoot_protocol() RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 1 $$;

-- ── who asks ────────────────────────────────────────────────────────────────────────────────────────────────────────
-- Functions that look past row-level security run as their owner; who signed in is session_user, also in there.

-- The host that the session's worker serves; null for the portal, and for a worker that was revoked.
CREATE FUNCTION offshoot_my_host() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT w."hostId" FROM "worker" w WHERE w."role" = session_user AND w."revokedAt" IS NULL
$$;
-- A revoked worker's open session is bound by the guards below too.
CREATE FUNCTION offshoot_is_worker() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "worker" w WHERE w."role" = session_user)
$$;
CREATE FUNCTION offshoot_is_mine(p_operation uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "operation" o WHERE o."id" = p_operation AND o."hostId" = offshoot_my_host())
$$;
CREATE FUNCTION offshoot_is_my_guest(p_guest uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "guest" g WHERE g."id" = p_guest AND g."hostId" = offshoot_my_host())
$$;
CREATE FUNCTION offshoot_is_my_base(p_base uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "base" b WHERE b."id" = p_base AND b."hostId" = offshoot_my_host())
$$;
-- A row reserved for a clone elsewhere that this transaction lets go, or wakes, because what it waited for ended here.
CREATE FUNCTION offshoot_waits_for_me(p_guest uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "operation" o JOIN "operation" a ON a."id" = o."afterId" JOIN "guest" g ON g."id" = o."guestId"
        WHERE o."guestId" = p_guest AND g."state" = 'creating' AND a."hostId" = offshoot_my_host() AND o."startedAt" IS NULL
          AND (o."state" IN ('waiting', 'queued') OR o."finishedAt" >= date_trunc('milliseconds', now())))
$$;
-- Copies of what a template shows, of what is here too, and of what is on its way here or from here.
CREATE FUNCTION offshoot_concerns_me(p_digest text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT offshoot_my_host() IS NOT NULL AND (
        EXISTS (SELECT 1 FROM "template_version" v JOIN "base" b ON b."id" = v."baseId" WHERE b."digest" = p_digest)
        OR EXISTS (SELECT 1 FROM "base" b WHERE b."digest" = p_digest AND b."hostId" = offshoot_my_host())
        OR EXISTS (SELECT 1 FROM "operation" o WHERE o."kind" = 'transfer' AND o."hostId" = offshoot_my_host() AND o."request" ->> 'digest' = p_digest))
$$;
CREATE FUNCTION offshoot_fetches(p_digest text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "operation" o WHERE o."kind" = 'transfer' AND o."hostId" = offshoot_my_host()
        AND o."request" ->> 'digest' = p_digest AND o."finishedAt" >= date_trunc('milliseconds', now()))
$$;
CREATE FUNCTION offshoot_is_damaged_here(p_digest text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "base" b WHERE b."digest" = p_digest AND b."hostId" = offshoot_my_host() AND b."damagedAt" IS NOT NULL)
$$;
-- Whether an operation that this transaction ends here was asked to make a version of that template.
CREATE FUNCTION offshoot_publishes(p_name text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "operation" o WHERE o."hostId" = offshoot_my_host() AND o."finishedAt" >= date_trunc('milliseconds', now())
        AND (o."kind" = 'import' AND o."request" ->> 'template' = p_name OR o."kind" = 'capture' AND o."request" -> 'template' ->> 'name' = p_name))
$$;
CREATE FUNCTION offshoot_publishes_in(p_template uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT COALESCE((SELECT offshoot_publishes(t."name") FROM "template" t WHERE t."id" = p_template), false)
$$;
-- An event is of an own operation, or of one that waited for it, and names that operation's host.
CREATE FUNCTION offshoot_may_tell(p_operation uuid, p_host text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "operation" o LEFT JOIN "operation" a ON a."id" = o."afterId"
        WHERE o."id" = p_operation AND o."hostId" = p_host AND (o."hostId" = offshoot_my_host() OR a."hostId" = offshoot_my_host()))
$$;

-- ── what a worker needs to know of the rest of the fleet ────────────────────────────────────────────────────────────
-- MACs of the guests of all other hosts.
CREATE FUNCTION offshoot_macs_elsewhere(p_host text) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT lower(m) FROM "guest" g CROSS JOIN LATERAL unnest(g."macs") m WHERE g."hostId" <> p_host
$$;
-- How consistent the content of a base is, as the operation said that made it, on whatever host.
CREATE FUNCTION offshoot_consistency(p_digest text) RETURNS TABLE ("consistency" text, "note" text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT o."result" ->> 'consistency', o."result" ->> 'consistencyNote' FROM "operation" o
    WHERE o."kind" IN ('capture', 'import') AND o."state" = 'finished' AND o."result" -> 'base' ->> 'digest' = p_digest
    ORDER BY o."id" DESC LIMIT 1
$$;
-- Remembers since when each value is shared, and forgets those that are not any more.
CREATE FUNCTION offshoot_note_shared() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH shared AS (SELECT "field", "value" FROM "identity_value" GROUP BY "field", "value" HAVING count(DISTINCT "guestId") > 1),
    gone AS (DELETE FROM "shared_identity" s WHERE NOT EXISTS (SELECT 1 FROM shared x WHERE x."field" = s."field" AND x."value" = s."value"))
    INSERT INTO "shared_identity" ("field", "value", "since") SELECT "field", "value", clock_timestamp() FROM shared
    ON CONFLICT DO NOTHING
$$;

-- ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE "worker" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "join_token" ENABLE ROW LEVEL SECURITY;

-- The directory of the fleet: names, addresses and public keys.
ALTER TABLE "host" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "host_read" ON "host" FOR SELECT USING ((SELECT offshoot_my_host()) IS NOT NULL);
CREATE POLICY "host_add" ON "host" FOR INSERT WITH CHECK ("id" = (SELECT offshoot_my_host()));
CREATE POLICY "host_change" ON "host" FOR UPDATE USING ("id" = (SELECT offshoot_my_host()));

ALTER TABLE "operation" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "operation_read" ON "operation" FOR SELECT USING ("hostId" = (SELECT offshoot_my_host())
    OR ("kind" = 'transfer' AND "request" -> 'sources' ? (SELECT offshoot_my_host()))
    OR ("afterId" IS NOT NULL AND offshoot_is_mine("afterId")));
-- What follows by itself: a clone that read through too many files is made whole, a base that nobody needs goes, a damaged
-- copy is fetched again.
CREATE POLICY "operation_add" ON "operation" FOR INSERT WITH CHECK ("hostId" = (SELECT offshoot_my_host())
    AND "requestedById" IS NULL AND "state" IN ('waiting', 'queued')
    AND ("kind" = 'promote' AND offshoot_is_my_guest("guestId")
      OR "kind" = 'remove-base' AND offshoot_is_my_base(("request" ->> 'baseId')::uuid)
      OR "kind" = 'transfer' AND offshoot_is_damaged_here("request" ->> 'digest')));
CREATE POLICY "operation_change" ON "operation" FOR UPDATE USING ("hostId" = (SELECT offshoot_my_host())
    OR ("state" = 'waiting' AND "afterId" IS NOT NULL AND offshoot_is_mine("afterId")))
    WITH CHECK ("hostId" = (SELECT offshoot_my_host()) OR ("afterId" IS NOT NULL AND offshoot_is_mine("afterId")));

ALTER TABLE "guest" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "guest_own" ON "guest" USING ("hostId" = (SELECT offshoot_my_host()));
CREATE POLICY "guest_waits_read" ON "guest" FOR SELECT USING ("state" = 'creating' AND offshoot_waits_for_me("id"));
CREATE POLICY "guest_waits_change" ON "guest" FOR UPDATE USING ("state" = 'creating' AND offshoot_waits_for_me("id"));
CREATE POLICY "guest_waits_end" ON "guest" FOR DELETE USING ("state" = 'creating' AND offshoot_waits_for_me("id"));

ALTER TABLE "base" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "base_own" ON "base" USING ("hostId" = (SELECT offshoot_my_host()));
CREATE POLICY "base_read" ON "base" FOR SELECT USING (offshoot_concerns_me("digest"));
CREATE POLICY "base_damaged" ON "base" FOR UPDATE USING (offshoot_fetches("digest"));

-- The catalog is everyone's to read.
ALTER TABLE "template" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "template_read" ON "template" FOR SELECT USING ((SELECT offshoot_my_host()) IS NOT NULL);
CREATE POLICY "template_add" ON "template" FOR INSERT WITH CHECK (offshoot_publishes("name"));
CREATE POLICY "template_change" ON "template" FOR UPDATE USING (offshoot_publishes("name"));
CREATE POLICY "template_empty" ON "template" FOR DELETE USING ((SELECT offshoot_my_host()) IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM "template_version" v WHERE v."templateId" = "template"."id"));
ALTER TABLE "template_version" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "version_read" ON "template_version" FOR SELECT USING ((SELECT offshoot_my_host()) IS NOT NULL);
CREATE POLICY "version_add" ON "template_version" FOR INSERT WITH CHECK (offshoot_is_my_base("baseId") AND offshoot_publishes_in("templateId"));
CREATE POLICY "version_change" ON "template_version" FOR UPDATE USING (offshoot_is_my_base("baseId")) WITH CHECK (true);
CREATE POLICY "version_end" ON "template_version" FOR DELETE USING (offshoot_is_my_base("baseId"));

ALTER TABLE "event" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "event_add" ON "event" FOR INSERT WITH CHECK (
    CASE WHEN "operationId" IS NOT NULL THEN offshoot_may_tell("operationId", "hostId")
         -- "Read these rows again" harms nobody, and a clone that waits elsewhere may have ended with what ended here.
         ELSE "hostId" = (SELECT offshoot_my_host()) OR ((SELECT offshoot_my_host()) IS NOT NULL AND "data" ->> 'type' = 'inventory') END);

ALTER TABLE "certificate" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "certificate_read" ON "certificate" FOR SELECT USING (offshoot_is_mine("operationId"));
CREATE POLICY "certificate_add" ON "certificate" FOR INSERT WITH CHECK (
    "signature" IS NULL AND offshoot_is_mine("operationId") AND offshoot_is_my_guest("guestId"));

ALTER TABLE "shared_identity" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "user" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "session" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "account" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "verification" ENABLE ROW LEVEL SECURITY;

-- ── columns: what a policy can't say, because it sees a row before or after, not both ───────────────────────────────
CREATE FUNCTION offshoot_guard_refuse(p_what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a worker may not change %', p_what USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION offshoot_guard_operation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW."id", NEW."kind", NEW."hostId", NEW."lane", NEW."batchId", NEW."afterId", NEW."request", NEW."requestedById", NEW."agreedFingerprint",
        NEW."idempotencyKey", NEW."requestDigest", NEW."createdAt")
       IS DISTINCT FROM (OLD."id", OLD."kind", OLD."hostId", OLD."lane", OLD."batchId", OLD."afterId", OLD."request", OLD."requestedById", OLD."agreedFingerprint",
        OLD."idempotencyKey", OLD."requestDigest", OLD."createdAt")
       OR NEW."guestId" IS DISTINCT FROM OLD."guestId" AND NEW."guestId" IS NOT NULL THEN
        PERFORM offshoot_guard_refuse('what was asked for');
    END IF;
    IF OLD."hostId" IS DISTINCT FROM offshoot_my_host() AND (to_jsonb(NEW) - '{state,error,finishedAt,cancelRequestedAt,guestId}'::text[])
       IS DISTINCT FROM (to_jsonb(OLD) - '{state,error,finishedAt,cancelRequestedAt,guestId}'::text[])
       OR OLD."hostId" IS DISTINCT FROM offshoot_my_host() AND NEW."state" NOT IN ('waiting', 'queued', 'failed', 'cancelled', 'stale') THEN
        PERFORM offshoot_guard_refuse('another host’s operation');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER "operation_guard" BEFORE UPDATE ON "operation" FOR EACH ROW WHEN (offshoot_is_worker()) EXECUTE FUNCTION offshoot_guard_operation();

CREATE FUNCTION offshoot_guard_guest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW."ownerId" IS NOT NULL OR NEW."managed" THEN PERFORM offshoot_guard_refuse('whose a guest is'); END IF;
        RETURN NEW;
    END IF;
    IF (NEW."id", NEW."hostId", NEW."ownerId") IS DISTINCT FROM (OLD."id", OLD."hostId", OLD."ownerId") THEN
        PERFORM offshoot_guard_refuse('whose a guest is');
    END IF;
    IF OLD."hostId" IS DISTINCT FROM offshoot_my_host() AND (to_jsonb(NEW) - 'baseId' - 'sourceGuestId') IS DISTINCT FROM (to_jsonb(OLD) - 'baseId' - 'sourceGuestId') THEN
        PERFORM offshoot_guard_refuse('another host’s guest');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER "guest_guard" BEFORE INSERT OR UPDATE ON "guest" FOR EACH ROW WHEN (offshoot_is_worker()) EXECUTE FUNCTION offshoot_guard_guest();

CREATE FUNCTION offshoot_guard_base() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW."id", NEW."hostId", NEW."digest") IS DISTINCT FROM (OLD."id", OLD."hostId", OLD."digest")
       OR OLD."hostId" IS DISTINCT FROM offshoot_my_host() AND (to_jsonb(NEW) - 'damagedAt') IS DISTINCT FROM (to_jsonb(OLD) - 'damagedAt') THEN
        PERFORM offshoot_guard_refuse('another host’s base');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER "base_guard" BEFORE UPDATE ON "base" FOR EACH ROW WHEN (offshoot_is_worker()) EXECUTE FUNCTION offshoot_guard_base();

CREATE FUNCTION offshoot_guard_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW."id", NEW."templateId", NEW."number") IS DISTINCT FROM (OLD."id", OLD."templateId", OLD."number")
       OR (SELECT b."digest" FROM "base" b WHERE b."id" = NEW."baseId") IS DISTINCT FROM (SELECT b."digest" FROM "base" b WHERE b."id" = OLD."baseId") THEN
        PERFORM offshoot_guard_refuse('what a template version is');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER "version_guard" BEFORE UPDATE ON "template_version" FOR EACH ROW WHEN (offshoot_is_worker()) EXECUTE FUNCTION offshoot_guard_version();

CREATE FUNCTION offshoot_guard_host() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW."id", NEW."name", NEW."duty", NEW."createdAt") IS DISTINCT FROM (OLD."id", OLD."name", OLD."duty", OLD."createdAt") THEN
        PERFORM offshoot_guard_refuse('what a host is called and whether it serves');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER "host_guard" BEFORE UPDATE ON "host" FOR EACH ROW WHEN (offshoot_is_worker()) EXECUTE FUNCTION offshoot_guard_host();
