"""Pulls beside their peers: `benches/run pull CASE…` (all cases without a name).

Every case interleaves its contestants, each in a process of its own, and prints medians: seconds on the clock, CPU seconds of the process itself
(not of the database server), peak memory, and the ratio to Loopline. Nothing here asserts; the figures are for reading.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from measure import contest, timed

LOOPLINE = os.environ["LOOPLINE_BENCH_BINARY"]
POSTGRES = os.environ.get("LOOPLINE_BENCH_POSTGRES", "")
MARIADB = os.environ.get("LOOPLINE_BENCH_MARIADB", "")
DATA = Path(os.environ["LOOPLINE_BENCH_DATA"])

LINEITEM = """create table lineitem (
  l_orderkey bigint not null, l_partkey bigint not null, l_suppkey bigint not null, l_linenumber int not null,
  l_quantity decimal(15,2) not null, l_extendedprice decimal(15,2) not null, l_discount decimal(15,2) not null, l_tax decimal(15,2) not null,
  l_returnflag char(1) not null, l_linestatus char(1) not null, l_shipdate date not null, l_commitdate date not null, l_receiptdate date not null,
  l_shipinstruct char(25) not null, l_shipmode char(10) not null, l_comment varchar(44) not null, primary key (l_orderkey, l_linenumber))"""


# -- the systems -------------------------------------------------------------------------------------------------------------------------------

def psql(sql):
    return subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-At", POSTGRES, "-c", sql], check=True, capture_output=True, text=True).stdout


def mariadb(sql):
    host, port, user, database = maria_parts()
    command = ["mariadb", "--no-defaults", "--local-infile=1", f"-h{host}", f"-P{port}", f"-u{user}", database, "-e", sql]
    subprocess.run(command, check=True, capture_output=True)


def maria_parts():
    user, rest = MARIADB.removeprefix("mysql://").split("@")
    address, database = rest.split("/")
    host, port = address.split(":")
    return host, port, user.split(":")[0], database


def lineitem_csv():
    path = DATA / "lineitem.csv"
    if not path.exists():
        generator = Path(sys.executable).with_name("tpchgen-cli")
        subprocess.run([generator, "csv", "-s", "1", "--tables", "lineitem", "--output-dir", DATA], check=True)
    return path


def postgres_lineitem():
    if psql("select to_regclass('lineitem')").strip():
        return
    psql(LINEITEM)
    subprocess.run(["psql", "-X", "-q", POSTGRES, "-c", f"\\copy lineitem from '{lineitem_csv()}' csv header"], check=True)
    psql("vacuum (freeze, analyze) lineitem")
    psql("checkpoint")


class Project:
    """A project with one system and one stream; its store is made anew by `fresh`."""

    def __init__(self, name, url, stream):
        self.root = DATA / f"project_{name}"
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "connectors" / "plant").mkdir(parents=True)
        (self.root / "loopline.toml").write_text(
            f'strategy = "order-driven"\nstore = "./store"\n[systems.erp]\nconnector = "plant"\nurl = "{url}"\ntime_zone = "UTC"\n')
        (self.root / "connectors" / "plant" / "connector.toml").write_text(f'protocol = "sql"\n{stream}\n')

    def fresh(self):
        shutil.rmtree(self.root / "store", ignore_errors=True)

    def pull(self, *arguments):
        return [LOOPLINE, "--project", str(self.root), "pull", "erp", *arguments]

    def keep(self, name):
        """A copy of the store as it is now, to start from again."""
        copy = self.root / name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.root / "store", copy)

    def back_to(self, name):
        shutil.rmtree(self.root / "store", ignore_errors=True)
        shutil.copytree(self.root / name, self.root / "store")


def python(code):
    return [sys.executable, "-c", code]


# -- the cases ---------------------------------------------------------------------------------------------------------------------------------

def warm(project):
    """Whoever reads first after a server was started pays for its memory: a pull that is not counted."""
    project.fresh()
    timed(project.pull())


def case_postgres(rounds):
    """TPC-H lineitem, scale 1, from PostgreSQL into a Delta table (zstd)."""
    postgres_lineitem()
    project = Project("postgres", POSTGRES, '[stream.lineitem]\nkey = ["l_orderkey", "l_linenumber"]')
    out = DATA / "duckdb.parquet"
    duckdb = (
        "import duckdb, duckdb_extension_postgres_scanner as extension, pathlib\n"
        "c = duckdb.connect(config={'preserve_insertion_order': 'false'})\n"
        "path = next(pathlib.Path(extension.__file__).parent.rglob('*.duckdb_extension'))\n"
        f"c.execute(f\"load '{{path}}'\"); c.execute(\"attach '{POSTGRES}' as pg (type postgres, read_only)\")\n"
        f"c.execute(\"copy pg.public.lineitem to '{out}' (format parquet, compression zstd)\")")
    connectorx = (
        "import connectorx, pyarrow.parquet as pq\n"
        f"t = connectorx.read_sql('{POSTGRES}', 'select * from lineitem', return_type='arrow', partition_on='l_orderkey', partition_num=2)\n"
        f"pq.write_table(t, '{DATA}/connectorx.parquet', compression='zstd')")
    adbc = (
        "import adbc_driver_postgresql.dbapi as a, pyarrow.parquet as pq\n"
        f"c = a.connect('{POSTGRES}').cursor(); c.execute('select * from lineitem'); r = c.fetch_record_batch()\n"
        f"w = pq.ParquetWriter('{DATA}/adbc.parquet', r.schema, compression='zstd')\n"
        "[w.write_batch(b) for b in r]; w.close()")
    warm(project)
    contest("PostgreSQL, lineitem at scale 1, 6,001,215 rows", {
        "Loopline → Delta": (project.fresh, project.pull(), None),
        "psql, binary copy to /dev/null": (None, ["sh", "-c", f"exec psql -X '{POSTGRES}' -c 'copy lineitem to stdout (format binary)' > /dev/null"], None),
        "DuckDB → Parquet": (lambda: out.unlink(missing_ok=True), python(duckdb), None),
    }, rounds, 6_001_215)
    contest("The same, beside slower peers", {
        "Loopline → Delta": (project.fresh, project.pull(), None),
        "ConnectorX → Parquet": (None, python(connectorx), None),
        "ADBC → Parquet": (None, python(adbc), None),
    }, min(rounds, 3), 6_001_215)


def case_mariadb(rounds):
    """The same table from MariaDB."""
    host, port, user, database = maria_parts()
    try:
        mariadb("select 1 from lineitem limit 1")
    except subprocess.CalledProcessError:
        mariadb(LINEITEM)
        mariadb(f"load data local infile '{lineitem_csv()}' into table lineitem fields terminated by ',' optionally enclosed by '\"' ignore 1 lines")
        mariadb("analyze table lineitem")
    project = Project("mariadb", MARIADB, '[stream.lineitem]\nkey = ["l_orderkey", "l_linenumber"]')
    connectorx = (
        "import connectorx, pyarrow.parquet as pq\n"
        f"t = connectorx.read_sql('{MARIADB}', 'select * from lineitem', return_type='arrow', partition_on='l_orderkey', partition_num=2)\n"
        f"pq.write_table(t, '{DATA}/connectorx.parquet', compression='zstd')")
    warm(project)
    contest("MariaDB, lineitem at scale 1, 6,001,215 rows", {
        "Loopline → Delta": (project.fresh, project.pull(), None),
        "ConnectorX → Parquet": (None, python(connectorx), None),
    }, rounds, 6_001_215)


def case_incremental(rounds):
    """0.1 % of 6 million rows changed, next to each other or at random, beside the full pull."""
    postgres_lineitem()
    psql("drop table if exists changing")  # where rows lie after many changes would be measured, too
    psql("create table changing as select *, timestamptz '2026-01-01' + l_orderkey * interval '1 ms' as changed_at from lineitem")
    psql("alter table changing add primary key (l_orderkey, l_linenumber)")
    psql("create index on changing (changed_at)")
    # What becomes free is not used again: rows would come to lie among others, and a full pull would sort them afterwards.
    psql("alter table changing set (autovacuum_enabled = off)")
    psql("vacuum (freeze, analyze) changing")
    psql("checkpoint")
    stream = '[stream.changing]\nkey = ["l_orderkey", "l_linenumber"]\ncursor = { field = "changed_at", lookback = "1s" }'
    project = Project("incremental", POSTGRES, stream)
    timed(project.pull())
    project.keep("pulled")

    # Every pull starts from the store as it was after the full one and from a change of the same rows again; what others changed lies before the cursor.
    def change(condition):
        def prepare():
            psql("update changing set changed_at = timestamptz '2026-01-01' where changed_at > timestamptz '2026-06-01'")
            project.back_to("pulled")
            psql(f"update changing set changed_at = now(), l_quantity = l_quantity % 50 + 1, l_comment = 'changed ' || left(l_comment, 30) where {condition}")
        return prepare

    result = contest("Incremental pulls of 6,001,215 rows beside the full one", {
        "Full pull": (project.fresh, project.pull(), None),
        "6,000 rows next to each other": (change("l_orderkey between 3000000 and 3006000"), project.pull(), None),
        "6,000 rows at random": (change("abs(hashint8(l_orderkey * 8 + l_linenumber)) % 1000 = 7"), project.pull(), None),
    }, rounds)
    (_, whole), *others = result.items()
    for name, (seconds, _, _) in others:
        print(f"  {name}: {100 * seconds / whole[0]:.1f} % of the full pull")


def case_upsert(rounds):
    """10,000 random keys into 20 million rows, beside delta-rs MERGE."""
    rows = 20_000_000
    if not psql("select to_regclass('wide')").strip():
        psql(f"""create table wide as select g::bigint as id, random() as x, (random() * 1e9)::bigint as n, 'item ' || g % 977 || ' of lot ' || g as t,
            timestamptz '2026-01-01' + g * interval '1 ms' as at from generate_series(1, {rows}) g""")
        psql("alter table wide add primary key (id)")
        psql("create index on wide (at)")
        psql("vacuum (freeze, analyze) wide")
    contestants = {}
    for name, option in (("copy-on-write", ""), ("deletion vectors", "deletion_vectors = true\n")):
        stream = f'[stream.wide]\nkey = ["id"]\n{option}cursor = {{ field = "at", lookback = "1s" }}'
        project = Project(f"upsert_{name.split()[0]}", POSTGRES, stream)
        psql("update wide set at = timestamptz '2026-01-01' where at > timestamptz '2026-09-01'")
        timed(project.pull())
        project.keep("pulled")
        contestants[f"Loopline, {name}"] = (lambda project=project: project.back_to("pulled"), project.pull(), None)
    table = DATA / "merged"
    shutil.rmtree(table, ignore_errors=True)
    shutil.rmtree(DATA / "base", ignore_errors=True)
    subprocess.run(python(f"""
