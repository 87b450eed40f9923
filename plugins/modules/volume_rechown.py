#!/usr/bin/python
#
# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: volume_rechown
short_description: Translate the owners of a directory tree by an id map
version_added: 0.1.0
author:
  - Bulkhead contributors (@bulkhead)
description:
  - Gives every entry of a tree the owner that a map of user and group ids makes of its present one.
    Ids are translated one by one, never flattened to a single owner as C(chown -R) does.
  - Mode bits, file capabilities and the ids in ACLs come along. Hard links are shifted once, and
    of symbolic links the link itself. Other mounts below O(path) are left alone.
  - Ids that the map does not cover are looked for B(before the first change), and refused.
  - The old owners are journaled, so O(state=restored) can bring them back.
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
  path:
    description:
      - The directory whose tree is shifted, itself included.
      - Nothing may write to it meanwhile. B(Stop the containers that use it.)
    type: path
    required: true
  map:
    description:
      - The map, as extents C(FROM:TO:SIZE) of ids on disk before and after.
      - An extent counts for user and group ids. With C(u:) or C(g:) before it, for one of them;
        C(b:) says both.
      - Mutually exclusive with O(from) and O(to).
    type: list
    elements: str
  from:
    description:
      - Whose ids the tree has now.
      - Must be given together with O(to).
    type: dict
    suboptions: &side
      engine:
        description:
          - V(docker) is the range of a remapped Docker engine.
          - V(podman) is rootless Podman, whose containers' root is the account itself.
          - V(host) is no user namespace at all.
        type: str
        choices:
          - docker
          - podman
          - host
        required: true
      user:
        description:
          - The account whose subordinate ids are meant.
          - If not set, C(dockremap) with V(docker). Needed with V(podman).
        type: str
  to:
    description:
      - Whose ids the tree shall have.
      - Must be given together with O(from).
    type: dict
    suboptions: *side
  state:
    description:
      - V(shifted) translates the owners, unless the journal says that this was done already.
      - V(verified) changes nothing. It fails, with the first path, if an entry has an owner that
        the map does not yield.
      - V(restored) brings back the owners from before the shift. What was made since is translated
        by the inverted map.
    type: str
    choices:
      - shifted
      - verified
      - restored
    default: shifted
notes:
  - Needs root on the host.
  - The executable also runs by hand on the host, see C(volume_rechown --help).
seealso:
  - module: bulkhead.hosts.userns_remap
"""

EXAMPLES = r"""
- name: The web root belongs to the remapped engine's containers
  bulkhead.hosts.volume_rechown:
    path: /srv/www
    from:
      engine: host
    to:
      engine: docker

- name: The same by numbers
  bulkhead.hosts.volume_rechown:
    path: /srv/www
    map:
      - 0:165536:65536

- name: The web root has the owners it had
  bulkhead.hosts.volume_rechown:
    path: /srv/www
    state: restored
"""

RETURN = r"""
path:
  description: The directory, without links on the way to it.
  returned: success
  type: str
  sample: /srv/www
entries:
  description: How many entries the tree holds.
  returned: success
  type: int
  sample: 1204
shifted:
  description: What was given another owner, or in check mode would be.
  returned: success
  type: dict
  contains:
    entries:
      description: All of them.
      type: int
    directories:
      description: Directories among them.
      type: int
    files:
      description: Regular files among them.
      type: int
    symlinks:
      description: Symbolic links among them.
      type: int
    specials:
      description: Sockets, pipes and devices among them.
      type: int
    hard_links:
      description: Further names of files that were shifted already.
      type: int
    acls:
      description: ACLs whose ids were translated.
      type: int
    capabilities:
      description: File capabilities kept.
      type: int
    set_ids:
      description: Set-user-id and set-group-id bits kept.
      type: int
  sample:
    entries: 1204
    directories: 61
    files: 1140
    symlinks: 3
    specials: 0
    hard_links: 2
    acls: 0
    capabilities: 0
    set_ids: 0
resumed:
  description: Whether an earlier run that was interrupted has been finished.
  returned: success, unless in check mode
  type: bool
seconds:
  description: How long it took.
  returned: success, unless in check mode
  type: float
  sample: 0.2
unmapped:
  description: Paths with an id that the map does not cover. A sample, where there are many.
  returned: when there are any
  type: list
  elements: dict
  contains:
    path:
      description: The entry.
      type: str
    uid:
      description: The user id, if that is what the map does not cover.
      type: int
    gid:
      description: The group id, if that is what the map does not cover.
      type: int
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    side = dict(
        engine=dict(type='str', choices=['docker', 'podman', 'host'], required=True),
        user=dict(type='str'),
    )
    # The executable in module_bin answers; this is its argument specification for tools that read
    # modules. The two are compared by a test.
    module = AnsibleModule(
        argument_spec={
            'path': dict(type='path', required=True),
            'map': dict(type='list', elements='str'),
            'from': dict(type='dict', options=side),
            'to': dict(type='dict', options=side),
            'state': dict(
                type='str', choices=['shifted', 'verified', 'restored'], default='shifted'
            ),
        },
        mutually_exclusive=[('map', 'from'), ('map', 'to')],
        required_together=[('from', 'to')],
        required_if=[
            ('state', 'shifted', ('map', 'from'), True),
            ('state', 'verified', ('map', 'from'), True),
        ],
        supports_check_mode=True,
    )
    module.fail_json(msg='volume_rechown runs through its action plugin only')


if __name__ == '__main__':
    main()
