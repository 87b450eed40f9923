//! The extended attribute form of POSIX ACLs: `linux/posix_acl_xattr.h`.

use crate::ids::{IdKind, Translator};

const VERSION: [u8; 4] = 2_u32.to_le_bytes();
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;

/// The list with the ids of its named users and groups translated, `None` when it is not of the known form:
/// a version, then entries of a tag (16 bits), permissions (16) and an id (32), little-endian.
pub(crate) fn translate(list: &[u8], ids: &mut Translator<'_>) -> Option<Vec<u8>> {
    let mut list = list.to_owned();
    let (version, entries) = list.split_first_chunk_mut::<4>()?;
    let (entries, rest) = entries.as_chunks_mut::<8>();
    let known = *version == VERSION && rest.is_empty();
    for [tag0, tag1, _, _, id @ ..] in entries {
        let kind = match u16::from_le_bytes([*tag0, *tag1]) {
            USER => IdKind::Uid,
            GROUP => IdKind::Gid,
            _ => continue,
        };
        if let Some(new) = ids.translate(kind, u32::from_le_bytes(*id)) {
            *id = new.to_le_bytes();
        }
    }
    known.then_some(list)
}
