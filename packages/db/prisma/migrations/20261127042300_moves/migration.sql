-- Guests go from host to host, and out of the fleet.
ALTER TABLE "operation" DROP CONSTRAINT "operation_kind_check";
ALTER TABLE "operation" ADD CONSTRAINT "operation_kind_check" CHECK ("kind" IN (
    'clone', 'capture', 'import', 'start', 'stop', 'delete', 'remove-base',
    'refresh', 'restore', 'reset', 'snapshot', 'revert', 'remove-snapshot', 'promote', 'verify', 'transfer', 'migrate', 'export'));

-- The host that a guest goes to sees the operation that brings it.
CREATE POLICY "operation_arriving" ON "operation" FOR SELECT
    USING ("kind" = 'migrate' AND "request" ->> 'targetHostId' = (SELECT offshoot_my_host()));

-- UUIDs of guests on their way to the host: what is seen of them there is no guest of its own yet.
CREATE FUNCTION offshoot_arriving_at(p_host text) RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT g."uuid" FROM "operation" o JOIN "guest" g ON g."id" = o."guestId"
    WHERE o."kind" = 'migrate' AND o."request" ->> 'targetHostId' = p_host AND g."uuid" IS NOT NULL
      AND o."state" IN ('waiting', 'queued', 'running', 'undoing') AND (NOT offshoot_is_worker() OR p_host = offshoot_my_host())
$$;

-- Whether an operation that this transaction ends here moved that guest to that host.
CREATE FUNCTION offshoot_moves(p_guest uuid, p_to text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM "operation" o WHERE o."kind" = 'migrate' AND o."guestId" = p_guest AND o."hostId" = offshoot_my_host()
        AND o."request" ->> 'targetHostId' = p_to AND o."state" = 'finished' AND o."finishedAt" >= date_trunc('milliseconds', now()))
$$;

-- The guest's row goes to its new host, with what its plan says it owns and stands on there.
CREATE FUNCTION offshoot_settle_move(p_operation uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moved record;
BEGIN
    SELECT o."guestId" AS guest, o."request" ->> 'targetHostId' AS host, o."plan" -> 'moves' AS moves INTO moved FROM "operation" o
        WHERE o."id" = p_operation AND o."kind" = 'migrate' AND o."state" = 'finished' AND o."plan" ? 'moves'
          AND (NOT offshoot_is_worker() OR offshoot_moves(o."guestId", o."request" ->> 'targetHostId'));
    IF moved.guest IS NULL THEN RETURN; END IF;
    -- Found there by an inventory that began before it was known to be on its way.
    DELETE FROM "guest" WHERE "hostId" = moved.host AND NOT "managed" AND "uuid" = (SELECT "uuid" FROM "guest" WHERE "id" = moved.guest);
    UPDATE "guest" SET "hostId" = moved.host, "generations" = NULL, "snapshots" = NULL, "address" = NULL, "seenAt" = clock_timestamp(),
        -- Its disks are where they are there: no change by anyone else.
        "recorded" = "recorded" - 'disks',
        "ownedFiles" = ARRAY(SELECT jsonb_array_elements_text(moved.moves -> 'owned')),
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
    IF (NEW."id", NEW."ownerId") IS DISTINCT FROM (OLD."id", OLD."ownerId")
       OR NEW."hostId" IS DISTINCT FROM OLD."hostId" AND NOT offshoot_moves(NEW."id", NEW."hostId") THEN
        PERFORM offshoot_guard_refuse('whose a guest is');
    END IF;
    IF OLD."hostId" IS DISTINCT FROM offshoot_my_host() AND (to_jsonb(NEW) - 'baseId' - 'sourceGuestId') IS DISTINCT FROM (to_jsonb(OLD) - 'baseId' - 'sourceGuestId') THEN
        PERFORM offshoot_guard_refuse('another host’s guest');
    END IF;
    RETURN NEW;
END $$;
