-- How a worker on another machine reaches its host, and the host key that was pinned when it joined: {target, hostKey}.
ALTER TABLE "worker" ADD COLUMN "via" JSONB;
