-- One statement: no request meets a table without the trigger but with the old column, which must not be empty.
DO $$
BEGIN
    DROP TRIGGER IF EXISTS people_in_step ON people;
    DROP FUNCTION IF EXISTS people_in_step;
    ALTER TABLE people DROP COLUMN IF EXISTS name;
END $$;

-- What the old column promised.
ALTER TABLE people ALTER COLUMN full_name SET NOT NULL;
