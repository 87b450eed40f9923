#!/usr/bin/python
#
# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: userns_remap
short_description: Turn Docker's user namespace remapping on or off, in place
version_added: 0.1.0
author:
  - Bulkhead contributors (@bulkhead)
description:
  - Switches a running Docker engine to C(userns-remap), or back, by converting its data root where
    it lies. Images, containers, networks and volumes stay the ones they were, with the same ids.
    Nothing is pulled, loaded or created again.
  - Root inside a container is then an unprivileged user of the host.
  - Everything that can be refused is refused before anything stops. After that every step is
    journaled first. If the engine or a container does not come up again, the module goes back by
    itself and fails with what it saw. If it is killed, or the host restarts in the middle, the
    engine stays down until the next run, or the next boot, has finished the change or undone it.
  - B(All containers stop while the data root is converted.) Those that ran are started again in
    the order of their dependencies, whatever their restart policy. RV(downtime) says how long it
    took.
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
      - Shows the change of O(config_file) and the steps.
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
  state:
    description:
      - Whether containers run in a user namespace of their own.
      - V(disabled) is the exact way back. It B(carries along what was written, pulled and created
        while remapping was on), with the owners it has inside the containers.
    type: str
    choices:
      - enabled
      - disabled
    default: enabled
  user:
    description:
      - The account whose subordinate ids containers get, as it stands in C(/etc/subuid) and
        C(/etc/subgid). With several lines there, container ids count up through them in the order of the file.
      - V(default) is Docker's own account C(dockremap). It is made before the engine would do so,
        because from version 28 on the engine may give it a range that overlaps another account's.
      - Else a login name, C(user:group), a uid or C(uid:gid), in quotes. The engine wants the group to exist, or
        without one a group with the same name or number as the user, but takes no ids from it.
      - Any other account than C(dockremap) must exist already. Do not share one with rootless Podman, whose
        containers would then have the same ids. V(root) is refused, since the engine would run without remapping.
      - Changed on a remapped engine, everything moves from the one account's ids to the other's. So it does when the
        lines of the account have changed since. Directories that O(bind_mounts) shifted go along, and one that it shows
        by an idmapped mount is refused. Other bind mounts that have the old ids are only warned of.
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
  carry_over:
    description:
      - What happens to the images, containers, networks and volumes there are.
      - V(in_place) converts them.
      - V(copy) copies them, with blocks shared where the file system can, and converts the copy. B(The old data root
        stays, out of the engine's sight, as the way back) that O(discard_new_data) takes. Layers of images are copied
        before anything stops, so only the writable layers of containers, volumes and what the engine keeps of them
        take their time while containers are down.
      - A copy needs room, GNU C(cp), and no size limits of layers (C(overlay2.size)). It is refused before anything
        stops where the disk usage of the data root, or its number of files, exceeds what the file system has free for
        all users. Where blocks can be shared, which is tried out, 4096 bytes for each file are enough.
      - With O(state=disabled), V(copy) does what V(in_place) does. What has been written, made and pulled since comes
        along. The kept root is deleted once all runs again.
      - If a change to V(copy) fails after its containers have started, the old data root is used again, and what they
        wrote meanwhile is set aside in C(bulkhead-aside) of the data root. A warning tells so.
      - V(none) leaves them where they are. The engine starts with an empty data root, and B(every
        container, image and volume is out of its sight) until it is switched back.
    type: str
    choices:
      - in_place
      - copy
      - none
    default: in_place
  discard_new_data:
    description:
      - With O(state=disabled), falls back to the data root that O(carry_over=copy) kept. No data is moved or converted.
      - B(Everything is lost that has been written, made or pulled since). A warning says how many containers, volumes
        and images that are; a run in check mode shows it.
      - Containers that ran when the copy was made run again. One that has been removed since is back, and stays down.
      - Refused where no kept root is on record. On an engine that is not remapped there is nothing to do.
      - The remapped root is set aside until all runs again, and deleted then.
    type: bool
    default: false
  host_mode:
    description:
      - Names of containers that are set to stay in the host's user namespace, as with C(--userns=host), while the
        engine is down. They are not made anew, and their layers and volumes keep their owners.
      - For containers that cannot run remapped, which are refused otherwise. M(bulkhead.hosts.userns_remap_info) names
        them.
      - O(state=disabled) sets them back.
      - Compose makes a container anew when its file changes. Set C(userns_mode) there too.
    type: list
    elements: str
    default: []
  compose_projects:
    description:
      - Directories of compose projects. Services that cannot run remapped are set to C(userns_mode=host) in the
        project's C(docker-compose.override.yml), and the containers they have as with O(host_mode).
      - Services with kernel parameters that the kernel refuses in a user namespace have all of theirs taken away there
        by the tag C(!reset), and so have the containers they have. C(docker-compose) 1.29 has no such tag, and is
        refused.
      - Comments and other keys of the file survive. What cannot be added to is refused, with the lines to add.
      - O(state=disabled) brings back the file as it was, unless it has been changed since.
    type: list
    elements: path
    default: []
  bind_mounts:
    description:
      - How the directories of the host that containers mount are prepared for remapped containers, by their path. It
        is done while nothing runs, as a part of the change, and taken back with it.
      - V(shift) gives everything in the directory the owners of remapped containers on disk. B(What else of the host
        uses it loses its access.) O(state=disabled) gives the owners back, those of new files too.
      - V(idmap) leaves the owners on disk, and shows the directory, or a single file, with other owners, now and at
        every boot. The host's root can then make nothing new in it. It has to lie below a directory that only root
        may enter. What it needs and what it means is in the collection's C(docs/idmapped-mounts.md).
      - V(leave) does nothing to this path, and says that this is meant. It says nothing of other paths in it.
      - V(auto) leaves what is the system's, uses V(idmap) for single files, for work trees of git and for what
        programs of the host use, and V(shift) for all else.
      - A dictionary instead of the strategy's name holds C(strategy) (V(auto) if not set), and C(unmapped),
        C(immutable), C(outside_links), C(allow_dangerous_path) and C(allow_exposed_path), as the options of
        M(bulkhead.hosts.volume_rechown) with these names. They are for a path that is named, and remembered for the
        way back.
      - A path that does not exist, that no container mounts, that a container mounts which stays in the host's user
        namespace, that lies in another one named or in the data root, that belongs to the system or holds somebody's
        home, that has mounts in it or ids outside the range, or that is prepared already, is refused before anything
        stops. V(leave) is possible for nearly all of them.
      - A volume of the local driver that mounts a directory (C(o=bind), C(device=PATH)) counts as a bind mount of it,
        and has to be named. One that mounts a share or a disk is refused unless its name or its device is named here
        with V(leave).
      - On an engine that is remapped already nothing can be prepared, and a path that was not is refused.
    type: dict
    default: {}
  other_bind_mounts:
    description:
      - What becomes of bind mounts that O(bind_mounts) does not name, and that containers could not read or write as
        they are.
      - V(warn) names them. V(refuse) refuses the change. V(auto) prepares them as V(auto) does in O(bind_mounts), and
        refuses what it cannot.
      - Whether a container could is judged by the mounted directory itself, not by what is in it.
    type: str
    choices:
      - warn
      - refuse
      - auto
    default: warn
  allow_loss:
    description:
      - Names of containers that were started with C(--rm) and may be lost. The stop B(deletes them and their anonymous
        volumes); nothing brings them back, a change that is taken back neither. RV(lost) names them.
      - Any other running container that a stop deletes is refused.
      - A name that no container has is ignored, since an earlier run has deleted it.
    type: list
    elements: str
    default: []
  masked_data:
    description:
      - What is done with the data of an earlier attempt at remapping, which is out of the engine's sight.
      - V(refuse) refuses a change that it would be in the way of, and otherwise warns of it.
      - V(adopt) is for an engine that was remapped by hand. What it had before lies masked in the plain root; it is
        carried over, and B(what the engine has now is set aside), with all that was written to it meanwhile. Containers
        come back as their own restart policies have it. Does nothing where nothing is masked.
      - V(set_aside) is for a plain engine with a stale C(<uid>.<gid>) directory where the new root would be. The
        directory is renamed.
      - What is set aside stays in the data root as C(<uid>.<gid>.set-aside-<date>). Nothing of this collection deletes
        it, O(state=disabled) neither.
    type: str
    choices:
      - refuse
      - adopt
      - set_aside
    default: refuse
  compat_links:
    description:
      - Make symbolic links at the old places in the data root (C(volumes), C(containers) and so on) that something on
        the host names, to where they are under the remapped engine. M(bulkhead.hosts.userns_remap_info) returns what
        that is as RV(bulkhead.hosts.userns_remap_info#module:references).
      - On an engine that is remapped already, missing links are made, and nothing stops. O(state=disabled) removes
        them.
      - They do not help everything. An archiver that is given the link itself stores a link, AppArmor looks at where a
        link leads, and a watch on a directory (inotify) stays on the directory that has moved. What is seen of that is
        warned of.
      - They open nothing. Both roots let nobody but the host's root and the containers pass (C(0710)), as before, and
        files have the owners of the range.
      - B(Do not take remapping out of the engine's configuration by hand while they are there). The plain engine would
        follow them. O(state=disabled) removes them first.
    type: bool
    default: false
  config_file:
    description:
      - The engine's configuration file. It is merged, never overwritten. Other keys and their
        order survive.
      - Must be the file the engine reads. One named by C(--config-file) in a unit of the engine
        has to be given here.
    type: path
    default: /etc/docker/daemon.json
  backup:
    description:
      - Keep a dated copy of O(config_file) beside it.
      - It is not needed for going back, which restores the file by itself.
    type: bool
    default: false
  timeout:
    description:
      - Seconds that the engine, and then each container, may take to come up before the change is
        rolled back.
      - A database that replays its log after a restart may need more.
      - How long a container may take to stop is its own setting (C(--stop-timeout)).
    type: int
    default: 120
notes:
  - Needs root on the host.
  - While it runs, C(/run/bulkhead/progress.json) on the host says how far it is. The controller shows it every
    C(bulkhead_progress_seconds) (5 by default, a variable of the host or the task; 0 turns it off).
  - Containers that cannot run remapped are refused unless their user namespace mode is C(host) or O(host_mode)
    names them. These are privileged ones and those with the network or the process namespace of the host.
  - So are containers that stopping would delete (C(--rm)) unless O(allow_loss) names them, storage drivers other than
    C(overlay2), containerd's image store, engines from snap, rootless engines, and parts of the data root that are
    links or mounts of their own.
  - Bind mounts lie outside the data root and keep their owners unless O(bind_mounts) says otherwise.
  - The executable also runs by hand on the host, see C(userns_remap --help).
seealso:
  - module: bulkhead.hosts.volume_rechown
  - name: Isolate containers with a user namespace
    description: What the engine does when it is remapped.
    link: https://docs.docker.com/engine/security/userns-remap/
"""

EXAMPLES = r"""
- name: See what would be refused, and what would change
  bulkhead.hosts.userns_remap:
    state: enabled
  check_mode: true
  diff: true

- name: Containers run in a user namespace
  bulkhead.hosts.userns_remap:
    state: enabled
    backup: true

- name: Containers run in a user namespace with a range of our choice
  bulkhead.hosts.userns_remap:
    state: enabled
    user: containers
    subid_start: 2000000

- name: Containers run with the ids of another account, wherever they ran before
  bulkhead.hosts.userns_remap:
    user: "containers:staff"

- name: Containers run in a user namespace, and the old data root is kept
  bulkhead.hosts.userns_remap:
    state: enabled
    carry_over: copy

- name: Containers run on the kept data root, and what they wrote since is lost
  bulkhead.hosts.userns_remap:
    state: disabled
    discard_new_data: true

- name: Containers run in a user namespace, and go on with the host's directories they mount
  bulkhead.hosts.userns_remap:
    state: enabled
    bind_mounts:
      /srv/www: shift
      /srv/private/mail: idmap
      /srv/archive:
        strategy: shift
        immutable: lift
      backup-share: leave
    other_bind_mounts: refuse

- name: Containers run as they did before, with what they wrote meanwhile
  bulkhead.hosts.userns_remap:
    state: disabled
"""

RETURN = r"""
state:
  description: Whether containers run in a user namespace of their own.
  returned: success
  type: str
  sample: enabled
user:
  description: The account whose subordinate ids are in use.
  returned: success and O(state=enabled)
  type: str
  sample: dockremap
uid_map:
  description: How user ids inside containers become user ids of the host.
  returned: success and O(state=enabled)
  type: list
  elements: dict
  contains: &extent
    container:
      description: The first id inside containers.
      type: int
    host:
      description: The id of the host it becomes.
      type: int
    size:
      description: How many consecutive ids.
      type: int
  sample:
    - container: 0
      host: 165536
      size: 65536
gid_map:
  description: How group ids inside containers become group ids of the host.
  returned: success and O(state=enabled)
  type: list
  elements: dict
  contains: *extent
  sample:
    - container: 0
      host: 165536
      size: 65536
data_root:
  description: The directory that holds the engine's images, containers and volumes.
  returned: success
  type: dict
  contains:
    before:
      description: The directory before the run.
      type: str
    after:
      description: The directory after the run.
      type: str
  sample:
    before: /var/lib/docker
    after: /var/lib/docker/165536.165536
carried:
  description: How many of each were carried over.
  returned: changed
  type: dict
  contains:
    images:
      description: Number of images.
      type: int
    containers:
      description: Number of containers, running or not.
      type: int
    volumes:
      description: Number of volumes.
      type: int
    networks:
      description: Number of networks that users made.
      type: int
  sample:
    images: 3
    containers: 3
    volumes: 2
    networks: 1
restarted:
  description: Names of the containers that ran before and run again, in the order of their start.
  returned: changed
  type: list
  elements: str
  sample:
    - database
    - dns
steps:
  description: The steps taken, or in check mode those that would be taken.
  returned: success
  type: list
  elements: str
shifted:
  description: What was given another owner.
  returned: changed, with O(carry_over=in_place)
  type: dict
  contains:
    entries:
      description: Number of files, directories and other entries.
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
    hard_links:
      description: Further names of files that were shifted already.
      type: int
    seconds:
      description: How long it took.
      type: float
  sample:
    entries: 20231
    acls: 0
    capabilities: 2
    set_ids: 24
    hard_links: 3
    seconds: 0.4
bind_mounts:
  description: What was decided of each bind mount, or was taken back.
  returned: changed
  type: list
  elements: dict
  contains:
    path:
      description: The path, or the name or device of a volume.
      type: str
    strategy:
      description: V(shift), V(idmap) or V(leave).
      type: str
  sample:
    - path: /srv/www
      strategy: shift
downtime:
  description: Seconds from the stop of the first container to the last one's coming back, healthy where it has a check.
  returned: changed
  type: dict
  contains:
    total:
      description: All of it.
      type: float
    stop:
      description: Containers and the engine ended.
      type: float
    move:
      description: The data root was moved, and what the engine keeps in it adapted.
      type: float
    shift:
      description: Layers and volumes were given other owners.
      type: float
    start:
      description: The engine and the containers came back.
      type: float
  sample:
    total: 6.1
    stop: 1.3
    move: 0.1
    shift: 0.4
    start: 4.3
lost:
  description: The containers that the stop deletes because O(allow_loss) names them.
  returned: when there are any
  type: list
  elements: dict
  contains:
    name:
      description: The container's name.
      type: str
    volumes:
      description: Its anonymous volumes, deleted with it.
      type: list
      elements: str
  sample:
    - name: report
      volumes: []
set_aside:
  description: Where the root that was in the way is now.
  returned: when one was set aside (O(masked_data))
  type: str
  sample: /var/lib/docker/165536.165536.set-aside-2026-01-31@020000
backup_file:
  description: The dated copy of O(config_file).
  returned: changed and O(backup=true)
  type: str
  sample: /etc/docker/daemon.json.2026-01-31T02:00:00Z
recovered:
  description: What an earlier run that was interrupted has been brought to before this one began.
  returned: when there was one
  type: str
  sample: undone
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    # The executable in module_bin answers; this is its argument specification for tools that read
    # modules. The two are compared by a test.
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type='str', choices=['enabled', 'disabled'], default='enabled'),
            user=dict(type='str', default='default'),
            subid_start=dict(type='int'),
            subid_count=dict(type='int'),
            carry_over=dict(type='str', choices=['in_place', 'copy', 'none'], default='in_place'),
            discard_new_data=dict(type='bool', default=False),
            host_mode=dict(type='list', elements='str', default=[]),
            compose_projects=dict(type='list', elements='path', default=[]),
            bind_mounts=dict(type='dict', default={}),
            other_bind_mounts=dict(type='str', choices=['warn', 'refuse', 'auto'], default='warn'),
            allow_loss=dict(type='list', elements='str', default=[]),
            masked_data=dict(type='str', choices=['refuse', 'adopt', 'set_aside'], default='refuse'),
            compat_links=dict(type='bool', default=False),
            config_file=dict(type='path', default='/etc/docker/daemon.json'),
            backup=dict(type='bool', default=False),
            timeout=dict(type='int', default=120),
        ),
        supports_check_mode=True,
    )
    module.fail_json(msg='userns_remap runs through its action plugin only')


if __name__ == '__main__':
    main()
