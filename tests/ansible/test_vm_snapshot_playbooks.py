"""What the playbooks for snapshots of VMs do around the modules, with stand-ins for these."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time

import pytest

from vms import Vms

QUOTED = "snapshot_description='Pre user namespace implementation'"


@pytest.fixture
def vms(controller, tmp_path):
    return Vms(controller, tmp_path)


def asked(vms, state):
    """The VMs for which the module was to do that, and not in check mode."""
    return {call['given']['vm'] for call in vms.calls if call['given'].get('state') == state and not call['check']}


@pytest.mark.parametrize(('given', 'names'), [
    ("target_vms=['pihole', 'mymx']", {'pihole', 'mymx'}),
    ("target_vms=['pihole','mymx']", {'pihole', 'mymx'}),
    ('target_vms=["pihole",  "mymx"]', {'pihole', 'mymx'}),
    ('target_vms=[pihole, mymx]', {'pihole', 'mymx'}),
    ('target_vms=pihole,mymx', {'pihole', 'mymx'}),
    ('target_vms=pihole, mymx', {'pihole', 'mymx'}),
    ('target_vms=pihole', {'pihole'}),
    ('{"target_vms": "pihole"}', {'pihole'}),
    ('{"target_vms": ["pihole", "mymx"]}', {'pihole', 'mymx'}),
    ('{"target_vms": ["pi hole", "my, \'mx\'", "größe"]}', {'pi hole', "my, 'mx'", 'größe'}),
    ("target_vms=['pi hole', '101']", {'pi hole', '101'}),
])
def test_vms_are_named_in_any_form(vms, given, names):
    for name in names:
        vms.define(name)
    done = vms.play('backup_vm_snapshot', given, QUOTED)
    assert done.returncode == 0, done.stdout
    assert asked(vms, 'present') == names
    assert {call['given']['description'] for call in vms.calls} == {'Pre user namespace implementation'}


@pytest.mark.parametrize(('extra', 'reads'), [
    ([], 'Name the VMs'),
    (['target_vms='], 'no VM is named'),
    (["target_vms=[]"], 'no VM is named'),
    (["target_vms=pihole", "snapshot_description=Pre user namespace"], '"user namespace" is left over'),
    (["target_vms=pi hole"], '"hole" is left over'),
    (["target_vms=['pihole', 'mymx'"], 'is no list of names'),
    (['{"target_vms": {"pihole": 1}}'], 'these are no names of VMs'),
])
def test_what_is_not_clear_is_refused(vms, extra, reads):
    vms.define('pihole')
    done = vms.play('backup_vm_snapshot', *extra)
    assert done.returncode == 2, done.stdout
    assert reads in done.stdout.replace('\\"', '"')
    assert vms.calls == []


def test_a_limit_that_would_leave_out_everything_is_refused(vms):
    done = vms.play('backup_vm_snapshot', 'target_vms=pihole', limit='grokbox')
    assert done.returncode == 2 and 'Leave out --limit' in done.stdout, done.stdout


@pytest.mark.parametrize('hosts', [{}, {'grokbox': {}, 'other': {}}])
def test_a_hypervisor_that_is_not_clear_is_refused(vms, hosts):
    vms.inventory['hypervisors']['hosts'] = hosts
    done = vms.play('backup_vm_snapshot', 'target_vms=pihole')
    assert done.returncode == 2 and 'hypervisor=HOST' in done.stdout, done.stdout


def test_the_hypervisor_can_be_any_host(vms):
    vms.inventory = {'all': {'hosts': {'elsewhere': {'ansible_connection': 'local'}}}}
    vms.define('pihole')
    done = vms.play('backup_vm_snapshot', 'target_vms=pihole', 'hypervisor=elsewhere')
    assert done.returncode == 0 and 'pihole on elsewhere' in done.stdout, done.stdout


def test_snapshots_are_taken_side_by_side_under_one_name(vms):
    for name in ('pihole', 'mymx', 'derp'):
        vms.define(name)
    done = vms.play('backup_vm_snapshot', 'target_vms=pihole,mymx,derp')
    assert done.returncode == 0, done.stdout
    assert max(call['begin'] for call in vms.calls) < min(call['end'] for call in vms.calls)
    [name] = {call['given']['name'] for call in vms.calls}
    assert name.startswith('bulkhead-20') and len(name) == len('bulkhead-20261122-071500')
    assert f'"pihole  {name}  external' in done.stdout


def test_one_that_fails_stops_no_other_and_fails_the_play(vms):
    vms.define('pihole')
    done = vms.play('backup_vm_snapshot', 'target_vms=nonesuch,pihole', 'snapshot_name=before')
    assert done.returncode == 2, done.stdout
    assert vms.snapshots('pihole') == ['before']
    assert (vms.evidence / 'pihole' / 'before.json').exists()
    table = done.stdout.partition('TASK [The snapshots]')[2].replace('\\"', '"')
    assert 'there is no VM "nonesuch"' in table and 'Do not go on' in table


def test_where_all_fail_there_is_a_table_too(vms):
    done = vms.play('backup_vm_snapshot', 'target_vms=nonesuch')
    assert done.returncode == 2, done.stdout
    assert 'there is no VM "nonesuch"' in done.stdout.partition('TASK [The snapshots]')[2].replace('\\"', '"')


def test_without_a_terminal_nothing_is_reverted(vms):
    vms.define('pihole', 'before')
    done = vms.play('restore_vm_snapshot', 'target_vms=pihole')
    assert done.returncode == 2 and 'Nothing was done' in done.stdout, done.stdout
    assert asked(vms, 'reverted') == set()


def test_told_to_it_reverts_to_the_newest_and_says_what_is_lost(vms):
    vms.define('pihole', 'first', 'second')
    vms.define('mymx', 'third')
    done = vms.play('restore_vm_snapshot', 'target_vms=pihole,mymx', 'confirm=yes')
    assert done.returncode == 0, done.stdout
    reverted = {call['given']['vm']: call['given']['name'] for call in vms.calls
                if call['given'].get('state') == 'reverted' and not call['check']}
    assert reverted == {'pihole': 'second', 'mymx': 'third'}
    lost = ' '.join(done.stdout.partition('TASK [What would be lost]')[2].partition('PLAY')[0].split())
    assert 'pihole goes back to \\"second\\" of' in lost and ', 1:00:' in lost
    assert 'What it wrote since is kept aside in /images/pihole.qcow2' in lost


@pytest.mark.parametrize(('answer', 'reverted'), [('yes', {'pihole'}), ('no', set()), ('', set())])
def test_on_a_terminal_it_asks(vms, answer, reverted):
    vms.define('pihole', 'before')
    status, said = on_terminal(vms.command('restore_vm_snapshot', 'target_vms=pihole'), vms, answer)
    assert asked(vms, 'reverted') == reverted, said
    assert (status == 0) == bool(reverted), said


def on_terminal(command, vms, answer):
    """Status and output of a command, whose question is answered."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=vms.controller.directory, env=vms.controller.environment, stdin=theirs,
                          stdout=theirs, stderr=theirs, start_new_session=True,
                          preexec_fn=lambda: os.close(os.open(os.ttyname(theirs), os.O_RDWR))) as process:
        os.close(theirs)
        said, answered, end = '', False, time.monotonic() + 60
        while time.monotonic() < end and process.poll() is None:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    said += os.read(ours, 4096).decode()
                except OSError:
                    break
            if 'Type yes to go on' in said and not answered:
                time.sleep(0.5)
                os.write(ours, f'{answer}\r'.encode())
                answered = True
        assert answered, said
        process.wait(20)
    os.close(ours)
    return process.returncode, said


