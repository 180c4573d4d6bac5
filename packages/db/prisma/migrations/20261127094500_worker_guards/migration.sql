-- What one worker writes decides neither what another host deletes, nor whether the fleet keeps a template.

-- ── when an operation ended ─────────────────────────────────────────────────────────────────────────────────────────
-- Policies ask whether an operation ended in this transaction: the time is the database's, and what ended stays ended.
CREATE OR REPLACE FUNCTION offshoot_guard_operation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW."finishedAt" := NULL;
        RETURN NEW;
    END IF;
    IF (NEW."id", NEW."kind", NEW."hostId", NEW."lane", NEW."batchId", NEW."afterId", NEW."request", NEW."requestedById", NEW."agreedFingerprint",
        NEW."idempotencyKey", NEW."requestDigest", NEW."createdAt")
       IS DISTINCT FROM (OLD."id", OLD."kind", OLD."hostId", OLD."lane", OLD."batchId", OLD."afterId", OLD."request", OLD."requestedById", OLD."agreedFingerprint",
        OLD."idempotencyKey", OLD."requestDigest", OLD."createdAt")
       OR NEW."guestId" IS DISTINCT FROM OLD."guestId" AND NEW."guestId" IS NOT NULL THEN
        PERFORM offshoot_guard_refuse('what was asked for');
    END IF;
    IF OLD."state" IN ('finished', 'failed', 'cancelled', 'stale') AND NEW."state" IS DISTINCT FROM OLD."state" THEN
        PERFORM offshoot_guard_refuse('how an operation ended');
    END IF;
    NEW."finishedAt" := CASE WHEN NEW."state" NOT IN ('finished', 'failed', 'cancelled', 'stale') THEN NULL
        WHEN NEW."state" = OLD."state" THEN OLD."finishedAt" ELSE clock_timestamp() END;
    IF OLD."hostId" IS DISTINCT FROM offshoot_my_host()
       AND ((to_jsonb(NEW) - '{state,error,finishedAt,cancelRequestedAt,guestId}'::text[])
            IS DISTINCT FROM (to_jsonb(OLD) - '{state,error,finishedAt,cancelRequestedAt,guestId}'::text[])
         OR NEW."state" IS DISTINCT FROM OLD."state" AND NEW."state" NOT IN ('waiting', 'queued', 'failed', 'cancelled', 'stale')) THEN
        PERFORM offshoot_guard_refuse('another host’s operation');
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER "operation_guard" ON "operation";
CREATE TRIGGER "operation_guard" BEFORE INSERT OR UPDATE ON "operation" FOR EACH ROW WHEN (offshoot_is_worker()) EXECUTE FUNCTION offshoot_guard_operation();

-- ── guests that move ────────────────────────────────────────────────────────────────────────────────────────────────
-- Whether this very transaction ended an operation here that moved that guest to that host.
CREATE OR REPLACE FUNCTION offshoot_moves(p_guest uuid, p_to text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "operation" o WHERE o."kind" = 'migrate' AND o."guestId" = p_guest AND o."hostId" = offshoot_my_host()
        AND o."request" ->> 'targetHostId' = p_to AND o."state" = 'finished' AND o."finishedAt" >= date_trunc('milliseconds', now())
        AND o.xmin = pg_current_xact_id_if_assigned()::xid)
$$;

