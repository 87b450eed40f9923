#!/usr/bin/python
#
# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: podman_service
short_description: Move a rootless Podman service from one account to another
version_added: 0.1.0
author:
  - Bulkhead contributors (@bulkhead)
description:
  - Moves the units of a service, with everything that they and their containers use, from the account that runs it to
    another one. B(Inside the containers every file has the owner that it had before.)
  - The ids of the old account's containers are translated one by one to those of the new account's, in directories and
    named volumes. Nothing is flattened to one owner as by C(chown -R).
  - Images, Podman's own secrets, networks and logins to registries are copied. Of the files with secrets only those go
    along that the units name.
  - The service is then started and looked at. If it does not come up within O(timeout), B(everything is taken back) and
    it runs as the old account again.
  - Everything that can be refused is refused before anything is done, with all the reasons. After that every step is
    journaled first. If the module is killed, or the host goes down, the next run finishes the move or undoes it; so does
    a unit at the next boot.
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    details:
      - Refuses what a real run would refuse before its first step. The account O(to) has to be there for that.
  diff_mode:
    support: full
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    details:
      - Shows each unit file as it will be, the trees whose owners are translated with the map, and the steps.
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
      - The service. What is remembered of its move goes by this name, so the way back needs the same one.
      - Letters, digits and any of C(-_.@).
    type: str
    required: true
  from:
    description:
      - The account that runs it before it is moved. It stays, with what other services of it use.
    type: str
    required: true
  to:
    description:
      - The account that shall run it. It has to be there, to linger, and to have subordinate ids, as
        M(bulkhead.hosts.dedicated_user) makes it.
    type: str
    required: true
  state:
    description:
      - V(moved) moves it. A service that was moved already is only looked at, and the task fails if it is not well.
      - V(returned) takes the move back, with what the service has written since. Without a move on record nothing is
        done.
    type: str
    choices:
      - moved
      - returned
    default: moved
  units:
    description:
      - Its units, of the account, of the system with C(User=), or quadlets. A name without a suffix means all of that
        name, as C(litellm) means C(litellm.container) and C(litellm.timer).
      - Quadlets that these name (volumes, networks, pods) and all drop-ins belong to them without being named.
      - If not set, O(name).
    type: list
    elements: str
  data_directories:
    description:
      - Trees of the service beside those that its containers mount and that its account owns, which are found without.
      - A tree in the old account's home goes to the same place in the new one's. Others stay where they are.
    type: list
    elements: path
  volumes:
    description:
      - Its named volumes beside those that its containers mount or its units name.
    type: list
    elements: str
  secrets_from:
    description:
      - Where the old account's secrets are.
      - If not set, C(/run/secrets-FROM).
    type: path
  secrets_to:
    description:
      - Where the new account's secrets are. Files below O(secrets_from) that the units name are copied there, and the
        units name the copies.
      - If not set, C(/run/secrets-TO).
    type: path
  keep_secrets:
    description:
      - Whether the copied secrets are there again after a reboot, if O(secrets_to) is in C(/run). Root's own copies are
        then kept in C(/var/lib/bulkhead/secrets), and lines in C(/etc/tmpfiles.d) bring them back.
      - V(auto) is V(true), except on NixOS.
      - With V(false), something else has to bring them.
    type: str
    choices:
      - auto
      - 'true'
      - 'false'
    default: auto
  images:
    description:
      - V(save) copies the images from the one store to the other, with their ids.
      - V(pull) has the new account pull those that have a registry. Those of C(localhost/) are copied.
    type: str
    choices:
      - save
      - pull
    default: save
  unmapped:
    description:
      - What to do with files whose owner is neither the old account nor one of its subordinate ids.
      - V(fail) refuses the move, with their number and the first of them.
      - V(keep) leaves their owners as they are.
    type: str
    choices:
      - fail
      - keep
    default: fail
  ports:
    description:
      - TCP ports that have to answer on C(127.0.0.1) once the service runs.
    type: list
    elements: int
  urls:
    description:
      - Addresses that have to answer with a status below 400 once the service runs. C(http) only; the role
        C(bulkhead.hosts.podman_service) also asks those of C(https).
    type: list
    elements: str
  health:
    description:
      - Whether the health checks of the containers have to succeed once the service runs. Those that did not succeed
        before the move are not waited for.
    type: bool
    default: true
  check_log:
    description:
      - Whether the service counts as not well if its log complains of permissions as it did not before the move.
    type: bool
    default: true
  timeout:
    description:
      - Seconds that the service may take to stop, to start, and to be well.
    type: int
    default: 300
notes:
  - Needs root, and Podman 4.3 or newer. The host must not be NixOS, where units, accounts and secrets are what the
    system's configuration declares.
  - Refused are files with ids that are not the old account's, data, networks or units that another container or unit of
    the old account uses too, C(UserNS=auto) and maps that name ids of the host, images named by a digest (unless pulled),
    units that name a whole directory of secrets, and homes on different file systems where data has to go from one to
    the other.
  - C(UserNS=keep-id) becomes C(keep-id:uid=U,gid=G) with the numbers of the old account, so that nothing changes inside.
  - A quadlet of the system with C(User=), which Podman does not support, becomes one of the account.
  - The unit files of the old account are renamed to C(*.moved-to-TO), which nothing reads. Its images, networks and
    secrets stay.
  - The move is recorded in C(/var/lib/bulkhead/podman_service), root's only.
  - The executable also runs by hand on the host, see C(podman_service --help).
