-- Progress and log lines wait for the disk like every other event. They did not, as losing one costs nothing; but a
-- follower that was told of event N has its cursor at N, and after a crash of PostgreSQL which forgot N (and that N was
-- handed out) a later event could get an id at or below N: a state change that this follower would never see.

CREATE OR REPLACE FUNCTION offshoot_progress(p_id uuid, p_token uuid, p_index int, p_progress jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_host text;
    v_guest uuid;
BEGIN
    UPDATE "operation" o SET "steps" = jsonb_set(o."steps", ARRAY[p_index::text, 'progress'], p_progress)
    WHERE o."id" = p_id AND o."claimToken" = p_token AND o."state" = 'running'
      AND o."steps" -> p_index ->> 'state' = 'running'
    RETURNING o."hostId", o."guestId" INTO v_host, v_guest;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO "event" ("at", "operationId", "hostId", "guestId", "data") VALUES (clock_timestamp(), p_id, v_host, v_guest,
        jsonb_build_object('type', 'progress', 'index', p_index, 'progress', p_progress));
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION offshoot_log(p_id uuid, p_token uuid, p_lines jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_host text;
    v_guest uuid;
BEGIN
    SELECT "hostId", "guestId" INTO v_host, v_guest FROM "operation" WHERE "id" = p_id AND "claimToken" = p_token;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO "event" ("at", "operationId", "hostId", "guestId", "data")
        SELECT clock_timestamp(), p_id, v_host, v_guest,
               jsonb_build_object('type', 'log', 'index', l.value -> 'index', 'line', l.value -> 'line')
        FROM jsonb_array_elements(p_lines) WITH ORDINALITY l ORDER BY l.ordinality;
    RETURN true;
END $$;
