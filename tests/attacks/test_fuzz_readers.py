"""Readers of files, given anything: they return, or raise an error of ours. More examples in the slow set."""

import contextlib
import io
import json
import unicodedata
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sent_files import METRICS, MODEL, ROW, archive, ticket_arrays, write_run, write_training
from tf_lottery_cli.failures import describe

import tf_lottery as tfl
from tf_lottery.data.metadata import read_metadata
from tf_lottery.errors import LotteryError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.config_file import read_config_file
from tf_lottery.experiment.directory import RunReader, manifest
from tf_lottery.experiment.effective_config import effective_config
from tf_lottery.experiment.run_state import read_state
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.layers import model_from_architecture

FEW, MANY = 150, 5000
ROUND = "replicate_0/round_00"
FEATURES = {
    "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
    "featuresDict": {
        "features": {
            "image": {"image": {"shape": {"dimensions": ["2", "2", "1"]}, "dtype": "uint8"}},
            "label": {"classLabel": {"numClasses": "2"}},
        }
    },
}
INFO = {"name": "own", "version": "1.0.0", "splits": [{"name": "train", "shardLengths": ["1"]}]}

# No integers between those that a layer can have and those that no memory holds.
SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([-(10**30), -1, 0, 1, 2, 7, 2**63, 10**30, 0.0, 1.5, -0.0, 1e308, float("nan"), float("inf")])
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from(["", "\ud800", "../..", "/dev/zero", "os:system", "a" * 5000, "\x00", "\x1b[2J", "user", "`f(`"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(document, path=()):
    """The path of every value in a document."""
    yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


def replaced(document, path, value):
    """A copy with another value at a path; `...` leaves it out."""
    if not path:
        return None if value is ... else value
    copy = dict(document) if isinstance(document, dict) else list(document)
    if len(path) == 1 and value is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(document[path[0]], path[1:], value)
    return copy


def changed(document):
    """Documents with one or two values replaced, or left out."""

    @st.composite
    def strategy(draw):
        copy = document
        for _ in range(draw(st.integers(1, 2))):
            copy = replaced(copy, draw(st.sampled_from(list(places(copy)))), draw(VALUES | st.just(...)))
        return copy

    return strategy()


def texts(document):
    """JSON texts of changed documents, and such texts cut or overwritten."""
    whole = changed(document).map(lambda value: json.dumps(value).encode())
    return whole | damaged(json.dumps(document).encode())


def damaged(content):
    """Bytes that are cut, overwritten or lengthened somewhere."""

    @st.composite
    def strategy(draw):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 8)))
        cut = draw(st.booleans())
        return content[:start] + draw(st.binary(max_size=8)) + (b"" if cut else content[end:])

    return strategy()


def errors_of_ours(*calls):
    """Call each; what it raises must be an error of ours, which can be printed."""
    for call in calls:
        with contextlib.suppress(LotteryError):
            printed(call)


def printed(call):
    """Call, and describe the error as the command line does."""
    try:
        call()
    except LotteryError as error:
        lines = describe(error, "verify").lines
        # Nothing that a terminal obeys, and no part of a character.
        if {unicodedata.category(char) for line in lines for char in line} & {"Cc", "Cs", "Zl", "Zp"}:
            raise AssertionError(lines) from error
        raise


DTYPES = ["?", "i1", "u1", "i8", "f2", "f4", "f8", "c8", "M8[s]", "U2", "S2", "V3", "O", "f4,i4"]
ANY_ARRAYS = st.builds(
    lambda shape, dtype: np.zeros(shape, dtype), st.lists(st.integers(0, 3), max_size=3), st.sampled_from(DTYPES)
)
NAMES = st.sampled_from(
    [
        "recipe",
        "masks/dense/kernel",
        "masks/",
        "masks/a",
        "rewind/dense/kernel",
        "rewind/a",
        "trained/dense/bias",
        "",
        "..",
        "é",
    ]
)


def check_ticket(folder, content):
    path = folder / "sent.npz"
    path.write_bytes(content)

    def read():
        ticket = tfl.load_ticket(path)
        repr(ticket), ticket._repr_html_(), ticket.val_accuracy, ticket.test_accuracy, ticket.round

    errors_of_ours(read)


