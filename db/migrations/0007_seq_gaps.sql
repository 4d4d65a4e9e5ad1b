-- What devices counted and we did not get: gaps in seq, and how far each device's count is known.

CREATE TABLE seq_gap (
    device    integer NOT NULL,
    first     bigint NOT NULL,
    last      bigint NOT NULL,
    opened_at timestamptz NOT NULL,        -- arrival of the message that showed it
    missing   int8multirange NOT NULL,     -- what of first..last has not come
    after_at  timestamptz NOT NULL,        -- event times of the messages around it
    before_at timestamptz NOT NULL,
    asks      integer NOT NULL DEFAULT 0,  -- times the device was asked to send again
    ask_at    timestamptz,                 -- when it is asked next
    outcome   text CHECK (outcome IN ('filled', 'lost', 'given_up')),
    closed_at timestamptz,
    PRIMARY KEY (device, first, opened_at)
);
CREATE INDEX seq_gap_open ON seq_gap (opened_at) WHERE outcome IS NULL;
CREATE INDEX seq_gap_opened ON seq_gap (opened_at);

CREATE TABLE seq_count (
    device  integer PRIMARY KEY,
    highest bigint NOT NULL,
    newest  timestamptz NOT NULL
);

-- A message put right and sent in again leaves its row here as a record.
ALTER TABLE quarantine ADD COLUMN replay_asked_at timestamptz;
ALTER TABLE quarantine ADD COLUMN replayed_at timestamptz;
CREATE INDEX quarantine_replay ON quarantine (replay_asked_at) WHERE replay_asked_at IS NOT NULL;
