"""A hypervisor whose VMs are files, for what the role vm_snapshot and its playbooks do around the modules."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from controller import MACHINE, REPOSITORY

# In place of both executables; the delete character makes Ansible take it for a binary.
STAND_IN = f"""#!{sys.executable} -I
# \x7f
import json, sys, time
from pathlib import Path

stage = Path('STAGE')
args = json.load(sys.stdin)
begin = time.time()

def vm(name):
    if not (stage / name).exists():
        print(json.dumps(dict(failed=True, msg=f'there is no VM "{{name}}"')))
        sys.exit(1)
    return json.loads((stage / name).read_text())

def info():
    names = args.get('vm') or sorted(path.name for path in stage.iterdir() if path.name != 'calls')
    return dict(changed=False, vms=[dict(
        name=name, uuid=f'uuid of {{name}}', state='running', snapshots=vm(name),
        firmware='bios', agent='none', abandoned=[], disks=[dict(file=f'/images/{{name}}.qcow2', free=1 << 30)],
        decision=None if name == 'odd' else {{}}, can=dict(external=dict(possible=False, reason='a job is at work')),
    ) for name in names])

def change():
    name, state, check = args.get('name', 'dated'), args['state'], args['_ansible_check_mode']
    found = vm(args['vm'])
    named = [one for one in found if one['name'] == name]
    result = dict(vm=args['vm'], uuid='uuid of ' + args['vm'], name=name, removed=[])
    if state == 'present':
        time.sleep(0.8)
        made = named or [dict(name=name, kind='external', memory=False, quiesced=None, size=None, depth=0,
                              description=args.get('description'), managed=True, current=True, state='running',
                              created=time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()))]
        result.update(changed=not named, snapshot=made[0])
        if not named:
            result['decision'] = dict(kind='external')
        if not check:
            result['verified'] = dict(at=made[0]['created'], by=['qemu-img check'])
        found = found if named else found + made
    elif state == 'reverted':
        if not named or named[0]['name'] == 'broken':
            return dict(result, failed=True, msg=f'{{name}} cannot be reverted to')
        result.update(changed=True, snapshot=named[0], lost_since=named[0]['created'], abandoned=[])
    else:
        found = [one for one in found if one['name'] != name]
        result.update(changed=bool(named), removed=[name] if named else [])
    if not check:
        (stage / args['vm']).write_text(json.dumps(found))
    return result

result = change() if 'state' in args else info()
call = dict(given={{k: v for k, v in args.items() if k[0] != '_'}}, check=args['_ansible_check_mode'],
            begin=begin, end=time.time())
with open(stage / 'calls', 'a') as calls:
    calls.write(json.dumps(call) + '\\n')
print(json.dumps(result))
"""


class Vms:
    """A controller with a hypervisor grokbox, which is this machine, and some VMs on it."""

    def __init__(self, controller, directory: Path):
        self.controller, self.stage = controller, directory / 'stage'
        self.evidence = directory / 'evidence'
        self.stage.mkdir()
        self.inventory = {'hypervisors': {'hosts': {'grokbox': {
            'ansible_connection': 'local', 'vm_snapshot_evidence_dir': str(self.evidence),
        }}}}
        controller.variables['vm_snapshot_evidence_dir'] = str(self.evidence)
        for part in ('plugins/filter', 'roles', 'playbooks'):
            shutil.copytree(REPOSITORY / part, controller.collection / part)
        for name in ('vm_snapshot', 'vm_snapshot_info'):
            path = controller.collection / 'plugins' / 'module_bin' / MACHINE / name
            path.write_text(STAND_IN.replace('STAGE', str(self.stage)))
            path.chmod(0o755)

    def define(self, name, *snapshots):
        """A VM with snapshots of these names, the last of which is the newest."""
        (self.stage / name).write_text(json.dumps([{
            'name': snapshot, 'kind': 'external', 'memory': False, 'quiesced': None, 'size': 1 << 20, 'depth': number,
            'description': 'before', 'managed': True, 'current': snapshot == snapshots[-1], 'state': 'shutoff',
            'created': ago(3600 * (len(snapshots) - number)),
        } for number, snapshot in enumerate(snapshots)]))

    def snapshots(self, name):
        return [snapshot['name'] for snapshot in json.loads((self.stage / name).read_text())]

    @property
    def calls(self):
        """What the modules were asked, in the order of their ends."""
        path = self.stage / 'calls'
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def command(self, playbook, *extra, limit=None, check=False):
        (self.controller.directory / 'hosts.json').write_text(json.dumps(self.inventory))
        extras = [part for one in extra for part in ('-e', one)]
        path = self.controller.collection / 'playbooks' / f'{playbook}.yml'
        options = [*(['--check'] if check else []), *(['--limit', limit] if limit else [])]
        return [Path(sys.executable).with_name('ansible-playbook'), '-i', 'hosts.json', path, *options, *extras]

    def play(self, playbook, *extra, **options):
        """Runs the playbook without a terminal."""
        return subprocess.run(
            self.command(playbook, '{"vm_snapshot_evidence_dir": "%s"}' % self.evidence, *extra, **options),
            cwd=self.controller.directory, env=self.controller.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
        )


def ago(seconds):
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - seconds))
