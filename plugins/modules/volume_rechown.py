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
  - Ids that the map does not cover, immutable files and files with hard links from outside the tree are
    looked for B(before the first change), and refused unless the options say otherwise.
  - Refused at once are read-only mounts, the kernel's own file systems (C(proc), C(sysfs) and their like),
    file systems that store no owners (C(vfat)), and servers that do not let root change owners (NFS with
    C(root_squash)). C(/), C(/proc), C(/sys), C(/dev) and C(/var/lib/bulkhead) are never shifted.
  - The old owners are journaled, so O(state=restored) can bring them back.
  - With O(strategy=idmap) the tree is mounted so that it shows the other owners, and nothing on disk changes. That
    takes milliseconds for a tree of any size, and looks at none of its files.
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
      - With O(strategy=idmap), those that use it go on with the owners on disk until they are started again.
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
      - With O(strategy=idmap), V(shifted) mounts the tree, now and at every boot. V(verified) fails if that is not
        so, or not as asked. V(restored) unmounts it for good, and fails with who uses it if it is in use.
    type: str
    choices:
      - shifted
      - verified
      - restored
    default: shifted
  strategy:
    description:
      - How the tree gets its owners.
      - V(shift) changes them on disk.
      - V(idmap) leaves them as they are. An idmapped mount shows the tree with the owners that the map makes of them,
        and what is written through it lands on disk with the ids from before. The options that say what to do with
        single files, and O(verify), have no effect on it.
      - "V(idmap) needs Linux 5.12 and ext4, xfs or vfat; 5.15 for btrfs, 5.18 for f2fs, 6.3 for tmpfs. overlayfs and
        NFS cannot do it. A run tries it out before it changes anything, in check mode too."
      - B(The host's root cannot make files in such a mount), so C(docker cp) into it and the filling of an empty volume
        from an image fail. See O(mount_at) for a way to write as root.
      - A tree with O(strategy=idmap) cannot be shifted, nor one that is shifted mounted. Take back the one first.
    type: str
    choices:
      - shift
      - idmap
    default: shift
  mount_at:
    description:
      - With O(strategy=idmap), the directory on which the tree is mounted. It must be there, at every boot too.
      - If not set, O(path) itself. Then whatever names the path uses the mount, and nothing has to be changed.
      - If set, O(path) goes on to show the tree as it is on disk, so that the host's root can write to it. The
        containers have to use O(mount_at).
    type: path
  services:
    description:
      - With O(strategy=idmap), the systemd units that must not start without the mount.
      - If not set, V(docker.service) where O(to) is a Docker engine, otherwise none.
    type: list
    elements: str
  unmapped:
    description:
      - What to do with ids that the map does not cover.
      - V(fail) changes nothing and lists them.
      - V(keep) leaves them as they are, and translates what else the entry holds.
        B(In a container they show as C(nobody)), and not even its root can use what is theirs alone.
      - With O(strategy=idmap) that is what becomes of all such ids, and only the owner of O(path) itself is looked at.
    type: str
    choices:
      - fail
      - keep
    default: fail
  immutable:
    description:
      - What to do with immutable and append-only entries (C(chattr +i), C(chattr +a)).
      - V(fail) changes nothing and lists them.
      - V(lift) takes the flag away for the moment of the change and puts it back. The flags are journaled
        before, so that a run that was cut short loses none. With O(state=restored) they are lifted again
        if they were with O(state=shifted).
    type: str
    choices:
      - fail
      - lift
    default: fail
  outside_links:
    description:
      - What to do with files that also have names outside O(path), as those have that C(rsnapshot) or
        C(cp -al) made. An owner belongs to the file, so B(the change would show under those names too),
        and the container could write to what a backup took for safe.
      - V(fail) changes nothing and lists them. It is the default because neither answer is harmless.
      - V(keep) leaves such a file with the owner it has. The containers may then have no access to it.
    type: str
    choices:
      - fail
      - keep
    default: fail
  allow_dangerous_path:
    description:
      - Shift O(path) even if it is a directory of the system such as C(/etc/nginx), one that much else
        shares such as C(/srv), or a home directory. B(A wrong path then takes the host down), or locks
        people out.
    type: bool
    default: false
  allow_exposed_path:
    description:
      - With O(strategy=idmap), mount O(path) even if local users can reach it on disk.
      - Through the mount a container's root owns files that on disk are owned by the host's root. It can make a
        set-user-id program of one, and B(a local user who can reach it on disk is root). On the mount such programs
        are without effect, so this is about the time when it is not mounted, and with O(mount_at) about all time.
      - If not set, one of the directories above O(path) must be one that only root may enter (C(chmod 0700)), or,
        without O(mount_at), that besides only the group of the containers' root may, as those of a remapped Docker
        engine are.
    type: bool
    default: false
  verify:
    description:
      - How to find out whether all is shifted already.
      - V(full) looks at every entry.
      - V(root) trusts the record of a finished shift by the same map and the same options, as long as
        O(path) is the same directory and has the owner that it was given. It takes the same few
        milliseconds for any tree. B(What came into the tree since with other owners goes unnoticed.)
        Without a record, or where the file system keeps no times of birth, it is V(full).
    type: str
    choices:
      - full
      - root
    default: full
notes:
  - Needs root on the host.
  - While it runs, C(/run/bulkhead/progress.json) on the host says how far it is. The controller shows it every
    C(bulkhead_progress_seconds) (5 by default, a variable of the host or the task; 0 turns it off).
  - A run that was cut short is finished by the options that it began with, whatever the next one says.
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

- name: A mail store of a terabyte is shifted once, and then only its root is looked at
  bulkhead.hosts.volume_rechown:
    path: /srv/mail
    from:
      engine: host
    to:
      engine: docker
    verify: root

- name: A tree with immutable files, and with some of an account that no container knows
  bulkhead.hosts.volume_rechown:
    path: /srv/app
    map:
      - 0:165536:65536
    immutable: lift
    unmapped: keep

- name: A mail store of a terabyte is shown to the containers as theirs, in no time
  bulkhead.hosts.volume_rechown:
    path: /srv/private/mail
    from:
      engine: host
    to:
      engine: docker
    strategy: idmap

- name: What the host's root goes on to write to is shown to the containers elsewhere
  bulkhead.hosts.volume_rechown:
    path: /opt/private/app/data
    mount_at: /srv/app-data
    from:
      engine: host
    to:
      engine: docker
    strategy: idmap
"""

RETURN = r"""
path:
  description: The directory, without links on the way to it.
  returned: success
  type: str
  sample: /srv/www
entries:
  description: How many entries the tree holds. None are counted where the record alone decides.
  returned: success, with strategy=shift
  type: int
  sample: 1204
shifted:
  description: What was given another owner, or in check mode would be.
  returned: success, with strategy=shift
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
    immutable:
      description: Immutable and append-only entries, whose flags were lifted and put back.
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
    immutable: 0
skipped:
  description: What was left alone, by reason.
  returned: success, with strategy=shift
  type: dict
  contains:
    already:
      description: Entries with an id that the map yields.
      type: int
    unmapped:
      description: Ids that the map does not cover.
      type: int
    outside_links:
      description: Files with names outside the tree. With O(state=restored) those are not left alone.
      type: int
    mounts:
      description: Other mounts.
      type: int
  sample:
    already: 0
    unmapped: 0
    outside_links: 0
    mounts: 1
sample:
  description: Some of the entries that were given another owner, or in check mode would be. At most 20.
  returned: success, with strategy=shift
  type: list
  elements: dict
  contains:
    path:
      description: The entry.
      type: str
    from:
      description: The owner before, as C(uid) and C(gid).
      type: dict
    to:
      description: The owner after, as C(uid) and C(gid). The same where only an ACL or a capability changed.
      type: dict
  sample:
    - path: /srv/www/index.html
      from:
        uid: 33
        gid: 33
      to:
        uid: 165569
        gid: 165569
resumed:
  description: Whether an earlier run that was interrupted has been finished.
  returned: success, with strategy=shift, unless in check mode
  type: bool
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.2
entries_per_second:
  description: How many entries that makes in a second.
  returned: success, with strategy=shift
  type: int
  sample: 412000
mount_at:
  description: The directory on which the tree is mounted.
  returned: success, with strategy=idmap, unless there was nothing to take back
  type: str
  sample: /srv/private/mail
uid_map:
  description: The extents of the map of user ids, C(FROM:TO:SIZE).
  returned: success, with strategy=idmap, unless there was nothing to take back
  type: list
  elements: str
  sample:
    - 0:165536:65536
gid_map:
  description: The extents of the map of group ids, C(FROM:TO:SIZE).
  returned: success, with strategy=idmap, unless there was nothing to take back
  type: list
  elements: str
  sample:
    - 0:165536:65536
services:
  description: The systemd units that do not start without the mount.
  returned: success, with strategy=idmap, unless there was nothing to take back
  type: list
  elements: str
  sample:
    - docker.service
unit:
  description: The systemd unit that mounts the tree at every boot.
  returned: success, with strategy=idmap, unless there was nothing to take back
  type: str
  sample: bulkhead-idmap-srv-private-mail.service
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
            'strategy': dict(type='str', choices=['shift', 'idmap'], default='shift'),
            'mount_at': dict(type='path'),
            'services': dict(type='list', elements='str'),
            'unmapped': dict(type='str', choices=['fail', 'keep'], default='fail'),
            'immutable': dict(type='str', choices=['fail', 'lift'], default='fail'),
            'outside_links': dict(type='str', choices=['fail', 'keep'], default='fail'),
            'allow_dangerous_path': dict(type='bool', default=False),
            'allow_exposed_path': dict(type='bool', default=False),
            'verify': dict(type='str', choices=['full', 'root'], default='full'),
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
