"""Table and JSON of compare.sh's lines `case contender median min max` (ms a step)."""

import json
import platform
import statistics
import subprocess
import sys


def main():
    cases = {}
    for line in open(sys.argv[1]):
        case, contender, median, *_ = line.split()
        cases.setdefault(case, {}).setdefault(contender, []).append(float(median))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                            text=True).stdout.strip()
    report = {"cases": [], "machine": f"{platform.processor() or platform.machine()}, 2 threads",
              "commit": commit}
    for case, contenders in cases.items():
        print(f"\n{case}\n{'contender':16} {'ms a step':>10} {'min':>9} {'max':>9} {'x eager':>8}")
        entry = {"name": case, "unit": "ms", "contenders": {}}
        eager = contenders["pytorch_eager"]
        for contender, rounds in contenders.items():
            ratio = statistics.median(e / r for e, r in zip(eager, rounds))
            print(f"{contender:16} {statistics.median(rounds):10.1f} {min(rounds):9.1f} "
                  f"{max(rounds):9.1f} {ratio:8.3f}")
            entry["contenders"][contender] = {
                "median": statistics.median(rounds), "min": min(rounds), "max": max(rounds),
                "repeats": len(rounds), "median_ratio_to_eager": ratio}
        report["cases"].append(entry)
    if len(sys.argv) > 2 and sys.argv[2]:
        with open(sys.argv[2], "w") as file:
            json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
