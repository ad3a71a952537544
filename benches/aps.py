"""Schedules beside OR-Tools' CP-SAT: `benches/run aps CASE… [--seconds 1,10,60] [--peer]` (all cases without a name).

Loopline's `schedule` runs once with each limit, reading its tables and writing its result included; CP-SAT runs once with the longest limit on the same
number of workers, and what it had at the shorter ones is noted as it comes. With `--own 10` Loopline runs up to that limit only, and its last result
stands for the longer ones: the same search goes on there and never gets worse. On factories, where it finds no plan by itself, CP-SAT begins with the plan
of a dispatching rule. Every plan of Loopline is checked here, knowing nothing of how it was made.
Instances with known answers are read from the folder that LOOPLINE_BENCH_REFERENCE names; nothing here asserts a figure, they are for reading.
"""

import argparse
import csv
import datetime
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

APS = os.environ["LOOPLINE_BENCH_APS"]
REFERENCE = os.environ.get("LOOPLINE_BENCH_REFERENCE")
AS_OF = datetime.datetime(2026, 1, 1)
WORKERS = 2
OWN_MOST = math.inf
BEST = {f"mk{n:02}": best for n, best in enumerate([40, 26, 204, 60, 172, 57, 139, 523, 307, 189], 1)}
BEST |= {f"ta{n:02}": best for n, best in enumerate(
    [1231, 1244, 1218, 1175, 1224, 1238, 1227, 1217, 1274, 1241, 1357, 1367, 1342, 1345, 1339, 1360, 1462, 1396, 1332, 1348], 1)}


class Operation:
    """One operation; times in seconds since the beginning."""

    def __init__(self, order, number, choices, release=0, due=None, weight=1, family=None, split=True):
        self.order, self.number, self.choices = order, number, choices  # choices: resource → seconds, the preferred one first
        self.release, self.due, self.weight, self.family, self.split = release, due, weight, family, split
        self.planned = None


class Factory:
    def __init__(self, name, operations, calendars, setups=None, objective=None):
        self.name, self.operations, self.objective = name, operations, objective
        self.calendars = calendars  # resource → [(start, end)]
        self.setups = setups or {}  # resource → {(from, to): seconds}; nothing before the first operation

    def write(self, folder, downtime=()):
        def table(name, columns, rows):
            with open(folder / f"{name}.csv", "w", newline="") as file:
                csv.writer(file).writerows([columns, *rows])

        table("operations",
              ["order_id", "operation_no", "resource_id", "duration_s", "release", "due", "weight", "family", "splittable", "planned_resource_id", "planned_start"],
              ([o.order, o.number, *next(iter(o.choices.items())), at(o.release), at(o.due), o.weight, o.family or "", str(o.split).lower(),
                *(o.planned or ("", ""))] for o in self.operations))
        table("calendars", ["resource_id", "starts_at", "ends_at"],
              ([resource, at(start), at(end)] for resource, windows in self.calendars.items() for start, end in windows))
        table("alternatives", ["order_id", "operation_no", "resource_id", "duration_s"],
              ([o.order, o.number, resource, seconds] for o in self.operations for resource, seconds in list(o.choices.items())[1:]))
        if self.setups:
            table("setups", ["resource_id", "from_family", "to_family", "seconds"],
                  ([resource, *pair, seconds] for resource, matrix in self.setups.items() for pair, seconds in matrix.items()))
        if downtime:
            table("downtime", ["resource_id", "starts_at", "ends_at"], ([resource, at(start), at(end)] for resource, start, end in downtime))


