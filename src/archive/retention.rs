//! Which entries may go: a function of what is there, the rules and the time, and nothing else.
//!
//! The rules are those of `restic forget`, applied to the entries of each label by themselves. `last` keeps the newest N.
//! `daily` goes back from the newest, and keeps the newest entry of each day that has one, for N such days; `weekly` (weeks
//! begin on Monday) and `monthly` do the same. An entry that any rule keeps is kept, and counts for every rule that wants
//! it. (`borg prune` lets an entry count for one rule only, and so keeps more.) Days without an entry do not count: a
//! host that was off for a month loses nothing.
//!
//! Days begin at midnight in the time zone that is handed in, the host's own: a backup "of Tuesday, two o'clock" is
//! Tuesday's to those who ask for it, and two that are made at the same hour of two days never share one, which in UTC
//! they could where that hour is midnight there.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::name::EntryName;
use super::shelf::Item;

/// How many of each to keep; `None` where there is no such rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest.
    pub last: Option<u32>,
    /// One a day.
    pub daily: Option<u32>,
    /// One a week.
    pub weekly: Option<u32>,
    /// One a month.
    pub monthly: Option<u32>,
}

impl Policy {
    /// Nothing is said, so everything is kept.
    pub const fn is_empty(&self) -> bool {
        matches!(self, Self { last: None, daily: None, weekly: None, monthly: None })
    }
}

/// What becomes of an entry, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, for these reasons.
    Keep(Vec<Reason>),
    /// No rule wants it.
    Remove,
}

/// Why an entry stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There are no rules.
    NoRules,
    /// It is among the newest.
    Last,
    /// It is the newest of a day.
    Daily,
    /// It is the newest of a week.
    Weekly,
    /// It is the newest of a month.
    Monthly,
    /// It is not complete: somebody should look at it, and it is no backup to count on.
    NotComplete,
    /// Somebody has renamed it.
    Renamed,
    /// It is of a time to come: some clock was wrong. It does not count.
    Future,
}

/// Says of each item what becomes of it, in the order of the items.
pub fn judge(items: &[Item], policy: Policy, now: Timestamp, zone: &TimeZone) -> Vec<Verdict> {
    let mut reasons: Vec<Vec<Reason>> = items.iter().map(|item| exempt(item, policy, now)).collect();
    let mut counted: Vec<_> = items
        .iter()
        .enumerate()
        .filter(|(index, _)| reasons.get(*index).is_some_and(Vec::is_empty))
        .filter_map(|(index, item)| item.manifest().map(|manifest| (manifest, &item.name, index)))
        .collect();
    // The newest of each label first; of two in one moment, the one with the later name.
    let age = |(manifest, name, _): &(&super::manifest::Manifest, &EntryName, usize)| {
        (manifest.label.clone(), std::cmp::Reverse((manifest.started, (*name).clone())))
    };
    counted.sort_by_cached_key(age);
    for of_label in counted.chunk_by(|(one, ..), (other, ..)| one.label == other.label) {
        let mut rules = Rule::of(policy);
        for (manifest, _, index) in of_label {
            let day = manifest.started.to_zoned(zone.clone()).date();
            let wanted = rules.iter_mut().filter_map(|rule| rule.takes(day));
            if let Some(reasons) = reasons.get_mut(*index) {
                reasons.extend(wanted);
            }
        }
    }
    reasons
        .into_iter()
        .map(|reasons| if reasons.is_empty() { Verdict::Remove } else { Verdict::Keep(reasons) })
        .collect()
}

/// Why an item is none of the rules' business.
fn exempt(item: &Item, policy: Policy, now: Timestamp) -> Vec<Reason> {
    let reason = match item.manifest() {
        _ if policy.is_empty() => Some(Reason::NoRules),
        None => Some(Reason::NotComplete),
        Some(_) if !item.has_own_name() => Some(Reason::Renamed),
        Some(manifest) if manifest.started > now => Some(Reason::Future),
        Some(_) => None,
    };
    reason.into_iter().collect()
}

/// A rule on its way back in time.
struct Rule {
    reason: Reason,
    left: u32,
    /// The first day of the period that the last kept entry is in.
    period: Option<Date>,
}

impl Rule {
    fn of(policy: Policy) -> Vec<Self> {
        let rules = [
            (Reason::Last, policy.last),
            (Reason::Daily, policy.daily),
            (Reason::Weekly, policy.weekly),
            (Reason::Monthly, policy.monthly),
        ];
        let rule = |(reason, left): (Reason, Option<u32>)| Some(Self { reason, left: left?, period: None });
        rules.into_iter().filter_map(rule).collect()
    }

    /// Whether the rule keeps the next older entry, which is of this day.
    fn takes(&mut self, day: Date) -> Option<Reason> {
        let period = match self.reason {
            Reason::Weekly => week(day),
            Reason::Monthly => Some(day.first_of_month()),
            Reason::Daily => Some(day),
            _ => None,
        };
        if self.left == 0 || (period.is_some() && period == self.period) {
            return None;
        }
        self.left -= 1;
        self.period = period;
        Some(self.reason)
    }
}

/// The Monday of a day's week, where the calendar reaches so far.
fn week(day: Date) -> Option<Date> {
    let days = i64::from(day.weekday().to_monday_zero_offset());
    day.checked_sub(jiff::Span::new().days(days)).ok().or(Some(Date::MIN))
}