import numpy as np, pyarrow as pa, deltalake
for part in range(20):
    ids = np.arange(part * 1_000_000 + 1, (part + 1) * 1_000_000 + 1)
    t = pa.table({{"id": ids, "x": np.random.rand(len(ids)), "n": np.random.randint(0, 10**9, len(ids)),
                   "t": [f"item {{i % 977}} of lot {{i}}" for i in ids], "at": pa.array(np.full(len(ids), 1767225600000000), pa.timestamp("us", "UTC"))}})
    deltalake.write_deltalake("{DATA}/base", t, mode="append", writer_properties=deltalake.WriterProperties(compression="ZSTD"))
"""), check=True)
    merge = f"""
import numpy as np, pyarrow as pa, deltalake
ids = np.random.default_rng(7).choice(np.arange(1, {rows} + 1), 10_000, replace=False)
s = pa.table({{"id": ids, "x": np.random.rand(len(ids)), "n": np.random.randint(0, 10**9, len(ids)), "t": ["changed"] * len(ids),
               "at": pa.array(np.full(len(ids), 1767312000000000), pa.timestamp("us", "UTC"))}})
deltalake.DeltaTable("{table}").merge(s, "t.id = s.id", source_alias="s", target_alias="t").when_matched_update_all().when_not_matched_insert_all().execute()
"""

    def fresh_merge():
        shutil.rmtree(table, ignore_errors=True)
        shutil.copytree(DATA / "base", table)

    contestants["delta-rs MERGE"] = (fresh_merge, python(merge), None)
    psql(f"""update wide set at = now(), x = random(), n = n + 1, t = 'changed'
        where id in (select (hashint8extended(g, 7) & 9223372036854775807) % {rows} + 1 from generate_series(1, 10000) g)""")
    result = contest("Upsert of 10,000 random keys into 20 million rows", contestants, rounds)
    peer = result["delta-rs MERGE"][0]
    for name, (seconds, _, _) in result.items():
        print(f"  {name}: {seconds / peer:.2f} of delta-rs MERGE")


def case_large(_rounds):
    """300 million generated rows: completes, in bounded memory."""
    psql("""create or replace view large as select (a.a::bigint * 10000 + b.b) as id, (b.b * 7 % 1000)::int as quantity, a.a % 977 as item,
        date '2026-01-01' + (b.b % 300) as day from generate_series(0, 29999) a(a) cross join generate_series(0, 9999) b(b)""")
    project = Project("large", POSTGRES, '[stream.large]\nkey = ["id"]')
    contest("300 million generated rows", {"Loopline → Delta": (project.fresh, project.pull(), None)}, 1, 300_000_000)


CASES = {name.removeprefix("case_"): case for name, case in list(globals().items()) if name.startswith("case_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one of {', '.join(CASES)} [default: all]")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    for name in arguments.cases or CASES:
        if name not in CASES:
            parser.error(f"there is no case \"{name}\"; there are {', '.join(CASES)}")
        CASES[name](arguments.rounds)


if __name__ == "__main__":
    main()
