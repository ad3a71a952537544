"""A thousand models beside dbt-duckdb and SQLMesh: `benches/run models` (cases: build, nothing, edit; all without a name).

The same statements for all three: 20 layers of 50 models, each reading three earlier ones. Every command is a process of its own, started cold. Nothing
here asserts; the figures are for reading.
"""

import argparse
import os
import random
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from measure import contest

LOOPLINE = os.environ["LOOPLINE_BENCH_BINARY"]
DATA = Path(os.environ["LOOPLINE_BENCH_DATA"])
PEERS = Path(sys.executable).parent


def statements(layers, width):
    """(layer, name) → (statement with `{layer.name}` for each table that it reads, what it reads)"""
    chance = random.Random(7)
    made = {}
    for layer in range(layers):
        for number in range(width):
            table = (f"l{layer:02}", f"m{number:03}")
            if layer == 0:
                rows = ", ".join(f"({id}, {id % 7}, {chance.randrange(1000)})" for id in range(50))
                made[table] = (f"select id, grp, amount\nfrom (values {rows}) as t(id, grp, amount)", [])
                continue
            reads = [(f"l{layer - 1:02}", f"m{other:03}") for other in chance.sample(range(width), 2)]
            reads.append(chance.choice([other for other in made if other not in reads]))
            first, second, third = ("{" + ".".join(read) + "}" for read in reads)
            made[table] = (
                f"with joined as (\n  select a.id, a.grp, a.amount + b.amount as amount\n  from {first} a\n  join {second} b on b.id = a.id\n),\n"
                f"totals as (select grp, max(amount) as largest from {third} group by grp)\n"
                f"select j.id, j.grp, (j.amount + t.largest + {number}) % 1000 as amount\nfrom joined j\njoin totals t on t.grp = j.grp",
                reads,
            )
    return made


def fill(text, reads, name):
    for read in reads:
        text = text.replace("{" + ".".join(read) + "}", name(read))
    return text


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def loopline_project(folder, models):
    write(folder / "loopline.toml", 'strategy = "order-driven"\nstore = "./.loopline"\n')
    for (layer, name), (text, reads) in models.items():
        header = f'--! description = "Rows of {layer}.{name}"\n--! key = ["id"]\n'
        write(folder / f"sql/{layer}/{name}.sql", header + fill(text, reads, ".".join) + "\n")


def dbt_project(folder, models):
    write(folder / "dbt_project.yml", "name: bench\nprofile: bench\nmodels:\n  bench:\n    +materialized: table\n")
    write(folder / "profiles.yml", "bench:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: '" + str(folder / "bench.duckdb") + "', threads: 2}\n")
    for (layer, name), (text, reads) in models.items():
        write(folder / f"models/{layer}/{layer}_{name}.sql", fill(text, reads, lambda read: "{{ ref('" + "_".join(read) + "') }}") + "\n")


def sqlmesh_project(folder, models):
    gateway = f"gateways:\n  local:\n    connection: {{type: duckdb, database: '{folder}/bench.duckdb', concurrent_tasks: 2}}\n"
    write(folder / "config.yaml", gateway + "default_gateway: local\nmodel_defaults: {dialect: duckdb, start: 2024-01-01}\ndisable_anonymized_analytics: true\n")
    for (layer, name), (text, reads) in models.items():
        write(folder / f"models/{layer}/{name}.sql", f"MODEL (name {layer}.{name}, kind FULL);\n\n" + fill(text, reads, ".".join) + "\n")


def edit(path):
    """Another constant in one statement of the middle, so that half of the layers may change."""
    text = path.read_text()
    start, _, rest = text.rpartition(") % 1000")
    kept, _, number = start.rpartition("+ ")
    path.write_text(f"{kept}+ {int(number) + 1}) % 1000{rest}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--width", type=int, default=50)
    parser.add_argument("--only", action="append", help="contestants to run")
    arguments = parser.parse_args()
    cases = arguments.cases or ["build", "nothing", "edit"]
    models = statements(arguments.layers, arguments.width)
    root = DATA / "models"
    shutil.rmtree(root, ignore_errors=True)
    middle = arguments.layers // 2
    dbt = [str(PEERS / "dbt"), "--no-send-anonymous-usage-stats", "--quiet"]
    mesh = [str(PEERS / "sqlmesh"), "--log-file-dir", str(root / "logs"), "--paths", str(root / "sqlmesh")]
    quiet = {"DBT_PROFILES_DIR": str(root / "dbt"), "DBT_PROJECT_DIR": str(root / "dbt"), "SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "1"}
    projects = {
        "Loopline": (loopline_project, root / "loopline", root / f"loopline/sql/l{middle:02}/m000.sql", {}),
        "dbt-duckdb": (dbt_project, root / "dbt", root / f"dbt/models/l{middle:02}/l{middle:02}_m000.sql", quiet),
        "SQLMesh": (sqlmesh_project, root / "sqlmesh", root / f"sqlmesh/models/l{middle:02}/m000.sql", quiet),
    }
    commands = {
        "Loopline": {
            "plan": [LOOPLINE, "--project", str(root / "loopline"), "-q", "plan"],
            "build": [LOOPLINE, "--project", str(root / "loopline"), "-q", "build"],
        },
        "dbt-duckdb": {"plan": [*dbt, "ls"], "build": [*dbt, "run"]},
        "SQLMesh": {"plan": [*mesh, "plan", "--explain", "--no-prompts", "--skip-tests"], "build": [*mesh, "plan", "--auto-apply", "--no-prompts", "--skip-tests"]},
    }
    chosen = [name for name in projects if not arguments.only or name in arguments.only]

    def again(name):
        make, folder, _, _ = projects[name]
        shutil.rmtree(folder, ignore_errors=True)
        make(folder, models)

    def line(name, command, prepare=None):
        return prepare, commands[name][command], {**projects[name][3], "PWD": str(projects[name][1])}

    count = f"{len(models):,} models"
    for name in chosen:
        again(name)
    if "build" in cases:
        contest(f"{count}, first build", {name: line(name, "build", lambda name=name: again(name)) for name in chosen}, 1)
    else:
        contest(f"{count}, first build (to prepare)", {name: line(name, "build") for name in chosen}, 1)
    if "nothing" in cases:
        contest(f"{count}, load and plan", {name: line(name, "plan") for name in chosen}, arguments.rounds)
        contest(f"{count}, a run in which nothing changed (dbt builds all: it keeps no state)", {name: line(name, "build") for name in chosen}, arguments.rounds)
    if "edit" in cases:
        edited = {name: line(name, "plan", lambda name=name: edit(projects[name][2])) for name in chosen}
        contest(f"{count}, one edited, planned again", edited, arguments.rounds)
        contest(f"{count}, one edited, built", {name: line(name, "build", lambda name=name: edit(projects[name][2])) for name in chosen}, 1)


main()
