use crate::{
    Change, Counts, Error, Owner, acl, capability,
    entry::Entry,
    fixed::{Fixed, Liftable, is_fixed},
    fragile::Fragile,
    ids::{IdKind, Sides, Translator},
    pinned::{Pinned, chown},
    stray::Stray,
    xattr::{self, CAPABILITY},
};
use rustix::{fs::FileType, io::Errno};
use std::ffi::CStr;

/// The bits a change of owner takes from anything but a directory.
const SET_ID: u16 = 0o6000;

/// What one entry holds and what is to become of it.
pub(crate) struct Verdict<'a> {
    uid: Option<u32>,
    gid: Option<u32>,
    /// Those that hold ids or that a change of owner drops.
    attributes: Vec<Attribute>,
    /// Held as soon as there are attributes.
    file: Option<Pinned>,
    pub(crate) ids: Translator<'a>,
}

struct Attribute {
    name: &'static CStr,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Looks at one entry: its owners come with it, its attributes cost one more system call.
pub(crate) fn examine<'a>(
    entry: &Entry<'_>,
    sides: &'a Sides,
    buffer: &mut [u8],
) -> Result<Verdict<'a>, Error> {
    let mut ids = Translator::new(sides);
    let mut verdict = Verdict {
        uid: ids.translate(IdKind::Uid, entry.stat.stx_uid),
        gid: ids.translate(IdKind::Gid, entry.stat.stx_gid),
        attributes: Vec::new(),
        file: None,
        ids,
    };
    if entry.kind() == FileType::Symlink {
        return Ok(verdict);
    }
    let fail = |doing| Error::io(doing, || entry.path());
    let has =
        xattr::with_ids(entry.at, entry.name, buffer).map_err(fail("list the attributes of"))?;
    for (name, _) in xattr::WITH_IDS.into_iter().zip(has).filter(|(_, has)| *has) {
        let file = verdict.pin(entry)?;
        let old = match file.get(name, buffer) {
            // They were listed by name, and another file may have had that for a moment.
            Err(Errno::NODATA) => {
                verdict.file = Some(file);
                continue;
            }
            old => old.map_err(fail("read the attributes of"))?,
        };
        let new = match name == CAPABILITY {
            true => capability::translate(&old, &mut verdict.ids),
            false => acl::translate(&old, &mut verdict.ids),
        };
        let new = new
            .ok_or(Errno::INVAL)
            .map_err(fail("understand the attributes of"))?;
        verdict.attributes.push(Attribute { name, old, new });
        verdict.file = Some(file);
    }
    Ok(verdict)
}

impl Verdict<'_> {
    /// Whether anything is to change.
    pub(crate) fn changes(&self) -> bool {
        self.ids.source
    }

    fn chowns(&self) -> bool {
        self.uid.is_some() || self.gid.is_some()
    }

    fn capability(&self) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == CAPABILITY)
    }

    fn loses_set_id(&self, entry: &Entry<'_>) -> bool {
        self.chowns() && !entry.is_directory() && entry.stat.stx_mode & SET_ID != 0
    }

    /// What the change of owner takes from the file, if it does.
    pub(crate) fn fragile(&mut self, entry: &Entry<'_>) -> Result<Option<Fragile>, Error> {
        // A change of its root alone can lose it, too: that of the host is as none.
        let changes = |capability: &Attribute| self.chowns() || capability.old != capability.new;
        let loses_capability = self.capability().is_some_and(changes);
        if !loses_capability && !self.loses_set_id(entry) {
            return Ok(None);
        }
        let file = self.pin(entry)?;
        let capability = self.capability().map(|attribute| &*attribute.old);
        let fragile = Fragile::new(entry, &file, capability);
        self.file = Some(file);
        Ok(Some(fragile))
    }

    /// The entry as it is.
    pub(crate) fn stray(&mut self, entry: &Entry<'_>) -> Result<Stray, Error> {
        let file = self.pin(entry)?;
        let attributes = self.attributes.iter();
        let attributes =
            attributes.map(|attribute| (attribute.name.to_owned(), attribute.old.clone()));
        let stray = Stray::new(entry, &file, attributes.collect());
        self.file = Some(file);
        Ok(stray)
    }

    /// The flags of the entry, which has some.
    pub(crate) fn fixed(&mut self, entry: &Entry<'_>) -> Result<Fixed, Error> {
        let file = self.pin(entry)?;
        let fixed = Fixed::new(entry, &file);
        self.file = Some(file);
        Ok(fixed)
    }

    fn pin(&mut self, entry: &Entry<'_>) -> Result<Pinned, Error> {
        match self.file.take() {
            Some(file) => Ok(file),
            None => Pinned::entry(entry),
        }
    }

    /// The change of owner.
    pub(crate) fn change(&self, entry: &Entry<'_>) -> Change {
        let (uid, gid) = (entry.stat.stx_uid, entry.stat.stx_gid);
        Change {
            path: entry.path(),
            from: Owner { uid, gid },
            to: Owner {
                uid: self.uid.unwrap_or(uid),
                gid: self.gid.unwrap_or(gid),
            },
        }
    }

    /// Counts the change.
    pub(crate) fn count(&self, entry: &Entry<'_>, counts: &mut Counts) {
        match entry.kind() {
            FileType::Directory => counts.directories += 1,
            FileType::RegularFile => counts.files += 1,
            FileType::Symlink => counts.symlinks += 1,
            _ => counts.specials += 1,
        }
        for attribute in &self.attributes {
            if attribute.name == CAPABILITY {
                counts.capabilities += u64::from(self.chowns() || attribute.new != attribute.old);
            } else {
                counts.acls += u64::from(attribute.new != attribute.old);
            }
        }
        counts.set_ids += u64::from(self.loses_set_id(entry));
        counts.immutable += u64::from(is_fixed(entry.stat));
    }

    /// Makes the change, with the flags in its way lifted meanwhile.
    pub(crate) fn apply(&mut self, entry: &Entry<'_>, liftable: &Liftable) -> Result<(), Error> {
        let fail = |doing| Error::io(doing, || entry.path());
        let plain = self.attributes.is_empty() && !self.loses_set_id(entry);
        if plain && !is_fixed(entry.stat) {
            let held = entry.held.ok_or(Errno::BADF);
            return held
                .and_then(|held| chown(held, self.uid, self.gid))
                .map_err(fail("change the owner of"));
        }
        let file = self.pin(entry)?;
        let lifted = liftable.lift(&file).map_err(fail("lift the flags of"))?;
        let changed = self.change_pinned(entry, &file);
        lifted.put_back().map_err(fail("give the flags back to"))?;
        changed
    }

    /// What the kernel takes away at the change of owner comes back right after it; the mode last, since
    /// setting an ACL may touch it.
    fn change_pinned(&self, entry: &Entry<'_>, file: &Pinned) -> Result<(), Error> {
        let fail = |doing| Error::io(doing, || entry.path());
        if self.chowns() {
            file.chown(self.uid, self.gid)
                .map_err(fail("change the owner of"))?;
        }
        for Attribute { name, old, new } in &self.attributes {
            if old != new || (*name == CAPABILITY && self.chowns()) {
                file.set(name, new).map_err(fail("set the attributes of"))?;
            }
        }
        if self.loses_set_id(entry) {
            file.chmod(entry.stat.stx_mode)
                .map_err(fail("set the mode of"))?;
        }
        Ok(())
    }
}
