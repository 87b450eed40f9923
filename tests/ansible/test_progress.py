"""A long run is shown while it lasts, and one that is soon over costs nothing more."""

from __future__ import annotations

import re
import shutil
import sys

import pytest

from controller import MACHINE

# Tells what the executables tell, for two seconds.
STAND_IN = f"""#!{sys.executable} -I
# \x7f
import json, os, pathlib, time
file = pathlib.Path('/run/bulkhead/progress.json')
file.parent.mkdir(exist_ok=True)
for second in range(20):
    time.sleep(0.1)
    draft = file.with_suffix('.tmp')
    draft.write_text(json.dumps({{
        'module': 'userns_remap', 'pid': os.getpid(), 'doing': 'shift', 'entries': second * 50, 'total': 1000,
        'percent': second * 5, 'seconds': 100, 'seconds_left': 200 - second * 10,
    }}))
    draft.rename(file)
file.unlink()
print(json.dumps({{'changed': True}}))
"""
TASK = {'bulkhead.hosts.userns_remap': {'state': 'enabled'}}
LINE = r'^target \| userns_remap: shift, (\d+) of 1000 entries, \d+ %, \d:\d\d left$'


def shown(run):
    return [int(entries) for entries in re.findall(LINE, run.output, re.MULTILINE)]


def play(controller, *, seconds, task=None, **environment):
    controller.variables['bulkhead_progress_seconds'] = seconds
    path = controller.collection / 'plugins' / 'module_bin' / MACHINE / 'userns_remap'
    path.write_text(STAND_IN)
    run = controller.play(task or TASK, **environment)
    assert run.result['changed'], run.output
    return run


@pytest.mark.parametrize('fixture', ['controller', 'ssh_controller'])
@pytest.mark.parametrize('pipelining', ['true', 'false'])
def test_a_long_run_is_shown(fixture, pipelining, request):
    controller = request.getfixturevalue(fixture)
    entries = shown(play(controller, seconds='{{ 1 / 4 }}', ANSIBLE_PIPELINING=pipelining))
    assert len(entries) >= 2 and entries == sorted(set(entries))


@pytest.mark.skipif(not shutil.which('sudo'), reason='needs sudo')
def test_a_long_run_of_another_user_is_shown(controller):
    entries = shown(play(controller, seconds=0.25, task={**TASK, 'become': True}))
    assert len(entries) >= 2


@pytest.mark.parametrize('seconds', [0, 5])
def test_it_is_not_asked_too_soon_nor_where_nobody_wants_it(controller, seconds):
    run = play(controller, seconds=seconds)
    assert not shown(run)
    assert run.round_trips() == 3


def test_a_host_that_tells_nothing_is_no_error(controller):
    controller.variables['bulkhead_progress_seconds'] = 0.1
    path = controller.collection / 'plugins' / 'module_bin' / MACHINE / 'userns_remap'
    path.write_text('#!/bin/sh\n# \x7f\nsleep 1\necho \'{"changed": true}\'\n')
    run = controller.play(TASK)
    assert run.result['changed']
    assert run.round_trips() > 3
    assert 'target | userns_remap' not in run.output
