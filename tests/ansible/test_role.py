"""What the role asks of the module, with a stand-in for the executable."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import yaml

from controller import MACHINE, REPOSITORY

RECORDER = f"""#!{sys.executable} -I
# \x7f
import json, os, sys
args = json.load(sys.stdin)
with open(os.environ['STAGE'], 'a') as given:
    given.write(json.dumps(args) + '\\n')
print(json.dumps(dict(changed=True)))
"""
BINDS = {'/srv/a': 'shift', '/srv/b': {'strategy': 'idmap', 'allow_exposed_path': True}}


@pytest.fixture
def stage(controller, tmp_path):
    """A controller with the role on it, whose module writes down what it is given."""
    path = controller.collection / 'plugins' / 'module_bin' / MACHINE / 'userns_remap'
    path.write_text(RECORDER)
    path.chmod(0o755)
    shutil.copytree(REPOSITORY / 'roles', controller.collection / 'roles')
    controller.environment['STAGE'] = str(tmp_path / 'given')
    controller.given = tmp_path / 'given'
    return controller


def given(stage, entry='main', **variables):
    """What the one task of the role passes to the module."""
    stage.play({
        'ansible.builtin.include_role': {'name': 'bulkhead.hosts.docker_userns', 'tasks_from': entry},
        'vars': {f'docker_userns_{name}': value for name, value in variables.items()},
    })
    [line] = stage.given.read_text().splitlines()
    return {name: value for name, value in json.loads(line).items() if not name.startswith('_')}


def options(entry):
    """The variables of an entry point, as options of the module."""
    specs = yaml.safe_load((REPOSITORY / 'roles/docker_userns/meta/argument_specs.yml').read_text())
    return {name.removeprefix('docker_userns_') for name in specs['argument_specs'][entry]['options']}


def test_every_variable_reaches_the_module_as_the_option_of_its_name(stage):
    asked = given(stage, subid_start=300000, subid_count=65536, bind_mounts=BINDS, host_mode=['vpn'], other_bind_mounts='auto')
    assert set(asked) == options('main') | {'state'}
    assert (asked['state'], asked['subid_start'], asked['host_mode']) == ('enabled', 300000, ['vpn'])
    assert (asked['bind_mounts'], asked['other_bind_mounts']) == (BINDS, 'auto')


def test_what_is_unset_is_left_to_the_module(stage):
    asked = given(stage)
    assert set(asked) == options('main') - {'subid_start', 'subid_count'} | {'state'}
    assert (asked['bind_mounts'], asked['other_bind_mounts']) == ({}, 'warn')


def test_the_way_back_asks_for_no_more_than_it_needs(stage):
    asked = given(stage, 'rollback', timeout=600, discard_new_data=True)
    assert (asked['state'], asked['timeout'], asked['discard_new_data']) == ('disabled', 600, True)
    assert set(asked) < options('rollback') | {'state'}
