//! Which entries may go: a function of what is there, the rules and the time, and nothing else.
//!
//! The rules are those of `restic forget`, applied to the entries of each label and source by themselves. `last` keeps the
//! newest N. `daily` goes back from the newest, and keeps the newest entry of each day that has one, for N such days; `weekly`
//! (weeks begin on Monday) and `monthly` do the same. Days without an entry do not count. `within` keeps every entry that is
//! less than that much older than the newest of its label and source: a misused sender can push none of them out, and a host
//! that was off for a month loses nothing. An entry that any rule keeps is kept, and counts for every rule that wants it.
//! (`borg prune` lets an entry count for one rule only, and so keeps more.) The newest of a label and source always stays.
//!
//! Days begin at midnight in the time zone that is handed in, the host's own: a backup "of Tuesday, two o'clock" is
//! Tuesday's to those who ask for it, and two that are made at the same hour of two days never share one, which in UTC
//! they could where that hour is midnight there.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::manifest::Manifest;
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
    /// Every one that is less than this older than the newest.
    pub within: Option<Duration>,
}

impl Policy {
    /// Nothing is said, so everything is kept.
    pub const fn is_empty(&self) -> bool {
        matches!(self, Self { last: None, daily: None, weekly: None, monthly: None, within: None })
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
    /// It is not old enough to go.
    Within,
    /// It is the newest of its label and source, and no rule wants it.
    Newest,
    /// It is not complete: somebody should look at it, and it is no backup to count on.
    NotComplete,
    /// Somebody has renamed it.
    Renamed,
    /// It is of a time to come: some clock was wrong. It does not count.
    Future,
}

impl Reason {
    /// For tables and documents.
    pub const fn in_a_word(self) -> &'static str {
        match self {
            Self::NoRules => "no rules",
            Self::Last => "last",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Within => "within",
            Self::Newest => "newest",
            Self::NotComplete => "not complete",
            Self::Renamed => "renamed",
            Self::Future => "future",
        }
    }
}

/// Says of each item what becomes of it, in the order of the items.
pub fn judge(items: &[Item], policy: Policy, now: Timestamp, zone: &TimeZone) -> Vec<Verdict> {
    let mut reasons: Vec<Vec<Reason>> = items.iter().map(|item| exempt(item, policy, now)).collect();
    let mut counted: Vec<_> = items
        .iter()
        .enumerate()
        .filter(|(index, _)| reasons.get(*index).is_some_and(Vec::is_empty))
        .filter_map(|(index, item)| item.manifest().map(|manifest| (manifest, item, index)))
        .collect();
    // The newest of each label and source first; of two in one moment, the one with the later name.
    counted.sort_by(|(one, one_item, _), (other, other_item, _)| {
        (&one.label, &one_item.source, Reverse((one.started, &one_item.name))).cmp(&(
            &other.label,
            &other_item.source,
            Reverse((other.started, &other_item.name)),
        ))
    });
    let is_same = |one: &Counted<'_>, other: &Counted<'_>| {
        (&one.0.label, &one.1.source) == (&other.0.label, &other.1.source)
    };
    for of_source in counted.chunk_by(is_same) {
        let mut rules = Rule::of(policy);
        // Clocks of hosts differ by minutes, and an entry that is a little ahead brings no other closer to its end.
        let newest = of_source
            .iter()
            .map(|(manifest, _, _)| moment(manifest))
            .max()
            .map_or(now, |newest| newest.min(now));
        for (place, (manifest, _, index)) in of_source.iter().enumerate() {
            let Some(reasons) = reasons.get_mut(*index) else { continue };
            let day = manifest.started.to_zoned(zone.clone()).date();
            reasons.extend(rules.iter_mut().filter_map(|rule| rule.takes(day)));
            let age = newest.duration_since(moment(manifest));
            let is_young = |within| age < SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
            if policy.within.is_some_and(is_young) {
                reasons.push(Reason::Within);
            }
            if place == 0 && reasons.is_empty() {
                reasons.push(Reason::Newest);
            }
        }
    }
    reasons
        .into_iter()
        .map(|reasons| if reasons.is_empty() { Verdict::Remove } else { Verdict::Keep(reasons) })
        .collect()
}

/// The later one of an entry's two times, from which its age is counted.
fn moment(manifest: &Manifest) -> Timestamp {
    manifest.started.max(manifest.finished)
}

/// An entry that the rules are about, and where it is among all items.
type Counted<'a> = (&'a Manifest, &'a Item, usize);

