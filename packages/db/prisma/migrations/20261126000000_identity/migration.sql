-- What makes a guest its own machine: as decided and found by its last operation, as its agent says now, as certified.

ALTER TABLE "base" ADD COLUMN "inside" JSONB;
ALTER TABLE "guest" ADD COLUMN "identity" JSONB;
ALTER TABLE "guest" ADD COLUMN "attested" JSONB;
ALTER TABLE "guest" ADD COLUMN "attestedAt" TIMESTAMPTZ(3);

-- Outlives its guest: what was certified stays certified.
CREATE TABLE "certificate" (
    "id" UUID NOT NULL,
    "guestId" UUID,
    "operationId" UUID,
    "body" JSONB NOT NULL,
    "signature" TEXT,
    "publicKey" TEXT,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "certificate_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX "certificate_operationId_key" ON "certificate"("operationId");
CREATE INDEX "certificate_guestId_idx" ON "certificate"("guestId");
ALTER TABLE "certificate" ADD CONSTRAINT "certificate_guestId_fkey" FOREIGN KEY ("guestId") REFERENCES "guest"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "certificate" ADD CONSTRAINT "certificate_operationId_fkey" FOREIGN KEY ("operationId") REFERENCES "operation"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- Signed once, by one key: afterwards nothing of a certificate changes but the rows that it points to.
CREATE FUNCTION offshoot_keep_certificate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD."signature" IS NOT NULL AND (NEW."signature", NEW."publicKey", NEW."body", NEW."createdAt") IS DISTINCT FROM (OLD."signature", OLD."publicKey", OLD."body", OLD."createdAt") THEN
        RAISE EXCEPTION 'a signed certificate does not change';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER "certificate_signed" BEFORE UPDATE ON "certificate" FOR EACH ROW EXECUTE FUNCTION offshoot_keep_certificate();

-- What two guests share now, and since when: brought up to date with every change of the inventory that could matter.
CREATE TABLE "shared_identity" (
    "field" TEXT NOT NULL,
    "value" TEXT NOT NULL,
    "since" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "shared_identity_pkey" PRIMARY KEY ("field", "value")
);

-- All that must be unique in a fleet, one row each: what the hosts report and what agents say. Values that say "none yet"
-- are no identity.
CREATE VIEW "identity_value" AS
    SELECT DISTINCT g."id" AS "guestId", g."hostId", g."name", g."state", v."field", v."value"
    FROM "guest" g CROSS JOIN LATERAL (
        SELECT 'mac'::text AS "field", lower(m) AS "value" FROM unnest(g."macs") m
        UNION ALL SELECT 'uuid', g."uuid"::text
        UNION ALL SELECT 'machine-id', lower(g."attested" ->> 'machineId')
        UNION ALL SELECT 'sid', g."attested" ->> 'sid'
        UNION ALL SELECT 'ssh-host-key', k ->> 'fingerprint'
            FROM jsonb_array_elements(CASE WHEN jsonb_typeof(g."attested" -> 'sshHostKeys') = 'array' THEN g."attested" -> 'sshHostKeys' ELSE '[]' END) k
    ) v
    WHERE g."state" NOT IN ('creating', 'deleting', 'missing') AND v."value" <> ''
      AND (v."field" <> 'mac' OR v."value" ~ '^([0-9a-f]{2}:){5}[0-9a-f]{2}$' AND v."value" <> '00:00:00:00:00:00')
      AND (v."field" <> 'machine-id' OR v."value" ~ '^[0-9a-f]{32}$' AND v."value" <> repeat('0', 32))
      AND (v."field" <> 'uuid' OR v."value" <> '00000000-0000-0000-0000-000000000000');
