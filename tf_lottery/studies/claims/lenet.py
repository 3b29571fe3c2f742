"""Functions that judge claims about fully connected networks on MNIST.

A function judges one claim, by bounds that were fixed before any result was seen; exceptions are in its docstring.
"""

from tf_lottery.studies.claims.evidence import Evidence
from tf_lottery.studies.claims.measures import ClaimFinding, at_least, at_most, conclude, more_than, reported

# A ticket matches the dense network if it is at most half a point of accuracy below it.
MATCH = -0.005
# The advantage of tickets over reinitialized ones that the paper reports at its own learning rate.
ADVANTAGE = 0.005
# Rounds of rate 0.2 (output layer 0.1): 41, 21.1, 7.0 and 3.6 % of the weights.
HALF, FIFTH, SPARSE, LAST = 4, 7, 12, 15
# A network below this accuracy has not learned the digits, and shows nothing about tickets.
LEARNED = 0.5


def tickets_match_dense(evidence: Evidence) -> ClaimFinding:
    """A ticket of 21, 7 or 3.6 % is at most half a point below its dense network."""
    dense = ("lenet", "ticket", 0)
    return conclude(
        [at_least(evidence.difference(("lenet", "ticket", at), dense), MATCH) for at in (FIFTH, SPARSE, LAST)]
    )


def early_stop(evidence: Evidence) -> ClaimFinding:
    """Tickets of 21 % stop before the dense network, and before those of 3.6 %."""
    dense, fifth, last = (("lenet", "ticket", at) for at in (0, FIFTH, LAST))
    sides = ((dense, fifth), (last, fifth))
    return conclude([more_than(evidence.difference(*pair, "early_stop_step")) for pair in sides])


def random_reinit_worse(evidence: Evidence) -> ClaimFinding:
    """Below half of the weights, reinitialized tickets end lower, and take longer."""
    sides = {at: (("lenet", "ticket", at), ("lenet", "random_reinit", at)) for at in (HALF, FIFTH, SPARSE, LAST)}
    accuracy = [evidence.difference(ticket, reinit) for ticket, reinit in sides.values()]
    steps = [evidence.difference(sides[at][1], sides[at][0], "early_stop_step") for at in (FIFTH, SPARSE)]
    return conclude([more_than(difference) for difference in (*accuracy, *steps)])


def shuffled_masks_lose(evidence: Evidence) -> ClaimFinding:
    """The same numbers of weights elsewhere in each layer do worse."""
    pairs = [(("ladder", "ticket", at), ("ladder", "shuffled_masks", at)) for at in (0.1, 0.036)]
    return conclude([more_than(evidence.difference(*pair)) for pair in pairs])


def noise_hardly_hurts(evidence: Evidence) -> ClaimFinding:
    """Noise of half a layer's deviation on a ticket's initial weights costs at most half a point."""
    pairs = [(("ladder", "noise_0.5", at), ("ladder", "ticket", at)) for at in (0.2, 0.1)]
    return conclude([at_least(evidence.difference(*pair), MATCH) for pair in pairs])


def signs_matter(evidence: Evidence) -> ClaimFinding:
    """Of two reinitialized tickets, the one that keeps the initial signs does better."""
    pairs = [(("ladder", "same_sign_reinit", at), ("ladder", "random_reinit", at)) for at in (0.1, 0.036)]
    return conclude([more_than(evidence.difference(*pair)) for pair in pairs])


def one_shot_weaker(evidence: Evidence) -> ClaimFinding:
    """At equal density, a ticket that was pruned at once is worse than one that was pruned round by round."""
    pairs = [(("iterative", "ticket", at), (f"one shot {at}", "ticket", 1)) for at in (SPARSE, LAST)]
    return conclude([more_than(evidence.difference(*pair)) for pair in pairs])


def fc1_35_rounds(evidence: Evidence) -> ClaimFinding:
    """After 18 and 22 rounds of 10 %, with 15.0 and 9.8 % of the weights, accuracy holds.

    Three replicates left it open; the five of today were decided on after that.
    """
    dense = ("fc1", "ticket", 0)
    return conclude([at_least(evidence.difference(("fc1", "ticket", at), dense), MATCH) for at in (18, 22)])


def large_learning_rate(evidence: Evidence) -> ClaimFinding:
    """At learning rate 0.1 a ticket has no advantage over its masks with new initial weights.

    So large a rate undoes a training again: the accuracy at the step of least validation loss is what it had reached.
    This measure was chosen after a pilot run with another seed; the bound is the advantage that the paper reports.
    """
    best, at = "early_stop_test_accuracy", (0.2, 0.1)
    pairs = [(("fc1", "ticket", density), ("fc1", "random_reinit", density)) for density in at]
    regime = at_least(evidence.mean(("fc1", "ticket", at[0]), "val_accuracy"), LEARNED)
    shown = [reported(evidence.mean(("fc1", "ticket", 0), column)) for column in (best, "test_accuracy")]
    judged = [at_most(evidence.difference(*pair, best), ADVANTAGE) for pair in pairs]
    return conclude([*shown, *judged], regime=regime)


def before_training_loses(evidence: Evidence) -> ClaimFinding:
    """Masks that were made before training are worse than the ticket's, by any of the methods."""
    return conclude(
        [
            more_than(evidence.difference(("magnitude", "ticket", at), (method, "ticket", at)))
            for method in evidence.runs
            if method != "magnitude"
            for at in (0.1, 0.036)
        ]
    )
