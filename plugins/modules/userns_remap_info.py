#!/usr/bin/python
#
# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: userns_remap_info
short_description: Tell what Docker's user namespaces would mean for a host
version_added: 0.1.0
author:
  - Bulkhead contributors (@bulkhead)
description:
  - Looks at a Docker engine, at every container and at every compose service that has no container yet, and says
    what M(bulkhead.hosts.userns_remap) would do, what it would refuse, and what each container needs before.
  - Looks, too, for whatever on the host points into the data root and would point at nothing once it has moved
    (jobs, units, log rotation, backups), and for data that an earlier attempt at remapping left out of sight.
  - Changes nothing, and needs nothing to be stopped.
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
  user:
    description:
      - The account whose subordinate ids containers get, as it stands in C(/etc/subuid) and
        C(/etc/subgid).
      - V(default) is Docker's own account C(dockremap). It is made before the engine would do so,
        because from version 28 on the engine may give it a range that overlaps another account's.
      - Else a login name, C(user:group), a uid or C(uid:gid), in quotes.
      - Any other account must exist already. Do not share one with rootless Podman, whose
        containers would then have the same ids.
    type: str
    default: default
  subid_start:
    description:
      - The first subordinate id to give to O(user), for users and groups alike.
      - If not set, an account that has a range keeps it, and one that has none gets the lowest
        range that overlaps nobody's and lies between C(SUB_UID_MIN) and C(SUB_UID_MAX) as well as between
        C(SUB_GID_MIN) and C(SUB_GID_MAX) of C(/etc/login.defs).
      - A start that differs from the range the account has, or that overlaps another account's
        range, is refused. Entries that are there already are never rewritten.
    type: int
  subid_count:
    description:
      - How many ids a new range holds. If not set, C(SUB_UID_COUNT) or C(SUB_GID_COUNT) of C(/etc/login.defs),
        whichever is more, and at least 65536.
      - With fewer than 65536, images with files of C(nobody) (65534) cannot be extracted. A data
        root that holds an id outside the range is refused, and the first such path is named.
    type: int
  config_file:
    description:
      - The engine's configuration file. It is merged, never overwritten. Other keys and their
        order survive.
      - Must be the file the engine reads. One named by C(--config-file) in a unit of the engine
        has to be given here.
    type: path
    default: /etc/docker/daemon.json
  compose_projects:
    description:
      - Directories of compose projects whose services are looked at too, whether they have containers or not.
      - The projects of containers that are there are found by themselves.
      - Their files are read by the host's own C(docker compose) or C(docker-compose).
    type: list
    elements: path
    default: []
notes:
  - Needs root on the host.
  - Whether a program of the host uses a bind mount is seen only while it has a file there open.
seealso:
  - module: bulkhead.hosts.userns_remap
  - module: bulkhead.hosts.volume_rechown
"""

EXAMPLES = r"""
- name: See what stands in the way
  bulkhead.hosts.userns_remap_info:
    compose_projects:
      - /opt/mailcow-dockerized
  register: preflight

- name: Name the services that need userns_mode
  ansible.builtin.debug:
    msg: >-
      {{ (preflight.containers + preflight.services)
         | selectattr('findings', 'search', 'needs_host_mode') | map(attribute='name') }}