/// Why an item is none of the rules' business.
fn exempt(item: &Item, policy: Policy, now: Timestamp) -> Vec<Reason> {
    let reason = match item.manifest() {
        _ if policy.is_empty() => Some(Reason::NoRules),
        None => Some(Reason::NotComplete),
        Some(_) if !item.has_own_name() => Some(Reason::Renamed),
        Some(_) if item.is_of_the_future(now) => Some(Reason::Future),
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::archive::manifest::Heading;
    use crate::archive::name::EntryName;
    use crate::archive::shelf::State;

    fn berlin() -> TimeZone {
        // As a rule in itself, so that no machine needs a table of zones.
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn item(label: &str, started: Timestamp) -> Item {
        item_from(None, label, started)
    }

    fn item_from(source: Option<&str>, label: &str, started: Timestamp) -> Item {
        let heading = Heading {
            label: label.to_owned(),
            session: String::new(),
            sender: String::new(),
            source: source.map(str::to_owned),
            receiver: String::new(),
            started,
        };
        let manifest = Manifest::new(heading, started, (0, String::new()), None, Vec::new());
        let name = EntryName::candidates(label, started).unwrap().next().unwrap();
        Item { name, state: State::Complete(Box::new(manifest)), source: source.map(str::to_owned) }
    }

    fn items(starts: &[&str]) -> Vec<Item> {
        starts.iter().map(|start| item("shop", start.parse().unwrap())).collect()
    }

    fn kept(items: &[Item], policy: Policy, now: &str) -> Vec<String> {
        let verdicts = judge(items, policy, now.parse().unwrap(), &berlin());
        let kept = items.iter().zip(verdicts).filter(|(_, verdict)| *verdict != Verdict::Remove);
        kept.filter_map(|(item, _)| item.manifest().map(|manifest| manifest.started.to_string())).collect()
    }

    const NOW: &str = "2026-06-01T00:00:00Z";

    #[test]
    fn each_rule_keeps_the_newest_of_each_of_its_last_periods_that_have_one() {
        let daily = Policy { daily: Some(2), ..Policy::default() };
        let three = items(&["2026-03-01T01:00:00Z", "2026-03-08T01:00:00Z", "2026-03-08T05:00:00Z"]);
        // Days without an entry do not count.
        assert_eq!(kept(&three, daily, NOW), ["2026-03-01T01:00:00Z", "2026-03-08T05:00:00Z"]);
        let weekly = Policy { weekly: Some(1), ..Policy::default() };
        // The 8th is a Sunday, the 9th the Monday after it.
        let two = items(&["2026-03-08T01:00:00Z", "2026-03-09T01:00:00Z", "2026-03-15T01:00:00Z"]);
        assert_eq!(kept(&two, weekly, NOW), ["2026-03-15T01:00:00Z"]);
        let weekly = Policy { weekly: Some(2), ..Policy::default() };
        assert_eq!(kept(&two, weekly, NOW), ["2026-03-08T01:00:00Z", "2026-03-15T01:00:00Z"]);
        let monthly = Policy { monthly: Some(12), last: Some(1), ..Policy::default() };
        let many = items(&["2026-01-31T01:00:00Z", "2026-02-01T01:00:00Z", "2026-02-28T01:00:00Z"]);
        assert_eq!(kept(&many, monthly, NOW), ["2026-01-31T01:00:00Z", "2026-02-28T01:00:00Z"]);
    }

    #[test]
    fn days_are_those_of_the_time_zone_also_when_clocks_are_changed() {
        let daily = Policy { daily: Some(9), ..Policy::default() };
        // Two o'clock in summer is midnight in UTC: a second early or late makes no other day of it.
        let nightly = items(&["2026-07-01T23:59:59Z", "2026-07-03T00:00:01Z", "2026-07-04T00:00:00Z"]);
        assert_eq!(kept(&nightly, daily, "2026-08-01T00:00:00Z").len(), 3);
        // The night in which three o'clock is two again: both are of one day.
        let autumn = items(&["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
        assert_eq!(kept(&autumn, daily, "2026-11-01T00:00:00Z"), ["2026-10-25T01:30:00Z"]);
    }

    #[test]
    fn labels_do_not_take_each_others_places() {
        let mut both = items(&["2026-03-01T01:00:00Z", "2026-03-02T01:00:00Z"]);
        both.push(item("crm", "2026-02-01T01:00:00Z".parse().unwrap()));
        let last = Policy { last: Some(1), ..Policy::default() };
        assert_eq!(kept(&both, last, NOW), ["2026-03-02T01:00:00Z", "2026-02-01T01:00:00Z"]);
    }

    #[test]
    fn what_a_wrong_clock_has_dated_into_the_future_is_kept_and_does_not_count() {
        let all = items(&["2026-05-01T01:00:00Z", "2026-05-02T01:00:00Z", "2099-01-01T01:00:00Z"]);
        let last = Policy { last: Some(1), ..Policy::default() };
        assert_eq!(kept(&all, last, NOW), ["2026-05-02T01:00:00Z", "2099-01-01T01:00:00Z"]);
    }

    #[test]
    fn times_at_the_ends_of_the_calendar_do_no_harm() {
        let all =
            [item("shop", Timestamp::MIN), item("shop", Timestamp::MAX), item("shop", Timestamp::UNIX_EPOCH)];
        let policy = Policy {
            last: Some(1),
            daily: Some(1),
            weekly: Some(1),
            monthly: Some(1),
            within: Some(Duration::MAX),
        };
        for now in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(judge(&all, policy, now, &berlin()).len(), 3);
        }
    }

    /// Fault 43.
    #[test]
    fn sources_of_one_label_do_not_take_each_others_places() {
        let from = |source, start: &str| item_from(Some(source), "shop", start.parse().unwrap());
        let nights = ["2026-03-01T01:00:00Z", "2026-03-02T01:00:00Z"];
        // One sends at one o'clock, the other a minute later.
        let mut both: Vec<_> = nights.map(|night| from("db1", night)).into();
        both.extend(nights.map(|night| from("db2", &night.replace(":00:00Z", ":01:00Z"))));
        let daily = Policy { daily: Some(1), ..Policy::default() };
        assert_eq!(kept(&both, daily, NOW), ["2026-03-02T01:00:00Z", "2026-03-02T01:01:00Z"]);
    }

    /// Fault 68.
    #[test]
    fn flood_of_sessions_moves_no_entry_that_is_younger_than_the_floor() {
        let mut all = items(&["2026-05-20T01:00:00Z", "2026-05-30T01:00:00Z"]);
        let flood =
            (0..60).map(|second| item("shop", format!("2026-05-31T23:00:{second:02}Z").parse().unwrap()));
        all.extend(flood);
        let last = Policy { last: Some(3), ..Policy::default() };
        assert_eq!(kept(&all, last, NOW).len(), 3);
        let floor = Policy { within: Some(Duration::from_secs(7 * 86_400)), ..last };
        let stays = kept(&all, floor, NOW);
        assert_eq!((stays.len(), stays[0].as_str()), (61, "2026-05-30T01:00:00Z"));
    }

    /// As with `restic forget`: a source that has sent nothing for a year keeps the days before its last entry.
    #[test]
    fn floor_is_counted_back_from_the_newest_entry_of_each_source() {
        let mut all = items(&["2026-03-01T01:00:00Z", "2026-03-08T02:00:00Z", "2026-03-09T01:00:00Z"]);
        all.push(item("crm", "2026-05-31T01:00:00Z".parse().unwrap()));
        let floor = Policy { within: Some(Duration::from_secs(7 * 86_400)), ..Policy::default() };
        for now in [NOW, "2028-01-01T00:00:00Z"] {
            assert_eq!(
                kept(&all, floor, now),
                ["2026-03-08T02:00:00Z", "2026-03-09T01:00:00Z", "2026-05-31T01:00:00Z"]
            );
        }
        // An entry of a clock that is four minutes ahead does not bring the others closer to their end.
        let ahead = items(&["2026-05-25T00:02:00Z", "2026-06-01T00:04:00Z"]);
        assert_eq!(kept(&ahead, floor, NOW).len(), 2);
    }

    /// Entries within a few months, some of them renamed, damaged, or of another label or source.
    fn any_items() -> impl Strategy<Value = Vec<Item>> {
        let one = (0..20_000_000_i64, 0..10_u8).prop_map(|(seconds, kind)| {
            let started = Timestamp::from_second(1_760_000_000 + seconds).unwrap();
            let source = (kind == 4).then_some("db2");
            let mut item = item_from(source, if kind == 0 { "crm" } else { "shop" }, started);
            match kind {
                1 => item.name = EntryName::new(&format!("mine-{seconds}")).unwrap(),
                2 => item.state = State::Damaged("data is missing".to_owned()),
                3 => item.state = State::InUse,
                _ => {}
            }
            item
        });
        prop::collection::vec(one, 0..60).prop_map(|items| {
            // As in a directory, each name is there once.
            let by_name: BTreeMap<_, _> = items.into_iter().map(|item| (item.name.clone(), item)).collect();
            by_name.into_values().collect()
        })
    }

    fn any_policy() -> impl Strategy<Value = Policy> {
        let rule = || prop::option::of(1..8_u32);
        let within = prop::option::of((0..20_000_000_u64).prop_map(Duration::from_secs));
        (rule(), rule(), rule(), rule(), within).prop_map(|(last, daily, weekly, monthly, within)| Policy {
            last,
            daily,
            weekly,
            monthly,
            within,
        })
    }

    fn any_now() -> impl Strategy<Value = Timestamp> {
        (0..25_000_000_i64).prop_map(|seconds| Timestamp::from_second(1_760_000_000 + seconds).unwrap())
    }

    fn survivors(items: &[Item], policy: Policy, now: Timestamp) -> Vec<Item> {
        let verdicts = judge(items, policy, now, &berlin());
        let kept = items.iter().zip(verdicts).filter(|(_, verdict)| *verdict != Verdict::Remove);
        kept.map(|(item, _)| item.clone()).collect()
    }

    /// The rules once more, as a user would check them: by looking at all entries of a period.
    fn keeps(items: &[Item], policy: Policy, now: Timestamp, one: &Item) -> bool {
        let counts =
            |item: &&Item| item.has_own_name() && item.manifest().is_some() && !item.is_of_the_future(now);
        if policy.is_empty() || !counts(&one) {
            return true;
        }
        let source = |item: &Item| (item.manifest().unwrap().label.clone(), item.source.clone());
        let of_source = items.iter().filter(counts).filter(|item| source(item) == source(one));
        let of_label: Vec<_> = of_source.map(|item| item.manifest().unwrap().started).collect();
        let started = one.manifest().unwrap().started;
        let newer = |most: u32, period: &dyn Fn(Timestamp) -> Date| {
            let mine = period(started);
            let is_newest = of_label.iter().all(|other| period(*other) != mine || *other <= started);
            let later: BTreeSet<_> =
                of_label.iter().map(|other| period(*other)).filter(|other| *other > mine).collect();
            is_newest && later.len() < most as usize
        };
        let day = |time: Timestamp| time.to_zoned(berlin()).date();
        let is_last = |most: u32| of_label.iter().filter(|other| **other > started).count() < most as usize;
        let newest = of_label.iter().map(|other| other.as_second()).max().unwrap().min(now.as_second());
        let age = newest - started.as_second();
        of_label.iter().all(|other| *other <= started)
            || policy.within.is_some_and(|within| age < within.as_secs() as i64)
            || policy.last.is_some_and(is_last)
            || policy.daily.is_some_and(|most| newer(most, &day))
            || policy.weekly.is_some_and(|most| {
                newer(most, &|time| {
                    let week = day(time).iso_week_date();
                    jiff::civil::ISOWeekDate::new(week.year(), week.week(), jiff::civil::Weekday::Monday)
                        .unwrap()
                        .date()
                })
            })
            || policy.monthly.is_some_and(|most| newer(most, &|time| day(time).first_of_month()))
    }

    proptest! {
        #[test]
        fn what_stays_is_what_the_rules_say(items in any_items(), policy in any_policy(), now in any_now()) {
            let expected: Vec<_> =
                items.iter().filter(|item| keeps(&items, policy, now, item)).cloned().collect();
            prop_assert_eq!(survivors(&items, policy, now), expected);
        }

        #[test]
        fn the_newest_of_a_label_and_what_is_not_ours_to_judge_always_stay(
            items in any_items(), policy in any_policy(), now in any_now(),
        ) {
            let kept = survivors(&items, policy, now);
            for (label, source) in [("shop", None), ("shop", Some("db2")), ("crm", None)] {
                let of_source = items.iter().filter(|item| {
                    item.has_own_name()
                        && item.source.as_deref() == source
                        && item.manifest().is_some_and(|manifest| manifest.label == label)
                        && !item.is_of_the_future(now)
                });
                if let Some(newest) = of_source.max_by_key(|item| item.manifest().map(|manifest| manifest.started)) {
                    prop_assert!(kept.contains(newest));
                }
            }
            for item in &items {
                let is_ours = item.has_own_name();
                let is_future = item.is_of_the_future(now);
                prop_assert!(is_ours && !is_future || kept.contains(item));
            }
        }

        #[test]
        fn a_second_time_nothing_more_goes_and_order_does_not_matter(
            items in any_items(), policy in any_policy(), now in any_now(), turn in 0..60_usize,
        ) {
            let kept = survivors(&items, policy, now);
            prop_assert_eq!(survivors(&kept, policy, now), kept.clone());
            let mut turned = items.clone();
            turned.rotate_left(if items.is_empty() { 0 } else { turn % items.len() });
            let mut kept_turned = survivors(&turned, policy, now);
            kept_turned.sort_by_key(|item| item.name.clone());
            prop_assert_eq!(kept_turned, kept);
        }
    }
}
