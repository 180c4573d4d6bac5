-- Guests that others made can be adopted; what was changed past Offshoot is seen, not mended.

-- RecordedDefinition: what the guest's definition was when Offshoot last took note of it.
ALTER TABLE "guest" ADD COLUMN "recorded" JSONB;
ALTER TABLE "guest" ADD COLUMN "adoptedAt" TIMESTAMPTZ(3);
