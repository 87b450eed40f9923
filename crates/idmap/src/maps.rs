use crate::{Error, Extent, IdMap};
use serde::{Deserialize, Serialize};

/// A map for user ids and one for group ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdMaps {
    /// For user ids.
    pub uid: IdMap,
    /// For group ids.
    pub gid: IdMap,
}

impl IdMaps {
    /// One map for both kinds of id.
    #[must_use]
    pub fn both(map: IdMap) -> Self {
        Self {
            uid: map.clone(),
            gid: map,
        }
    }

    /// Every id onto itself.
    #[must_use]
    pub fn identity() -> Self {
        Self::both(IdMap::identity())
    }

    /// Reads extents written `[u:|g:|b:]container:host:size`: for user ids, group ids or both, and both
    /// where no letter says which. A kind without an extent stays as it is.
    ///
    /// # Errors
    /// [`Error::Syntax`], else those of [`IdMap::new`].
    pub fn parse<S: AsRef<str>>(extents: &[S]) -> Result<Self, Error> {
        let (mut uid, mut gid) = (Vec::new(), Vec::new());
        for text in extents.iter().map(AsRef::as_ref) {
            let (for_uid, for_gid, rest) = match text.split_once(':') {
                Some(("u", rest)) => (true, false, rest),
                Some(("g", rest)) => (false, true, rest),
                Some(("b", rest)) => (true, true, rest),
                _ => (true, true, text),
            };
            let extent: Extent = rest.parse().map_err(|_| Error::Syntax(text.to_owned()))?;
            uid.extend(for_uid.then_some(extent));
            gid.extend(for_gid.then_some(extent));
        }
        let map = |extents: Vec<_>| match extents.is_empty() {
            true => Ok(IdMap::identity()),
            false => IdMap::new(extents),
        };
        Ok(Self {
            uid: map(uid)?,
            gid: map(gid)?,
        })
    }

    /// The way back.
    #[must_use]
    pub fn invert(&self) -> Self {
        Self {
            uid: self.uid.invert(),
            gid: self.gid.invert(),
        }
    }

    /// `self` after `inner`, see [`IdMap::compose`].
    #[must_use]
    pub fn compose(&self, inner: &Self) -> Self {
        Self {
            uid: self.uid.compose(&inner.uid),
            gid: self.gid.compose(&inner.gid),
        }
    }

    /// Whether both are, see [`IdMap::is_disjoint`].
    #[must_use]
    pub fn is_disjoint(&self) -> bool {
        self.uid.is_disjoint() && self.gid.is_disjoint()
    }

    /// Disjoint maps that do what these do, one after the other: these themselves where they are, else two by
    /// way of ids that are not in `taken`, see [`IdMap::detour`]. `None` where there is no such way.
    #[must_use]
    pub fn passes(&self, taken: &[u32]) -> Option<Vec<Self>> {
        if self.is_disjoint() {
            return Some(vec![self.clone()]);
        }
        let split = |map: &IdMap| match map.is_disjoint() {
            true => Some([map.clone(), IdMap::identity()]),
            false => map.detour(taken),
        };
        let ([uid, uid_onward], [gid, gid_onward]) = (split(&self.uid)?, split(&self.gid)?);
        Some(vec![
            Self { uid, gid },
            Self {
                uid: uid_onward,
                gid: gid_onward,
            },
        ])
    }
}
