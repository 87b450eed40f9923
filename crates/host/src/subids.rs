//! Which subordinate ids an account gets. Pure.

use crate::{accounts::Kind, login_defs::SubidRules};
use anyhow::{Context, Result, bail, ensure};
use idmap::{
    SubRange,
    subid::{self, Subids},
};

/// What the choice goes by.
#[derive(Debug, Clone, Copy)]
pub struct Files<'f> {
    /// The account's name, whether it exists or not.
    pub name: &'f str,
    /// Its uid, where it is known.
    pub uid: Option<u32>,
    /// Where the host wants new ranges.
    pub rules: &'f SubidRules,
    /// /etc/subuid
    pub subuid: &'f Subids,
    /// /etc/subgid
    pub subgid: &'f Subids,
    /// Every uid and gid that belongs to an account or a group.
    pub taken: &'f [u32],
}

/// The ranges to use, in file order, and what has to be added to the files for that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Of /etc/subuid.
    pub uids: Vec<SubRange>,
    /// Of /etc/subgid.
    pub gids: Vec<SubRange>,
    /// What neither file has yet.
    pub add: Vec<(Kind, SubRange)>,
}

impl Files<'_> {
    /// What the account has (`own`, from /etc/subuid and /etc/subgid), or `count` new ids for it: from `start` on, or
    /// the lowest that are free.
    ///
    /// # Errors
    /// With the ids, who has them, and the option or the file that would change it.
    pub fn choose(
        &self,
        own: [Vec<SubRange>; 2],
        start: Option<i64>,
        count: i64,
    ) -> Result<Choice> {
        let missing = [(Kind::Uid, &own[0]), (Kind::Gid, &own[1])]
            .map(|(kind, own)| own.is_empty().then_some(kind));
        let [uids, gids] = match (own[0].is_empty(), own[1].is_empty()) {
            (false, false) => own,
            (true, true) => {
                let range = vec![self.fresh(start, count)?];
                [range.clone(), range]
            }
            // Only one of the files names the account: the other gets the same.
            (true, false) => [own[1].clone(), own[1].clone()],
            (false, true) => [own[0].clone(), own[0].clone()],
        };
        self.check_start(start, &uids)?;
        self.check_free(&[&uids[..], &gids[..]].concat())?;
        let add = missing.into_iter().flatten().flat_map(|kind| {
            let ranges = match kind {
                Kind::Uid => &uids,
                Kind::Gid => &gids,
            };
            ranges.iter().map(move |range| (kind, *range))
        });
        let add = add.collect();
        Ok(Choice { uids, gids, add })
    }

    /// Whether the files, read again after `added` was put in, give the account just that where it had nothing (`own`
    /// is what it has now), and nobody else any of it: another program may have been quicker.
    ///
    /// # Errors
    /// With the file that has something else.
    pub fn check_added(&self, own: &[Vec<SubRange>; 2], added: &[(Kind, SubRange)]) -> Result<()> {
        let ranges: Vec<_> = added.iter().map(|(_, range)| *range).collect();
        self.check_free(&ranges)?;
        for (kind, found) in [Kind::Uid, Kind::Gid].into_iter().zip(own) {
            let added = added.iter().filter(|(of, _)| *of == kind);
            let added: Vec<_> = added.map(|(_, range)| *range).collect();
            ensure!(
                added.is_empty() || added == *found,
                "{} was changed meanwhile: {} has other ranges than were added; run it again",
                kind.path(),
                self.name
            );
        }
        Ok(())
    }

    fn check_start(&self, start: Option<i64>, ranges: &[SubRange]) -> Result<()> {
        let (Some(wanted), Some(first)) = (start, ranges.first()) else {
            return Ok(());
        };
        ensure!(
            i64::from(first.start) == wanted,
            "{} already has subordinate ids from {}, not from subid_start={wanted}; leave subid_start out to use \
             them, or change /etc/subuid and /etc/subgid",
            self.name,
            first.start
        );
        Ok(())
    }

    fn fresh(&self, start: Option<i64>, wanted: i64) -> Result<SubRange> {
        let Some(count) = u32::try_from(wanted).ok().filter(|count| *count > 0) else {
            bail!("subid_count must be between 1 and 4294967295, not {wanted}")
        };
        let Some(start) = start else {
            return self.lowest_free(count);
        };
        // The last id of all, 4294967295, stands for "no id" (chown(2)).
        let end = start
            .checked_add(i64::from(count))
            .filter(|end| start > 0 && *end <= i64::from(u32::MAX));
        let (Some(_), Ok(start)) = (end, u32::try_from(start)) else {
            bail!(
                "subid_start={start} with subid_count={count} is not a range of ids: they lie between 1 and 4294967294"
            )
        };
        let range = SubRange { start, count };
        if let Some(id) = self.taken.iter().find(|id| range.contains(**id)) {
            bail!(
                "the range {start}:{count} holds the id {id}, which belongs to an account or group of this host"
            );
        }
        Ok(range)
    }

    fn lowest_free(&self, count: u32) -> Result<SubRange> {
        let bounds = &self.rules.bounds;
        let found = subid::allocate(self.subuid, self.subgid, self.taken, bounds, count);
        found.with_context(|| {
            let entries = self.subuid.entries.iter().chain(&self.subgid.entries);
            let within = entries.filter(|entry| {
                entry.range.start <= *bounds.end()
                    && u64::from(entry.range.start) + u64::from(entry.range.count) > u64::from(*bounds.start())
            });
            let mut holders: Vec<_> = within
                .map(|entry| format!("{}:{}", entry.owner, entry.range))
                .collect();
            holders.sort();
            holders.dedup();
            format!(
                "between {} and {} (SUB_UID_MIN and so on in /etc/login.defs) no {count} ids are free that neither \
                 /etc/subuid nor /etc/subgid gives to anybody: they give {}; raise SUB_UID_MAX and SUB_GID_MAX there, \
                 or choose a range with subid_start and subid_count",
                bounds.start(),
                bounds.end(),
                if holders.is_empty() { "none".to_owned() } else { holders.join(", ") }
            )
        })
    }

    fn check_free(&self, ranges: &[SubRange]) -> Result<()> {
        let uid = self.uid.map(|uid| uid.to_string());
        let own: Vec<_> = [Some(self.name), uid.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        for (file, subids) in [(Kind::Uid, self.subuid), (Kind::Gid, self.subgid)] {
            for range in ranges {
                if let Err(taken) = subids.check_free(*range, &own) {
                    bail!(
                        "in {} the {taken}: containers could touch that account's files; leave subid_start \
                         out to get a free range, or give {} another in both files",
                        file.path(),
                        self.name
                    );
                }
            }
        }
        Ok(())
    }
}
