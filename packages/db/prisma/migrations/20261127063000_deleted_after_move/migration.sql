-- A guest that was moved is named by operations of the host it came from. Its deletion lets go of them (ON DELETE SET NULL),
-- in whatever state they ended: only a change of state is held to those that a worker may cause elsewhere.
CREATE OR REPLACE FUNCTION offshoot_guard_operation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW."id", NEW."kind", NEW."hostId", NEW."lane", NEW."batchId", NEW."afterId", NEW."request", NEW."requestedById", NEW."agreedFingerprint",
        NEW."idempotencyKey", NEW."requestDigest", NEW."createdAt")
       IS DISTINCT FROM (OLD."id", OLD."kind", OLD."hostId", OLD."lane", OLD."batchId", OLD."afterId", OLD."request", OLD."requestedById", OLD."agreedFingerprint",
        OLD."idempotencyKey", OLD."requestDigest", OLD."createdAt")
       OR NEW."guestId" IS DISTINCT FROM OLD."guestId" AND NEW."guestId" IS NOT NULL THEN
        PERFORM offshoot_guard_refuse('what was asked for');
    END IF;
    IF OLD."hostId" IS DISTINCT FROM offshoot_my_host()
       AND ((to_jsonb(NEW) - '{state,error,finishedAt,cancelRequestedAt,guestId}'::text[])
            IS DISTINCT FROM (to_jsonb(OLD) - '{state,error,finishedAt,cancelRequestedAt,guestId}'::text[])
         OR NEW."state" IS DISTINCT FROM OLD."state" AND NEW."state" NOT IN ('waiting', 'queued', 'failed', 'cancelled', 'stale')) THEN
        PERFORM offshoot_guard_refuse('another host’s operation');
    END IF;
    RETURN NEW;
END $$;