-- Of the files that the host it left says it owns there, those in one new folder of disks/ in the store of its host. The
-- folder is nobody else's there: no other guest owns or uses a file of it, and no operation is making one.
CREATE FUNCTION offshoot_owned_there(p_operation uuid, p_guest uuid, p_host text, p_owned jsonb) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
DECLARE
    below text := (SELECT "facts" #>> '{store,path}' FROM "host" WHERE "id" = p_host) || '/disks/';
    folder text;
BEGIN
    SELECT split_part(substr(p, length(below) + 1), '/', 1) INTO folder FROM jsonb_array_elements_text(p_owned) WITH ORDINALITY AS o(p, n)
        WHERE starts_with(p, below) AND substr(p, length(below) + 1) ~ '^[^/]+-[0-9a-f]{8}/[^/]+$' ORDER BY n LIMIT 1;
    IF folder IS NULL OR EXISTS (SELECT 1 FROM "guest" g WHERE g."hostId" = p_host AND g."id" <> p_guest
        AND (EXISTS (SELECT 1 FROM unnest(g."ownedFiles") f WHERE starts_with(f, below || folder || '/'))
          OR EXISTS (SELECT 1 FROM jsonb_path_query(g."disks", 'lax $[*].path') d WHERE starts_with(d #>> '{}', below || folder || '/'))))
       OR EXISTS (SELECT 1 FROM "operation" o WHERE o."id" <> p_operation AND o."state" IN ('waiting', 'queued', 'running', 'undoing')
        AND (o."hostId" = p_host OR o."kind" = 'migrate' AND o."request" ->> 'targetHostId' = p_host)
        AND position(folder || '/' IN o."plan"::text) > 0) THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(SELECT p FROM jsonb_array_elements_text(p_owned) WITH ORDINALITY AS o(p, n)
        WHERE starts_with(p, below || folder || '/') AND substr(p, length(below || folder) + 2) ~ '^[^/]+$'
          AND substr(p, length(below || folder) + 2) NOT IN ('.', '..') ORDER BY n);
END $$;

-- The guest's row goes from the host that moved it to its new host, with what it owns and stands on there.
CREATE OR REPLACE FUNCTION offshoot_settle_move(p_operation uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moved record;
BEGIN
    SELECT o."guestId" AS guest, o."request" ->> 'targetHostId' AS host, o."plan" -> 'moves' AS moves INTO moved FROM "operation" o
        JOIN "guest" g ON g."id" = o."guestId" AND g."hostId" = o."hostId"
        WHERE o."id" = p_operation AND o."kind" = 'migrate' AND o."state" = 'finished' AND o."plan" ? 'moves'
          AND (NOT offshoot_is_worker() OR offshoot_moves(o."guestId", o."request" ->> 'targetHostId'));
    IF moved.guest IS NULL THEN RETURN; END IF;
    -- Found there by an inventory that began before it was known to be on its way.
    DELETE FROM "guest" WHERE "hostId" = moved.host AND NOT "managed" AND "uuid" = (SELECT "uuid" FROM "guest" WHERE "id" = moved.guest);
    UPDATE "guest" SET "hostId" = moved.host, "generations" = NULL, "snapshots" = NULL, "address" = NULL, "seenAt" = clock_timestamp(),
        -- Its disks are where they are there: no change by anyone else.
        "recorded" = "recorded" - 'disks',
        "ownedFiles" = offshoot_owned_there(p_operation, moved.guest, moved.host, moved.moves -> 'owned'),
        "mode" = CASE WHEN moved.moves ? 'baseDigest' OR "mode" IS NULL THEN "mode" ELSE 'full' END,
        "baseId" = (SELECT b."id" FROM "base" b WHERE b."hostId" = moved.host AND b."digest" = moved.moves ->> 'baseDigest')
    WHERE "id" = moved.guest;
END $$;

CREATE OR REPLACE FUNCTION offshoot_guard_guest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW."ownerId" IS NOT NULL OR NEW."managed" THEN PERFORM offshoot_guard_refuse('whose a guest is'); END IF;
        RETURN NEW;
    END IF;
    -- To another host by offshoot_settle_move only, which runs as the owner of the tables.
    IF (NEW."id", NEW."ownerId") IS DISTINCT FROM (OLD."id", OLD."ownerId")
       OR NEW."hostId" IS DISTINCT FROM OLD."hostId" AND (row_security_active('"guest"'::regclass) OR NOT offshoot_moves(NEW."id", NEW."hostId")) THEN
        PERFORM offshoot_guard_refuse('whose a guest is');
    END IF;
    IF OLD."hostId" IS DISTINCT FROM offshoot_my_host() AND (to_jsonb(NEW) - 'baseId' - 'sourceGuestId') IS DISTINCT FROM (to_jsonb(OLD) - 'baseId' - 'sourceGuestId') THEN
        PERFORM offshoot_guard_refuse('another host’s guest');
    END IF;
    RETURN NEW;
END $$;

-- ── versions, and copies that are damaged ───────────────────────────────────────────────────────────────────────────
CREATE FUNCTION offshoot_is_elsewhere(p_base uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "base" b JOIN "base" o ON o."digest" = b."digest" AND o."hostId" <> b."hostId" WHERE b."id" = p_base)
$$;
-- A version goes with its last copy only.
DROP POLICY "version_end" ON "template_version";
CREATE POLICY "version_end" ON "template_version" FOR DELETE USING (offshoot_is_my_base("baseId") AND NOT offshoot_is_elsewhere("baseId"));

-- Whether a transfer of that content to here is being performed, or was ended by this very transaction.
CREATE OR REPLACE FUNCTION offshoot_fetches(p_digest text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "operation" o WHERE o."kind" = 'transfer' AND o."hostId" = offshoot_my_host()
        AND o."request" ->> 'digest' = p_digest AND o."claimToken" IS NOT NULL AND (o."state" IN ('running', 'undoing')
          OR o."finishedAt" >= date_trunc('milliseconds', now()) AND o.xmin = pg_current_xact_id_if_assigned()::xid))
$$;
-- Whether a copy is whole, as far as anyone knows, on a third host: neither that one nor the worker's own. Two that ask for
-- the same content take turns; volatile, so that it sees what the other, or this very statement, marked before.
CREATE FUNCTION offshoot_is_whole_on_a_third(p_digest text, p_host text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7067467, hashtext(p_digest));
    RETURN EXISTS (SELECT 1 FROM "base" b WHERE b."digest" = p_digest AND b."damagedAt" IS NULL AND b."hostId" NOT IN (p_host, offshoot_my_host()));
END $$;

CREATE OR REPLACE FUNCTION offshoot_guard_base() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW."id", NEW."hostId", NEW."digest") IS DISTINCT FROM (OLD."id", OLD."hostId", OLD."digest")
       OR OLD."hostId" IS DISTINCT FROM offshoot_my_host() AND ((to_jsonb(NEW) - 'damagedAt') IS DISTINCT FROM (to_jsonb(OLD) - 'damagedAt')
         OR OLD."damagedAt" IS NOT NULL AND NEW."damagedAt" IS DISTINCT FROM OLD."damagedAt") THEN
        PERFORM offshoot_guard_refuse('another host’s base');
    END IF;
    IF OLD."hostId" IS DISTINCT FROM offshoot_my_host() AND NEW."damagedAt" IS NOT NULL AND OLD."damagedAt" IS NULL THEN
        -- Left as it is, without an error: what found it may end all the same.
        IF NOT offshoot_is_whole_on_a_third(OLD."digest", OLD."hostId") THEN RETURN NULL; END IF;
        NEW."damagedAt" := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;
