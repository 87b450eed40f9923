"""The independent reader must see what a shift of owners changes; run as root."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from testbed import manifest  # noqa: E402
from testbed.base import HERE  # noqa: E402


class ManifestTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.tree = Path(directory.name) / "tree"
        subprocess.run(["sh", HERE / "owners.sh", self.tree], check=True)

    def read(self):
        return {entry["path"]: entry for entry in manifest.walk(self.tree)}

    def test_owners_modes_and_links_are_read(self):
        tree = self.read()
        self.assertEqual((tree["both"]["uid"], tree["both"]["gid"], tree["both"]["mode"]), (999, 5, "6751"))
        self.assertEqual(tree["hardlink-1"]["hardlink_of"], "dir-999/hardlink-2")
        self.assertEqual(tree["dir-33/dangling"]["target"], "../nowhere/33")
        self.assertEqual(tree["dir-5/dangling"]["xattrs"], {"trusted.note": "6c696e6b"})
        self.assertEqual(tree["xattr"]["xattrs"], {"user.note": "6b657074", "trusted.note": "6b657074"})

    def test_acls_and_capabilities_are_decoded_as_the_tools_print_them(self):
        tree = self.read()
        named = {entry[2] for entry in tree["acl"]["acls"]["system.posix_acl_access"] if entry[0] == "user"}
        self.assertEqual(named, {5, 999})
        self.assertEqual(tree["capable"]["capability"],
                         {"effective": True, "permitted": 1 << 10 | 1 << 13, "inheritable": 0, "rootid": None})

    def test_capability_of_another_root_has_its_id(self):
        subprocess.run(["setcap", "-n", "165536", "cap_net_raw+ep", self.tree / "capable"], check=True)
        self.assertEqual(self.read()["capable"]["capability"]["rootid"], 165536)

    def test_flags_are_read_as_lsattr_prints_them(self):
        subprocess.run(["chattr", "+ad", self.tree / "acl"], check=True)
        self.addCleanup(subprocess.run, ["chattr", "-a", self.tree / "acl"], check=True)
        self.assertEqual(self.read()["acl"]["flags"], "ad")

    def test_what_lies_elsewhere_between_holes_is_another_content(self):
        digests = set()
        for place in (0, 1 << 20, (1 << 40) - 4):
            with open(self.tree / "sparse", "wb") as file:
                file.seek(place)
                file.write(b"data")
                file.truncate(1 << 40)
            digests.add(self.read()["sparse"]["sha256"])
        self.assertEqual(len(digests), 3)

    def test_no_path_is_too_long(self):
        at = os.open(self.tree, os.O_RDONLY)
        for _ in range(30):
            os.mkdir("n" * 200, dir_fd=at)
            at = manifest.step(at, "n" * 200)
        os.close(at)
        self.assertIn("/".join(["n" * 200] * 30), self.read())

    def test_translation_by_extents_tells_users_from_groups(self):
        users, groups = [(0, 1000, 6), (6, 5000, 65530)], [(0, 9000, 65536)]
        shifted = manifest.translate_by(self.read(), users, groups)
        self.assertEqual([shifted["both"][kind] for kind in ("uid", "gid")], [5993, 9005])

    def test_translation_moves_every_id(self):
        subprocess.run(["setcap", "-n", "999", "cap_net_raw+ep", self.tree / "capable"], check=True)
        before = self.read()
        shifted = manifest.translate(before, 165536, 65536)
        self.assertEqual(shifted["dir-65534"]["uid"], 165536 + 65534)
        self.assertEqual(shifted["acl"]["acls"]["system.posix_acl_access"][1], ["user", 6, 165541])
        self.assertEqual(shifted["capable"]["capability"]["rootid"], 165536 + 999)
        self.assertEqual(shifted["acl"]["sha256"], before["acl"]["sha256"])

    def test_translation_leaves_a_capability_without_a_root_alone(self):
        before = self.read()
        self.assertEqual(manifest.translate(before, 165536, 65536)["capable"]["capability"], before["capable"]["capability"])

    def test_translation_refuses_an_id_outside_the_map(self):
        with self.assertRaisesRegex(ValueError, "id 65534 is outside 0–999"):
            manifest.translate(self.read(), 165536, 1000)

    def test_every_difference_is_named(self):
        before = self.read()
        os.chmod(self.tree / "setuid", 0o755)
        os.lchown(self.tree / "dir-5/dangling", 6, 5)
        os.remove(self.tree / "fifo")
        (self.tree / "acl").write_text("acl!")
        lines = "\n".join(manifest.differences(before, self.read()))
        for part in ("'setuid': mode is 0755, expected 4755", "'dir-5/dangling': uid is 6, expected 5",
                     "'fifo': is gone", "'acl': sha256"):
            self.assertIn(part, lines)
        self.assertEqual(manifest.differences(before, before), [])

    def test_an_unlinked_and_copied_hard_link_is_a_difference(self):
        before = self.read()
        link = self.tree / "hardlink-1"
        subprocess.run(["cp", "-a", link, f"{link}.new"], check=True)
        os.rename(f"{link}.new", link)
        self.assertIn("'hardlink-1': nlink is 1, expected 2", manifest.differences(before, self.read()))


if __name__ == "__main__":
    unittest.main()
