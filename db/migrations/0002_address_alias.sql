-- Other texts of an address: what it was called before, and what people call it.
CREATE TABLE address_alias (
    key        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address_id text NOT NULL REFERENCES address (id) ON DELETE CASCADE,
    text       text NOT NULL CHECK (text <> ''),
    kind       text NOT NULL CHECK (kind IN ('old text', 'other name')),
    valid_from timestamptz,                -- NULL = not known
    valid_to   timestamptz,                -- NULL = still said
    CHECK (valid_to > valid_from),
    UNIQUE (address_id, text)
);

-- A text that is replaced stays findable: GB/T 30428.3 wants the history of names kept.
CREATE FUNCTION keep_old_address_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO address_alias (address_id, text, kind, valid_to) VALUES (OLD.id, OLD.text, 'old text', now())
    ON CONFLICT (address_id, text) DO UPDATE SET valid_to = excluded.valid_to;
    RETURN NULL;
END
$$;
CREATE TRIGGER address_text_changed AFTER UPDATE OF text ON address
    FOR EACH ROW WHEN (OLD.text IS DISTINCT FROM NEW.text AND OLD.text <> '')
    EXECUTE FUNCTION keep_old_address_text();
