from __future__ import annotations

import inspect
import re
from pathlib import Path

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


def test_the_protocol_tells_when_each_code_is_answered():
    document = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    _, _, section = document.partition("\n## Errors\n")
    told = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", section.partition("\n## ")[0], re.MULTILINE)
    assert sorted(told) == sorted(kind.code for kind in errors.ReplyError.__subclasses__())


def test_what_files_do_is_no_reply_of_itself():
    """Who answers it says ``disk``, and what follows from that to whoever keeps messages is not lost."""
    for kind in (errors.StorageError, *errors.StorageError.__subclasses__()):
        assert not issubclass(kind, errors.ReplyError)


def test_a_refusal_tells_its_code_and_how_many_were_confirmed():
    error = errors.RefusedError("full", "no room")
    assert (error.code, error.confirmed, str(error)) == ("full", 0, "full: no room")


@pytest.mark.parametrize("name", errors.__all__)
def test_one_except_catches_them_all(name):
    assert issubclass(getattr(errors, name), errors.GstreamError)