def check_archives(folder, members):
    """Whole zip files of members that are not whole."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    check_ticket(folder, buffer.getvalue())


def member(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def check_run(path, name, content):
    """Everything that reads a run without TensorFlow."""
    run = path / "run"
    if not run.exists():
        write_run(run)
    place = run / name
    before = {file: file.read_bytes() for file in (place, run / ROUND / "manifest.json")}
    if name == f"{ROUND}/metrics.json":
        write_training(run / ROUND, metrics=content)
    else:
        place.write_bytes(content)
    store = RunReader(run)
    errors_of_ours(
        store.config,
        store.environment,
        store.rows,
        store.curves,
        store.layers,
        lambda: manifest.read(run / ROUND),
        lambda: verify_run(store),
        lambda: read_state(run),
        lambda: tfl.open_run(run).verdict,
        lambda: tfl.open_run(run)._repr_html_(),
    )
    for file, kept in before.items():
        file.write_bytes(kept)


def check_config_file(path, suffix, content):
    file = path / f"own.{suffix}"
    file.write_bytes(content)
    errors_of_ours(lambda: read_config_file(file), lambda: effective_config(None, file, {}))


def check_metadata(path, name, content):
    for file, document in {"features.json": FEATURES, "dataset_info.json": INFO}.items():
        (path / file).write_bytes(content if file == name else json.dumps(document).encode())
    errors_of_ours(lambda: read_metadata(path))


def toml(document):
    """The scalars and lists of a configuration as TOML, where it has a form for them."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in document.items() if value is not None]
    return "\n".join(lines).encode(errors="surrogatepass")


CONFIG = Config(rounds=0, steps=5).to_json()
RUN_CONFIG = {"schema": "tf-lottery.run-directory/1", **CONFIG, "hash": "0" * 10}
MANIFEST = {"schema": "tf-lottery.manifest/1", "files": {"metrics.json": "0" * 64}}
TICKET = archive(ticket_arrays())
RECIPE = {
    "schema": "tf-lottery.ticket/1",
    "round": 0,
    "row": ROW,
    "config": CONFIG,
    "environment": {},
    "architecture": "{}",
}
CHECKS = {
    "ticket, bytes": (check_ticket, (), damaged(TICKET)),
    "ticket, arrays": (
        check_ticket,
        (),
        st.dictionaries(NAMES, ANY_ARRAYS, max_size=4).map(lambda arrays: archive(ticket_arrays() | arrays)),
    ),
    "ticket, headers": (
        check_archives,
        (),
        st.fixed_dictionaries(
            {"recipe": st.just(member(ticket_arrays()["recipe"])), "masks/a": damaged(member(np.ones((2, 2), bool)))}
        ),
    ),
    "ticket, recipe": (check_ticket, (), texts(RECIPE).map(lambda text: archive(ticket_arrays(text)))),
    "run, configuration": (check_run, ("config.json",), texts(RUN_CONFIG)),
    "run, environment": (check_run, ("environment.json",), texts({"keras": "3", "threads": 1})),
    "run, manifest": (check_run, (f"{ROUND}/manifest.json",), texts(MANIFEST)),
    "run, metrics": (check_run, (f"{ROUND}/metrics.json",), texts(METRICS)),
    "run, masks": (check_run, (f"{ROUND}/masks.npz",), damaged(archive({"dense/kernel": np.ones((2, 2), bool)}))),
    "configuration, JSON": (check_config_file, ("json",), texts(CONFIG)),
    "configuration, TOML": (
        check_config_file,
        ("toml",),
        changed(CONFIG).filter(lambda value: isinstance(value, dict)).map(toml) | damaged(toml(CONFIG)),
    ),
    "data set, features": (check_metadata, ("features.json",), texts(FEATURES)),
    "data set, info": (check_metadata, ("dataset_info.json",), texts(INFO)),
}


def fuzz(name, folder, examples):
    check, arguments, strategy = CHECKS[name]

    @settings(max_examples=examples)
    @given(strategy)
    def one(content):
        check(folder, *arguments, content)

    with contextlib.chdir(folder):
        one()


@pytest.mark.parametrize("name", CHECKS)
def test_a_few_files(name, tmp_path):
    fuzz(name, tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_many_files(name, tmp_path):
    fuzz(name, tmp_path, MANY)


def check_architecture(text):
    errors_of_ours(lambda: model_from_architecture(text.decode(errors="replace")))


@settings(max_examples=FEW)
@given(texts(MODEL))
def test_a_few_architectures(text):
    check_architecture(text)


@pytest.mark.slow
@settings(max_examples=MANY)
@given(texts(MODEL))
def test_many_architectures(text):
    check_architecture(text)
