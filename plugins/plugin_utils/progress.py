# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show on the controller how far a long run on a managed host is."""

from __future__ import annotations

import contextvars
import copy
import json
import threading

from ansible.errors import AnsibleError

# Written by the executables, see crates/host/src/progress.rs.
FILE = '/run/bulkhead/progress.json'


class Progress:
    """While it is entered, says every few seconds on standard error what the host tells.

    I(seconds) between two looks; with 0 it never looks. A run that is over sooner costs no round trip.
    """

    def __init__(self, action, host, seconds):
        self._action, self._host, self._seconds = action, host, seconds
        self._over = threading.Event()
        # ansible-core keeps what a task may ask for in context variables.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._watch,), daemon=True)

    def __enter__(self):
        if self._seconds > 0:
            self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self):
        said = None
        while not self._over.wait(self._seconds):
            told = self._ask()
            if told and told != said and not self._over.is_set():
                self._action._display.display(f'{self._host} | {text(told)}', stderr=True)
                said = told

    def _ask(self):
        # A connection keeps the state of the command it runs, a become plugin its prompt.
        action = copy.copy(self._action)
        action._connection = copy.copy(action._connection)
        if action._connection.become:
            action._connection.set_become_plugin(copy.copy(action._connection.become))
        try:
            return json.loads(action._low_level_execute_command(f'cat {FILE}')['stdout'])
        except (AnsibleError, ValueError):
            # Nothing that needs saying goes on, or nobody answers: the task itself will tell.
            return None


def text(told):
    """One line of what the status file holds."""
    parts = [f'{told["module"]}: {told["doing"]}']
    if told['total']:
        parts.append(f'{told["entries"]} of {told["total"]} entries')
    elif told['entries']:
        parts.append(f'{told["entries"]} entries')
    if told['percent'] is not None:
        parts.append(f'{told["percent"]} %')
    if told['seconds_left'] is not None:
        minutes, seconds = divmod(told['seconds_left'], 60)
        parts.append(f'{minutes}:{seconds:02} left')
    return ', '.join(parts)
