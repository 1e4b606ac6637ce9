import re

import pytest

from gstream.kafka.configs import LARGEST_LONG, flag, fraction, one_of, only, split_list, whole


@pytest.mark.parametrize(
    ("check", "given", "kept"),
    [
        (whole(0, 9), "7", "7"),
        (whole(0, 9), "+7", "7"),
        (whole(0, 9), "007", "7"),
        (whole(1, 9, -1), "-1", "-1"),
        (whole(1, LARGEST_LONG), str(LARGEST_LONG), str(LARGEST_LONG)),
        (flag, "True", "true"),
        (flag, "false", "false"),
        (fraction, "0.25", "0.25"),
        (fraction, "1", "1"),
        (one_of("a", "b"), "b", "b"),
        (only("1", "one"), "1", "1"),
    ],
)
def test_a_value_is_kept(check, given, kept):
    assert check(given) == kept


@pytest.mark.parametrize(
    ("check", "given", "possible"),
    [
        (whole(0, 9), "10", "a whole number from 0 to 9"),
        (whole(0, 9), "-1", "a whole number from 0 to 9"),
        (whole(1, 9, -1), "0", "a whole number from 1 to 9, or -1"),
        (whole(0, 9), "", "a whole number from 0 to 9"),
        (whole(0, 9), "1.0", "a whole number from 0 to 9"),
        (whole(0, 9), "\u0665", "a whole number from 0 to 9"),
        (whole(0, LARGEST_LONG), "9" * 5000, f"a whole number from 0 to {LARGEST_LONG}"),
        (flag, "yes", "true or false"),
        (fraction, "nan", "a number from 0 to 1"),
        (fraction, "1.5", "a number from 0 to 1"),
        (fraction, "half", "a number from 0 to 1"),
        (one_of("a", "b"), "c", "one of a, b"),
        (only("1", "there is one server"), "2", "1, there is one server"),
    ],
)
def test_a_value_that_cannot_be_says_what_is_possible(check, given, possible):
    with pytest.raises(ValueError, match=f"^{re.escape(possible)}$"):
        check(given)


def test_a_list_is_split_at_its_commas():
    assert split_list(" delete , compact,,") == ["delete", "compact"]
    assert split_list("") == split_list(None) == []
