"""What a test does wherever it can run commands."""

from . import host


class Place:
    """Where commands are run; how, the subclass says in `run`."""

    def run(self, *argv, **kwargs):
        """A command as root, by argument vector; keywords as those of `testbed.base.run`."""
        raise NotImplementedError

    def said(self, *argv, **kwargs):
        """Standard output of a command that must succeed, stripped."""
        return self.run(*argv, **kwargs).stdout.strip()

    def sh(self, script, *argv, **kwargs):
        """Standard output of a shell script that must succeed, stripped; `argv` are its $1 and so on."""
        return self.said("sh", "-eu", "-c", script, "sh", *argv, **kwargs)

    def python(self, file, *argv, **kwargs):
        """Run a Python file of this machine there; it may use the standard library only."""
        with open(file, encoding="utf-8") as source:
            return self.run("python3", "-", *argv, stdin=source, **kwargs)

    def put(self, local, remote):
        """Copy a file of this machine there, executable."""
        with open(local, "rb") as source:
            self.run("install", "-D", "-m", "0755", "/dev/stdin", remote, stdin=source)

    def read(self, path):
        """The bytes of a file as text, or None where there is no such file."""
        done = self.run("cat", path, check=False)
        return done.stdout if done.returncode == 0 else None

    def write(self, path, text, mode="0644"):
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, input=text)

    def exists(self, path):
        return self.run("test", "-e", path, check=False).returncode == 0


class Host(Place):
    """The test host `name`."""

    def __init__(self, name):
        self.name = name

    def run(self, *argv, **kwargs):
        # Names of files need not be UTF-8.
        return host.exec_(self.name, *argv, errors="surrogateescape", **kwargs)
