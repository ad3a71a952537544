"""TPC-H's 22 queries as models, beside plain DataFusion and DuckDB on the same files: `benches/run tpch [--scale 1] [--rounds 3]`.

Loopline pulls tpchgen's Parquet files and fills one contract for each table; the others read the files of those contracts. Every contestant runs all
statements in one process and writes each result as Parquet. Loopline's time includes reading the project, checks, and publishing. Nothing here asserts.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from measure import contest, timed

LOOPLINE = os.environ["LOOPLINE_BENCH_BINARY"]
PLAIN = os.environ["LOOPLINE_BENCH_PLAIN"]
DATA = Path(os.environ["LOOPLINE_BENCH_DATA"])
STATEMENTS = sorted((Path(__file__).parent / "tpch").glob("q*.sql"))
PEERS = Path(sys.executable).parent

TEXT, KEY, COUNT, MONEY, DAY = "text", "bigint", "int", "decimal(15,2)", "date"
TABLES = {
    "region": [("r_regionkey", KEY), ("r_name", TEXT), ("r_comment", TEXT)],
    "nation": [("n_nationkey", KEY), ("n_name", TEXT), ("n_regionkey", KEY), ("n_comment", TEXT)],
    "supplier": [("s_suppkey", KEY), ("s_name", TEXT), ("s_address", TEXT), ("s_nationkey", KEY), ("s_phone", TEXT), ("s_acctbal", MONEY), ("s_comment", TEXT)],
    "customer": [("c_custkey", KEY), ("c_name", TEXT), ("c_address", TEXT), ("c_nationkey", KEY), ("c_phone", TEXT), ("c_acctbal", MONEY), ("c_mktsegment", TEXT), ("c_comment", TEXT)],
    "part": [("p_partkey", KEY), ("p_name", TEXT), ("p_mfgr", TEXT), ("p_brand", TEXT), ("p_type", TEXT), ("p_size", COUNT), ("p_container", TEXT), ("p_retailprice", MONEY), ("p_comment", TEXT)],
    "partsupp": [("ps_partkey", KEY), ("ps_suppkey", KEY), ("ps_availqty", COUNT), ("ps_supplycost", MONEY), ("ps_comment", TEXT)],
    "orders": [("o_orderkey", KEY), ("o_custkey", KEY), ("o_orderstatus", TEXT), ("o_totalprice", MONEY), ("o_orderdate", DAY), ("o_orderpriority", TEXT), ("o_clerk", TEXT), ("o_shippriority", COUNT), ("o_comment", TEXT)],
    "lineitem": [
        ("l_orderkey", KEY), ("l_partkey", KEY), ("l_suppkey", KEY), ("l_linenumber", COUNT), ("l_quantity", MONEY), ("l_extendedprice", MONEY), ("l_discount", MONEY), ("l_tax", MONEY),
        ("l_returnflag", TEXT), ("l_linestatus", TEXT), ("l_shipdate", DAY), ("l_commitdate", DAY), ("l_receiptdate", DAY), ("l_shipinstruct", TEXT), ("l_shipmode", TEXT), ("l_comment", TEXT),
    ],
}
KEYS = {"partsupp": 2, "lineitem": ("l_orderkey", "l_linenumber")}


def key(table):
    columns = [name for name, _ in TABLES[table]]
    chosen = KEYS.get(table, 1)
    return columns[:chosen] if isinstance(chosen, int) else list(chosen)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def project(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    system = '[systems.erp]\nconnector = "tpch"\nurl = "./drop"\nmax_age = "1000d"\n'
    write(folder / "loopline.toml", f'strategy = "order-driven"\nstore = "./.loopline"\nmemory_limit = "6GiB"\n\n{system}')
    shutil.copytree(files, folder / "drop", copy_function=os.link)
    streams = [f'[stream.{table}]\nfiles = {{ pattern = "{table}.parquet" }}\n' for table in TABLES]
    write(folder / "connectors/tpch/connector.toml", 'protocol = "files"\n\n' + "\n".join(streams))
    for table, columns in TABLES.items():
        names = ", ".join(name for name, _ in columns)
        write(folder / f"connectors/tpch/erp.{table}.sql", f"select {names}\nfrom {table}\n")
        lines = [f"  {name} {kind} not null, -- as TPC-H has it" for name, kind in columns]
        lines.append(f"  primary key ({', '.join(key(table))})")
        write(folder / f"sql/erp/{table}.sql", f"-- TPC-H's {table}.\ncreate table {table} (\n" + "\n".join(lines) + "\n);\n")
    for statement in STATEMENTS:
        write(folder / f"sql/tpch/{statement.name}", statement.read_text())


def active_files(folder):
    from deltalake import DeltaTable

    tables = {}
    for table in TABLES:
        uris = DeltaTable(folder / f".loopline/erp/{table}").file_uris()
        tables[f"erp.{table}"] = [uri.removeprefix("file://") for uri in uris]
    return tables


DUCKDB = """
import json, sys, time, duckdb
connection = duckdb.connect()
connection.execute("create schema erp")
for table, files in json.load(open(sys.argv[1])).items():
    connection.execute(f"create view {table} as select * from read_parquet({files})")
