#!/usr/bin/env python3
"""Puts a database of the oldest schema in the place of a daemon's: the same tunnels, as that schema has them.

usage: oldest_schema.py FROZEN DATABASE     FROZEN is a database of that schema; what is in it is not kept
"""

import os
import shutil
import sqlite3
import sys

frozen, database = sys.argv[1:]
old = database + ".old"
shutil.copy(frozen, old)
connection = sqlite3.connect(old, isolation_level=None)
connection.execute("ATTACH ? AS present", (database,))
connection.execute("BEGIN")
for table in ("tunnels", "open_sessions"):
    columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
    connection.execute(f"DELETE FROM main.{table}")
    connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM present.{table}")
connection.execute("COMMIT")
connection.execute("DETACH present")
connection.close()
for side in ("-wal", "-shm"):
    if os.path.exists(database + side):
        os.remove(database + side)
os.rename(old, database)
