"""launch.sh by itself: which directories it trusts, under every POSIX shell at hand."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from controller import MACHINE, REPOSITORY

LAUNCH = REPOSITORY / 'plugins' / 'plugin_utils' / 'launch.sh'
PROGRAM = b'#!/bin/sh\necho ran "$0"; cat\n'
DIGEST = hashlib.sha256(PROGRAM).hexdigest()
SHELLS = [['dash'], ['bash', '--posix'], ['busybox', 'ash']]
ELSEWHERE = ['/var/tmp', '/run/user', '/dev/shm']


@pytest.fixture(params=SHELLS, ids=' '.join)
def launch(request, tmp_path):
    """Runs launch.sh with a home of its own, and every other candidate directory noexec."""
    shell = request.param
    if not shutil.which(shell[0]):
        pytest.skip(f'needs {shell[0]}')
    home = tmp_path / 'home'
    home.mkdir()
    # Without systemd there is no /run/user.
    mounts = ''.join(f'mkdir -p {path} && mount -t tmpfs -o noexec none {path} && ' for path in ELSEWHERE)

    def run(verb, stdin=b'', home=home, mount='', remote_tmp='/var/tmp', digest=DIGEST):
        command = [*shell, LAUNCH, verb, remote_tmp, 'module', 'm68k=0', f'{MACHINE}={digest}']
        return subprocess.run(
            ['unshare', '-m', 'sh', '-c', f'{mounts}{mount} exec "$@"', 'sh', *command],
            input=stdin, env={'HOME': str(home), 'PATH': os.environ['PATH']}, timeout=20,
            capture_output=True, check=False,
        )

    run.shell = shell
    run.cache = home / '.cache' / 'bulkhead'
    run.home = home
    run.directory = tmp_path
    return run


def missing(done):
    return done.stdout.decode() == f'BULKHEAD-MISSING {MACHINE}\n'


def test_what_is_stored_runs_on_its_standard_input(launch):
    assert missing(launch('run', b'{}'))
    assert launch('store', PROGRAM).returncode == 0
    done = launch('run', b'{"a": 1}')
    assert done.stdout.decode() == f'ran {launch.cache}/module-{DIGEST}\n{{"a": 1}}'
    assert [path.name for path in launch.cache.iterdir()] == [f'module-{DIGEST}']


def test_a_home_with_a_space_in_its_name_serves(launch):
    home = launch.directory / 'my home *'
    home.mkdir()
    launch('store', PROGRAM, home=home)
    assert launch('run', home=home).stdout.startswith(b'ran ')


def test_a_truncated_executable_is_not_kept(launch):
    done = launch('store', PROGRAM[:-5])
    assert done.returncode != 0
    assert b'did not arrive whole' in done.stderr
    assert not list(launch.cache.iterdir())


def plant(directory: Path):
    directory.mkdir(parents=True, mode=0o700)
    program = directory / f'module-{DIGEST}'
    program.write_bytes(b'#!/bin/sh\necho planted\n')
    program.chmod(0o755)


def assert_not_trusted(launch, home=None):
    home = home or launch.home
    assert missing(launch('run', home=home))
    done = launch('store', PROGRAM, home=home)
    assert done.returncode != 0
    assert b"is not this user's alone" in done.stderr


def test_a_cache_of_another_user_is_not_trusted(launch):
    plant(launch.cache)
    os.chown(launch.cache, 65534, 65534)
    assert_not_trusted(launch)


def test_a_cache_others_can_write_to_is_not_trusted(launch):
    plant(launch.cache)
    launch.cache.chmod(0o777)
    assert_not_trusted(launch)


def test_a_cache_below_a_directory_others_can_write_to_is_not_trusted(launch):
    plant(launch.cache)
    launch.home.chmod(0o777)
    assert_not_trusted(launch)


def test_a_link_to_a_private_directory_is_not_trusted(launch):
    plant(launch.directory / 'private')
    launch.cache.parent.mkdir()
    launch.cache.symlink_to(launch.directory / 'private')
    assert_not_trusted(launch)


def test_nothing_is_made_in_the_home_of_another_user(launch):
    home = launch.directory / 'other'
    home.mkdir()
    os.chown(home, 65534, 65534)
    assert_not_trusted(launch, home)
    assert not list(home.iterdir())


def test_where_the_home_is_noexec_the_remote_tmp_serves(launch):
    mount = f'mount -t tmpfs -o noexec,mode=700 none {launch.home} && '
    remote = launch.directory / 'remote'
    remote.mkdir()
    assert launch('store', PROGRAM, mount=mount, remote_tmp=remote).returncode == 0
    done = launch('run', mount=mount, remote_tmp=remote)
    assert done.stdout.decode() == f'ran {remote}/bulkhead-0/module-{DIGEST}\n'


def test_where_everything_is_noexec_each_directory_is_named(launch):
    mount = f'mount -t tmpfs -o noexec,mode=700 none {launch.home} && '
    done = launch('store', PROGRAM, mount=mount)
    assert done.returncode != 0
    for directory in (launch.cache, '/var/tmp/bulkhead-0', '/dev/shm/bulkhead-0'):
        assert f'{directory} (full, or mounted noexec)' in done.stderr.decode()


def test_a_cache_that_became_noexec_counts_as_missing(launch):
    launch('store', PROGRAM)
    done = launch('run', mount=(
        f'mount --bind {launch.cache} {launch.cache} && '
        f'mount -o remount,bind,noexec {launch.cache} && '
    ))
    if launch.shell[0] == 'busybox':  # Its `test -x` looks at the mode bits only when root asks.
        assert b'Permission denied' in done.stderr
    else:
        assert missing(done)


def test_concurrent_first_uses_leave_one_whole_executable(launch):
    command = ['sh', LAUNCH, 'store', '/var/tmp', 'module', f'{MACHINE}={DIGEST}']
    environment = {'HOME': str(launch.home), 'PATH': os.environ['PATH']}
    stores = [
        subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) for _ in range(8)
    ]
    for store in stores:
        store.communicate(PROGRAM, timeout=20)
    assert [path.name for path in launch.cache.iterdir()] == [f'module-{DIGEST}']
    assert launch('run').stdout.startswith(b'ran ')
