use crate::{
    Error, IdMaps, Report, capability,
    entry::Entry,
    fixed::Liftable,
    ids::{Sides, Translator},
    known::{self, Known},
    pinned::Pinned,
    root::Root,
    xattr::{self, CAPABILITY},
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What a change of owner takes from a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fragile {
    #[serde(flatten)]
    pub(crate) known: Known,
    mode: u16,
    /// The value of `security.capability` as it was.
    capability: Option<Vec<u8>>,
}

impl Fragile {
    pub(crate) fn new(entry: &Entry<'_>, file: &Pinned, capability: Option<&[u8]>) -> Self {
        Self {
            known: Known::new(entry, file),
            mode: file.stat.stx_mode,
            capability: capability.map(<[u8]>::to_owned),
        }
    }

    /// Whether its capability names a root that `sides` make the host's: from what is on the disk after that,
    /// nobody can tell that it ever did.
    fn loses_root(&self, sides: &Sides) -> bool {
        let Some(old) = &self.capability else {
            return false;
        };
        let new = capability::translate(old, &mut Translator::new(sides));
        capability::has_root(old) && new.is_some_and(|new| !capability::has_root(&new))
    }

    /// Gives the capability back as it was, root and all, unless it has been changed since.
    fn give_root_back(&self, file: &Pinned, liftable: &Liftable) -> Result<bool, Errno> {
        let Some(old) = &self.capability else {
            return Ok(false);
        };
        let now = file.get(CAPABILITY, &mut vec![0; xattr::MAX]);
        if now.as_ref() != Ok(&capability::of_the_host(old)) {
            return Ok(false);
        }
        liftable.lifted(file, || file.set(CAPABILITY, old))?;
        Ok(true)
    }

    /// Gives back the mode, and the capability as `sides` translate it, or as it was. Says whether either
    /// was gone.
    fn give_back(
        &self,
        file: &Pinned,
        sides: Option<&Sides>,
        liftable: &Liftable,
    ) -> Result<bool, Errno> {
        let mut given = false;
        if let Some(old) = &self.capability {
            let new = match sides {
                None => old.clone(),
                Some(sides) => {
                    capability::translate(old, &mut Translator::new(sides)).ok_or(Errno::INVAL)?
                }
            };
            let now = file.get(CAPABILITY, &mut vec![0; xattr::MAX]);
            if now.as_ref() != Ok(&new) {
                liftable.lifted(file, || file.set(CAPABILITY, &new))?;
                given = true;
            }
        }
        if file.stat.stx_mode != self.mode {
            liftable.lifted(file, || file.chmod(self.mode))?;
            given = true;
        }
        Ok(given)
    }
}

/// Gives back what the journal's files lost, if they did. May be repeated.
pub(crate) fn give_back(
    fragile: &[Fragile],
    roots: &[Root],
    sides: Option<&Sides>,
    liftable: &Liftable,
    report: &mut Report,
) -> Result<(), Error> {
    let fragile = fragile.iter().map(|fragile| (&fragile.known, fragile));
    let doing = "give mode and capabilities back to";
    known::restore(fragile, roots, report, doing, |fragile, file| {
        fragile.give_back(file, sides, liftable)
    })
}

/// Those whose capabilities come back from a shift by `maps` without their roots.
pub(crate) fn without_root(fragile: Vec<Fragile>, maps: &IdMaps) -> Vec<Fragile> {
    let sides = Sides::new(maps);
    let lose = |fragile: &Fragile| fragile.loses_root(&sides);
    fragile.into_iter().filter(lose).collect()
}

/// Gives capabilities their roots back, where they have come back without. May be repeated.
pub(crate) fn give_roots_back(
    rootless: &[Fragile],
    roots: &[Root],
    liftable: &Liftable,
    report: &mut Report,
) -> Result<(), Error> {
    let rootless = rootless.iter().map(|fragile| (&fragile.known, fragile));
    let doing = "give capabilities back to";
    known::restore(rootless, roots, report, doing, |fragile, file| {
        fragile.give_root_back(file, liftable)
    })
}
