"""A collection with stand-ins for the executables, and ways to run tasks with it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MACHINE = platform.machine()

# The delete character makes Ansible take a script for a binary, as it must the executables.
STAND_IN = f"""#!{sys.executable} -I
# \x7f
import json, os, sys
args = json.load(open(sys.argv[1]) if len(sys.argv) > 1 else sys.stdin)
print(json.dumps({{
    'changed': not args['_ansible_check_mode'],
    'given': {{k: v for k, v in args.items() if not k.startswith('_ansible_')}},
    'keys': {{k[9:]: v for k, v in args.items() if k.startswith('_ansible_')}},
    'executable': sys.argv[0],
    'uid': os.getuid(),
    'umask': os.umask(0),
    'ship': os.environ.get('SHIP'),
}}))
"""


class Controller:
    """An Ansible controller with a home, a configuration and the collection of its own."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.home = directory / 'home'
        self.collection = directory / 'ansible_collections' / 'bulkhead' / 'hosts'
        self.variables: dict[str, object] = {'ansible_connection': 'local'}
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith('ANSIBLE_')},
            'HOME': str(self.home),
            'ANSIBLE_CONFIG': str(directory / 'ansible.cfg'),
            'ANSIBLE_STDOUT_CALLBACK': 'ansible.builtin.default',
        }
        self.home.mkdir()
        for part in ('plugins/action', 'plugins/modules', 'plugins/plugin_utils', 'meta'):
            shutil.copytree(REPOSITORY / part, self.collection / part)
        (directory / 'ansible.cfg').write_text(
            f'[defaults]\ncollections_path = {directory}\nlocalhost_warning = false\n'
            f'interpreter_python = {sys.executable}\nhost_key_checking = false\n'
            '[connection]\npipelining = true\n'
        )
        self.build(MACHINE)

    def build(self, machine: str):
        """Puts the stand-in where the built executable for the machine belongs."""
        path = self.collection / 'plugins' / 'module_bin' / machine / 'userns_remap'
        path.parent.mkdir(parents=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)

    def unbuild(self):
        shutil.rmtree(self.collection / 'plugins' / 'module_bin')

    def play(self, *tasks: dict, **environment: str) -> Run:
        """Runs the tasks on one host; each gives its result to a line of JSON."""
        steps = []
        for number, task in enumerate(tasks):
            steps.append({
                'name': f'task {number}', 'register': 'result', 'ignore_errors': True, **task,
            })
            steps.append({
                'ansible.builtin.debug': {'msg': 'RESULT {{ result | to_json }}'}, 'no_log': False,
            })
        play = [{'hosts': 'target', 'gather_facts': False, 'tasks': steps}]
        inventory = {'all': {'hosts': {'target': self.variables}}}
        (self.directory / 'play.yml').write_text(json.dumps(play))
        (self.directory / 'hosts.yml').write_text(json.dumps(inventory))
        done = subprocess.run(
            [
                Path(sys.executable).with_name('ansible-playbook'), '-vvv', '-i', 'hosts.yml',
                'play.yml',
            ],
            cwd=self.directory, env={**self.environment, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
        )
        return Run(done.stdout)


class Run:
    """What a play printed."""

    def __init__(self, output: str):
        self.output = output

    @property
    def results(self) -> list[dict]:
        texts = re.findall(r'"msg": "RESULT (.*)"$', self.output, re.MULTILINE)
        assert texts, self.output
        return [json.loads(json.loads(f'"{text}"')) for text in texts]

    @property
    def result(self) -> dict:
        return self.results[0]

    def round_trips(self, task: int = 0) -> int:
        """Commands and file transfers between this task's start and the end of it."""
        part = self.output.split(f'TASK [task {task}]')[1].split('TASK [')[0]
        return len(re.findall(r'^<[^>]+> (?:SSH: )?(?:EXEC|PUT|FETCH) ', part, re.MULTILINE))
