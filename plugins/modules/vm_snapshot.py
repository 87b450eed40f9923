#!/usr/bin/python
#
# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_snapshot
short_description: Take, revert to or remove a verified snapshot of a VM
version_added: 0.1.0
author:
  - Bulkhead contributors (@bulkhead)
description:
  - Takes a snapshot of a VM of libvirt's on the hypervisor, brings the VM back to one, or removes one without losing
    what was written since.
  - A snapshot counts as taken once libvirt lists it, the chain of each disk's files is complete and as libvirt says,
    and C(qemu-img check) finds nothing wrong with the files that hold it.
  - An external snapshot is reverted to whole on every version of libvirt, with the disks, UEFI's variables and the
    VM's definition. What was written since is set aside, and the snapshot can be reverted to again.
  - Everything that can be refused is refused before anything is done. After that every step is journaled first. A
    failure takes back what was done. If the module is killed in the middle, the next run for the VM finishes the
    change or undoes it.
  - B(A revert cuts the VM's power), and what runs in it then is what ran at the time of the snapshot.
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    details:
      - Refuses what a real run would refuse before its first step.
  diff_mode:
    support: full
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    details:
      - Shows the list of snapshots, with their kinds, and an asterisk at the current one.
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
      - The VM's name in libvirt, exactly, or its UUID. Spaces, quotes and letters of any script are fine.
    type: str
    required: true
  name:
    description:
      - The snapshot's name.
      - If not set, O(state=present) takes a new one on every run, with the time in UTC in its name
        (C(bulkhead-20261122-071500)).
      - With a name that is there already nothing is done; but if that snapshot is of another kind than O(kind) asks
        for, or its files are not whole any more, the run is refused.
      - Needed for O(state=reverted). Needed for O(state=absent), too, unless O(keep), O(older_than) or
        O(abandoned=remove) says what is to go.
      - At most 100 bytes, without slashes and control characters, without a dot in front and spaces around it, since
        files are named after it.
    type: str
  state:
    description:
      - V(present) takes the snapshot if there is none of this name.
      - V(absent) removes it. What was written after it stays. B(The state it held is gone).
      - V(reverted) brings the VM back to it. The VM is cut off from power if it is on, and then does what it did at
        the time of the snapshot. Whatever it wrote after that is not there any more; for an external snapshot it is
        kept aside (RV(abandoned)), B(for an internal one it is lost).
      - With V(reverted) every run reverts anew, also to the snapshot that was reverted to last.
    type: str
    choices:
      - present
      - absent
      - reverted
    default: present
  description:
    description:
      - What to remember about the snapshot. That of one that is there already is not changed.
    type: str
  kind:
    description:
      - V(external) leaves the disks' files as they are from then on, and has the VM write to overlays beside them
        (C(DISK.NAME) for C(DISK.qcow2)). It takes any format and firmware, no pause and next to no time.
      - V(internal) writes the snapshot into the disks' own files, which have to be C(qcow2). A running VM stands still
        meanwhile, and its memory always belongs to it. With UEFI it needs libvirt 10.9 and variables in C(qcow2).
      - V(auto) is external, unless the VM has internal snapshots already, since the kinds are not to be mixed, or has
        a disk that is no file. RV(decision) says which it was, and why.
      - What is impossible is refused before anything is made, with all the reasons.
    type: str
    choices:
      - auto
      - internal
      - external
    default: auto
  memory:
    description:
      - Whether the RAM of a running VM belongs to the snapshot. A revert then goes on where the VM was, with the
        programs that ran. Without, it boots from disks that are as after a power cut, or after O(quiesce).
      - V(auto) leaves it out of external snapshots, and takes it into internal ones of a running VM.
      - V(true) needs as much space as the VM has RAM, and the VM stands still while it is written. Refused for a VM
        that is off.
      - V(false) is refused for an internal snapshot of a running VM.
    type: str
    choices:
      - auto
      - 'true'
      - 'false'
    default: auto
  quiesce:
    description:
      - Whether the guest agent brings the file systems to rest for the moment of the snapshot.
      - V(auto) does so if the agent answers and the memory does not belong to the snapshot. If the guest then refuses,
        the snapshot is taken without, and RV(snapshot.quiesced) is false.
      - V(true) refuses to take one without.
    type: str
    choices:
      - auto
      - 'true'
      - 'false'
    default: auto
  keep:
    description:
      - Keep only so many of the VM's snapshots, the newest ones. The others are removed as with O(state=absent).
      - Only those that this module took are counted and removed.
      - At least 1 with O(state=present).
      - With O(state=present) it is done after the new one was verified, with O(state=absent) in place of O(name).
    type: int
  older_than:
    description:
      - Remove the VM's snapshots that are older, as O(keep) does. A number with one of C(s), C(m), C(h), C(d) and
        C(w), such as V(7d).
      - With O(keep) too, a snapshot is removed that either of them would remove.
    type: str
  abandoned:
    description:
      - What becomes of the files that reverts left behind. They hold what was written between a snapshot and the
        revert to it, and the UEFI variables and the definition that the VM had then.
      - V(remove) deletes those of earlier reverts, and B(what they hold is lost). With O(state=absent) it needs no
        O(name).
      - While they are there, the file below them is in use by them, so nothing is merged into it when its snapshot is
        removed. A warning says so, and V(remove) merges it later.
      - V(remove) is refused with O(state=reverted).
    type: str
    choices:
      - keep
      - remove
    default: keep
  uri:
    description:
      - Where libvirt is. It has to be on this host, since its files are.
    type: str
    default: qemu:///system
  timeout:
    description:
      - Seconds that each step which waits may take, such as a call of libvirt's, saving memory or merging an overlay.
      - To merge many GiB takes longer than the default.
    type: int
    default: 300
notes:
  - Needs root on the hypervisor, C(virsh) and C(qemu-img). libvirt 9.0 or newer.
  - Refused are VMs that are transient, that have a job at work on them such as a migration, and those with saved memory
    (C(virsh managedsave)). To take a snapshot, VMs that are neither running nor off, and disks that are handed through,
    shared between VMs or transient, are refused too.
  - A revert is refused if a file that holds the snapshot was written to since, by whomever, or is missing. So is the
    revert to an internal snapshot below an external one. Remove the external one first.
  - An overlay lies in the directory of the file that it covers. It is refused if a file of its
    name is there already, or less than 64 MiB are free; with O(memory) the RAM comes on top of that. B(An overlay grows
    with every write) until the snapshot is removed. If its file system is full, the VM is paused by libvirt.
  - What this module remembers of a VM's snapshots is in C(/var/lib/bulkhead/vm_snapshot/UUID), root's only, with UEFI's
    variables and definitions, which hold passwords of consoles.
  - A snapshot lies on the same disks as the VM. It is no backup.
  - The executable also runs by hand on the host, see C(vm_snapshot --help).
seealso:
  - module: bulkhead.hosts.vm_snapshot_info
  - name: Snapshot XML format
    description: What libvirt keeps of a snapshot.
    link: https://libvirt.org/formatsnapshot.html
"""

EXAMPLES = r"""
- name: See what would be taken, and why
  bulkhead.hosts.vm_snapshot:
    vm: pihole
    name: before-userns
  check_mode: true
  diff: true

- name: There is a snapshot to go back to
  bulkhead.hosts.vm_snapshot:
    vm: pihole
    name: before-userns
    description: Pre user namespace implementation

- name: There is one with the running programs, or none
  bulkhead.hosts.vm_snapshot:
    vm: mymx
    name: before-upgrade
    memory: true
    timeout: 1800

- name: A snapshot every night, and seven of them
  bulkhead.hosts.vm_snapshot:
    vm: mymx
    keep: 7

- name: The VM is as it was before
  bulkhead.hosts.vm_snapshot:
    vm: pihole
    name: before-userns
    state: reverted

- name: What came after the snapshot is good, and the snapshot goes
  bulkhead.hosts.vm_snapshot:
    vm: pihole
    name: before-userns
    state: absent
    abandoned: remove

- name: No snapshot is older than two weeks
  bulkhead.hosts.vm_snapshot:
    vm: pihole
    state: absent
    older_than: 2w
"""

RETURN = r"""
vm:
  description: The VM's name.
  returned: success
  type: str
  sample: pihole
uuid:
  description: The VM's UUID.
  returned: success
  type: str
  sample: 8b0ae4f1-6107-4410-830d-e84c5d1680df
name:
  description: The snapshot's name.
  returned: success and O(state=present) or O(state=reverted)
  type: str
  sample: bulkhead-20261122-071500
snapshot:
  description: The snapshot.
  returned: success and O(state=present) or O(state=reverted)
  type: dict
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
      description: Whether the guest's file systems were at rest. Null for a snapshot that this module did not take.
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
      description: Whether this module took it.
      type: bool
    disks:
      description: The disks it holds.
      type: list
      elements: dict
      contains:
        target:
          description: The disk's name in libvirt.
          type: str
        format:
          description: What RV(snapshot.disks[].file) is.
          type: str
        file:
          description: What holds the disk's data of then.
          type: path
        overlay:
          description: Where the VM wrote from then on, until it was reverted. Null for an internal snapshot.
          type: path
        size:
          description: The bytes on disk of RV(snapshot.disks[].file), with nothing of the files below it.
          type: int
    nvram:
      description: The copy of UEFI's variables. Null where there is none.
      type: path
    size:
      description:
        - The bytes on disk that the snapshot takes beside the data that it holds. For an external one that is what was
          written since, and the saved RAM; for an internal one the RAM alone. Null where it cannot be told.
        - What reverts left behind is not counted.
      type: int
  sample:
    name: before-userns
    kind: external
    memory: false
    quiesced: true
    created: "2026-11-22T07:15:00Z"
    description: Pre user namespace implementation
    parent: null
    current: true
    state: disk-snapshot
    managed: true
    disks:
      - target: vda
        format: qcow2
        file: /var/lib/libvirt/images/pihole.qcow2
        overlay: /var/lib/libvirt/images/pihole.before-userns
        size: 4831838208
    nvram: /var/lib/bulkhead/vm_snapshot/8b0ae4f1-6107-4410-830d-e84c5d1680df/snapshots/before-userns/nvram
    size: 200704
decision:
  description: What was taken, and why.
  returned: when a snapshot was taken, or in check mode would be
  type: dict
  contains:
    kind:
      description: C(internal) or C(external).
      type: str
    memory:
      description: Whether the RAM belongs to it.
      type: bool
    quiesce:
      description: Whether the guest agent is asked to bring the file systems to rest.
      type: bool
    reasons:
      description: One sentence for each of the three.
      type: list
      elements: str
verified:
  description: How the snapshot was found to be good when it was taken, or the VM after it was reverted.
  returned: success and O(state=reverted), or O(state=present) for a snapshot that this module took
  type: dict
  contains:
    at:
      description: When, in UTC.
      type: str
    by:
      description: What was checked.
      type: list
      elements: str
    chain:
      description: The files of each disk by the disk's name, the one in use first.
      type: dict
steps:
  description: The steps that were done, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [save_definition, take, save_nvram, verify]
removed:
  description: The snapshots that were removed, or in check mode would be.
  returned: success and O(state=present) or O(state=absent)
  type: list
  elements: str
abandoned:
  description: Files that reverts left behind, and that are still there.
  returned: success
  type: list
  elements: path
lost_since:
  description: The time of the snapshot, in UTC. What the VM wrote after it is not there any more.
  returned: success and O(state=reverted)
  type: str
  sample: "2026-11-22T07:15:00Z"
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    # The executable in module_bin answers; this is its argument specification for tools that read
    # modules. The two are compared by a test.
    module = AnsibleModule(
        argument_spec=dict(
            vm=dict(type='str', required=True),
            name=dict(type='str'),
            state=dict(type='str', choices=['present', 'absent', 'reverted'], default='present'),
            description=dict(type='str'),
            kind=dict(type='str', choices=['auto', 'internal', 'external'], default='auto'),
            memory=dict(type='str', choices=['auto', 'true', 'false'], default='auto'),
            quiesce=dict(type='str', choices=['auto', 'true', 'false'], default='auto'),
            keep=dict(type='int'),
            older_than=dict(type='str'),
            abandoned=dict(type='str', choices=['keep', 'remove'], default='keep'),
            uri=dict(type='str', default='qemu:///system'),
            timeout=dict(type='int', default=300),
        ),
        supports_check_mode=True,
    )
    module.fail_json(msg='vm_snapshot runs through its action plugin only')


if __name__ == '__main__':
    main()
