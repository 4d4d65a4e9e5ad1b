-- Pictures and clips that events name by address: fetched, refused or failed. The files
-- themselves lie in the home's media folder, named by their hash.

CREATE TABLE media (
    url         text PRIMARY KEY,         -- as the camera's event gave it
    state       text NOT NULL CHECK (state IN ('stored', 'refused', 'failed')),
    reason      text NOT NULL DEFAULT '',
    name        text,                     -- of the file; set when stored
    bytes       bigint NOT NULL DEFAULT 0,
    tries       integer NOT NULL DEFAULT 1,
    next_try_at timestamptz,              -- of one that failed; NULL = given up
    at          timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'stored') = (name IS NOT NULL))
);
CREATE INDEX media_at ON media (at);

-- Topic filters of other vendors under which an account (a bridge) may publish and read.
ALTER TABLE broker_account ADD COLUMN topics text[] NOT NULL DEFAULT '{}';

-- The newest events that name a picture or a clip.
CREATE INDEX camera_event_media ON camera_event (time)
    WHERE snapshot_url IS NOT NULL OR clip_url IS NOT NULL;
