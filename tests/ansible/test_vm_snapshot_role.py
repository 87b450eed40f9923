"""What the role vm_snapshot asks of the modules, and the evidence it keeps, with stand-ins for these."""

from __future__ import annotations

import json

import pytest
import yaml

from controller import REPOSITORY
from vms import Vms, ago

SPECS = yaml.safe_load((REPOSITORY / 'roles/vm_snapshot/meta/argument_specs.yml').read_text())['argument_specs']
# What is the role's own.
OURS = {'vms', 'hypervisor', 'evidence_dir', 'max_age'}


@pytest.fixture
def vms(controller, tmp_path):
    vms = Vms(controller, tmp_path)
    vms.define('pihole')
    vms.define('mymx')
    return vms


def role(entry='main', /, **variables):
    """A task that runs an entry point of the role."""
    return {
        'ansible.builtin.include_role': {'name': 'bulkhead.hosts.vm_snapshot', 'tasks_from': entry},
        'vars': {f'vm_snapshot_{name}': value for name, value in variables.items()},
    }


def run(vms, *tasks):
    """Runs the tasks until one fails, and gives what Ansible printed."""
    return vms.controller.play(*({**task, 'ignore_errors': False} for task in tasks)).output


def told(vms):
    """The options that the module was given last."""
    return vms.calls[-1]['given']


def evidence(vms, vm, name):
    return vms.evidence / vm / f'{name}.json'


@pytest.mark.parametrize('entry', ['main', 'revert', 'remove'])
def test_every_variable_reaches_the_module_as_the_option_of_its_name(vms, entry):
    vms.define('pihole', 'before')
    values = {'name': 'before', 'description': 'why', 'kind': 'internal', 'memory': 'true', 'quiesce': 'false', 'keep': 3,
              'older_than': '7d', 'abandoned': 'remove', 'uri': 'test:///default', 'timeout': 9, 'vms': ['pihole']}
    options = {name.removeprefix('vm_snapshot_') for name in SPECS[entry]['options']}
    run(vms, role(entry, **{name: value for name, value in values.items() if name in options}))
    state = {'main': 'present', 'revert': 'reverted', 'remove': 'absent'}[entry]
    expected = {name: values[name] for name in options - OURS}
    assert told(vms) == {**expected, 'state': state, 'vm': 'pihole'}


def test_what_is_unset_is_left_to_the_module(vms):
    run(vms, role(vms=['pihole']))
    assert not told(vms).keys() & {'name', 'description', 'keep', 'older_than'}


def test_evidence_says_what_was_taken_when_and_how_it_was_verified(vms):
    run(vms, role(vms=['pihole', 'mymx'], name='before'))
    kept = json.loads(evidence(vms, 'pihole', 'before').read_text())
    assert (kept['vm'], kept['uuid'], kept['hypervisor']) == ('pihole', 'uuid of pihole', 'target')
    assert kept['snapshot']['name'] == 'before' and kept['verified']['by'] == ['qemu-img check']
    assert evidence(vms, 'pihole', 'before').stat().st_mode & 0o777 == 0o600
    assert json.loads(evidence(vms, 'mymx', 'before').read_text())['vm'] == 'mymx'


def test_the_rest_of_the_play_knows_it(vms):
    output = run(vms, role(vms=['pihole'], name='before'), role(vms=['mymx'], name='other'), {
        'ansible.builtin.debug': {
            'msg': "SO {{ vm_snapshot_evidence.pihole.snapshot.name }} {{ vm_snapshot_evidence.mymx.snapshot.name }}",
        },
    })
    assert 'SO before other' in output


def test_a_second_run_changes_nothing(vms):
    run(vms, role(vms=['pihole'], name='before'))
    first = evidence(vms, 'pihole', 'before').read_text()
    output = run(vms, role(vms=['pihole'], name='before'))
    assert 'changed=0 ' in output and evidence(vms, 'pihole', 'before').read_text() == first


def test_evidence_is_kept_of_those_that_were_taken_where_another_fails(vms):
    output = run(vms, role(vms=['nonesuch', 'pihole'], name='before'))
    assert 'failed=1 ' in output and evidence(vms, 'pihole', 'before').exists()


def test_evidence_goes_with_its_snapshot(vms):
    run(vms, role(vms=['pihole', 'mymx'], name='before'), role('remove', vms=['pihole'], name='before'))
    assert not evidence(vms, 'pihole', 'before').exists() and evidence(vms, 'mymx', 'before').exists()


def gate_opens(vms, **variables):
    output = run(vms, role('gate', vms=['pihole', 'mymx'], **variables))
    assert ('failed=0 ' in output) != ('has no verified snapshot of the last' in output), output
    return 'failed=0 ' in output


def test_the_gate_opens_for_verified_snapshots_alone(vms):
    assert not gate_opens(vms)
    run(vms, role(vms=['pihole'], name='before'))
    assert not gate_opens(vms)
    run(vms, role(vms=['mymx'], name='other'))
    assert gate_opens(vms)


def test_the_gate_is_shut_where_the_snapshot_is_too_old(vms):
    run(vms, role(vms=['pihole', 'mymx'], name='before'))
    for path in (evidence(vms, 'pihole', 'before'), vms.stage / 'pihole'):
        kept = json.loads(path.read_text())
        (kept['snapshot'] if 'snapshot' in kept else kept[0])['created'] = ago(7200)
        path.write_text(json.dumps(kept))
    assert not gate_opens(vms, max_age='1h')
    assert gate_opens(vms, max_age='3h')


@pytest.mark.parametrize('changed', [{'name': 'another'}, {'created': ago(60)}])
def test_the_gate_is_shut_where_the_snapshot_is_another(vms, changed):
    run(vms, role(vms=['pihole', 'mymx'], name='before'))
    [snapshot] = json.loads((vms.stage / 'pihole').read_text())
    (vms.stage / 'pihole').write_text(json.dumps([snapshot | changed]))
    assert not gate_opens(vms)


def test_the_gate_is_shut_where_the_snapshot_was_removed(vms):
    run(vms, role(vms=['pihole', 'mymx'], name='before'))
    vms.define('pihole')
    assert not gate_opens(vms)


def test_the_gate_is_shut_for_another_vm_of_the_name(vms):
    run(vms, role(vms=['pihole', 'mymx'], name='before'))
    path = evidence(vms, 'pihole', 'before')
    path.write_text(path.read_text().replace('uuid of pihole', 'another'))
    assert not gate_opens(vms)
