"""``python -m tests.gateway.fuzzing``: as many scenes as go into a time."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import Counter
from random import Random

from tests.gateway.fuzzing.scenes import compare, play, remember

from stoker.clock import stopwatch

SCENES = {"play": play, "compare": compare, "remember": remember}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1, help="of the first scene")
    parser.add_argument("--scene", choices=tuple(SCENES), help="one kind alone")
    parser.add_argument("--only", action="store_true", help="the scenes of --seed, once")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first fault")
    arguments = parser.parse_args()
    kinds = {arguments.scene: SCENES[arguments.scene]} if arguments.scene else SCENES
    seed, played, faults = arguments.seed, 0, Counter()
    began = stopwatch()
    while stopwatch() < began + arguments.seconds:
        for name, scene in kinds.items():
            try:
                scene(Random(seed))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
                what = f"{type(error).__name__} {str(error)[:60]}"
                faults[what] += 1
                if faults[what] == 1:
                    print(f"\n{name}, seed {seed}:")  # noqa: T201
                    traceback.print_exc()
                if not arguments.keep_going:
                    sys.exit(1)
            played += 1
        seed += 1
        if arguments.only:
            break
    took = stopwatch() - began
    print(f"{played} scenes in {took:.0f} s, {played / took:.0f}/s; {sum(faults.values())} faults")  # noqa: T201
    for what, number in faults.most_common():
        print(f"{number:6} {what}")  # noqa: T201
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
