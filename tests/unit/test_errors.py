from __future__ import annotations

import inspect
import re

import pytest

from gstream import errors


def test_every_error_is_in_the_tree_of_the_docstring_under_its_parent():
    drawn = {}
    path = []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"([│├└─ ]*)(\w+Error)\b", line):
            depth = len(match[1]) // 4
            del path[depth:]
            path.append(match[2])
            drawn[match[2]] = path[depth - 1] if depth else "Exception"
    classes = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}
    assert drawn == {name: kind.__base__.__name__ for name, kind in classes.items()}
    assert sorted(drawn) == errors.__all__


def test_codes_are_single_stable_words():
    codes = {kind.__name__: kind.code for kind in errors.ReplyError.__subclasses__()}
    assert codes == {
        "UnknownCommandError": "unknown",
        "ArgumentError": "args",
        "TooBigError": "toobig",
        "FullError": "full",
        "UnknownNameError": "name",
        "GoneError": "gone",
        "BusyError": "busy",
        "DiskError": "disk",
        "DrainError": "drain",
        "InternalError": "internal",
    }


def test_the_docstring_tells_the_codes():
    for kind in errors.ReplyError.__subclasses__():
        assert re.search(rf"{kind.__name__} +{kind.code}\n", errors.__doc__)


def test_a_refusal_tells_its_code_and_how_many_were_confirmed():
    error = errors.RefusedError("full", "no room")
    assert (error.code, error.confirmed, str(error)) == ("full", 0, "full: no room")


@pytest.mark.parametrize("name", errors.__all__)
def test_one_except_catches_them_all(name):
    assert issubclass(getattr(errors, name), errors.GstreamError)
