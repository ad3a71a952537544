"""Timing of commands side by side: what every benchmark here shares."""

import os
import statistics
import subprocess
import sys
import tempfile
import time

def timed(command, env=None):
    """Runs a command to its end: (seconds, CPU seconds, peak MB)."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begun
        if child.returncode:
            out.seek(0)
            sys.exit(f"{' '.join(command)[:300]}: exit code {child.returncode}\n{out.read().decode(errors='replace')[-3000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def contest(title, contestants, rounds, rows=None):
    """`contestants`: name → (prepare or None, command, environment). The first one is what the others are compared with."""
    taken = {name: [] for name in contestants}
    for number in range(rounds):
        for name, (prepare, command, env) in contestants.items():
            if prepare:
                prepare()
            taken[name].append(timed(command, env))
            print(f"  {title}, round {number + 1} of {rounds}: {name} {taken[name][-1][0]:.2f} s", file=sys.stderr)
    medians = {name: [statistics.median(column) for column in zip(*runs)] for name, runs in taken.items()}
    first = next(iter(medians.values()))[0]
    print(f"\n{title} (medians of {rounds} interleaved runs)")
    for name, (seconds, cpu, peak) in medians.items():
        spread = f"{min(run[0] for run in taken[name]):.2f}–{max(run[0] for run in taken[name]):.2f}"
        speed = f"{rows / seconds / 1e6:6.2f} M rows/s  " if rows else ""
        print(f"  {name:<34} {seconds:7.2f} s ({spread})  CPU {cpu:6.2f} s  peak {peak:6.0f} MB  {speed}time / the first's {seconds / first:5.2f}")
    return medians
