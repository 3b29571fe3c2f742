"""The arguments of `find_ticket`: their earlier names, those of `fit` that it does not take, and `jit_compile`."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from tf_lottery.errors import UsageError

# What was called otherwise in version 0.1, and what to write now.
EARLIER_NAMES = {
    "train": "`x`, `y` and `sample_weight`, or one data set as `x`",
    "validation": "`validation_data`",
    "test": "`test_data`",
    "xla": "`jit_compile`: 'auto', True or False",
    "on_progress": "`callbacks`: Keras callbacks, whose on_epoch_end is called at each evaluation",
}
# Arguments of `fit`, and one of configurations, that are not taken, and why.
NOT_TAKEN = {
    "shuffle": "arrays are shuffled as `seed` says, and a data set has an order of its own",
    "initial_epoch": "a training starts where `rewind` says",
    "validation_freq": "`eval_every` is the number of steps between evaluations",
    "validation_steps": "an evaluation covers all of `validation_data`: end a data set with its method take",
    "jobs": "trainings run one after the other in this process, which holds the model and the data",
    "validation_batch_size": "an evaluation covers all of `validation_data`, in batches that the library chooses",
}


def check_names(unknown: Mapping[str, Any], valid: Iterable[str]) -> None:
    """Refuse arguments that `find_ticket` does not have.

    Args:
        unknown: the arguments that were passed beside those of the signature.
        valid: the names of the signature.

    Raises:
        UsageError: there are any; the message has the present name, the reason, or the nearest name.
    """
    if not unknown:
        return
    earlier = [name for name in unknown if name in EARLIER_NAMES]
    if earlier:
        present = "; ".join(f"{name} is now {EARLIER_NAMES[name]}" for name in earlier)
        raise UsageError(
            f"`find_ticket` takes its arguments as `fit` does since version 0.2: {present}.",
            "Call `tfl.find_ticket(model, x, y, validation_data=..., rounds=...)`.",
            argument=earlier[0],
        )
    name = next(iter(unknown))
    if name in NOT_TAKEN:
        raise UsageError(f"`find_ticket` has no argument `{name}`: {NOT_TAKEN[name]}.", "Drop it.", argument=name)
    near = difflib.get_close_matches(name, list(valid), n=1)
    remedy = f"Did you mean `{near[0]}`?" if near else "Its arguments are listed by `help(tfl.find_ticket)`."
    raise UsageError(f"`find_ticket` has no argument `{name}`.", remedy, argument=name)


def xla_setting(jit_compile: Any) -> str:
    """Return the configuration's word for `jit_compile`: "auto", "on" or "off".

    Raises:
        UsageError: it is not 'auto', True or False.
    """
    if jit_compile == "auto":
        return "auto"
    if isinstance(jit_compile, bool):
        return "on" if jit_compile else "off"
    raise UsageError(
        f"`jit_compile` must be 'auto', True or False. Received: {jit_compile!r}.", "Pass `jit_compile='auto'`."
    )