def test_one_that_cannot_be_reverted_keeps_the_others_from_it(vms):
    vms.define('pihole', 'before')
    vms.define('mymx', 'broken')
    done = vms.play('restore_vm_snapshot', 'target_vms=pihole,mymx', 'confirm=yes')
    assert done.returncode == 2 and 'broken cannot be reverted to' in done.stdout, done.stdout
    assert 'PLAY [Ask]' not in done.stdout and asked(vms, 'reverted') == set()


def test_a_snapshot_that_is_not_there_is_named_with_those_that_are(vms):
    vms.define('pihole', 'before')
    done = vms.play('restore_vm_snapshot', 'target_vms=pihole', 'snapshot_name=after', 'confirm=yes')
    assert done.returncode == 2 and "pihole has no snapshot after, only ['before']" in done.stdout, done.stdout


def test_the_list_is_a_tree(vms):
    vms.define('pihole', 'first', 'second')
    vms.define('mymx')
    vms.define('odd')
    done = vms.play('list_vm_snapshots')
    assert done.returncode == 0, done.stdout
    lines = [line.strip(' ",') for line in done.stdout.splitlines()]
    at = lines.index('pihole (running, bios, agent: none, 1.00 GB free)')
    assert 'mymx (running' in lines[at - 5] and lines[at - 4] == 'no snapshots'
    assert 'odd (running' in lines[at - 3] and lines[at - 2] == 'can have no snapshot now: a job is at work'
    assert [line.split('  ')[0] for line in lines[at + 1:at + 4]] == ['SNAPSHOT', 'first', 'second *']
    assert '    second *  external  no' in done.stdout and '1.00 MB' in done.stdout
    one = vms.play('list_vm_snapshots', "target_vms=['mymx', 'pihole']").stdout
    assert one.index('mymx (running') < one.index('pihole (running') and 'odd' not in one


@pytest.mark.parametrize('playbook', ['backup_vm_snapshot', 'restore_vm_snapshot'])
def test_check_mode_changes_nothing(vms, playbook):
    vms.define('pihole', 'before')
    done = vms.play(playbook, 'target_vms=pihole', check=True)
    assert done.returncode == 0, done.stdout
    assert all(call['check'] for call in vms.calls if 'state' in call['given'])
    assert vms.snapshots('pihole') == ['before'] and not vms.evidence.exists()
