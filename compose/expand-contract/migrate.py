"""`migrate.py FILE`: its statements, each in a transaction of its own; prints what it does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pg8000.native

db = pg8000.native.Connection("postgres", host=os.environ["DB_HOST"])
# Rather fail, and with that stop the deploy, than let every request queue up behind us.
db.run("SET lock_timeout = '3s'")
for statement in Path(sys.argv[1]).read_text().split("\n\n"):
    print(statement.strip().splitlines()[0], flush=True)
    db.run(statement)
