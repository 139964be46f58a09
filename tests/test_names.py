"""Closed tables of names, and options held against signatures."""

import re

import pytest

from lit_course.names import check_options, lookup, nearest

TABLE = {"cooldown": 1, "T_max": 2, "CosineAnnealingLR": 3}


def takes(first, T_max, cooldown=0):
    """A function with two parameters that must be given and one that may."""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("cool_down", "cooldown"),
        ("T_MAX", "T_max"),
        ("tmax", "T_max"),
        ("CossineAnnealingLR", "CosineAnnealingLR"),
    ],
)
def test_nearest_name_is_suggested_whatever_case_and_underscores(typed, meant):
    assert nearest(typed, TABLE) == f"; did you mean {meant!r}?"


def test_nothing_is_suggested_when_nothing_is_near():
    assert nearest("zzz", TABLE) == ""


def test_lookup_finds_exact_names_only():
    assert lookup("thing", "T_max", TABLE) == 2
    message = "unknown thing 't_max'; did you mean 'T_max'?\nknown: CosineAnnealingLR, T_max, coo"
    with pytest.raises(ValueError, match=re.escape(message)):
        lookup("thing", "t_max", TABLE)


def test_lookup_gives_the_reason_of_a_refusal():
    with pytest.raises(ValueError, match="thing 'Muon' is not taken: no biases"):
        lookup("thing", "Muon", TABLE, {"Muon": "no biases"})


@pytest.mark.parametrize("value", [int, lambda: 0, 3, ["T_max"], None])
def test_what_is_no_name_is_refused_as_such(value):
    with pytest.raises(TypeError, match="thing must be given by name, found"):
        lookup("thing", value, TABLE)


def test_options_that_fit_pass():
    check_options("option of f", takes, {"first": 1, "T_max": 2})
    check_options("option of f", takes, {"cooldown": 1}, supplied=["first", "T_max"])
    check_options("option of f", takes, {"T_max": 1}, reserved={"first": "no"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": 1}, "option of f missing: T_max"),
        ({"cool_down": 1}, "unknown option of f 'cool_down'; did you mean 'cooldown'?"),
        ({"zzz": 1}, "unknown option of f 'zzz'\nknown: T_max, cooldown, first"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_options("option of f", takes, options)


def test_a_reserved_option_says_what_to_do_instead():
    with pytest.raises(ValueError, match="'first' is no option of f: it is the model's"):
        check_options("option of f", takes, {"first": 1}, reserved={"first": "it is the model's"})


def test_a_function_without_options_says_so():
    with pytest.raises(ValueError, match="known: none"):
        check_options("option of f", lambda: None, {"x": 1})
