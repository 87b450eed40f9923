# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show VMs and their snapshots as a tree."""

from __future__ import annotations

from ansible.module_utils.common.text.formatters import bytes_to_human

from ansible_collections.bulkhead.hosts.plugins.filter.table import table

DOCUMENTATION = """
name: vm_snapshot_tree
short_description: VMs and their snapshots as lines of text
version_added: 0.1.0
description:
  - Each VM is followed by a table of its snapshots, in which a snapshot stands to the right of the one it is based on.
    A star marks the snapshot that the VM now goes on from. Of several disks the one with the least room left counts.
positional: _input
options:
  _input:
    description: What M(bulkhead.hosts.vm_snapshot_info) returns as RV(bulkhead.hosts.vm_snapshot_info#module:vms).
    type: list
    elements: dict
    required: true
author:
  - Bulkhead contributors
"""

EXAMPLES = """
- name: The snapshots are known
  bulkhead.hosts.vm_snapshot_info:
  register: known

- name: The snapshots
  ansible.builtin.debug:
    msg: "{{ known.vms | bulkhead.hosts.vm_snapshot_tree }}"
"""

RETURN = """
_value:
  description: The lines.
  type: list
  elements: str
"""

HEADINGS = ['SNAPSHOT', 'KIND', 'RAM', 'TAKEN', 'SIZE', 'DESCRIPTION']


def vm_snapshot_tree(vms):
    return [line for vm in vms for line in lines(vm)]


def lines(vm):
    free = min((disk['free'] for disk in vm['disks'] if disk['free'] is not None), default=None)
    yield f"{vm['name']} ({vm['state']}, {vm['firmware']}, agent: {vm['agent']}, {human(free)} free)"
    if vm['decision'] is None:
        yield f"  can have no snapshot now: {vm['can']['external']['reason']}"
    if vm['snapshots']:
        yield from (f'  {line}' for line in table([HEADINGS, *map(row, vm['snapshots'])]))
    else:
        yield '  no snapshots'
    for file in vm['abandoned']:
        yield f'  left behind by a revert: {file}'


def row(snapshot):
    return [
        f"{'  ' * snapshot['depth']}{snapshot['name']}{' *' if snapshot['current'] else ''}",
        snapshot['kind'],
        'yes' if snapshot['memory'] else 'no',
        snapshot['created'],
        human(snapshot['size']),
        snapshot['description'] or '',
    ]


def human(size):
    return '?' if size is None else bytes_to_human(size)


class FilterModule:
    def filters(self):
        return {'vm_snapshot_tree': vm_snapshot_tree}
