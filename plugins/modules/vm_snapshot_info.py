#!/usr/bin/python
#
# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_snapshot_info
short_description: Tell which snapshots VMs have, and which they could have
version_added: 0.1.0
author:
  - Bulkhead contributors (@bulkhead)
description:
  - Looks at the VMs of a hypervisor, their disks down to the last file below, and their snapshots as a tree.
  - Says what would be taken of each VM now, what would be refused and why, and what this host's libvirt can do by
    itself.
  - Changes nothing, and disturbs no VM.
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    support: none
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  platform:
    support: full
    platforms: linux
    description: Target OS or families that can be operated against.
    details:
      - Runs on x86_64 and aarch64. No Python is needed on the host, unless the task runs with C(async).
  async:
    support: full
    description: Supports being run with C(async).
options:
  vm:
    description:
      - The VMs' names in libvirt, exactly, or their UUIDs. If not set, all of them.
      - A VM named here that is not there, or that cannot be read, fails the task. Among all of them it is left out with
        a warning.
    type: list
    elements: str
  uri:
    description:
      - Where libvirt is. It has to be on this host, since its files are.
    type: str
    default: qemu:///system
  timeout:
    description:
      - Seconds that each call of C(virsh) and C(qemu-img) may take.
    type: int
    default: 300
notes:
  - Needs root on the hypervisor, C(virsh) and C(qemu-img).
  - A guest agent that does not answer within three seconds counts as silent.
seealso:
  - module: bulkhead.hosts.vm_snapshot
"""

EXAMPLES = r"""
- name: Look at two VMs
  bulkhead.hosts.vm_snapshot_info:
    vm:
      - pihole
      - mymx
  register: found

- name: Each of them can have a snapshot
  ansible.builtin.assert:
    that: item.decision is not none
    fail_msg: "{{ item.name }}: {{ item.can.external.reason }}"
  loop: "{{ found.vms }}"
  loop_control:
    label: "{{ item.name }}"

- name: Name the snapshots that take more than 10 GiB
  ansible.builtin.debug:
    msg: >-
      {{ found.vms | map(attribute='snapshots') | flatten | rejectattr('size', 'none')
         | selectattr('size', '>', 10 * 1024 ** 3) | map(attribute='name') }}
"""

RETURN = r"""
host:
  description: The hypervisor.
  returned: success
  type: dict
  contains:
    libvirt:
      description: The version of libvirt's daemon.
      type: str
    qemu:
      description: The version of QEMU.
      type: str
    uri:
      description: Where libvirt is.
      type: str
    can:
      description: What libvirt can do by itself.
      type: dict
      contains:
        external_revert:
          description:
            - Whether C(virsh) can revert external snapshots and delete them. M(bulkhead.hosts.vm_snapshot) does it
              anywhere.
          type: bool
        internal_uefi:
          description: Whether VMs with UEFI can have internal snapshots, if their variables are in C(qcow2).
          type: bool
  sample:
    libvirt: 9.0.0
    qemu: 7.2.22
    uri: qemu:///system
    can:
      external_revert: false
      internal_uefi: false
vms:
  description: The VMs.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    uuid:
      description: Its UUID.
      type: str
    state:
      description: C(running), C(paused), C(shutoff) or C(other).
      type: str
    reason:
      description: Why it is in this state, in libvirt's words.
      type: str
    firmware:
      description: C(bios) or C(efi).
      type: str
    nvram:
      description: The file with UEFI's variables.
      type: path
    agent:
      description:
        - What the guest agent does. C(answers), C(silent), or C(none) for a VM that has no channel for one, or that
          does not run.
      type: str
    disks:
      description: The disks that a snapshot holds, which are those that the VM can write to.
      type: list
      elements: dict
      contains:
        target:
          description: The disk's name in libvirt.
          type: str
        device:
          description: C(disk), or C(lun) for one that is handed through.
          type: str
        format:
          description: What RV(vms[].disks[].file) is.
          type: str
        file:
          description: The file that the VM writes to.
          type: path
        size:
          description: The bytes on disk of all files of the chain. Null where they cannot be told.
          type: int
        chain:
          description: RV(vms[].disks[].file) and the files below it. Empty where they are not whole.
          type: list
          elements: path
        problem:
          description: What is wrong with the chain, in the words of C(qemu-img). Null where nothing is.
          type: str
        virtual_size:
          description: The bytes that the VM sees.
          type: int
        free:
          description: The bytes left on the file system of RV(vms[].disks[].file).
          type: int
    snapshots:
      description: Its snapshots, each after its parent and before its parent's next child.
      type: list
      elements: dict
      contains:
        name:
          description: Its name.
          type: str
        kind:
          description: C(internal) or C(external).
          type: str
        memory:
          description: Whether it has the RAM.
          type: bool
        quiesced:
          description:
            - Whether the guest's file systems were at rest. Null where M(bulkhead.hosts.vm_snapshot) did not take it.
          type: bool
        created:
          description: When it was taken, in UTC.
          type: str
        description:
          description: What was to be remembered about it.
          type: str
        parent:
          description: The snapshot that the VM's state descended from when it was taken.
          type: str
        current:
          description: Whether the VM's state descends from it, and from none after it.
          type: bool
        state:
          description:
            - C(running), with the RAM; C(disk-snapshot), of the disks of a running VM alone; C(shutoff), of a VM that
              was off.
          type: str
        managed:
          description: Whether M(bulkhead.hosts.vm_snapshot) took it.
          type: bool
        disks:
          description: The disks it holds, as M(bulkhead.hosts.vm_snapshot) returns them.
          type: list
          elements: dict
        nvram:
          description: The copy of UEFI's variables. Null where there is none.
          type: path
        size:
          description:
            - The bytes on disk that the snapshot takes beside the data that it holds. For an external one that is what was
              written since, and the saved RAM; for an internal one the RAM alone. Null where it cannot be told.
            - What reverts left behind is not counted.
          type: int
        children:
          description: The names of the snapshots that descend from it directly.
          type: list
          elements: str
        depth:
          description: How many snapshots it descends from.
          type: int
    abandoned:
      description: Files that reverts left behind. See O(bulkhead.hosts.vm_snapshot#module:abandoned).
      type: list
      elements: path
    decision:
      description:
        - What M(bulkhead.hosts.vm_snapshot) would take now if it is asked for nothing in particular, as it returns it.
          Null where it would refuse.
      type: dict
    can:
      description:
        - Which wishes M(bulkhead.hosts.vm_snapshot) would grant now, each with C(possible), and with C(reason) where it
          would not.
      type: dict
      contains:
        internal:
          description: O(bulkhead.hosts.vm_snapshot#module:kind=internal).
          type: dict
        external:
          description: O(bulkhead.hosts.vm_snapshot#module:kind=external).
          type: dict
        memory:
          description: O(bulkhead.hosts.vm_snapshot#module:memory=true).
          type: dict
        quiesce:
          description: O(bulkhead.hosts.vm_snapshot#module:quiesce=true).
          type: dict
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    # The executable in module_bin answers; this is its argument specification for tools that read
    # modules. The two are compared by a test.
    module = AnsibleModule(
        argument_spec=dict(
            vm=dict(type='list', elements='str'),
            uri=dict(type='str', default='qemu:///system'),
            timeout=dict(type='int', default=300),
        ),
        supports_check_mode=True,
    )
    module.fail_json(msg='vm_snapshot_info runs through its action plugin only')


if __name__ == '__main__':
    main()
