"""The claims by name. No TensorFlow."""

from collections.abc import Iterable

from tf_lottery.errors import UsageError
from tf_lottery.studies.claims import convolutional, lenet, recipes
from tf_lottery.studies.claims.claim import Claim
from tf_lottery.studies.claims.recipes import REINIT
from tf_lottery.utils.text import suggestion

ALL = "all"
PAPER = "Frankle & Carbin 2018, arXiv 1803.03635"
REPORT = "a reproduction report of arXiv 1803.03635"
LATE = "Frankle et al. 2019, arXiv 1903.01611 and 1912.05671"
BEFORE = "Frankle et al. 2020, arXiv 2009.08576"
STEPS = ("test_accuracy", "early_stop_step")

CLAIMS = {
    claim.name: claim
    for claim in (
        Claim(
            name="tickets-match-dense",
            title="Tickets of 21 % to 3.6 % of LeNet-300-100 match the dense network",
            source=f"{PAPER}, section 2 and figure 3",
            published="tickets keep the dense test accuracy down to 3.6 % of the weights",
            sizes=lambda quick: {"lenet": recipes.lenet(quick)},
            judge=lenet.tickets_match_dense,
        ),
        Claim(
            name="early-stop",
            title="Tickets of 21 % learn faster than the dense network, and those of 3.6 % slower than they",
            source=f"{PAPER}, section 2 and figure 4",
            published="least validation loss 38 % sooner at 21 % of the weights; at 3.6 % about as late as dense",
            sizes=lambda quick: {"lenet": recipes.lenet(quick)},
            judge=lenet.early_stop,
            columns=STEPS[::-1],
        ),
        Claim(
            name="random-reinit-worse",
            title="Below half of the weights, a reinitialized ticket ends lower and learns slower",
            source=f"{PAPER}, section 2 and figure 4",
            published="at 21 % the ticket is half a point better and stops 2.51 times sooner than when reinitialized",
            sizes=lambda quick: {"lenet": recipes.lenet(quick, variants=REINIT)},
            judge=lenet.random_reinit_worse,
            columns=STEPS,
        ),
        Claim(
            name="shuffled-masks-lose",
            title="The ticket's masks, shuffled within each layer, lose",
            source=f"{PAPER}, figure 1: random sparse networks",
            published="the sparser, the lower and later random sparse networks end, while tickets hold",
            sizes=lambda quick: {
                "ladder": recipes.lenet_ladder(quick, variants=("ticket", "shuffled_masks", "noise_0.5"))
            },
            judge=lenet.shuffled_masks_lose,
        ),
        Claim(
            name="noise-half-deviation",
            title="Noise of half a layer's standard deviation on a ticket's initial weights hardly hurts",
            source=f"{PAPER}, appendix on the initial weights of tickets",
            published="tickets are robust to noise of 0.5 standard deviations on their initial weights",
            sizes=lambda quick: {
                "ladder": recipes.lenet_ladder(quick, variants=("ticket", "shuffled_masks", "noise_0.5"))
            },
            judge=lenet.noise_hardly_hurts,
        ),
        Claim(
            name="signs-matter",
            title="Of reinitialized tickets, those that keep the initial signs do better",
            source="Zhou et al. 2019, arXiv 1905.01067, section 4",
            published="reinitialized with the initial signs, tickets train about as well as before; otherwise not",
            sizes=lambda quick: {"ladder": recipes.lenet_ladder(quick, variants=(*REINIT, "same_sign_reinit"))},
            judge=lenet.signs_matter,
        ),
        Claim(
            name="one-shot-weaker",
            title="One-shot pruning finds weaker tickets than iterative pruning at equal density",
            source=f"{PAPER}, section 2 and figure 4",
            published="iterative tickets reach higher test accuracy at smaller sizes than one-shot tickets",
            sizes=lambda quick: {
                "iterative": recipes.lenet(quick),
                **{f"one shot {rounds}": recipes.one_shot(quick, rounds) for rounds in (lenet.SPARSE, lenet.LAST)},
            },
            judge=lenet.one_shot_weaker,
        ),
        Claim(
            name="fc1-35-rounds",
            title="fc1, pruned by 10 % a round, keeps its accuracy to 10 to 15 % of the weights",
            source=REPORT,
            published="accuracy holds to 10 to 15 % of the weights, over 35 rounds",
            sizes=lambda quick: {"fc1": recipes.fc1_35(quick)},
            judge=lenet.fc1_35_rounds,
        ),
        Claim(
            name="lenet5-35-rounds",
            title="LeNet5, pruned by 10 % a round, keeps its accuracy to 10 to 15 % of the weights",
            source=REPORT,
            published="accuracy holds to 10 to 15 % of the weights, over 35 rounds",
            sizes=lambda quick: {"lenet5": recipes.lenet5_35(quick)},
            judge=convolutional.lenet5_35_rounds,
            convolutional=True,
        ),
        Claim(
            name="large-learning-rate",
            title="At learning rate 0.1 the advantage over reinitialization is gone",
            source=REPORT,
            published="at a learning rate of 0.1, tickets and reinitialized tickets are alike",
            sizes=lambda quick: {"fc1": recipes.fc1_large_rate(quick)},
            judge=lenet.large_learning_rate,
            columns=("early_stop_test_accuracy", "test_accuracy"),
        ),
        Claim(
            name="late-rewinding",
            title="Rewinding to a later step helps a residual net where rewinding to the start does not",
            source=LATE,
            published="rewound to step 500, ResNet-20 tickets match dense and are stable (barrier below 2 %); rewound "
            "to the start they are no better than reinitialized ones",
            sizes=lambda quick: {
                "init": recipes.resnet(quick, variants=(*REINIT, "other_order")),
                "late": recipes.resnet(
                    quick, rewind="step:150" if quick else "step:500", variants=("ticket", "other_order")
                ),
            },
            judge=convolutional.late_rewinding,
            columns=("test_accuracy", "test_error_barrier"),
            convolutional=True,
        ),
        Claim(
            name="warm-up",
            title="With learning-rate warm-up, rewinding a residual net to the start finds better tickets",
            source=f"{PAPER}, the section on VGG and ResNet",
            published="at learning rate 0.03 with 20,000 steps of warm-up tickets are found, without it they are not",
            sizes=lambda quick: {
                "init": recipes.resnet(quick, **({} if quick else {"learning_rate": 0.03})),
                "warm-up": recipes.resnet(
                    quick, **({"warmup": 300} if quick else {"learning_rate": 0.03, "warmup": 20_000})
                ),
            },
            judge=convolutional.warm_up,
            convolutional=True,
        ),
        Claim(
            name="before-training-loses",
            title="Pruning before training, by SNIP, GraSP, SynFlow or at random, loses to the ticket",
            source=f"{BEFORE}, figure 3",
            published="no method that prunes at initialization reaches magnitude pruning after training",
            sizes=lambda quick: {
                "magnitude": recipes.lenet_ladder(quick, scope="global"),
                **{
                    method: recipes.lenet_ladder(
                        quick, scope="global", densities=recipes.SPARSE, pruning="before_training", criterion=method
                    )
                    for method in ("snip", "grasp", "synflow", "random")
                },
            },
            judge=lenet.before_training_loses,
        ),
    )
}


def select_claims(names: Iterable[str]) -> list[Claim]:
    """Return the claims of these names, in the order of the list; "all" stands for all of them.

    Raises:
        UsageError: there is no claim of a name, or `names` is empty.

    Example:
        >>> [claim.name for claim in select_claims(["warm-up", "early-stop"])]
        ['early-stop', 'warm-up']
    """
    wanted = set(names)
    for name in sorted(wanted - {ALL}):
        if name not in CLAIMS:
            raise UsageError(f"Unknown claim {name!r}.", suggestion(name, [*CLAIMS, ALL]))
    if not wanted:
        raise UsageError("No claim was named.", f"Valid: {', '.join([*CLAIMS, ALL])}.")
    return [claim for name, claim in CLAIMS.items() if name in wanted or ALL in wanted]
