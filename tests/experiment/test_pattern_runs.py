"""Whole experiments under patterns N:M, by distributions, in heads and in rows: counts of rounds, controls, exports."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.run_verification import verify_run

L = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 8)).astype("float32"), RNG.integers(0, 3, 60)


def dense_model():
    return keras.Sequential([keras.Input((8,)), L.Dense(12, activation="relu"), L.Dense(3)])


def find(model=dense_model, *, x=X, **options):
    given = {"loss": LOSS, "rounds": 2, "rate": 0.5, "steps": 8, "jit_compile": False, "verbose": 0}
    return tfl.find_ticket(model, x, Y, **{**given, "batch_size": 16, "eval_every": 8, **options})


def kept(result, variant="ticket"):
    return [row["weights_kept"] for row in result.rows if row["variant"] == variant]


def test_a_run_ends_in_the_exact_pattern(tmp_path):
    variants = ("ticket", "shuffled_masks", "random_masks")
    result = find(granularity="2:4", final_density=0.5, variants=variants, run_dir=tmp_path)
    # 96 and 36 weights: 68 and 25 after one round at 1 - 0.5 ** 0.5, then halves.
    assert kept(result) == [132, 93, 66]
    store = RunDirectory(tmp_path)
    assert not verify_run(store).problems
    for name in variants:
        for path, mask in store.masks(Job(0, 2, name)).items():
            assert (mask.reshape(-1, 4, mask.shape[1]).sum(axis=1) == 2).all(), (name, path)
        assert kept(result, name)[-2:] == [93, 66]
    trained, dense = store.weights(Job(0, 0)), store.masks(Job(0, 0))
    first = tfl.prune(tfl.scores({path: trained[path] for path in dense}), dense, rate=1 - 0.5**0.5, granularity="2:4")
    assert all(np.array_equal(first[path], mask) for path, mask in store.masks(Job(0, 1)).items())


def test_less_than_the_pattern_stops_before_training(tmp_path):
    with pytest.raises(UsageError, match=r"Round 2 would keep 24 of the 96 weights of dense/kernel"):
        find(granularity="2:4", final_density=0.25, run_dir=tmp_path)
    assert not RunDirectory(tmp_path).complete_jobs()


@pytest.mark.parametrize("distribution", ["erk", "lamp"])
def test_a_run_keeps_the_total_of_a_distribution(distribution, tmp_path):
    result = find(distribution=distribution, run_dir=tmp_path)
    assert kept(result) == [132, 66, 33]
    store = RunDirectory(tmp_path)
    assert store.document()["distribution"] == distribution
    counts = [[int(mask.sum()) for mask in store.masks(Job(0, number)).values()] for number in (1, 2)]
    if distribution == "erk":
        # Shares 20 and 15 of 66 weights: 37.7 and 28.3; of 33: 18.9 and 14.1.
        assert counts == [[38, 28], [19, 14]]
    trained = store.weights(Job(0, 0))
    scores = tfl.scores({path: trained[path] for path in store.masks(Job(0, 0))})
    once = tfl.prune(scores, store.masks(Job(0, 0)), rate=0.5, distribution=distribution)
    assert all(np.array_equal(once[path], mask) for path, mask in store.masks(Job(0, 1)).items())


def transformer():
    inputs = keras.Input((6,), dtype="int32")
    x = L.Embedding(20, 8, name="words")(inputs)
    x = L.MultiHeadAttention(4, 2, name="attention")(x, x)
    return keras.Model(inputs, L.Dense(3, name="output")(L.GlobalAveragePooling1D()(x)))


TOKENS = RNG.integers(0, 20, (60, 6)).astype("int32")


def test_a_run_prunes_heads_in_all_kernels_at_once(tmp_path):
    result = find(transformer, x=TOKENS, granularity="head", indivisible="skip", run_dir=tmp_path)
    # Four kernels of 64 weights, of which a head has 16; 160 and 24 weights are kept whole.
    assert kept(result) == [184 + 256, 184 + 128, 184 + 64]
    masks = RunDirectory(tmp_path).masks(Job(0, 2))
    heads = {
        tuple(np.flatnonzero(mask.any(axis=(1, 2) if "output_dense" in path else (0, 2))))
        for path, mask in masks.items()
        if path.startswith("attention")
    }
    assert len(heads) == 1
    assert len(heads.pop()) == 1
    remarks = RunDirectory(tmp_path).environment()["indivisible"]
    assert remarks["words/embeddings"] == "kept whole: an embedding has no attention heads"


def test_a_run_prunes_rows_and_other_weights_one_by_one(tmp_path):
    result = find(
        transformer, x=TOKENS, rounds=1, granularity="row", indivisible="unstructured", distribution="uniform",
        run_dir=tmp_path,
    )  # fmt: skip
    # 10 of 20 rows, half of 256 weights, and 18 of 24 at half the rate.
    assert kept(result) == [440, 80 + 128 + 18]
    table = RunDirectory(tmp_path).masks(Job(0, 1))["words/embeddings"]
    assert (table.all(axis=1) == table.any(axis=1)).all()


def test_a_pattern_is_exported_as_single_zeros(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((128,)), L.Dense(128, activation="relu"), L.Dense(16)])
    wrapped = tfl.wrap(model)
    masks = tfl.get_masks(wrapped)
    scores = tfl.scores({path: tfl.get_weights(wrapped)[path] for path in masks})
    tfl.set_masks(wrapped, tfl.prune(scores, masks, rate=0.5, granularity="2:4"))
    x = RNG.normal(size=(50, 128)).astype("float32")
    report = tfl.export(wrapped, tmp_path / "files", precision="float32", encoding=["dense", "sparse"], samples=x)
    files = {file["encoding"]: file for file in report.files}
    assert files["sparse"]["layout"] == "rows"
    assert files["sparse"]["bytes"] < 0.7 * files["dense"]["bytes"]
    assert files["sparse"]["max_abs_error"] == files["dense"]["max_abs_error"]
