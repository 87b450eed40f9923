"""The checkout serves as it is: nothing has to be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller import REPOSITORY

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith('ANSIBLE_')}


def ansible(command, *argv):
    done = subprocess.run(
        [Path(sys.executable).with_name(command), *argv], cwd=REPOSITORY, env=ENVIRONMENT,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
    )
    return done.stdout


@pytest.mark.parametrize('module', ['userns_remap', 'bulkhead.hosts.userns_remap'])
def test_ad_hoc_commands_reach_the_executable(module):
    output = ansible('ansible', 'localhost', '-c', 'local', '-m', module, '-a', 'state=adrift')
    assert 'value of state must be one of: enabled, disabled, got: adrift' in output


@pytest.mark.parametrize('playbook', ['userns_enable', 'userns_rollback'])
@pytest.mark.parametrize(('extra', 'hosts'), [
    ([], {'derp', 'mymx', 'pihole'}),
    (['-e', 'target_hosts=pihole'], {'pihole'}),
    (['-e', "target_hosts=['pihole', 'mymx']"], {'mymx', 'pihole'}),
    (['-e', 'target_hosts=docker_hosts:!mymx'], {'derp', 'pihole'}),
    (['-e', '{"target_hosts": ["derp"]}'], {'derp'}),
], ids=['default', 'one', 'list with a space', 'pattern', 'json'])
def test_playbooks_take_the_hosts_from_the_command_line(playbook, extra, hosts):
    output = ansible('ansible-playbook', f'playbooks/{playbook}.yml', '--list-hosts', *extra)
    listed = output.partition('hosts (')[2].partition(':\n')[2].split()
    assert set(listed) == hosts, output
