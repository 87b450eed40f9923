#!/usr/bin/python
#
# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dedicated_user
short_description: Give a service an account of its own for rootless Podman
version_added: 0.1.0
author:
  - Bulkhead contributors (@bulkhead)
description:
  - Makes an account without a password that can run rootless containers at once. It has a home, subordinate ids that
    nobody else has, a user manager that starts at boot, and a directory for secrets that only its group reads.
  - All of it is made or nothing. A run that was killed, or cut off by a power failure, is taken back or finished by the
    next one.
  - An account that is there is kept, with its uid, its home, its shell and its ranges, and gets what it lacks.
  - With O(state=absent) the account goes only where B(nothing of it is left). Processes, units, containers, secrets and
    files outside its home are listed, and the task fails.
  - On NixOS nothing is changed, since the system's configuration declares accounts there. The task fails with the lines
    to add, unless all is as asked.
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    support: full
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
  name:
    description:
      - The account's name. At most 31 of C(a-z), C(0-9), C(_) and C(-), the first a letter or C(_), which is what
        every program takes. Another name is refused with a proposal, as C(sillytavern) for C(Silly Tavern).
      - C(storage) and C(cache) are refused unless O(home) is set, since C(/var/lib/containers/storage) is Podman's own
        store as root.
    type: str
    required: true
  state:
    description:
      - V(present) makes the account, or adds what it lacks.
      - V(absent) removes it, with its group, its ranges, O(secrets_dir) and its lingering.
    type: str
    choices:
      - present
      - absent
    default: present
  group:
    description:
      - Its primary group, made where it is missing if the account is new.
      - If not set, one of the account's name.
    type: str
  uid:
    description:
      - Its uid. That of an account that is there is never changed.
      - If not set, the one above all those in use, and none that a line of C(/etc/subuid) or C(/etc/subgid) names.
    type: int
  gid:
    description:
      - The gid of its primary group, where that is made.
      - If not set, the same number as the uid.
    type: int
  home:
    description:
      - Its home directory, made with mode 0700, and brought to that mode where it drifted. One that is there and belongs
        to somebody else is refused.
      - If not set, C(/var/lib/containers/NAME) for a new account, and whatever it is for one that is there.
      - That of an account that is there is never changed, since Podman's store cannot be moved.
      - C(/var/lib/containers) is opened for others to pass (C(o+x)) where Podman as root has closed it. Any other
        directory that the account could not pass is refused.
    type: path
  shell:
    description:
      - Its login shell.
      - If not set, C(nologin) for a new account, and whatever it is for one that is there.
    type: path
  groups:
    description:
      - All its further groups, which have to be there. V([]) takes the account out of all of them.
      - B(Membership of podman or docker is as good as being root), and is warned of. Rootless Podman needs neither.
      - If not set, none for a new account, and whatever they are for one that is there.
    type: list
    elements: str
  comment:
    description:
      - What the account is for.
    type: str
  linger:
    description:
      - Whether its user manager, and with it the services in there, starts at boot and needs no login.
      - V(false) B(stops all of these services), unless somebody is logged in.
    type: bool
    default: true
  subid_count:
    description:
      - How many subordinate ids it has at least, of uids and of gids. Images need 65536 for their C(nobody).
    type: int
    default: 65536
  subid_start:
    description:
      - The first of them, refused if anybody has one of these ids.
      - If not set, the lowest range that neither C(/etc/subuid) nor C(/etc/subgid) gives to anybody, between
        C(SUB_UID_MIN) and C(SUB_UID_MAX) of C(/etc/login.defs).
    type: int
  secrets_dir:
    description:
      - A directory of root's, mode 0750, that the account's group can read. A line in C(/etc/tmpfiles.d) has it made at
        every boot; what is in it is not kept over a reboot in C(/run).
      - If not set, C(/run/secrets-NAME).
    type: path
  remove_home:
    description:
      - With O(state=absent), remove the home directory too, B(with the images and volumes in it).
      - Refused where something is mounted in there, or another account's home lies in it.
    type: bool
    default: false
  timeout:
    description:
      - Seconds that O(state=absent) may look for files of the account's.
    type: int
    default: 300
notes:
  - Needs root, and C(useradd), C(groupadd), C(usermod), C(userdel) and C(loginctl).
  - The search for files covers the disks and the file systems in memory, and leaves out those of other hosts, the home,
    and C(/var/lib/docker) and C(/var/lib/containers/storage), whose images may hold any uid. RV(searched) says how far it
    came. A search that was not done in time is a refusal.
