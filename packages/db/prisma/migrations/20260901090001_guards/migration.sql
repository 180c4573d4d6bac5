-- What schema.prisma can't express: allowed values, an append-only event log in commit order, cheap journal writes.

-- ── allowed values ──────────────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE "host" ADD CONSTRAINT "host_kind_check" CHECK ("kind" IN ('libvirt', 'simulated'));
ALTER TABLE "guest" ADD CONSTRAINT "guest_state_check"
    CHECK ("state" IN ('creating', 'stopped', 'running', 'paused', 'deleting', 'missing'));
ALTER TABLE "guest" ADD CONSTRAINT "guest_mode_check" CHECK ("mode" IN ('full', 'linked'));
ALTER TABLE "operation" ADD CONSTRAINT "operation_kind_check"
    CHECK ("kind" IN ('clone', 'capture', 'import', 'start', 'stop', 'delete', 'remove-base'));
ALTER TABLE "operation" ADD CONSTRAINT "operation_state_check"
    CHECK ("state" IN ('waiting', 'queued', 'running', 'undoing', 'finished', 'failed', 'cancelled', 'stale'));
ALTER TABLE "operation" ADD CONSTRAINT "operation_lane_check" CHECK ("lane" IN ('interactive', 'bulk'));
ALTER TABLE "operation" ADD CONSTRAINT "operation_ended_check"
    CHECK (("state" IN ('finished', 'failed', 'cancelled', 'stale')) = ("finishedAt" IS NOT NULL));

-- ── events: append-only, ids in commit order ────────────────────────────────────────────────────────────────────────
-- Statement triggers run before the row's id is drawn, and the lock is held until the commit is visible: whoever has
-- read id N can never later meet an id below N. Insert events last in a transaction: nothing may wait under this lock.
CREATE FUNCTION offshoot_event_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7067461, 1);
    RETURN NULL;
END $$;
CREATE TRIGGER "event_order" BEFORE INSERT ON "event" FOR EACH STATEMENT EXECUTE FUNCTION offshoot_event_order();

CREATE FUNCTION offshoot_event_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('offshoot_event', '');
    RETURN NULL;
END $$;
CREATE TRIGGER "event_notify" AFTER INSERT ON "event" FOR EACH STATEMENT EXECUTE FUNCTION offshoot_event_notify();

CREATE FUNCTION offshoot_event_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('offshoot.purging', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'the event log is append-only' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER "event_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "event"
    FOR EACH STATEMENT EXECUTE FUNCTION offshoot_event_append_only();

-- Maintenance: drops events of operations that ended before the given time, and host events as old. Returns how many.
CREATE FUNCTION offshoot_purge_events(p_before timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM set_config('offshoot.purging', 'on', true);
    DELETE FROM "event" e WHERE e."at" < p_before AND NOT EXISTS (
        SELECT 1 FROM "operation" o WHERE o."id" = e."operationId" AND (o."finishedAt" IS NULL OR o."finishedAt" >= p_before));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM set_config('offshoot.purging', 'off', true);
    RETURN v_count;
END $$;

-- ── journal: one round trip per write, fenced by the claim ──────────────────────────────────────────────────────────
-- Each returns whether the claim still holds. The row is changed before the event is inserted (see above).
CREATE FUNCTION offshoot_step(
    p_id uuid, p_token uuid, p_expected text, p_index int, p_status jsonb,
    p_next int, p_result jsonb, p_undone text, p_left text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_host text;
    v_guest uuid;
    v_status jsonb;
BEGIN
    UPDATE "operation" o SET
        "steps" = jsonb_set(o."steps", ARRAY[p_index::text],
            CASE WHEN p_status ->> 'state' = 'running'
                 THEN p_status
                 ELSE (o."steps" -> p_index) || p_status END),
        "nextStep" = COALESCE(p_next, o."nextStep"),
        "result" = CASE WHEN p_result IS NULL THEN o."result" ELSE COALESCE(o."result", '{}'::jsonb) || p_result END,
        "undo" = CASE WHEN p_undone IS NULL AND p_left IS NULL THEN o."undo" ELSE jsonb_build_object(
            'undone', COALESCE(o."undo" -> 'undone', '[]'::jsonb)
                || CASE WHEN p_undone IS NULL THEN '[]'::jsonb ELSE jsonb_build_array(p_undone) END,
            'leftBehind', COALESCE(o."undo" -> 'leftBehind', '[]'::jsonb)
                || CASE WHEN p_left IS NULL THEN '[]'::jsonb ELSE jsonb_build_array(p_left) END) END
    WHERE o."id" = p_id AND o."claimToken" = p_token AND o."state" = p_expected
    RETURNING o."hostId", o."guestId", o."steps" -> p_index INTO v_host, v_guest, v_status;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO "event" ("at", "operationId", "hostId", "guestId", "data") VALUES (clock_timestamp(), p_id, v_host, v_guest,
        jsonb_build_object('type', 'step', 'index', p_index, 'status', v_status));
    RETURN true;
END $$;

CREATE FUNCTION offshoot_undo_started(p_id uuid, p_token uuid, p_reason jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_host text;
    v_guest uuid;
BEGIN
    UPDATE "operation" SET "state" = 'undoing', "undoReason" = p_reason
    WHERE "id" = p_id AND "claimToken" = p_token AND "state" IN ('running', 'undoing')
    RETURNING "hostId", "guestId" INTO v_host, v_guest;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO "event" ("at", "operationId", "hostId", "guestId", "data") VALUES (clock_timestamp(), p_id, v_host, v_guest,
        jsonb_strip_nulls(jsonb_build_object('type', 'state', 'state', 'undoing', 'error', p_reason -> 'error')));
    RETURN true;
END $$;

-- Progress and log lines may be lost with a crash of PostgreSQL, so they don't wait for the disk.
CREATE FUNCTION offshoot_progress(p_id uuid, p_token uuid, p_index int, p_progress jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_host text;
    v_guest uuid;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE "operation" o SET "steps" = jsonb_set(o."steps", ARRAY[p_index::text, 'progress'], p_progress)
    WHERE o."id" = p_id AND o."claimToken" = p_token AND o."state" = 'running'
      AND o."steps" -> p_index ->> 'state' = 'running'
    RETURNING o."hostId", o."guestId" INTO v_host, v_guest;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO "event" ("at", "operationId", "hostId", "guestId", "data") VALUES (clock_timestamp(), p_id, v_host, v_guest,
        jsonb_build_object('type', 'progress', 'index', p_index, 'progress', p_progress));
    RETURN true;
END $$;

CREATE FUNCTION offshoot_log(p_id uuid, p_token uuid, p_lines jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_host text;
    v_guest uuid;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT "hostId", "guestId" INTO v_host, v_guest FROM "operation" WHERE "id" = p_id AND "claimToken" = p_token;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO "event" ("at", "operationId", "hostId", "guestId", "data")
        SELECT clock_timestamp(), p_id, v_host, v_guest,
               jsonb_build_object('type', 'log', 'index', l.value -> 'index', 'line', l.value -> 'line')
        FROM jsonb_array_elements(p_lines) WITH ORDINALITY l ORDER BY l.ordinality;
    RETURN true;
END $$;
