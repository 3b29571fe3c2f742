import json

import pytest

from tf_lottery.errors import UsageError
from tf_lottery.utils.tf_config import Cluster, read_cluster


def environ(cluster, kind, index):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_the_chief_comes_first():
    cluster = {"worker": ["b:1", "c:1"], "chief": ["a:1"], "evaluator": ["d:1"]}
    assert read_cluster(environ(cluster, "chief", 0)) == Cluster(("a:1", "b:1", "c:1"), 0)
    assert read_cluster(environ(cluster, "worker", 1)) == Cluster(("a:1", "b:1", "c:1"), 2)


def test_without_a_chief_it_is_the_first_worker():
    cluster = {"worker": ["b:1", "c:1"]}
    assert read_cluster(environ(cluster, "worker", 0)).is_chief
    assert not read_cluster(environ(cluster, "worker", 1)).is_chief


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"TF_CONFIG": "{"},
        {"TF_CONFIG": "[1]"},
        {"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'},
        environ({"worker": ["a:1"]}, "worker", 1),
        environ({"worker": ["a:1"]}, "evaluator", 0),
        environ({"worker": 3}, "worker", 0),
    ],
)
def test_what_describes_no_cluster_with_this_process_is_refused(variables):
    with pytest.raises(UsageError, match="TF_CONFIG"):
        read_cluster(variables)
