-- Differential and memory clones, snapshots, verification.

ALTER TABLE "guest" ADD COLUMN "generations" JSONB;
ALTER TABLE "guest" ADD COLUMN "snapshots" JSONB;
ALTER TABLE "guest" ADD COLUMN "verified" JSONB;
ALTER TABLE "base" ADD COLUMN "memory" JSONB;

ALTER TABLE "guest" DROP CONSTRAINT "guest_mode_check";
ALTER TABLE "guest" ADD CONSTRAINT "guest_mode_check" CHECK ("mode" IN ('full', 'linked', 'memory'));
ALTER TABLE "operation" DROP CONSTRAINT "operation_kind_check";
ALTER TABLE "operation" ADD CONSTRAINT "operation_kind_check" CHECK ("kind" IN (
    'clone', 'capture', 'import', 'start', 'stop', 'delete', 'remove-base',
    'refresh', 'restore', 'reset', 'snapshot', 'revert', 'remove-snapshot', 'promote', 'verify'));
