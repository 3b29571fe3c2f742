"""A process of its own that runs an experiment: `run_child.py RUN_DIR CONFIG_JSON CHECKPOINT_SECONDS [LAST_LINE]`.

It works in the folder of the model's module, as the command line does. A line on stdout for each chunk of steps. After
LAST_LINE it waits to be killed, so that it cannot end before that, however slow the process is that kills it.
"""

import json
import sys
import threading

from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.problem import model_hash
from tf_lottery.experiment.run import Events, run


def main() -> None:
    run_dir, text, seconds, *last = sys.argv[1:]
    config = Config.from_json(json.loads(text))

    def on_progress(job, step, stop):
        line = f"at {job} {step}"
        print(line, flush=True)
        if line in last:
            threading.Event().wait()

    events = Events(on_progress=on_progress)
    run(config, RunDirectory(run_dir), events=events, model_hash=model_hash(config), checkpoint_every=float(seconds))


if __name__ == "__main__":
    main()
