"""Answers the queries that come on standard input, one JSON string per line: {"rows": n, "seconds": s} per line."""

import json
import sys
import time

import duckdb

files, threads = sys.argv[1], int(sys.argv[2])
connection = duckdb.connect()
# It would stand between the answers.
connection.execute("SET enable_progress_bar = false")
connection.execute(f"SET threads = {threads}")
connection.execute("SET TimeZone = 'UTC'")
connection.execute(f"CREATE VIEW signals AS SELECT * FROM read_parquet('{files}', hive_partitioning = false)")
for line in sys.stdin:
    began = time.perf_counter()
    rows = connection.execute(json.loads(line)).fetchall()
    seconds = time.perf_counter() - began
    digest = sorted([str(value) for value in row] for row in rows) if len(rows) < 10 else len(rows)
    print(json.dumps({"rows": len(rows), "seconds": seconds, "answer": str(digest)}), flush=True)
