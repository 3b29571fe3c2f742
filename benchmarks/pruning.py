"""Time and memory of pruning: a global prune of many weights, and of scores that are all equal.

    python benchmarks/pruning.py
    python benchmarks/pruning.py --weights 1000000 --ties 1000000 --json pruning.json

Each case runs in a process of its own, so that its peak of memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from outcome import add_options, finish

SECONDS_TARGET, MEMORY_TARGET, RATE = 2.0, 4.0, 0.2


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 where a count is wrong, or with `--check` where a target is missed."""
    options = parse(arguments)
    if options.case:
        print(json.dumps({"weights": prune_weights, "ties": prune_ties}[options.case](getattr(options, options.case))))
        return 0
    document: dict[str, Any] = {
        "schema": "tf-lottery.pruning/1",
        "weights": case("weights", options.weights),
        "ties": case("ties", options.ties),
    }
    weights, ties = document["weights"], document["ties"]
    held = weights["seconds"] < SECONDS_TARGET and weights["memory_ratio"] <= MEMORY_TARGET
    exact = weights["exact"] and ties["exact"]
    print(
        f"global prune of {weights['size']:,} weights in {weights['arrays']} arrays: {weights['seconds']:.2f} s, peak "
        f"{weights['memory_ratio']:.2f} x the weights' memory, of which weights, scores and old masks are "
        f"{weights['arguments_ratio']:.2f}; target {SECONDS_TARGET:g} s and {MEMORY_TARGET:g} x: "
        f"{'held' if held else 'MISSED'}\n"
        f"{ties['size']:,} equal scores: {ties['seconds']:.2f} s, peak {ties['memory_ratio']:.2f} x their memory\n"
        f"counts, and which ties go: {'exact' if exact else 'WRONG'}"
    )
    code = finish(options, document | {"held": held}, held=held)
    return code if exact else 1


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=25_000_000)
    parser.add_argument("--ties", type=int, default=100_000_000)
    add_options(parser)
    parser.add_argument("--case", choices=("weights", "ties"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def case(name: str, size: int) -> dict[str, Any]:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--case", name, f"--{name}", str(size)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def prune_weights(size: int) -> dict[str, Any]:
    """A global prune of `size` float32 weights in arrays of the proportions of a ResNet's stages."""
    import numpy as np

    from tf_lottery.pruning import criteria as scoring
    from tf_lottery.pruning import select as pruning

    rng = np.random.default_rng(0)
    before = resident()
    parts = [size // 2, size // 4, size // 8, size - size // 2 - size // 4 - size // 8]
    weights = {f"layer_{i}/kernel": rng.standard_normal(part, dtype=np.float32) for i, part in enumerate(parts)}
    masks = {key: np.ones(weight.shape, bool) for key, weight in weights.items()}
    begin = time.perf_counter()
    scores = scoring.scores(weights)
    arguments = resident() - before
    pruned = pruning.prune(scores, masks, rate=RATE, scope="global")
    seconds = time.perf_counter() - begin
    used = 4 * size
    gone = sum(int(np.count_nonzero(~mask)) for mask in pruned.values())
    highest_gone = max(float(scores[key][~mask].max(initial=0)) for key, mask in pruned.items())
    lowest_kept = min(float(scores[key][mask].min()) for key, mask in pruned.items())
    return {
        "size": size,
        "arrays": len(parts),
        "seconds": seconds,
        "memory_ratio": (peak() - before) / used,
        "arguments_ratio": arguments / used,
        "exact": gone == round(RATE * size) and highest_gone <= lowest_kept,
    }


def prune_ties(size: int) -> dict[str, Any]:
    """A prune of `size` equal scores, which must lose exactly the first ones."""
    import numpy as np

    from tf_lottery.pruning import select as pruning

    before = resident()
    scores, masks = {"kernel": np.ones(size, np.float32)}, {"kernel": np.ones(size, bool)}
    begin = time.perf_counter()
    mask = pruning.prune(scores, masks, rate=RATE, scope="global")["kernel"]
    seconds, most = time.perf_counter() - begin, peak()
    count = round(RATE * size)
    return {
        "size": size,
        "seconds": seconds,
        "memory_ratio": (most - before) / (4 * size),
        "exact": not mask[:count].any() and bool(mask[count:].all()),
    }


def resident() -> int:
    """Bytes of memory that this process holds now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    return peak()


def peak() -> int:
    """Bytes of memory that this process has held at most."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
