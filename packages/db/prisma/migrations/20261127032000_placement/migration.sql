-- Clones over several hosts: what they take, and what is promised to them.

-- GuestNeeds; null: not known. What is there already tells it by its definition (libvirt writes KiB).
ALTER TABLE "base" ADD COLUMN "needs" JSONB;
UPDATE "base" SET "needs" = jsonb_build_object(
    'vcpus', substring("definition" FROM '<vcpu[^>]*>([0-9]+)<')::int,
    'memoryBytes', substring("definition" FROM '<memory unit=[''"]KiB[''"]>([0-9]+)<')::bigint * 1024,
    'networks', COALESCE((SELECT jsonb_agg(DISTINCT m[1]) FROM regexp_matches("definition", '<source[^>]* network=[''"]([^''"]+)', 'g') AS m), '[]'))
  WHERE "definition" ~ '<vcpu[^>]*>[0-9]+<' AND "definition" ~ '<memory unit=[''"]KiB[''"]>[0-9]+<';

-- Held for as long as the operation has not ended: there is nothing to release, and nothing that could be forgotten.
ALTER TABLE "operation" ADD COLUMN "reserves" JSONB;
