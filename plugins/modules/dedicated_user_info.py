#!/usr/bin/python
#
# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dedicated_user_info
short_description: Tell which accounts run rootless containers, and what each of them uses
version_added: 0.1.0
author:
  - Bulkhead contributors (@bulkhead)
description:
  - Tells the subordinate ids and the lingering of accounts, what their files take on the disks, and how much memory and
    processor time their control groups use.
  - Changes nothing.
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
  names:
    description:
      - The accounts.
      - If not set, all in C(/etc/passwd) that have a subordinate range, or a store of rootless Podman in their home.
    type: list
    elements: str
  directories:
    description:
      - By account, a list of directories that belong to its service and lie outside of its home.
    type: dict
  timeout:
    description:
      - Seconds that the files of one account may take to be counted. If that is not enough, a warning says so and their
        sizes are null.
    type: int
    default: 300
notes:
  - Needs root, and cgroup v2.
seealso:
  - module: bulkhead.hosts.dedicated_user
"""

EXAMPLES = r"""
- name: Look at two accounts
  bulkhead.hosts.dedicated_user_info:
    names:
      - litellm
      - wallabag
    directories:
      wallabag:
        - /var/lib/wallabag
  register: found

- name: Name those that take more than 10 GiB
  ansible.builtin.debug:
    msg: "{{ found.accounts | selectattr('usage.disk', '>', 10 * 1024 ** 3) | map(attribute='name') }}"
"""

RETURN = r"""
accounts:
  description: The accounts, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    uid:
      description: Its uid.
      type: int
    gid:
      description: The gid of its primary group.
      type: int
    home:
      description: Its home directory.
      type: path
    linger:
      description: Whether its user manager starts at boot.
      type: bool
    runtime_dir:
      description: C(XDG_RUNTIME_DIR) of its services. Null where it is not there.
      type: path
    subuid:
      description: Its subordinate uids, as C(start) and C(count), in file order.
      type: list
      elements: dict
    subgid:
      description: Its subordinate gids, likewise.
      type: list
      elements: dict
    usage:
      description: What it uses.
      type: dict
      contains:
        home:
          description: Bytes on disk of its home, with all that is in it.
          type: int
        storage:
          description: Bytes on disk of the store of its Podman, which is part of the home. Images, containers, volumes.
          type: int
        data:
          description: Bytes on disk by directory of O(directories).
          type: dict
        disk:
          description: Bytes on disk of all of these, nothing counted twice.
          type: int
        memory:
          description:
            - Bytes of memory in use by its sessions and services, those of the host with C(User=) included. Null where
              nothing runs, or the memory controller of cgroup v2 is off.
          type: int
        memory_peak:
          description: The most of it at a time since its control group came up. Null before Linux 5.19, too.
          type: int
        cpu:
          description: Seconds of processor time since its control group came up. Null where nothing runs.
          type: float
        processes:
          description: How many processes it has.
          type: int
  sample:
    - name: litellm
      uid: 1001
      gid: 1001
      home: /var/lib/containers/litellm
      linger: true
      runtime_dir: /run/user/1001
      subuid: [{start: 165536, count: 65536}]
      subgid: [{start: 165536, count: 65536}]
      usage: {home: 812646400, storage: 812642304, data: {}, disk: 812646400, memory: 104857600, memory_peak: 157286400,
              cpu: 12.5, processes: 9}
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    # The executable in module_bin answers; this is its argument specification for tools that read
    # modules. The two are compared by a test.
    module = AnsibleModule(
        argument_spec=dict(
            names=dict(type='list', elements='str'),
            directories=dict(type='dict'),
            timeout=dict(type='int', default=300),
        ),
        supports_check_mode=True,
    )
    module.fail_json(msg='dedicated_user_info runs through its action plugin only')


if __name__ == '__main__':
    main()
