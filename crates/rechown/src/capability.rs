//! `security.capability`: `struct vfs_ns_cap_data` of `linux/capability.h`.

use crate::ids::{IdKind, Translator};

const REVISION_3: u8 = 3;

/// The capability with the root id of revision 3 translated; revisions 1 and 2 hold no id. `None` when it is
/// not of the known form.
pub(crate) fn translate(capability: &[u8], ids: &mut Translator<'_>) -> Option<Vec<u8>> {
    let mut capability = capability.to_owned();
    if *capability.get(3)? != REVISION_3 {
        return Some(capability);
    }
    let id: &mut [u8; 4] = capability.get_mut(20..)?.try_into().ok()?;
    if let Some(new) = ids.translate(IdKind::Uid, u32::from_le_bytes(*id)) {
        *id = new.to_le_bytes();
    }
    Some(capability)
}
