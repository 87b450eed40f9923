# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read the names of VMs in whatever form the command line gave them."""

from __future__ import annotations

import yaml

from ansible.errors import AnsibleFilterError

DOCUMENTATION = """
name: vm_names
short_description: The names of VMs, in whatever form the command line gave them
version_added: 0.1.0
description:
  - Makes a list of names of a list, of a string with commas between them, or of a list as text
    (C(['pihole','mymx'])), which is what C(-e target_vms=...) makes of one.
  - No name at all is an error, lest a backup of nothing pass for one.
  - The command line splits such a text at its first space outside of quotes. What came after it is in
    C(_raw_params).
positional: rest
options:
  _input:
    description: A list, or text. Names that hold commas need a list.
    type: raw
    required: true
  rest:
    description: What the command line split off, C(_raw_params). Refused where it belongs to no list of names.
    type: str
    default: ''
author:
  - Bulkhead contributors
"""

EXAMPLES = """
- name: VMs named on the command line, as a list with or without spaces, with commas, or alone
  ansible.builtin.debug:
    msg: "{{ target_vms | bulkhead.hosts.vm_names(_raw_params | default('')) }}"
"""

RETURN = """
_value:
  description: Each name once, in the order given.
  type: list
  elements: str
"""


def vm_names(given, rest=''):
    if isinstance(given, str):
        given = given.strip()
        if given.startswith('[') and not given.endswith(']') or given.endswith(','):
            given, rest = f'{given} {rest}'.strip(), ''
        given = parse(given) if given.startswith('[') else given.split(',')
    if rest:
        raise AnsibleFilterError(
            f'"{rest}" is left over on the command line: put quotes around a value with spaces, as in '
            '-e "name=\'a value\'"'
        )
    if not isinstance(given, (list, tuple)) or any(isinstance(name, (list, dict)) for name in given):
        raise AnsibleFilterError(f'these are no names of VMs: {given!r}')
    names = [str(name).strip() for name in given]
    if not any(names):
        raise AnsibleFilterError('no VM is named')
    return list(dict.fromkeys(name for name in names if name))


def parse(text):
    """A list as YAML, in which every name is a string, be it C(on) or C(101)."""
    try:
        return yaml.load(str(text), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise AnsibleFilterError(
            f'{text} is no list of names; a JSON list always works: -e \'{{"target_vms": ["a", "b"]}}\''
        ) from error


class FilterModule:
    def filters(self):
        return {'vm_names': vm_names}
