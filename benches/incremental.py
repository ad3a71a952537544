"""Incremental models beside full builds: `benches/run incremental [--rows N]` (default: 10 million; the figure of record is 100 million).

One input of N rows, ten for each customer, and a model that aggregates it by customer; then one customer in a thousand changes. In one input the rows
of a customer lie together and the changed customers are neighbours, in the other both are anywhere. Prints what `loopline build` reports for the
contract and the model, full and incremental. Nothing here asserts; the figures are for reading.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import numpy as np

LOOPLINE = os.environ["LOOPLINE_BENCH_BINARY"]
DATA = Path(os.environ["LOOPLINE_BENCH_DATA"])
ROWS_PER_FILE = 2_000_000

FILES = {
    "connectors/plant/connector.toml": """protocol = "files"
[stream.orders]
key = ["id"]
files = { pattern = "*.parquet" }
""",
    "connectors/plant/erp.orders.sql": "select id as order_id, customer as customer_id, day, quantity from orders\n",
    "sql/erp/orders.sql": """create table orders (
  order_id bigint not null,
  customer_id bigint not null,
  day date not null,
  quantity bigint not null,
  primary key (order_id)
);
""",
    "sql/scm/by_customer.sql": """--! description = "Orders of each customer"
--! key = ["customer_id"]
--! incremental = { by = "key" }
select customer_id, count(*) as orders, sum(quantity) as quantity, max(day) as latest from erp.orders group by customer_id
""",
}


def write(folder, name, ids, customers, quantity, age_s):
    """`age_s`: a file that was written just now may not be complete and is left for the next pull; of several rows the newest file's counts."""
    day = pc.cast(pa.array((20_000 + ids % 365).astype("int32")), pa.date32())
    table = pa.table({"id": ids, "customer": customers, "day": day, "quantity": quantity})
    path = folder / f"{name}.parquet"
    pq.write_table(table, path, compression="zstd")
    os.utime(path, (time.time() - age_s,) * 2)


class Case:
    def __init__(self, name, rows, customer):
        self.root, self.rows, self.customer = DATA / f"incremental_{name}", rows, customer
        shutil.rmtree(self.root, ignore_errors=True)
        self.source = self.root / "source"
        self.source.mkdir(parents=True)
        for path, text in FILES.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        (self.root / "loopline.toml").write_text(
            f'strategy = "order-driven"\nstore = "./store"\nmemory_limit = "2GiB"\n[systems.erp]\nconnector = "plant"\n'
            f'url = "{self.source}"\nmax_age = "30d"\ntime_zone = "UTC"\n')
        for start in range(0, rows, ROWS_PER_FILE):
            ids = np.arange(start, min(start + ROWS_PER_FILE, rows))
            write(self.source, f"all-{start:012}", ids, customer(ids), ids % 97, 7_200)
        self.pull()

    def run(self, *arguments):
        done = subprocess.run([LOOPLINE, "--project", self.root, *arguments, "--json"], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def pull(self):
        self.run("pull", "erp")

    def build(self, *arguments):
        report = self.run("build", *arguments)
        return {model["table"]: model for model in report["models"]}

    def change(self, number, customers):
        """All rows of some customers get another quantity."""
        for start in range(0, self.rows, ROWS_PER_FILE):
            ids = np.arange(start, min(start + ROWS_PER_FILE, self.rows))
            ids = ids[np.isin(self.customer(ids), customers)]
            if len(ids):
                write(self.source, f"change-{number}-{start:012}", ids, self.customer(ids), ids % 97 + number, 3_600 - number)
        self.pull()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    rows = arguments.parse_args().rows
    customers = rows // 10
    share = customers // 1_000
    spread = np.random.default_rng(7)
    mixed = spread.permutation(customers)
    cases = {
        "clustered": (lambda ids: ids // 10, np.arange(customers // 2, customers // 2 + share)),
        "random": (lambda ids: mixed[ids % customers], spread.choice(customers, share, replace=False)),
    }
    for name, (customer, changed) in cases.items():
        case = Case(name, rows, customer)
        case.build()
        full = case.build("--full")
        case.change(1, changed)
        edited = case.build()
        print(f"\n{rows:,} rows, {share:,} of {customers:,} customers changed, {name}")
        for table in ("erp.orders", "scm.by_customer"):
            before, after = full[table]["seconds"], edited[table]["seconds"]
            print(f"  {table:<16} full {before:7.2f} s  incremental {after:7.2f} s  {100 * after / before:5.1f} %   {edited[table]['reason']}")
        shutil.rmtree(case.root)


main()