"""

RETURN = r"""
engine:
  description: The engine.
  returned: success
  type: dict
  contains:
    version:
      description: Its version.
      type: str
    data_root:
      description: Its configured data root.
      type: path
    remapped:
      description: The ids of the host that root in containers has now; null where it is root itself.
      type: dict
    storage_driver:
      description: How images and layers are stored.
      type: str
    containerd_image_store:
      description: Whether images lie in containerd's store.
      type: bool
    live_restore:
      description: Whether containers outlive the engine's stop.
      type: bool
    swarm:
      description: C(inactive), C(active) and so on.
      type: str
    rootless:
      description: Whether it runs in a user namespace of its own.
      type: bool
    units:
      description: Which of its units are active.
      type: list
      elements: str
    command_line:
      description: The words that started it.
      type: list
      elements: str
    colliding_flags:
      description: Flags on the command line that O(config_file) sets too. The engine would not start again.
      type: list
      elements: str
    free_bytes:
      description: What is free on the data root's file system. Carrying over in place needs next to nothing.
      type: int
    copy:
      description:
        - The room that O(bulkhead.hosts.userns_remap#module:carry_over=copy) would need; null on an engine that is
          remapped.
      type: dict
      contains:
        needed_bytes:
          description: What has to be free.
          type: int
        free_bytes:
          description: What is free for all users.
          type: int
        reflinks:
          description: Whether files can share their blocks, so that a copy takes next to nothing.
          type: bool
range:
  description: The ids that containers would get; with C(problem) where there are none.
  returned: success
  type: dict
  contains:
    user:
      description: Whose subordinate ids they are.
      type: str
    exists:
      description: Whether the account has them already.
      type: bool
    uid_map:
      description: As M(bulkhead.hosts.userns_remap) returns it.
      type: list
      elements: dict
    gid_map:
      description: As M(bulkhead.hosts.userns_remap) returns it.
      type: list
      elements: dict
    problem:
      description: Why there is no range.
      type: str
refusals:
  description: What M(bulkhead.hosts.userns_remap) with O(bulkhead.hosts.userns_remap#module:state=enabled) would refuse.
  returned: success
  type: list
  elements: str
entries:
  description: How many files and directories would be shifted.
  returned: success
  type: int
containers:
  description: Every container, with what was found of it.
  returned: success
  type: list
  elements: dict
  contains: &workload
    name:
      description: Its name.
      type: str
    id:
      description: Its id.
      type: str
    status:
      description: What it is doing.
      type: str
    compose:
      description: Its project and service.
      type: dict
    userns_mode:
      description: C(host), or empty.
      type: str
    ok:
      description: Whether nothing was found.
      type: bool
    findings:
      description: What was found.
      type: list
      elements: dict
      contains:
        verdict:
          description:
            - C(needs_host_mode), it is privileged, uses the network or the process ids of the host, mounts the
              engine's socket, or joins a container that does.
            - C(needs_bind_mount_prepared), it could not read or write what it mounts from the host.
            - C(secret_unreadable), the same for a secret or config of compose's.
            - C(shares_volume_with_host_mode), a volume whose owners cannot be right for both.
            - C(sysctl_refused), a kernel parameter that this kernel does not let a user namespace set. It has been
              tried, in namespaces that are thrown away again.
            - C(sysctl_to_probe), one that could not be tried.
            - C(loses_meaning), a capability or device that is without effect.
            - C(removed_when_stopped), it runs with C(--rm).
            - C(tmpfs_lost), it has files in memory.
            - C(not_running), it is paused, restarting or dead.
            - C(building), it is a step of C(docker build). A build by BuildKit, which has no containers, is among
              RV(refusals).
            - C(exec_running), C(docker exec) runs something in it.
            - C(checkpoint), it has checkpoints.
            - C(immutable_files), it has files whose owner cannot be changed. A few are named.
          type: str
        reason:
          description: Why, in words.
          type: str
        remedy:
          description: What to do.
          type: str
        path:
          description: The path on the host that it is about.
          type: path
        strategy:
          description:
            - How to prepare the path. C(shift) its owners, C(idmap) where others use it too, or C(leave) it, since it is
              the system's.
          type: str
services:
  description: Every compose service that has no container, with what was found of it.
  returned: success
  type: list
  elements: dict
  contains: *workload
masked:
  description:
    - Roots that hold an engine's data and are not in use, with what is in them. The plain root of an engine that was
      remapped by hand, stale C(<uid>.<gid>) directories, and what was set aside.
    - See O(bulkhead.hosts.userns_remap#module:masked_data) for what can be done with them.
    - One that O(bulkhead.hosts.userns_remap#module:carry_over=copy) kept is not among them.
  returned: success
  type: list
  elements: dict
references:
  description: Lines of configuration and scripts on the host that name the data root.
  returned: success
  type: list
  elements: dict
  contains:
    file:
      description: The file.
      type: path
    line:
      description: The number of the line.
      type: int
    text:
      description: The line.
      type: str
    remedy:
      description: C(compat_links) where that option is all it needs, else what to do by hand.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    # The executable in module_bin answers; this is its argument specification for tools that read
    # modules. The two are compared by a test.
    module = AnsibleModule(
        argument_spec=dict(
            user=dict(type='str', default='default'),
            subid_start=dict(type='int'),
            subid_count=dict(type='int'),
            config_file=dict(type='path', default='/etc/docker/daemon.json'),
            compose_projects=dict(type='list', elements='path', default=[]),
        ),
        supports_check_mode=True,
    )
    module.fail_json(msg='userns_remap_info runs through its action plugin only')


if __name__ == '__main__':
    main()
