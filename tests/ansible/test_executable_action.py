"""The class behind the action plugins: how executables get to a host and run there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from controller import MACHINE, STAND_IN

MODULE = 'bulkhead.hosts.userns_remap'
TASK = {MODULE: {'state': 'enabled', 'timeout': 30}}


def built(controller) -> Path:
    return controller.collection / 'plugins' / 'module_bin' / MACHINE / 'userns_remap'


def cached(controller) -> list[Path]:
    return sorted((controller.home / '.cache' / 'bulkhead').glob('*'))


@pytest.mark.parametrize('fixture', ['controller', 'ssh_controller'])
def test_first_use_takes_three_round_trips_and_every_later_one_a_single(fixture, request):
    run = request.getfixturevalue(fixture).play(TASK, TASK, TASK)
    assert [run.round_trips(n) for n in range(3)] == [3, 1, 1]
    assert [r['given'] for r in run.results] == [{'state': 'enabled', 'timeout': 30}] * 3


def test_the_cache_is_private_and_named_by_content(controller):
    controller.play(TASK)
    (path,) = cached(controller)
    assert path.read_text() == STAND_IN
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_changed_executable_is_sent_again(controller):
    controller.play(TASK)
    built(controller).write_text(STAND_IN + '# newer\n')
    run = controller.play(TASK)
    assert run.round_trips() == 3
    assert Path(run.result['executable']).read_text().endswith('# newer\n')


def test_the_umask_and_environment_of_the_task_reach_the_module(controller):
    umask = os.umask(0o027)
    try:
        run = controller.play({**TASK, 'environment': {'SHIP': "Nina's \"Santa\" $Maria"}})
    finally:
        os.umask(umask)
    assert run.result['ship'] == "Nina's \"Santa\" $Maria"
    assert run.result['umask'] == 0o027


def test_check_diff_and_verbosity_reach_the_module(controller):
    plain, checked = controller.play(TASK, {**TASK, 'check_mode': True, 'diff': True}).results
    assert plain['changed'] and not checked['changed']
    assert (plain['keys']['check_mode'], plain['keys']['diff']) == (False, False)
    assert (checked['keys']['check_mode'], checked['keys']['diff']) == (True, True)
    assert checked['keys']['verbosity'] == 3
    assert checked['keys']['module_name'] == MODULE


def test_no_log_reaches_the_module_and_hides_arguments(controller):
    task = {MODULE: {'user': 'hunter2'}, 'no_log': True, 'loop': [1]}
    run = controller.play(task)
    assert run.result['results'][0]['keys']['no_log'] is True
    before_debug = run.output.split('TASK [debug]')[0].split('TASK [ansible.builtin.debug]')[0]
    assert 'hunter2' not in before_debug


def test_arguments_never_stand_on_a_command_line_nor_in_a_file(controller):
    run = controller.play({MODULE: {'user': 'hunter2'}, 'no_log': True})
    trips = [line for line in run.output.splitlines() if ' EXEC ' in line or ' PUT ' in line]
    assert trips and not any('hunter2' in line or ' PUT ' in line for line in trips)


def test_loops_delegation_and_retries_work(controller):
    run = controller.play(
        {**TASK, 'loop': ['a', 'b'], MODULE: {'user': '{{ item }}'}},
        {**TASK, 'delegate_to': 'localhost', 'vars': {'ansible_connection': 'local'}},
        {**TASK, 'until': 'result is failed', 'retries': 2, 'delay': 0},
    )
    assert [r['given']['user'] for r in run.results[0]['results']] == ['a', 'b']
    assert run.results[1]['given']['state'] == 'enabled'
    assert run.results[2]['attempts'] == 2


@pytest.mark.parametrize('setting', [
    {'ANSIBLE_PIPELINING': 'false'},
    {'ANSIBLE_KEEP_REMOTE_FILES': 'true'},
    {'ANSIBLE_BECOME': 'true', 'ANSIBLE_BECOME_METHOD': 'su'},
], ids=lambda setting: '-'.join(setting))
def test_without_pipelining_the_ordinary_protocol_serves(controller, setting, tmp_path):
    run = controller.play(TASK, ANSIBLE_REMOTE_TMP=str(tmp_path / 'remote'), **setting)
    assert run.result['given'] == {'state': 'enabled', 'timeout': 30}
    assert run.result['executable'].startswith(str(tmp_path / 'remote'))
    assert not cached(controller)


def test_async_tasks_work(controller, tmp_path):
    run = controller.play(
        {**TASK, 'async': 20, 'poll': 1}, ANSIBLE_ASYNC_DIR=str(tmp_path / 'async'),
        ANSIBLE_REMOTE_TMP=str(tmp_path / 'remote'),
    )
    assert run.result['given'] == {'state': 'enabled', 'timeout': 30}
    assert run.result['finished']


@pytest.mark.skipif(not shutil.which('sudo'), reason='needs sudo')
def test_a_user_without_a_home_gets_a_cache_of_their_own(controller):
    become = {'become': True, 'become_user': 'nobody', 'become_method': 'ansible.builtin.sudo'}
    built(controller).write_text(
        '#!/bin/sh\n# \x7f\nprintf \'{"uid": %s, "executable": "%s"}\' "$(id -u)" "$0"\n'
    )
    nobody = 65534
    cache = Path(f'/var/tmp/bulkhead-{nobody}')
    shutil.rmtree(cache, ignore_errors=True)
    try:
        run = controller.play({**TASK, **become}, {**TASK, **become})
        assert [run.round_trips(n) for n in range(2)] == [3, 1]
        assert [r['uid'] for r in run.results] == [nobody] * 2
        assert Path(run.result['executable']).parent == cache
        assert cache.stat().st_uid == nobody
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def test_without_a_built_executable_it_says_what_to_do(controller):
    controller.unbuild()
    run = controller.play(TASK)
    assert run.result['failed']
    assert 'holds no userns_remap: run "make build" first' in run.result['msg']
    assert run.round_trips() == 0


@pytest.mark.parametrize('pipelining', ['true', 'false'])
def test_an_executable_for_another_machine_only_is_refused_by_name(controller, pipelining):
    controller.unbuild()
    controller.build('sparc64')
    run = controller.play(TASK, ANSIBLE_PIPELINING=pipelining)
    assert run.result['failed']
    assert f'userns_remap is not built for {MACHINE}, only for sparc64' in run.result['msg']


def test_a_module_without_a_result_fails_with_its_own_words(controller):
    built(controller).write_text('#!/bin/sh\n# \x7f\necho sunk >&2\nexit 3\n')
    result = controller.play(TASK).result
    assert result['failed'] and result['rc'] == 3
    assert result['msg'] == 'userns_remap gave no result (exit code 3): sunk'


def test_vaulted_arguments_arrive_in_the_clear(controller):
    secret = controller.directory / 'secret'
    secret.write_text('open sesame')
    encrypt = subprocess.run(
        [Path(sys.executable).with_name('ansible-vault'), 'encrypt_string', 'hunter2',
         '--vault-password-file', secret],
        env=controller.environment, text=True, capture_output=True, check=True,
    )
    vaulted = encrypt.stdout.split('!vault |', 1)[1]
    (controller.directory / 'host_vars').mkdir()
    (controller.directory / 'host_vars' / 'target.yml').write_text(f'who: !vault |{vaulted}')
    run = controller.play(
        {MODULE: {'user': '{{ who }}'}}, ANSIBLE_VAULT_PASSWORD_FILE=str(secret)
    )
    assert run.result['given']['user'] == 'hunter2'
