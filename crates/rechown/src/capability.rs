//! `security.capability`: `struct vfs_ns_cap_data` of `linux/capability.h`.

use crate::ids::{IdKind, Translator};

const REVISION_2: u8 = 2;
const REVISION_3: u8 = 3;

/// How much of revision 3 is revision 2: all but the root id.
const SHARED: usize = 20;

/// The capability with the root id of revision 3 translated; revisions 1 and 2 hold no id. `None` when it is
/// not of the known form.
///
/// One whose root is the host's is of revision 2: as such the kernel hands it out, however it was written
/// (`cap_inode_getsecurity` of security/commoncap.c).
pub(crate) fn translate(capability: &[u8], ids: &mut Translator<'_>) -> Option<Vec<u8>> {
    let mut capability = capability.to_owned();
    if *capability.get(3)? != REVISION_3 {
        return Some(capability);
    }
    let id: &mut [u8; 4] = capability.get_mut(SHARED..)?.try_into().ok()?;
    if let Some(new) = ids.translate(IdKind::Uid, u32::from_le_bytes(*id)) {
        *id = new.to_le_bytes();
    }
    Some(if *id == [0; 4] {
        of_the_host(&capability)
    } else {
        capability
    })
}

/// The same capability for the host's root, revision 2.
pub(crate) fn of_the_host(capability: &[u8]) -> Vec<u8> {
    let mut capability = capability.get(..SHARED).unwrap_or(capability).to_owned();
    if let Some(revision) = capability.get_mut(3) {
        *revision = REVISION_2;
    }
    capability
}

/// Whether it names a root that is not the host's.
pub(crate) fn has_root(capability: &[u8]) -> bool {
    capability.get(3) == Some(&REVISION_3)
}
