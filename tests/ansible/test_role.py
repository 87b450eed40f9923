"""The role's order of events, and its way back, with stand-ins for Docker and the executables."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest

from controller import MACHINE, REPOSITORY

RECORDER = f"""#!{sys.executable} -I
# \x7f
import json, os, pathlib, sys
here = pathlib.Path(os.environ['STAGE'])
args = json.load(sys.stdin)
name = pathlib.Path(sys.argv[0]).name.split('-')[0]
state = args.get('state', 'shifted')
check = args['_ansible_check_mode']
now = (here / name).read_text() if (here / name).exists() else None
changed = now != state
broken = (here / ('broken-' + name)).exists() and state in ('enabled', 'shifted')
with (here / 'log').open('a') as log:
    log.write(f"{{name}} {{state}}{{' check' if check else ''}}\\n")
refusing = check and (here / ('refusing-' + name)).exists()
if name == 'volume_rechown':
    with (here / 'given').open('a') as given:
        given.write('GIVEN ' + json.dumps({{**args, 'check': check}}) + '\\n')
if changed and not check and not broken:
    (here / name).write_text(state)
extent = [dict(container=0, host=165536, size=65536)]
print(json.dumps(dict(
    changed=changed, steps=['step'] if changed else [], uid_map=extent, gid_map=extent,
    map=args.get('map'), failed=broken and not check or refusing, msg='struck a rock',
)))
"""
DOCKER = """#!/bin/sh
case $1 in
    container) cat "$STAGE/running" ;;
    *) echo "docker $*" >>"$STAGE/log" ;;
esac
"""
MOUNTS = [{'path': '/srv/a', 'containers': ['web', 'db']}, {'path': '/srv/b', 'containers': ['db']}]


@pytest.fixture
def stage(controller, tmp_path):
    """A controller with the role on it; `log` in the directory tells what happened."""
    stage = tmp_path / 'stage'
    (stage / 'bin').mkdir(parents=True)
    (stage / 'running').write_text('')
    docker = stage / 'bin' / 'docker'
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    for module in ('userns_remap', 'volume_rechown'):
        path = controller.collection / 'plugins' / 'module_bin' / MACHINE / module
        path.write_text(RECORDER)
        path.chmod(0o755)
    shutil.copytree(REPOSITORY / 'roles', controller.collection / 'roles')
    controller.environment['STAGE'] = str(stage)
    controller.environment['PATH'] = f'{stage}/bin:{controller.environment["PATH"]}'
    controller.stage = stage
    return controller


def run(stage, mounts, entry='main'):
    (stage.stage / 'log').write_text('')
    output = stage.play({
        'ansible.builtin.include_role': {'name': 'bulkhead.hosts.docker_userns', 'tasks_from': entry},
        'vars': {'docker_userns_bind_mounts': mounts},
    }).output
    return output, (stage.stage / 'log').read_text().splitlines()


def recap(output):
    return dict(part.split('=') for part in output.split('PLAY RECAP')[1].split() if '=' in part)


def test_without_bind_mounts_it_is_one_task(stage):
    output, log = run(stage, [])
    assert log == ['userns_remap enabled']
    assert recap(output)['changed'] == '1'


def test_bind_mounts_are_shifted_while_their_containers_are_stopped(stage):
    _, log = run(stage, MOUNTS)
    assert log == [
        'userns_remap enabled check', 'volume_rechown shifted check', 'volume_rechown shifted check',
        'docker stop db web', 'userns_remap enabled', 'volume_rechown shifted', 'volume_rechown shifted', 'docker start web db',
    ]


def test_the_map_of_the_bind_mounts_is_the_one_the_engine_has(stage):
    output, _ = run(stage, MOUNTS)
    assert '"u:0:165536:65536"' in output and '"g:0:165536:65536"' in output


def test_a_second_run_changes_nothing(stage):
    run(stage, MOUNTS)
    (stage.stage / 'running').write_text('web\ndb\n')
    output, log = run(stage, MOUNTS)
    assert recap(output)['changed'] == '0'
    assert not any(line.startswith('docker') for line in log)


def test_a_failed_shift_goes_back_and_says_why(stage):
    (stage.stage / 'broken-volume_rechown').touch()
    output, log = run(stage, MOUNTS)
    assert log[-4:] == [
        'volume_rechown restored', 'volume_rechown restored', 'userns_remap disabled',
        'docker start web db',
    ]
    assert 'Bind mounts have the owners that remapped containers expect' in output.split('led back')[1]
    assert recap(output)['rescued'] == '1'


def test_a_bind_mount_that_would_be_refused_is_refused_before_anything_stops(stage):
    (stage.stage / 'refusing-volume_rechown').touch()
    _, log = run(stage, MOUNTS)
    assert log == ['userns_remap enabled check', 'volume_rechown shifted check', 'volume_rechown shifted check']


def test_the_options_of_a_bind_mount_reach_the_module(stage):
    output, _ = run(stage, [{**MOUNTS[1], 'strategy': 'idmap', 'allow_dangerous_path': True}, MOUNTS[0]])
    given = [json.loads(text) for text in re.findall(r'GIVEN (.*)', (stage.stage / 'given').read_text())]
    first, second = (entry for entry in given if entry['check'])
    assert (first['strategy'], first['services'], first['allow_dangerous_path']) == ('idmap', ['docker.service'], True)
    assert 'strategy' not in second and 'services' not in second


def test_a_failed_switch_starts_the_containers_again(stage):
    (stage.stage / 'broken-userns_remap').touch()
    output, log = run(stage, MOUNTS)
    assert log[-1] == 'docker start web db'
    assert 'Containers run in a user namespace: struck a rock' in output


def test_rollback_restores_bind_mounts_while_their_containers_are_stopped(stage):
    run(stage, MOUNTS)
    _, log = run(stage, MOUNTS, 'rollback')
    assert log == [
        'userns_remap disabled check', 'docker stop db web', 'userns_remap disabled',
        'volume_rechown restored', 'volume_rechown restored', 'docker start web db',
    ]
