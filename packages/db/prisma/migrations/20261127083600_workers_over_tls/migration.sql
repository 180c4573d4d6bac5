-- Workers reach each other by TLS: one that speaks SSH to the others says that it is too old and does not begin.
CREATE OR REPLACE FUNCTION offshoot_protocol() RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 2 $$;
