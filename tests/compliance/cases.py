"""The calls that a real AnsibleModule and the Rust one are both given."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

KINDS = ("str", "int", "float", "bool", "path", "raw", "json", "bytes", "bits", "list", "dict")

VALUES = [
    None, True, False,
    0, 1, 2, -7, 4294967296, 9223372036854775807,
    0.0, 1.0, -0.5, 1e15, 1e16, 1.5e-5, 123456.789,
    "", " ", "abc", "it's", "say \"hi\"", "a\\b\n\tc", "é𝄞",
    "0", "1", "12", " 12 ", "-3", "+4", "1_000", "1.0", "1.5", ".5", "5.", "1e3", "1e-3", "1200e-2", "0x10", "007",
    "99999999999999999999999x", "nan", "--1", "1e", "e1", "1.2.3",
    "yes", "No", "ON", "off", "TRUE", "f", "y", " true ", "maybe", "2", "True", "False", "None",
    "a,b", "a, b,", ",", "1,2,3", "1,x",
    "k=v", "k1=v1, k2=v2", "k1=v1 k2='v 2'", "k=a=b", "k=\"a,b\" j", "k=a\\ b", "=", "k=", " k=v ", "k1=v1,,k2=v2",
    "{}", "{\"a\": 1}", "{'a': 1, 'b': [True, None, 2.5]}", "{'a': }", "{", "{1: 'x', 'y': (1, 2)}", "{'a'}",
    "[1, 2]", "[1,", " {\"a\": 1}",
    "~", "~/x", "~root/x", "~nobody-here/x", "$HOME/x", "${HOME}/x", "$NOT_SET/x", "${NOT_SET}/x", "$", "${", "$$", "a$HOME$",
    "1K", "1.5 GB", "10mb", "10MB", "10Mb", "10kilobyte", "2KILOBIT", "3b", "3B", "3byte", "3bit", "1Q", "-1K", "1 K ", "2.5", "1.", "0.5",
    "10 Y", "1KBx",
    [], ["a"], [1, "2", True, None, 2.5], ["1,2"], [["x"], {"k": "v"}], [{"a": "1"}, "a=2"],
    {}, {"a": 1}, {"a": {"b": [1, None, True]}, "c": "é'"},
]

CHOICES = {
    "str": (["present", "absent"], ["yes", "no"], ["on", "yes", "off"], ["1", "True"], ["a", "A", "b,c"]),
    "int": ([1, 2, 3], [0]),
    "float": ([0.5, 1.0],),
    "bool": ([True],),
    "raw": (["a", 1, None, False],),
    "list": (["a", "b"], [1, 2, "1"]),
}


@dataclass
class Case:
    name: str
    spec: dict[str, Any]
    params: dict[str, Any]
    echo: Any = None
    # Why the Rust module hides more than ansible does: then only that it hides is compared.
    stricter: tuple[str, ...] = ()
    internal: dict[str, Any] = field(default_factory=dict)


def module(options: dict[str, Any], **relations: Any) -> dict[str, Any]:
    return {"argument_spec": options, "supports_check_mode": True, **relations}


def kinds() -> Iterator[Case]:
    """Every value for every kind: plain, required, with a default, and as an element."""
    for kind, value in itertools.product(KINDS, VALUES):
        for option in ({}, {"required": True}, {"default": "7"}):
            spec = module({"x": {"type": kind, **option}})
            yield Case(f"{kind} {option} {value!r}", spec, {"x": value})
        spec = module({"x": {"type": "list", "elements": kind}})
        yield Case(f"list of {kind} {value!r}", spec, {"x": value})
        yield Case(f"list of {kind} [1, {value!r}]", spec, {"x": [1, value]})
        sub = module({"s": {"type": "dict", "options": {"x": {"type": kind}, "l": {"type": "list", "elements": kind}}}})
        yield Case(f"dict of {kind} {value!r}", sub, {"s": {"x": value}})
        yield Case(f"dict of list of {kind} {value!r}", sub, {"s": {"l": [value]}})


def choices() -> Iterator[Case]:
    for kind, lists in CHOICES.items():
        for allowed, value in itertools.product(lists, VALUES):
            elements = [{}, {"elements": "str"}, {"elements": "int"}] if kind == "list" else [{}]
            for element in elements:
                option = {"type": kind, "choices": allowed, **element}
                yield Case(f"choices {allowed} {element} {value!r}", module({"x": option}), {"x": value})
                sub = module({"s": {"type": "list", "elements": "dict", "options": {"x": option}}})
                yield Case(f"nested choices {allowed} {element} {value!r}", sub, {"s": [{"x": value}]})


RELATIONS: list[dict[str, Any]] = [
    {"mutually_exclusive": [["a", "b"]]},
    {"mutually_exclusive": [["a", "b"], ["b", "c", "d"]]},
    {"required_together": [["a", "b"]]},
    {"required_together": [["a", "b"], ["c", "d"]]},
    {"required_one_of": [["a", "b"]]},
    {"required_one_of": [["a"], ["c", "d"]]},
    {"required_if": [["a", "1", ["b", "c"], False]]},
    {"required_if": [["a", "1", ["b", "c"], True]]},
    {"required_if": [["d", 4, ["a"], False], ["d", True, ["b"], False], ["e", "on", ["c"], False]]},
    {"required_if": [["a", "1", [], True], ["a", None, ["b"], False]]},
    {"required_by": {"a": ["b"]}},
    {"required_by": {"a": ["b", "c"], "d": ["a"]}},
    {"mutually_exclusive": [["a", "b"]], "required_together": [["b", "c"]], "required_one_of": [["a", "d"]],
     "required_if": [["a", "1", ["d"], False]], "required_by": {"d": ["c"]}},
]

OPTIONS = {
    "a": {"type": "str", "aliases": ["alpha", "al"]},
    "b": {"type": "raw"},
    "c": {"type": "path"},
    "d": {"type": "int"},
    "e": {"type": "str", "default": "on"},
}

GIVEN: dict[str, list[Any]] = {
    "a": ["1", None], "alpha": ["1"], "b": ["x", None], "c": ["/c"], "d": ["4", 1], "e": ["off"],
}


def relations() -> Iterator[Case]:
    """Every set of options for every relation, at the top and in sub-options."""
    for relation in RELATIONS:
        for size in range(len(GIVEN) + 1):
            for names in itertools.combinations(GIVEN, size):
                for values in itertools.product(*(GIVEN[name] for name in names)):
                    params = dict(zip(names, values))
                    yield Case(f"{relation} {params}", module(OPTIONS, **relation), params)
                    if size <= 3:
                        for kind, wrapped in (("dict", params), ("list", [{"a": "1", "b": 2, "c": "/", "d": 3}, params])):
                            option = {"type": kind, "options": OPTIONS, **relation}
                            if kind == "list":
                                option["elements"] = "dict"
                            outer = {"deep": {"type": "dict", "options": {"s": option}}}
                            yield Case(f"{kind} {relation} {params}", module(outer), {"deep": {"s": wrapped}})


# One thing wrong or right of each sort; all pairs together tell the order in which they are reported.
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "alias": ({"m": {"aliases": ["n"]}}, {"n": "1", "m": "2"}, {}),
    "exclusive": ({"p": {}, "q": {}}, {"p": "1", "q": "2"}, {"mutually_exclusive": [["p", "q"]]}),
    "required": ({"r": {"required": True}}, {}, {}),
    "required null": ({"rn": {"required": True, "type": "int"}}, {"rn": None}, {}),
    "type": ({"t": {"type": "int"}}, {"t": "abc"}, {}),
    "element": ({"el": {"type": "list", "elements": "int"}}, {"el": "1,x"}, {}),
    "choice": ({"c": {"choices": ["1", "2"]}}, {"c": "3"}, {}),
    "together": ({"u": {}, "v": {}}, {"u": "1"}, {"required_together": [["u", "v"]]}),
    "one of": ({"w": {}, "x": {}}, {}, {"required_one_of": [["w", "x"]]}),
    "if": ({"i": {}, "j": {}}, {"i": "1"}, {"required_if": [["i", "1", ["j"], False]]}),
    "by": ({"k": {}, "l": {}}, {"k": "1"}, {"required_by": {"k": ["l"]}}),
    "sub type": ({"s": {"type": "dict", "options": {"a": {"type": "bool"}}}}, {"s": {"a": "maybe"}}, {}),
    "sub no dict": ({"z": {"type": "dict", "options": {"a": {"type": "bool"}}}}, {"z": "plain"}, {}),
    "sub number": ({"zn": {"type": "list", "elements": "dict", "options": {"a": {}}}}, {"zn": [3]}, {}),
    "unsupported": ({}, {"bogus": 1}, {}),
    "internal": ({"id": {"required": True, "default": "1"}}, {"id": "2"}, {}),
}


def pairs() -> Iterator[Case]:
    for (one, a), (two, b) in itertools.product(FAULTS.items(), FAULTS.items()):
        options, params = {**a[0], **b[0]}, {**a[1], **b[1]}
        yield Case(f"{one} + {two}", module(options, **{**a[2], **b[2]}), params)
        # The same inside a mapping and a list of mappings.
        sub = {"type": "dict", "options": options, **a[2], **b[2]}
        yield Case(f"dict: {one} + {two}", module({"outer": sub}), {"outer": params})
        many = {**sub, "type": "list", "elements": "dict"}
        yield Case(f"list: {one} + {two}", module({"outer": many}), {"outer": [params]})


def unsupported() -> Iterator[Case]:
    options = {"b": {"aliases": ["y", "x"]}, "a": {}, "name": {"aliases": ["alias"]}}
    for params in ({"bogus": 1}, {"bogus": 1, "also": 2}, {"alias": 1, "bogus": None}):
        yield Case(f"unsupported {params}", module(options), params)
        yield Case(f"unsupported without options {params}", module({}), params)
        sub = module({"s": {"type": "dict", "options": options}})
        yield Case(f"unsupported in dict {params}", sub, {"s": params})
        yield Case(f"unsupported ignored {params}", module(options), params, internal={"_ansible_ignore_unknown_opts": True})


def defaults() -> Iterator[Case]:
    sub = {"x": {"type": "int", "default": "5"}, "y": {"type": "list", "elements": "str", "default": ["q"]}, "n": {}}
    for extra, params in itertools.product(
        ({}, {"apply_defaults": True}, {"required": True}),
        ({}, {"s": None}, {"s": {}}, {"s": {"x": 1}}, {"s": "x=9"}, {"s": "{'x': '9'}"}, {"s": []}),
    ):
        yield Case(f"sub defaults {extra} {params}", module({"s": {"type": "dict", "options": sub, **extra}}), params)
    for default in (None, 0, "", "a,b", [1], {"k": 1}, True):
        for kind in KINDS:
            yield Case(f"default {default!r} of {kind}", module({"x": {"type": kind, "default": default}}), {})


def aliases() -> Iterator[Case]:
    options = {"path": {"type": "path", "aliases": ["dest", "name"]}, "s": {"type": "list", "elements": "dict", "options": {
        "id": {"type": "int", "aliases": ["nr"], "required": True}}}}
    for params in (
        {"dest": "~"}, {"path": "/a", "dest": "/b"}, {"dest": "/b", "name": "/c"},
        {"path": None, "name": "/c"}, {"s": [{"nr": 1}]}, {"s": [{"nr": 1, "id": 2}, {"id": 3, "nr": "x"}]}, {"s": [{}]},
    ):
        yield Case(f"aliases {params}", module(options), params)


def secrets() -> Iterator[Case]:
    secret = {"secret": {"no_log": True, "aliases": ["hidden"]}, "other": {}}
    echo = {"a": "hunter2", "b": ["say hunter2 twice: hunter2", 2, None, True], "hunter2": {"c": 222, "d": 2.5, "e": "2"}}
    for value in ("hunter2", "2", "", None, "e", 22, "True", " ", "hunter2\n"):
        yield Case(f"no_log {value!r}", module(secret), {"secret": value, "other": "hunter2 and 2"}, echo)
        yield Case(f"no_log by alias {value!r}", module(secret), {"hidden": value, "other": value}, echo)
    for kind, value in (("raw", ["hunter2", {"k": "say"}]), ("raw", {"k": ["hunter2", 2]}), ("int", 222), ("float", 2.5), ("bool", True)):
        yield Case(f"no_log {kind} {value!r}", module({"secret": {"type": kind, "no_log": True}}), {"secret": value}, echo)
    longer = {"s1": {"no_log": True}, "s2": {"no_log": True}, "n": {"type": "int"}}
    yield Case("no_log inside another", module(longer), {"s1": "hunter", "s2": "hunter2", "n": "x"}, ["hunter2 hunter hunter22"])
    yield Case("no_log in an error", module(longer), {"s1": "abc", "n": "xabcx"})
    yield Case("no_log default", module({"secret": {"no_log": True, "default": "hunter2"}}), {}, echo)
    sub = {"s": {"type": "list", "elements": "dict", "options": {"secret": {"no_log": True}, "n": {"type": "int"}}}}
    yield Case("no_log in sub-options", module(sub), {"s": [{"secret": "hunter2", "n": 1}, {"n": 22}]}, echo)
    yield Case("no_log in text sub-options", module({"s": {**sub["s"], "type": "dict", "elements": None}}), {"s": "secret=hunter2"}, echo)
    yield Case("failure", module(secret), {"secret": "hunter2"}, {"fail": "cannot log in with hunter2"})
    for name in ("password", "db_pass", "passwd-file", "pass", "bypass", "passive", "_pass", "PassPhrase", "passwords"):
        for option in ({}, {"no_log": False}, {"no_log": True}):
            yield Case(f"{name} {option}", module({name: option}), {name: "x"}, echo)
    # ansible hides a value as it came, and tells what it was coerced to.
    yield Case("no_log list as text", module({"secret": {"type": "list", "elements": "str", "no_log": True}}),
               {"secret": "hunter2,letmein"}, ["hunter2", "letmein"], stricter=("hunter2", "letmein"))
    for value, told in ((True, "True"), (["hunter2", "a"], "['"), ({"k": "hunter2"}, "{'")):
        yield Case(f"no_log {value!r} as text", module(secret), {"hidden": value, "other": value}, echo, stricter=(told,))
    yield Case("no_log int as text", module({"secret": {"type": "int", "no_log": True}}), {"secret": "0042"}, [42, "42"], stricter=("42",))


def modes() -> Iterator[Case]:
    spec = module({"x": {}})
    for check, supported in itertools.product((True, False, "yes", "0"), (True, False)):
        yield Case(f"check mode {check} supported {supported}", {**spec, "supports_check_mode": supported}, {"x": 1},
                   internal={"_ansible_check_mode": check})
    yield Case("invalid in unsupported check mode", {**spec, "supports_check_mode": False}, {"y": 1},
               internal={"_ansible_check_mode": True})
    yield Case("name in errors", spec, {"y": 1}, internal={"_ansible_module_name": "a.b.c"})
    yield Case("name when skipped", {**spec, "supports_check_mode": False}, {},
               internal={"_ansible_module_name": "a.b.c", "_ansible_check_mode": True})


def all_cases() -> Iterator[Case]:
    for group in (kinds, choices, relations, pairs, unsupported, defaults, aliases, secrets, modes):
        yield from group()