def at(seconds):
    return "" if seconds is None else (AS_OF + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text):
    return int((datetime.datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S") - AS_OF).total_seconds())


# -- instances ---------------------------------------------------------------------------------------------------------------------------------

def always(resources, horizon):
    return {resource: [(0, horizon)] for resource in resources}


def flexible(name, text):
    """Brandimarte's format: alternatives of each operation."""
    lines = [[int(float(word)) for word in line.split()] for line in text.splitlines() if line.strip()]
    jobs, machines = lines[0][:2]
    operations = []
    for job, line in enumerate(lines[1:jobs + 1]):
        place = 1
        for number in range(line[0]):
            pairs = line[place + 1:place + 1 + 2 * line[place]]
            operations.append(Operation(f"J{job:03}", number, {f"M{machine}": seconds for machine, seconds in zip(pairs[::2], pairs[1::2])}))
            place += 1 + 2 * line[place]
    return Factory(name, operations, always((f"M{machine}" for machine in range(machines)), 1_000_000), objective="makespan")


def job_shop(name, text):
    lines = [[int(word) for word in line.split()] for line in text.splitlines() if line.strip()]
    jobs, machines = lines[0][:2]
    operations = [Operation(f"J{job:03}", number, {f"M{line[2 * number]}": line[2 * number + 1]})
                  for job, line in enumerate(lines[1:jobs + 1]) for number in range(machines)]
    return Factory(name, operations, always((f"M{machine}" for machine in range(machines)), 1_000_000), objective="makespan")


def reference(folder, names, parse):
    if REFERENCE is None or not (Path(REFERENCE) / folder).is_dir():
        print(f"not run: {', '.join(names)}: LOOPLINE_BENCH_REFERENCE names no folder with {folder}/")
        return []
    return [parse(name, (Path(REFERENCE) / folder / f"{name}.txt").read_text()) for name in names]


def weighted_tardiness():
    """OR-Library's 125 instances of 40 jobs, with their proven optima."""
    if REFERENCE is None or not (Path(REFERENCE) / "wt/wt40.txt").is_file():
        print("not run: wt40: LOOPLINE_BENCH_REFERENCE names no folder with wt/wt40.txt")
        return []
    words = [int(word) for word in (Path(REFERENCE) / "wt/wt40.txt").read_text().split()]
    optima = [int(word) for word in (Path(REFERENCE) / "wt/wtopt40.txt").read_text().split()]
    instances = []
    for number, optimum in enumerate(optima):
        part = words[120 * number:120 * (number + 1)]
        operations = [Operation(f"J{job:02}", 10, {"M": part[job]}, due=part[80 + job], weight=part[40 + job]) for job in range(40)]
        factory = Factory(f"wt40-{number + 1}", operations, always(["M"], 1_000_000), objective="tardiness")
        factory.best = optimum
        instances.append(factory)
    return instances


def shifts(dice, days, resources):
    """Two shifts a day, five days a week, at each resource a bit different."""
    calendars = {}
    for resource in resources:
        begin = dice.choice([5, 6, 7]) * 3600
        windows = [[(day * 86400 + begin, day * 86400 + begin + 8 * 3600), (day * 86400 + begin + 9 * 3600, day * 86400 + begin + 16 * 3600)]
                   for day in range(days) if day % 7 < 5]
        calendars[resource] = [window for day in windows for window in day]
    return calendars


def generated(seed, count):
    """A factory with due dates, weights, releases, alternatives, set-ups between families and shifts in which an operation must end (20 to 240 minutes)."""
    dice = random.Random(seed)
    machines = [f"M{n:02}" for n in range(max(3, min(20, count // 25)))]
    families = [f"F{n}" for n in range(6)]
    operations, order = [], 0
    work = 0
    while len(operations) < count:
        family = dice.choice(families)
        steps = min(dice.randint(2, 6), count - len(operations))
        for step in range(steps):
            names = dice.sample(machines, dice.randint(1, 3))
            seconds = dice.randint(20, 180) * 60
            choices = {name: 60 * round(seconds / 60 * dice.choice([1, 1, 1.1, 1.25])) for name in names}
            operations.append(Operation(f"O{order:05}", 10 * (step + 1), choices, family=family, split=False))
            work += seconds
        order += 1
    # about as much work as the machines do in the span of the due dates, at 14 hours of 24 and with set-ups
    span = work / len(machines) * 24 / 14 * 7 / 5 * 1.15
    for name in sorted({o.order for o in operations}):
        release = 3600 * round(dice.uniform(0, span * 0.6) / 3600)
        own = [o for o in operations if o.order == name]
        due = release + 3600 * round((sum(min(o.choices.values()) for o in own) * 2 + dice.uniform(0, span * 0.3)) / 3600)
        weight = dice.choice([1, 1, 1, 2, 4])
        for o in own:
            o.release, o.due, o.weight = release, due, weight
    setups = {machine: {(a, b): 60 * dice.randint(5, 60) for a in families for b in families if a != b} for machine in machines}
    days = math.ceil(span * 4 / 86400) + 14
    return Factory(f"factory-{count}-{seed}", operations, shifts(dice, days, machines), setups, "tardiness")


def factories():
    sizes = [round(50 * 40 ** (n / 19)) for n in range(20)]
    return [generated(seed, size) for seed, size in enumerate(sizes, 1)]


def same_due():
    """2,000 orders that are all due on the same day, on 20 resources with alternates, materials that come over two weeks, and shifts."""
    dice = random.Random(5)
    machines = [f"M{n:02}" for n in range(20)]
    operations = []
    for order in range(2000):
        release = 3600 * dice.randint(0, 14 * 24)
        for step in range(dice.randint(1, 3)):
            seconds = dice.randint(20, 120) * 60
            choices = {name: 60 * round(seconds / 60 * dice.choice([1, 1.1, 1.25])) for name in dice.sample(machines, 3)}
            operations.append(Operation(f"O{order:05}", 10 * (step + 1), choices, release=release, due=20 * 86400))
    return Factory("same_due", operations, shifts(dice, 120, machines), objective="tardiness, makespan")


def large(name, count, orders_a_day):
    dice = random.Random(6)
    machines = [f"M{n:03}" for n in range(200 if count > 50_000 else 50)]
    families = [f"F{n}" for n in range(8)]
    operations, order = [], 0
    while len(operations) < count:
        family, release = dice.choice(families), 86400 * (order // orders_a_day)
        due = release + 86400 * dice.randint(3, 20)
        for step in range(min(5, count - len(operations))):
            seconds = dice.randint(20, 180) * 60
            choices = {machine: seconds for machine in dice.sample(machines, 2)}
            operations.append(Operation(f"O{order:06}", 10 * (step + 1), choices, release=release, due=due, family=family, weight=dice.choice([1, 1, 3])))
        order += 1
    setups = {machine: {(a, b): 600 for a in families for b in families if a != b} for machine in machines}
    return Factory(name, operations, shifts(dice, order // orders_a_day * 2 + 90, machines), setups, "tardiness")


# -- running and checking ----------------------------------------------------------------------------------------------------------------------

def loopline(factory, seconds, downtime=(), objective=None, keep=None):
    """One result for each limit."""
    asked, seconds = len(seconds), sorted({min(limit, OWN_MOST) for limit in seconds})
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        factory.write(folder, downtime)
        plan = folder / "plan.csv"
        command = [APS, "--plan", str(plan), str(folder), *map(str, seconds)]
        if objective or factory.objective:
            command[1:1] = ["--objective", objective or factory.objective]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        with open(plan) as file:
            rows = list(csv.DictReader(file))
        check(factory, rows, downtime)
        if keep is not None:
            keep.extend(rows)
        results = [json.loads(line) for line in output.splitlines()]
        return results + results[-1:] * (asked - len(results))


def check(factory, rows, downtime):
    """No overlap, working time, set-ups, releases, the order of operations: whatever is wrong ends the bench."""
    def wrong(what):
        sys.exit(f"{factory.name}: an impossible plan: {what}")

    operations = {(o.order, o.number): o for o in factory.operations}
    working = {}
    for resource, windows in factory.calendars.items():
        down = [(start, end) for name, start, end in downtime if name == resource]
        for start, end in down:
            windows = [part for a, b in windows for part in ((a, min(b, start)), (max(a, end), b)) if part[0] < part[1]]
        working[resource] = windows
    on, ends = defaultdict(list), {}
    for row in rows:
        key = (row["order_id"], int(row["operation_no"]))
        operation = operations.pop(key)
        if not row["starts_at"]:
            wrong(f"{key} is not scheduled: {row['reason']}")
        start, end, setup = seconds_of(row["starts_at"]), seconds_of(row["ends_at"]), int(row["setup_s"])
        if row["resource_id"] not in operation.choices:
            wrong(f"{key} runs on {row['resource_id']}")
        before = ends.get(operation.order, (0, -1))
        if start < max(operation.release, before[0]) or before[1] >= operation.number:
            wrong(f"{key} starts at {start}, before it can")
        ends[operation.order] = (end, operation.number)
        on[row["resource_id"]].append((start, end, setup, operation))
    if operations:
        wrong(f"{len(operations)} operations are not in it")
    for resource, slots in on.items():
        slots.sort(key=lambda slot: slot[:2])
        windows, family, free, first = working[resource], None, 0, 0
        for start, end, setup, operation in slots:
            while first < len(windows) and windows[first][1] <= start:
                first += 1
            spent = 0
            for a, b in windows[first:]:
                if a >= end:
                    break
                spent += max(0, min(b, end) - max(a, start))
            expected = factory.setups.get(resource, {}).get((family, operation.family), 0)
            if start < free or setup != expected or spent != setup + operation.choices[resource] or not operation.split and spent != end - start:
                wrong(f"{operation.order}/{operation.number} on {resource} from {start} to {end}: set-up {setup} of {expected}, works {spent}, free at {free}")
            family, free = operation.family, end


def cp_sat(factory, seconds, plan=()):
    """The objective after each limit (none: no solution yet) and the bound at the end. Times are in the greatest unit that they all are multiples of.
    `plan`: rows to begin with."""
    from ortools.sat.python import cp_model

    class Watch(cp_model.CpSolverSolutionCallback):
        def __init__(self):
            super().__init__()
            self.found = []

        def on_solution_callback(self):
            self.found.append((time.perf_counter() - begun, self.objective_value))

    unit = math.gcd(*(value for o in factory.operations for value in (*o.choices.values(), o.release, o.due or 0)),
                    *(value for matrix in factory.setups.values() for value in matrix.values()),
                    *(value for windows in factory.calendars.values() for window in windows for value in window))
    planned = {(row["order_id"], int(row["operation_no"])): (row["resource_id"], seconds_of(row["starts_at"]) // unit, seconds_of(row["ends_at"]) // unit)
               for row in plan}

    def hint(variable, value):
        if planned and not isinstance(variable, int):
            model.add_hint(variable, value)

    begun = time.perf_counter()  # building the model is part of the time, as reading tables is of Loopline's
    horizon = max(end for windows in factory.calendars.values() for _, end in windows) // unit
    if factory.objective == "makespan":
        horizon = min(horizon, sum(max(o.choices.values()) for o in factory.operations) // unit)
    model = cp_model.CpModel()
    on, ends, previous = defaultdict(list), {}, {}
    for n, o in enumerate(factory.operations):
        start, end = model.new_int_var(o.release // unit, horizon, ""), model.new_int_var(0, horizon, "")
        own_resource, own_start, own_end = planned.get((o.order, o.number), ("", 0, 0))
        hint(start, own_start)
        hint(end, own_end)
        literals = []
        for resource, duration in o.choices.items():
            duration //= unit
            there = model.new_bool_var("")
            setups = factory.setups.get(resource)
            most = max(setups.values()) // unit if setups else 0
            size = model.new_int_var(duration, duration + most, "") if most else duration
            hint(there, resource == own_resource)
            hint(size, own_end - own_start if resource == own_resource else duration)
            interval = model.new_optional_interval_var(start, size, end, there, "")
            on[resource].append((n, start, end, size, duration, there, interval))
            literals.append(there)
        model.add_exactly_one(literals)
        if o.order in previous:
            model.add(start >= previous[o.order])
        previous[o.order] = ends[o.order] = end
    for resource, members in on.items():
        gaps, last = [], 0
        for a, b in [*factory.calendars[resource], (horizon * unit, None)]:
            if a > last:
                gaps.append(model.new_fixed_size_interval_var(last // unit, (a - last) // unit, ""))
            last = b
        model.add_no_overlap([member[-1] for member in members] + gaps)
        if setups := factory.setups.get(resource):
            arcs = [(0, 0, model.new_bool_var(""))]
            places = [planned.get((factory.operations[n].order, factory.operations[n].number), ("", 0)) for n, *_ in members]
            tour = [0, *sorted((i for i, place in enumerate(places, 1) if place[0] == resource), key=lambda i: places[i - 1][1]), 0]
            steps_taken = set(zip(tour, tour[1:]))
            for i, (n, _, end, size, duration, there, _) in enumerate(members, 1):
                first, none = model.new_bool_var(""), there.negated()
                arcs += [(0, i, first), (i, 0, model.new_bool_var("")), (i, i, none)]
                model.add(size == duration).only_enforce_if(first)
                for j, (m, start, _, after_size, after, _, _) in enumerate(members, 1):
                    if i != j:
                        literal = model.new_bool_var("")
                        arcs.append((i, j, literal))
                        spent = setups.get((factory.operations[n].family, factory.operations[m].family), 0) // unit
                        model.add(start >= end).only_enforce_if(literal)
                        model.add(after_size == after + spent).only_enforce_if(literal)
            for i, j, literal in arcs:
                if i != j or i == 0:
                    hint(literal, (i, j) in steps_taken)
            model.add_circuit(arcs)
    if factory.objective == "makespan":
        makespan = model.new_int_var(0, horizon, "")
        model.add_max_equality(makespan, list(ends.values()))
        model.minimize(makespan)
    else:
        late = []
        for o in {o.order: o for o in factory.operations}.values():
            tardiness = model.new_int_var(0, horizon, "")
            model.add(tardiness >= ends[o.order] - o.due // unit)
            hint(tardiness, max(0, max((place[2] for (order, _), place in planned.items() if order == o.order), default=0) - o.due // unit))
            late.append(o.weight * tardiness)
        model.minimize(sum(late))
    solver, watch = cp_model.CpSolver(), Watch()
    solver.parameters.num_workers = WORKERS
    solver.parameters.max_time_in_seconds = max(0.1, max(seconds) - (time.perf_counter() - begun))
    solver.solve(model, watch)
    return [min((value * unit for when, value in watch.found if when <= limit), default=None) for limit in seconds], solver.best_objective_bound * unit


# -- cases -------------------------------------------------------------------------------------------------------------------------------------

def makespans(title, instances, seconds, peer):
    if not instances:
        return
    gaps, peers, proven = [[] for _ in seconds], [[] for _ in seconds], 0
    for factory in instances:
        best, results = BEST[factory.name], loopline(factory, seconds)
        own = [100 * (result["objective"] / best - 1) for result in results]
        line = f"  {factory.name}: best known {best}; " + ", ".join(f"{result['objective']} ({gap:.2f} %)" for result, gap in zip(results, own))
        line += f"; bound {results[-1]['lower_bound']}"
        for column, gap in zip(gaps, own):
            column.append(gap)
        if peer:
            values, _ = cp_sat(factory, seconds)
            line += "; CP-SAT " + ", ".join("none" if value is None else f"{value:.0f}" for value in values)
            for column, value in zip(peers, values):
                column.append(None if value is None else 100 * (value / best - 1))
        print(line, flush=True)
    told = "  ".join(f"{limit:g} s {statistics.mean(column):.2f} %" for limit, column in zip(seconds, gaps))
    print(f"{title}, mean gap to best known: {told}")
    if peer:
        print(f"{title}, CP-SAT on {WORKERS} workers: " + "  ".join(peer_mean(limit, column) for limit, column in zip(seconds, peers)))


def peer_mean(limit, column):
    found = [gap for gap in column if gap is not None]
    missing = f" ({len(column) - len(found)} without a solution)" if len(found) < len(column) else ""
    return f"{limit:g} s {statistics.mean(found):.2f} %{missing}" if found else f"{limit:g} s none"


def optima(instances, seconds, peer):
    if not instances:
        return
    for limit in seconds[:1]:
        results = [(factory, loopline(factory, [limit])[0]) for factory in instances]
        hit = sum(result["objective"] == factory.best for factory, result in results)
        missed = [f"{factory.name} {result['objective']} of {factory.best}" for factory, result in results if result["objective"] != factory.best]
        print(f"wt40 at {limit:g} s: {hit} of {len(results)} proven optima reached" + (": missed " + ", ".join(missed) if missed else ""))
        if peer:
            hit = sum(cp_sat(factory, [limit])[0][0] == factory.best for factory in instances)
            print(f"wt40 at {limit:g} s: CP-SAT on {WORKERS} workers {hit} of {len(results)}")


def tardiness(instances, seconds, peer):
    """Weighted hours of lateness; a gap is to the best that anybody found, counted from at least an hour."""
    own, peers = [[] for _ in seconds], [[] for _ in seconds]
    for factory in instances:
        results = [result["objective"] for result in loopline(factory, seconds)]
        first = []
        if peer:
            loopline(factory, [0], keep=first)
        values = cp_sat(factory, seconds, first)[0] if peer else [None for _ in seconds]
        print(f"  {factory.name}: weighted hours late " + ", ".join(f"{value / 3600:.1f}" for value in results)
              + ("; CP-SAT " + ", ".join("none" if value is None else f"{value / 3600:.1f}" for value in values) if peer else ""), flush=True)
        best = max(3600, min(value for value in [*results, *values] if value is not None))
        for column, value in [*zip(own, results), *zip(peers, values)]:
            column.append(None if value is None else max(0, 100 * (value - best) / best))
    print("factories, mean distance to the best found: " + "  ".join(peer_mean(limit, column) for limit, column in zip(seconds, own)))
    if peer:
        print(f"factories, CP-SAT on {WORKERS} workers: " + "  ".join(peer_mean(limit, column) for limit, column in zip(seconds, peers)))
        for n, limit in enumerate(seconds):
            better = sum(theirs is None or ours < theirs for ours, theirs in zip(own[n], peers[n]))
            worse = sum(theirs is not None and ours > theirs for ours, theirs in zip(own[n], peers[n]))
            print(f"factories at {limit:g} s: Loopline better {better}, worse {worse}, equal {len(own[n]) - better - worse}")


def steps(title, factory, seconds):
    print(f"{title}: {len(factory.operations)} operations")
    for result in loopline(factory, seconds):
        print(f"  limit {result['seconds']:g} s, took {result['took']:.2f} s: {result['objective'] / 3600:.0f} weighted hours late, ends after "
              f"{result['makespan_s'] / 86400:.1f} days, unscheduled {result['unscheduled']}, iterations {result['iterations']}, peak {result['peak_mb']} MB", flush=True)


def repair(seconds):
    """The plan of 10,000 operations after a machine broke down for two days."""
    factory, rows = large("repair", 10_000, 80), []
    loopline(factory, [max(seconds)], keep=rows)
    planned = {(row["order_id"], int(row["operation_no"])): (row["resource_id"], row["starts_at"]) for row in rows}
    for operation in factory.operations:
        operation.planned = planned[operation.order, operation.number]
    machine = factory.operations[0].planned[0]
    for limit in (0, 1):
        [result] = loopline(factory, [limit], [(machine, 8 * 86400, 10 * 86400)], "10 tardiness + stability")
        print(f"repair of {len(factory.operations)} operations, limit {limit} s: took {result['took']:.2f} s, moved {result['moved']}, unscheduled {result['unscheduled']}")


def main():
    cases = {
        "mk": lambda: makespans("mk01-10", reference("fjsp", [f"mk{n:02}" for n in range(1, 11)], flexible), seconds, peer),
        "ta01-10": lambda: makespans("ta01-10", reference("jsp", [f"ta{n:02}" for n in range(1, 11)], job_shop), seconds, peer),
        "ta11-20": lambda: makespans("ta11-20", reference("jsp", [f"ta{n:02}" for n in range(11, 21)], job_shop), seconds, peer),
        "wt40": lambda: optima(weighted_tardiness(), seconds, peer),
        "factories": lambda: tardiness(factories(), seconds, peer),
        "same_due": lambda: steps("same due date", same_due(), sorted({*seconds, 5})),
        "huge": lambda: steps("huge", large("huge", 100_000, 800), sorted({*seconds, 5})),
        "repair": lambda: repair(seconds),
    }
    parser = argparse.ArgumentParser(prog="benches/run aps")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(cases))
    parser.add_argument("--seconds", default="1,10,60", help="limits, shortest first")
    parser.add_argument("--own", type=float, default=math.inf, help="Loopline's own longest limit")
    parser.add_argument("--peer", action="store_true", help="CP-SAT beside it")
    arguments = parser.parse_args()
    global OWN_MOST
    OWN_MOST = arguments.own
    seconds, peer = [float(part) for part in arguments.seconds.split(",")], arguments.peer
    for unknown in set(arguments.cases) - set(cases):
        parser.error(f"there is no case {unknown}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, limits {arguments.seconds} s")
    for name in arguments.cases or cases:
        cases[name]()


if __name__ == "__main__":
    main()
