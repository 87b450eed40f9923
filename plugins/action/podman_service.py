# Copyright (c) Bulkhead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.bulkhead.hosts.plugins.plugin_utils.executable import ExecutableAction


class ActionModule(ExecutableAction):
    executable = 'podman_service'
