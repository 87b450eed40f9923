use crate::{
    Error, Report, capability,
    ids::{Sides, Translator},
    known::{self, Known},
    pinned::Pinned,
    roots::Root,
    walk::Entry,
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

    /// Gives back the mode, and the capability as `sides` translate it, or as it was. Says whether either
    /// was gone.
    fn give_back(&self, file: &Pinned, sides: Option<&Sides>) -> Result<bool, Errno> {
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
                file.set(CAPABILITY, &new)?;
                given = true;
            }
        }
        if file.stat.stx_mode != self.mode {
            file.chmod(self.mode)?;
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
    report: &mut Report,
) -> Result<(), Error> {
    let fragile = fragile.iter().map(|fragile| (&fragile.known, fragile));
    let doing = "give mode and capabilities back to";
    known::restore(fragile, roots, report, doing, |fragile, file| {
        fragile.give_back(file, sides)
    })
}
