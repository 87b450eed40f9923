"""The way that guides know, `chown -R new:new`, beside ours."""

from services import SHARED


def test_a_flat_chown_keeps_the_database_from_starting(fresh):
    machine = fresh
    unit = "shopdb" if machine.image == "debian13" else "container-shopdb"
    machine.as_(SHARED, "systemctl", "--user", "stop", unit)
    machine.sh("as container-db podman save registry.example.test/shop/db:1 | as shopdb podman load")
    machine.sh("chown -R shopdb:shopdb /var/lib/shopdb")

    done = machine.as_("shopdb", "podman", "run", "--rm", "-v", "/var/lib/shopdb:/var/lib/mysql",
                       "registry.example.test/shop/db:1", check=False)

    assert done.returncode != 0
    assert """Can't create/write to file './ddl_recovery.log' (Errcode: 13 "Permission denied")""" in done.stderr
    assert "[ERROR] Aborting" in done.stderr
