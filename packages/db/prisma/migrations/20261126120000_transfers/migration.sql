-- Bases go from host to host.

-- Where a host's worker gives bases to others, and the key that it shows and logs in with: {address, port, key}.
ALTER TABLE "host" ADD COLUMN "peer" JSONB;
-- Its files were found not to have the digest they were sealed with; null: as far as anyone knows they have.
ALTER TABLE "base" ADD COLUMN "damagedAt" TIMESTAMPTZ(3);
CREATE INDEX "base_digest_idx" ON "base"("digest");

ALTER TABLE "operation" DROP CONSTRAINT "operation_kind_check";
ALTER TABLE "operation" ADD CONSTRAINT "operation_kind_check" CHECK ("kind" IN (
    'clone', 'capture', 'import', 'start', 'stop', 'delete', 'remove-base',
    'refresh', 'restore', 'reset', 'snapshot', 'revert', 'remove-snapshot', 'promote', 'verify', 'transfer'));