seealso:
  - module: bulkhead.hosts.dedicated_user_info
  - module: bulkhead.hosts.volume_rechown
"""

EXAMPLES = r"""
- name: LiteLLM has an account of its own
  bulkhead.hosts.dedicated_user:
    name: litellm
    comment: Containers of LiteLLM
  register: litellm

- name: Its containers see their root and user 999 as these ids
  ansible.builtin.debug:
    msg: "root is {{ litellm.uid }}, 999 is {{ litellm.subuid[0].start + 998 }}"

- name: The account goes, with all its data
  bulkhead.hosts.dedicated_user:
    name: litellm
    state: absent
    remove_home: true
"""

RETURN = r"""
name:
  description: The account.
  returned: success
  type: str
  sample: litellm
uid:
  description: Its uid; in check mode the one that it would get.
  returned: success, state=present
  type: int
  sample: 1001
gid:
  description: The gid of its primary group.
  returned: success, state=present
  type: int
  sample: 1001
group:
  description: Its primary group.
  returned: success, state=present
  type: str
  sample: litellm
home:
  description: Its home directory.
  returned: success, state=present
  type: path
  sample: /var/lib/containers/litellm
shell:
  description: Its login shell.
  returned: success, state=present
  type: path
  sample: /usr/sbin/nologin
groups:
  description: Its further groups.
  returned: success, state=present
  type: list
  elements: str
  sample: []
comment:
  description: What it is for.
  returned: success, state=present
  type: str
  sample: Containers of LiteLLM
linger:
  description: Whether its user manager starts at boot.
  returned: success, state=present
  type: bool
  sample: true
runtime_dir:
  description: C(XDG_RUNTIME_DIR) of its services, which is there while its user manager runs.
  returned: success, state=present
  type: path
  sample: /run/user/1001
secrets_dir:
  description: The directory for its secrets.
  returned: success, state=present
  type: path
  sample: /run/secrets-litellm
subuid:
  description: Its subordinate uids, as C(start) and C(count), in file order.
  returned: success, state=present
  type: list
  elements: dict
  sample: [{start: 165536, count: 65536}]
subgid:
  description: Its subordinate gids, likewise.
  returned: success, state=present
  type: list
  elements: dict
  sample: [{start: 165536, count: 65536}]
adjusted:
  description: The proposals for names that were refused. Empty where none was.
  returned: success, and where something was refused
  type: list
  elements: str
  sample: ["Silly Tavern -> sillytavern"]
steps:
  description:
    - What was done, or in check mode would be. C(group), C(account), C(change), C(ranges), C(open), C(home),
      C(secrets_dir), C(linger), C(remove).
  returned: success
  type: list
  elements: str
  sample: [group, account, ranges, home, secrets_dir, linger]
searched:
  description: How far the search for its files came.
  returned: state=absent, where there is the account
  type: dict
  contains:
    entries:
      description: How many files and directories were looked at.
      type: int
    mounts:
      description: The mounts whose file systems were searched.
      type: list
      elements: path
    passed_over:
      description: What was left out of them.
      type: list
      elements: path
    complete:
      description: Whether it was done in time.
      type: bool
declared:
  description: On NixOS, the account as it is now, with the keys above. Empty where there is none.
  returned: failure on NixOS
  type: dict
missing:
  description: On NixOS, what is not as asked.
  returned: failure on NixOS
  type: list
  elements: str
  sample: [its lingering]
nix:
  description: On NixOS, the lines to add to the system's configuration. Empty where lines have to go.
  returned: failure on NixOS
  type: str
  sample: |
    users.users."litellm" = {
      linger = true;
    };
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    # The executable in module_bin answers; this is its argument specification for tools that read
    # modules. The two are compared by a test.
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type='str', required=True),
            state=dict(type='str', choices=['present', 'absent'], default='present'),
            group=dict(type='str'),
            uid=dict(type='int'),
            gid=dict(type='int'),
            home=dict(type='path'),
            shell=dict(type='path'),
            groups=dict(type='list', elements='str'),
            comment=dict(type='str'),
            linger=dict(type='bool', default=True),
            subid_count=dict(type='int', default=65536),
            subid_start=dict(type='int'),
            secrets_dir=dict(type='path'),
            remove_home=dict(type='bool', default=False),
            timeout=dict(type='int', default=300),
        ),
        supports_check_mode=True,
    )
    module.fail_json(msg='dedicated_user runs through its action plugin only')


if __name__ == '__main__':
    main()