seealso:
  - module: bulkhead.hosts.dedicated_user
  - module: bulkhead.hosts.volume_rechown
"""

EXAMPLES = r"""
- name: LiteLLM has an account of its own
  bulkhead.hosts.dedicated_user:
    name: litellm

- name: See what would be moved, and what stands in the way
  bulkhead.hosts.podman_service:
    name: litellm
    from: container-db
    to: litellm
  check_mode: true
  diff: true

- name: LiteLLM runs as its own account
  bulkhead.hosts.podman_service:
    name: litellm
    from: container-db
    to: litellm
    data_directories:
      - /var/lib/litellm
    urls:
      - http://127.0.0.1:4000/health/liveliness

- name: The speed test has another name than its unit
  bulkhead.hosts.podman_service:
    name: openspeedtest
    from: container-misc
    to: openspeedtest
    units:
      - speedtest

- name: It runs as before, with what was written since
  bulkhead.hosts.podman_service:
    name: litellm
    from: container-db
    to: litellm
    state: returned
"""

RETURN = r"""
name:
  description: The service.
  returned: success
  type: str
  sample: litellm
from: &party
  description: The account that ran it before the move.
  returned: success
  type: dict
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
    subuid:
      description: Its subordinate uids, each range with C(start) and C(count).
      type: list
      elements: dict
    subgid:
      description: The same of its subordinate gids.
      type: list
      elements: dict
to:
  <<: *party
  description: The account that runs it after the move.
  sample:
    name: litellm
    uid: 1001
    gid: 1001
    subuid: [{start: 165536, count: 65536}]
    subgid: [{start: 165536, count: 65536}]
steps:
  description: The steps that were done, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [guard, image, files, keep_secrets, stop, hide_units, shift, write_units, start, verify, record]
units:
  description: The unit files of the new account.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: path
    place:
      description:
        - What it was before the move. C(quadlet) or C(user) for one of the account, C(system_quadlet) or C(system) for one
          of the system that names the account.
      type: str
data:
  description: The trees whose owners were translated.
  returned: success
  type: list
  elements: dict
  contains:
    from:
      description: Where the tree was.
      type: path
    path:
      description: Where it is. The same, unless it was in the old account's home.
      type: path
volumes:
  description: Its named volumes.
  returned: success
  type: list
  elements: str
images:
  description: The images that were copied or pulled.
  returned: success
  type: list
  elements: str
secrets:
  description: What was copied of its secrets. Names are Podman's own, paths are files of the new account.
  returned: success
  type: list
  elements: str
  sample: [/run/secrets-litellm/litellm-secrets]
networks:
  description: The networks that were made for the new account, but for those of quadlets.
  returned: success
  type: list
  elements: str
kept:
  description: The unit files that stay with the old account, under names that nothing reads.
  returned: success
  type: list
  elements: path
  sample: [/etc/containers/systemd/users/990/litellm.container.moved-to-litellm]
verified:
  description: How the service was found to be well.
  returned: success, not in check mode, and where there was something to look at
  type: dict
  contains:
    at:
      description: When, in UTC.
      type: str
    by:
      description: What was looked at, and found right.
      type: list
      elements: str
  sample:
    at: "2026-11-22T07:15:00Z"
    by: [litellm.service is active, container litellm is healthy]
entries:
  description: How many files, directories and links the trees hold.
  returned: when owners were translated by this run
  type: int
shifted_in:
  description: The seconds that the translation took.
  returned: when owners were translated by this run
  type: float
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    # The executable in module_bin answers; this is its argument specification for tools that read
    # modules. The two are compared by a test.
    module = AnsibleModule(
        argument_spec={
            'name': dict(type='str', required=True),
            'from': dict(type='str', required=True),
            'to': dict(type='str', required=True),
            'state': dict(type='str', choices=['moved', 'returned'], default='moved'),
            'units': dict(type='list', elements='str'),
            'data_directories': dict(type='list', elements='path'),
            'volumes': dict(type='list', elements='str'),
            'secrets_from': dict(type='path'),
            'secrets_to': dict(type='path'),
            'keep_secrets': dict(type='str', choices=['auto', 'true', 'false'], default='auto'),
            'images': dict(type='str', choices=['save', 'pull'], default='save'),
            'unmapped': dict(type='str', choices=['fail', 'keep'], default='fail'),
            'ports': dict(type='list', elements='int'),
            'urls': dict(type='list', elements='str'),
            'health': dict(type='bool', default=True),
            'check_log': dict(type='bool', default=True),
            'timeout': dict(type='int', default=300),
        },
        supports_check_mode=True,
    )
    module.fail_json(msg='podman_service runs through its action plugin only')


if __name__ == '__main__':
    main()