for path in sys.argv[3:]:
    name = path.rsplit("/", 1)[1].removesuffix(".sql")
    started = time.perf_counter()
    connection.execute(f"copy ({open(path).read()}) to '{sys.argv[2]}/{name}.parquet' (format parquet, compression zstd)")
    print(name, round(time.perf_counter() - started, 3), file=sys.stderr)
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", default="1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="use the tables of the last call")
    arguments = parser.parse_args()
    root = DATA / f"tpch-{arguments.scale}"
    files, folder = root / "files", root / "loopline"
    if not (files / "lineitem.parquet").exists():
        files.mkdir(parents=True, exist_ok=True)
        subprocess.run([str(PEERS / "tpchgen-cli"), "parquet", "-s", arguments.scale, f"--output-dir={files}"], check=True)
        for file in files.iterdir():  # what was written just now may not be complete and is left for the next pull
            os.utime(file, (time.time() - 7_200,) * 2)
    loopline = [LOOPLINE, "--project", str(folder), "-q"]
    if not (arguments.keep and (folder / ".ready").exists()):
        project(folder, files)
        timed([*loopline, "pull"])
        timed([*loopline, "build", "erp"])
    statements = [str(statement) for statement in STATEMENTS]
    (root / "peer.py").write_text(DUCKDB)
    outputs = {name: root / name for name in ["plain", "duckdb"]}
    ready = folder / ".ready"
    if not ready.exists():
        (folder / ".loopline").rename(ready)

    def restored():
        """The store as it was before any statement ran; what is never changed is linked."""
        shutil.rmtree(folder / ".loopline", ignore_errors=True)
        linked = lambda source, target: (os.link if source.endswith((".parquet", ".json")) else shutil.copy2)(source, target)
        shutil.copytree(ready, folder / ".loopline", copy_function=linked)

    restored()
    tables = root / "tables.json"
    tables.write_text(json.dumps(active_files(folder)))

    def clean(name):
        shutil.rmtree(outputs[name], ignore_errors=True)
        outputs[name].mkdir(parents=True)

    contest(
        f"TPC-H at scale {arguments.scale}, 22 statements",
        {
            "Loopline": (restored, [*loopline, "build", "tpch"], {}),
            "plain DataFusion": (lambda: clean("plain"), [PLAIN, str(tables), str(outputs["plain"]), *statements], {}),
            "DuckDB": (lambda: clean("duckdb"), [sys.executable, str(root / "peer.py"), str(tables), str(outputs["duckdb"]), *statements], {}),
        },
        arguments.rounds,
    )
    kept = "select \"table\", seconds from system.model_runs where \"table\" like 'tpch.%' order by run desc, \"table\" limit 22"
    print(subprocess.run([*loopline, "sql", kept], check=True, capture_output=True, text=True).stdout)


main()
