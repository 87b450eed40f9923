"""Controllers whose target is this machine, local or over SSH."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from controller import Controller


@pytest.fixture
def controller(tmp_path):
    return Controller(tmp_path)


@pytest.fixture
def ssh_controller(controller, tmp_path):
    """A controller whose target is reached over SSH on the loopback interface."""
    if not Path('/usr/sbin/sshd').exists():
        pytest.skip('needs sshd; it is not installed for the test, for that would start it')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    key, host_key = tmp_path / 'key', tmp_path / 'host_key'
    for path in (key, host_key):
        subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', path], check=True)
    Path('/run/sshd').mkdir(exist_ok=True)
    server = subprocess.Popen([
        '/usr/sbin/sshd', '-D', '-e', '-f', '/dev/null', '-p', str(port), '-h', host_key,
        '-o', 'ListenAddress=127.0.0.1', '-o', f'AuthorizedKeysFile={key}.pub',
        '-o', 'StrictModes=no', '-o', f'PidFile={tmp_path}/sshd.pid',
        '-o', f'SetEnv=HOME={controller.home}', '-o', 'Subsystem=sftp internal-sftp',
    ], stderr=subprocess.DEVNULL)
    controller.variables = {
        'ansible_connection': 'ssh', 'ansible_host': '127.0.0.1', 'ansible_port': port,
        'ansible_user': 'root', 'ansible_ssh_private_key_file': str(key),
        'ansible_ssh_args': '-o ControlMaster=no -o UserKnownHostsFile=/dev/null',
    }
    for _ in range(50):
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', port)) == 0:
                break
        time.sleep(0.1)
    yield controller
    server.terminate()
    server.wait(10)
