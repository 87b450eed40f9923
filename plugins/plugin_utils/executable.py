# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a module that is an executable: cached on the managed host, in one round trip."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

from ansible.errors import AnsibleActionFail
from ansible.module_utils.json_utils import _filter_non_json_lines
from ansible.parsing.ajson import AnsibleJSONEncoder
from ansible.plugins.action import ActionBase
from ansible.utils.vars import merge_hash

from ansible_collections.bulkhead.hosts.plugins.plugin_utils.progress import Progress

PLUGINS = Path(__file__).resolve().parents[1]
MISSING = re.compile(r'^BULKHEAD-MISSING (\S+)$', re.MULTILINE)


class ExecutableAction(ActionBase):
    """Base of the action plugins; a subclass only names its C(executable).

    Where pipelining is on, the executable stays in a cache of the executing user on the managed
    host and reads its arguments on standard input: three round trips at first use, one after
    that, and no argument touches the disk. Elsewhere (no pipelining, become by C(su), async,
    kept remote files) it travels as an ordinary binary module.
    """

    executable: str

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        self._built = self._find_built()
        wrap_async = bool(self._task.async_val)
        with Progress(self, task_vars['inventory_hostname'], self._seconds_between_looks(task_vars)):
            if self._is_pipelining_enabled('new', wrap_async):
                reply = self._run_cached(task_vars)
            else:
                reply = self._execute_module(
                    module_args=dict(self._task.args), task_vars=task_vars, wrap_async=wrap_async
                )
        return merge_hash(result, reply)

    def _seconds_between_looks(self, task_vars):
        if self._task.check_mode or self._task.async_val:
            return 0
        return float(self._templar.template(task_vars.get('bulkhead_progress_seconds', 5)))

    def _find_built(self):
        """The built executables by machine, as C(uname -m) names it."""
        built = {
            path.parent.name: path for path in PLUGINS.glob(f'module_bin/*/{self.executable}')
        }
        if not built:
            raise AnsibleActionFail(
                f'{PLUGINS}/module_bin holds no {self.executable}: run "make build" first'
            )
        return built

    def _built_for(self, machine):
        if machine not in self._built:
            raise AnsibleActionFail(
                f'{self.executable} is not built for {machine}, only for '
                f'{", ".join(sorted(self._built))}: run "make build" on or for {machine}'
            )
        return self._built[machine]

    def _run_cached(self, task_vars):
        args = dict(self._task.args)
        self._update_module_args(self._task.action, args, task_vars)
        stdin = json.dumps(args, cls=AnsibleJSONEncoder, vault_to_text=True).encode()

        reply = self._launch('run', stdin)
        if missing := MISSING.search(reply['stdout']):
            self._store(self._built_for(missing[1]))
            reply = self._launch('run', stdin)
        return self._parse(reply)

    def _store(self, path):
        reply = self._launch('store', path.read_bytes())
        if reply['rc'] != 0:
            raise AnsibleActionFail(
                f'{self.executable} could not be put on the host: {reply["stderr"].strip()}. '
                'Set ansible_remote_tmp to a directory that allows execution.'
            )

    def _launch(self, verb, stdin):
        remote_tmp = self.get_shell_option('remote_tmp', default='')
        digests = [
            f'{machine}={hashlib.sha256(path.read_bytes()).hexdigest()}'
            for machine, path in self._built.items()
        ]
        command = [
            '/bin/sh', '-c', _without_comments(PLUGINS / 'plugin_utils' / 'launch.sh'), 'launch',
            verb, remote_tmp if remote_tmp.startswith('/') else '/var/tmp', self.executable,
            *digests,
        ]
        environment = self._compute_environment_string()
        return self._low_level_execute_command(
            f'{environment} {shlex.join(command)}'.strip(), in_data=stdin
        )

    def _parse(self, reply):
        try:
            document, warnings = _filter_non_json_lines(reply['stdout'], objects_only=True)
            result = json.loads(document)
        except ValueError:
            return {
                'failed': True,
                'msg': f'{self.executable} gave no result (exit code {reply["rc"]}): '
                       f'{reply["stderr"].strip()}',
                'rc': reply['rc'],
                'module_stdout': reply['stdout'],
                'module_stderr': reply['stderr'],
            }
        for warning in warnings:
            self._display.warning(warning)
        return result

    def _configure_module(self, module_name, module_args, task_vars):
        """Put the executable where the ordinary protocol looks for the module.

        The module search would find the documentation stub.
        """
        if module_name != self._task.action:
            return super()._configure_module(module_name, module_args, task_vars)
        machine = self._low_level_execute_command('uname -m')['stdout'].strip()
        found = SimpleNamespace(
            resolved=True, plugin_resolved_path=str(self._built_for(machine))
        )
        loaders = self._shared_loader_obj
        self._shared_loader_obj = SimpleNamespace(
            module_loader=SimpleNamespace(find_plugin_with_context=lambda *args, **kwargs: found)
        )
        try:
            return super()._configure_module(module_name, module_args, task_vars)
        finally:
            self._shared_loader_obj = loaders


def _without_comments(script):
    lines = script.read_text(encoding='utf-8').splitlines()
    return '\n'.join(line for line in lines if not line.lstrip().startswith('#'))
