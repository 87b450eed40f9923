#!/usr/bin/env python3
"""Gives the same calls to a real AnsibleModule and to the Rust one, and compares what they say.

    python tests/compliance/run.py --exe target/x86_64-unknown-linux-gnu/debug/examples/from_spec

The interpreter must be able to import ansible-core 2.19, whose texts are the reference.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import math
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils import basic
from ansible.module_utils.common import warnings

from cases import Case, all_cases

ENVIRONMENT = {"HOME": "/home/tester", "PATH": os.environ["PATH"]}
NAME = "from_spec"


def reference(case: Case) -> dict[str, Any]:
    """The result of a real AnsibleModule."""
    args = {"_ansible_module_name": NAME, **case.internal, **copy.deepcopy(case.params)}
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    warnings._global_warnings.clear()
    spec = copy.deepcopy(case.spec)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        try:
            module = basic.AnsibleModule(**spec)
            if isinstance(case.echo, dict) and "fail" in case.echo:
                module.fail_json(msg=case.echo["fail"])
            own = {name: module.params[name] for name in spec["argument_spec"]}
            module.exit_json(changed=False, params=own, echo=case.echo)
        except Exception as error:  # what AnsibleModule itself trips over
            return {"crash": repr(error)}
    return json.loads(out.getvalue())


def ours(exe: str, case: Case) -> dict[str, Any]:
    args = {"_ansible_module_name": NAME, "_ansible_tomorrow": [1], **case.internal, **case.params}
    environment = {**ENVIRONMENT, "SPEC": json.dumps(case.spec), "ECHO": json.dumps(case.echo)}
    run = subprocess.run([exe], input=json.dumps(args), env=environment, capture_output=True, encoding="utf-8", timeout=60)
    result = json.loads(run.stdout)
    if run.stderr or bool(run.returncode) != bool(result.get("failed")):
        return {"exit code": run.returncode, "stderr": run.stderr}
    return result


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """Without what is in no order: ansible prints the words for booleans as a set."""
    result = dict(result)
    if "warnings" in result:
        # From 2.19 on a warning is an object around its text, which the controller unwraps.
        texts = (w["event"]["msg"] if isinstance(w, dict) else w for w in result["warnings"])
        result["warnings"] = sorted(texts)
    if match := re.fullmatch(r"(.*Valid booleans include: )(.*)", result.get("msg", ""), re.DOTALL):
        result["msg"] = match[1] + ", ".join(sorted(match[2].split(", ")))
    return result


def beyond_64_bits(value: Any) -> bool:
    """Whether there is a number in it that the Rust module refuses."""
    if isinstance(value, dict):
        return any(map(beyond_64_bits, value.values()))
    if isinstance(value, list):
        return any(map(beyond_64_bits, value))
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and not -(2**63) <= value < 2**64


def difference(case: Case, theirs: dict[str, Any], mine: dict[str, Any]) -> str | None:
    if case.stricter:
        text = json.dumps(mine)
        told = [secret for secret in case.stricter if secret in text]
        return f"told {told}: {text}" if told else None
    if "crash" in theirs or beyond_64_bits(theirs):
        same = mine.get("failed", False)
    else:
        theirs, mine = comparable(theirs), comparable(mine)
        same = json.dumps(theirs, sort_keys=True) == json.dumps(mine, sort_keys=True)
    return None if same else f"ansible: {json.dumps(theirs)}\nours:    {json.dumps(mine)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exe", required=True, help="the crate's example from_spec")
    exe = os.path.abspath(parser.parse_args().exe)
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    basic.AnsibleModule.log = lambda *_args, **_kwargs: None  # type: ignore[method-assign]

    cases = list(all_cases())
    failed = crashed = 0
    with ThreadPoolExecutor() as pool:
        for case, mine in zip(cases, pool.map(lambda case: ours(exe, case), cases)):
            theirs = reference(case)
            crashed += "crash" in theirs
            if found := difference(case, theirs, mine):
                failed += 1
                print(f"FAILED {case.name}\n{found}")
    print(f"{crashed} calls made AnsibleModule itself raise; there only failing is compared")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
