"""Import paths of objects, and the objects of import paths."""

import functools
import json
import sys

import pytest

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.utils import references


def at_top_level():
    """A function that another process can import."""


class Holder:
    """Holds a function."""

    @staticmethod
    def inside():
        """A function in a class."""


CONSTANT = functools.partial(at_top_level)


def test_import_paths():
    def local():
        """A function in a function."""

    here = __name__
    assert references.import_path(at_top_level) == f"{here}:at_top_level"
    assert references.import_path(Holder.inside) == f"{here}:Holder.inside"
    assert references.import_path(json.dumps) == "json:dumps"
    assert references.import_path(CONSTANT, here) == f"{here}:CONSTANT"
    assert references.import_path(local) is None
    assert references.import_path(lambda: 1) is None
    assert references.import_path(functools.partial(at_top_level), here) is None
    for value in (at_top_level, Holder.inside, json.dumps):
        path = references.import_path(value)
        assert references.is_import_path(path)
        assert references.resolve(path, what="function") is value


def test_a_function_of_the_running_script_has_no_import_path(monkeypatch):
    monkeypatch.setattr(at_top_level, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "at_top_level", at_top_level, raising=False)
    assert references.import_path(at_top_level) is None


@pytest.mark.parametrize("text", ["magnitude", "a:b:c", "a b:c", ":c", "a:", "1a:b", "a:b-c", "a/b:c"])
def test_other_texts_are_no_references(text):
    assert not references.is_reference(text)


def test_objects_of_this_process_only():
    name = references.register_local("<lambda>", "0123456789", CONSTANT)
    assert name == "local:lambda-0123456789"
    assert references.is_local(name)
    assert not references.is_import_path(name)
    assert references.resolve(name, what="thing") is CONSTANT
    with pytest.raises(UsageError, match="The thing 'local:other-0123456789' was a function of the process that began"):
        references.resolve("local:other-0123456789", what="thing")


def test_modules_of_the_current_directory_and_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text("def score():\n    return 1\n")
    (tmp_path / f"{name}_broken.py").write_text("1 / 0\n")
    before = list(sys.path)
    assert references.resolve(f"{name}:score", what="criterion")() == 1
    assert sys.path == before
    with pytest.raises(UsageError, match=r"has no 'scores', for the criterion .*Did you mean 'score'"):
        references.resolve(f"{name}:scores", what="criterion")
    with pytest.raises(UsageError, match=r"No module named 'not_there', in .* for the criterion 'not_there:score'"):
        references.resolve("not_there:score", what="criterion")
    with pytest.raises(UnfitError, match=r"The criterion .* failed: ZeroDivisionError"):
        references.resolve(f"{name}_broken:score", what="criterion")
