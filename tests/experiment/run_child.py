"""A process of its own that runs an experiment: `run_child.py RUN_DIR CONFIG_JSON CHECKPOINT_SECONDS`.

It works in the folder of the model's module, as the command line does. A line on stdout for each chunk of steps.
"""

import json
import sys

from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.problem import model_hash
from tf_lottery.experiment.run import Events, run


def main() -> None:
    run_dir, text, seconds = sys.argv[1:]
    config = Config.from_json(json.loads(text))
    events = Events(on_progress=lambda job, step, stop: print("at", job, step, flush=True))
    run(config, RunDirectory(run_dir), events=events, model_hash=model_hash(config), checkpoint_every=float(seconds))


if __name__ == "__main__":
    main()
