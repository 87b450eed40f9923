"""A host whose accounts and services are files, for what the roles podman_service and service_accounts do around the
modules."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from controller import MACHINE, REPOSITORY

# In place of both executables; the delete character makes Ansible take it for a binary.
STAND_IN = f"""#!{sys.executable} -I
# \x7f
import json, sys
from pathlib import Path

stage = Path('STAGE')
args = json.load(sys.stdin)
check = args['_ansible_check_mode']
name = args['name']

def account():
    path = stage / 'accounts' / name
    was = path.exists()
    if args.get('state') == 'absent':
        if was and not check:
            path.unlink()
        return dict(changed=was, steps=['remove'] if was else [])
    if not check:
        path.touch()
    return dict(changed=not was, steps=[] if was else ['account', 'home'])

def service():
    path = stage / 'services' / name
    plan = json.loads(path.read_text())
    if not (stage / 'accounts' / args['to']).exists():
        return dict(failed=True, msg='there is no account ' + args['to'])
    if args['state'] == 'moved' and plan.get('refused'):
        return dict(failed=True, msg='refused, nothing was changed: ' + plan['refused'])
    if plan.get('meddles'):
        (stage / 'root.json').write_text((stage / 'root.json').read_text().replace('1795347818', '1795347999'))
    runs_as = args['to'] if args['state'] == 'moved' else args['from']
    changed = plan['runs_as'] != runs_as
    if not check:
        path.write_text(json.dumps(dict(plan, runs_as=runs_as)))
    party = dict(uid=1, gid=1, subuid=[], subgid=[])
    secrets = [args.get('secrets_to', '') + '/' + secret for secret in plan.get('names', [])]
    result = dict(changed=changed, steps=['stop', 'start'] if changed else [], units=[], data=[], volumes=[], images=[],
                  networks=[], kept=[], secrets=secrets, to=dict(party, name=args['to']))
    result['from'] = dict(party, name=args['from'])
    if not check:
        result['verified'] = dict(at='2026-11-22T07:15:00Z', by=[name + '.service is active'])
    return result

result = service() if 'to' in args else account()
with open(stage / 'calls', 'a') as calls:
    given = {{k: v for k, v in args.items() if k[0] != '_'}}
    calls.write(json.dumps(dict(given=given, check=check, module='podman_service' if 'to' in args else 'dedicated_user')) + '\\n')
print(json.dumps(result))
"""


class Services:
    """A controller, the host `target`, which is this machine, and services of the account `shared` there."""

    def __init__(self, controller, directory: Path):
        self.controller, self.stage = controller, directory / 'stage'
        self.evidence = directory / 'evidence'
        for part in ('accounts', 'services', 'bin'):
            (self.stage / part).mkdir(parents=True)
        for part in ('plugins/filter', 'roles', 'playbooks'):
            shutil.copytree(REPOSITORY / part, controller.collection / part)
        for name in ('dedicated_user', 'podman_service'):
            self.executable(controller.collection / 'plugins' / 'module_bin' / MACHINE / name,
                            STAND_IN.replace('STAGE', str(self.stage)))
        self.executable(self.stage / 'bin' / 'podman', f'#!/bin/sh\nexec cat {self.stage}/root.json\n')
        controller.environment['PATH'] = f"{self.stage}/bin:{controller.environment['PATH']}"
        self.root_runs()
        self.list = []

    @staticmethod
    def executable(path, text):
        path.write_text(text)
        path.chmod(0o755)

    def root_runs(self, *containers):
        """Containers of root's, as pod and name."""
        (self.stage / 'root.json').write_text(json.dumps([
            {'PodName': pod, 'Names': [name], 'Id': f'id of {name}', 'StartedAt': 1795347818} for pod, name in containers
        ]))

    def account(self, name):
        (self.stage / 'accounts' / name).touch()

    @property
    def accounts(self):
        return sorted(path.name for path in (self.stage / 'accounts').iterdir())

    def define(self, name, *, runs_as='shared', refused=None, names=(), meddles=False, **variables):
        """A service, on the host and in the list, there with these variables."""
        plan = {'runs_as': runs_as, 'refused': refused, 'names': list(names), 'meddles': meddles}
        (self.stage / 'services' / name).write_text(json.dumps(plan))
        self.list.append({'name': name, 'from': 'shared', **variables})

    def runs_as(self, name):
        return json.loads((self.stage / 'services' / name).read_text())['runs_as']

    @property
    def calls(self):
        """What the modules were asked, in order."""
        path = self.stage / 'calls'
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def play(self, playbook, *options, **variables):
        """Runs the playbook with the list and these variables."""
        variables = {
            'target_hosts': 'target', 'service_accounts_services': self.list, 'ansible_become': False,
            'podman_service_evidence_dir': str(self.evidence), 'podman_service_timeout': 2, **variables,
        }
        inventory = {'all': {'hosts': {'target': self.controller.variables}}}
        (self.controller.directory / 'hosts.json').write_text(json.dumps(inventory))
        (self.controller.directory / 'vars.json').write_text(
            json.dumps({name: value for name, value in variables.items() if value is not None}))
        return subprocess.run(
            [Path(sys.executable).with_name('ansible-playbook'), '-i', 'hosts.json', '-e', '@vars.json', *options,
             self.controller.collection / 'playbooks' / f'{playbook}.yml'],
            cwd=self.controller.directory, env=self.controller.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180, check=False,
        )


def table(output):
    """The rows of the summary, by service: old account, account, what became of it, when it was verified."""
    lines = output.partition('TASK [bulkhead.hosts.service_accounts : The services]')[2].partition('TASK [')[0]
    rows = [line.strip(' ",').split('  ') for line in lines.splitlines() if line.startswith(' ' * 8)]
    rows = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return {row[0]: row[1:] for row in rows[1:]}
