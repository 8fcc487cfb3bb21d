//! When a session starts: the rules of `--min-receivers`, `--max-receivers`, `--require`, `--expect-receivers`,
//! `--min-wait`, `--max-wait`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Time;

/// The operator's rules. t0 is the first receiver's join; the session starts when the first of these holds:
///
/// - (a) joined ≥ `min_receivers`, all of `require` and `expect` joined, and now ≥ t0 + `min_wait`;
/// - (b) `max_wait` given, at least one joined, all of `require` joined, and now ≥ t0 + `max_wait`;
/// - (c) `max_receivers` given, and that many joined.
///
/// A session that started by (b) with fewer than `min_receivers`, or without one of `expect`, has a [`Shortfall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRules {
    /// Receivers to wait for.
    pub min_receivers: u32,
    /// Receivers with which to start at once; more are refused.
    pub max_receivers: Option<u32>,
    /// Names that must have joined.
    pub require: Vec<String>,
    /// Names that should have joined, none of them in `require`. After `max_wait` the session starts without them.
    pub expect: Vec<String>,
    /// Time to give further receivers after the first.
    pub min_wait: Duration,
    /// Time after which to start with whoever is there.
    pub max_wait: Option<Duration>,
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start now.
    Start,
    /// Not yet; ask again when a receiver joins or leaves, and at this time.
    Wait(Option<Time>),
}

/// The receivers that a session lacked when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Receivers that it started with.
    pub joined: u32,
    /// Receivers that it should have had.
    pub awaited: u32,
    /// Expected names that had not joined, and whether a receiver of that name has come since.
    pub missing: BTreeMap<String, bool>,
}

/// The receivers that have joined, by their names. Several may bear the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    by_name: BTreeMap<String, u32>,
    count: u32,
}

impl Joined {
    /// A receiver of this name has joined.
    pub fn add(&mut self, name: &str) {
        *self.by_name.entry(name.to_owned()).or_default() += 1;
        self.count += 1;
    }

    /// One that has joined is gone.
    pub fn remove(&mut self, name: &str) {
        let Some(count) = self.by_name.get_mut(name) else { return };
        *count -= 1;
        self.count -= 1;
        if *count == 0 {
            self.by_name.remove(name);
        }
    }

    /// How many have joined.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether a receiver of this name has joined.
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }
}

impl StartRules {
    /// Applies the rules to those who have joined; `first_join` is t0.
    pub fn evaluate(&self, now: Time, first_join: Option<Time>, joined: &Joined) -> Verdict {
        let Some(first_join) = first_join else { return Verdict::Wait(None) };
        let count = joined.count;
        if count == 0 {
            return Verdict::Wait(None);
        }
        if self.max_receivers.is_some_and(|max| count >= max) {
            return Verdict::Start;
        }
        if self.require.iter().any(|name| !joined.has(name)) {
            return Verdict::Wait(None);
        }
        let enough = self.is_enough(joined).then_some(first_join + self.min_wait);
        let at_last = self.max_wait.map(|wait| first_join + wait);
        match [enough, at_last].into_iter().flatten().min() {
            Some(at) if now >= at => Verdict::Start,
            at => Verdict::Wait(at),
        }
    }

    /// Whether nobody else is waited for.
    pub fn is_enough(&self, joined: &Joined) -> bool {
        joined.count >= self.min_receivers && self.missing(joined).next().is_none()
    }

    /// Receivers that should be there at the start.
    pub fn awaited(&self) -> u32 {
        let names = self.require.len() + self.expect.len();
        self.min_receivers.max(u32::try_from(names).unwrap_or(u32::MAX))
    }

    /// Required and expected names that have not joined.
    pub fn missing<'a>(&'a self, joined: &'a Joined) -> impl Iterator<Item = &'a str> {
        self.require.iter().chain(&self.expect).map(String::as_str).filter(|name| !joined.has(name))
    }

    /// The shortfall of a session that starts with these receivers; `None` if they are enough.
    pub fn shortfall(&self, joined: &Joined) -> Option<Shortfall> {
        (!self.is_enough(joined)).then(|| Shortfall {
            joined: joined.count,
            awaited: self.awaited(),
            missing: self.missing(joined).map(|name| (name.to_owned(), false)).collect(),
        })
    }

    /// Whether a receiver of this name may still be admitted: of `max_receivers`, or of the `places` that there are at
    /// all, those that required and expected names need are kept for them.
    pub fn admits(&self, name: &str, joined: &Joined, places: usize) -> bool {
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        let max = self.max_receivers.map_or(places, |max| max.min(places));
        if joined.count >= max {
            return false;
        }
        let (mut reserved, mut is_reserved) = (0_u32, false);
        for required in self.missing(joined) {
            reserved = reserved.saturating_add(1);
            is_reserved |= required == name;
        }
        let free = max.saturating_sub(joined.count);
        if is_reserved { free > 0 } else { free > reserved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn at(n: u64) -> Time {
        Time::ZERO + seconds(n)
    }

    fn rules() -> StartRules {
        StartRules {
            min_receivers: 2,
            max_receivers: None,
            require: Vec::new(),
            expect: Vec::new(),
            min_wait: seconds(5),
            max_wait: None,
        }
    }

    fn joined(names: &[&str]) -> Joined {
        let mut joined = Joined::default();
        names.iter().for_each(|name| joined.add(name));
        joined
    }

    fn verdict(rules: &StartRules, now: u64, names: &[&str]) -> Verdict {
        rules.evaluate(at(now), (!names.is_empty()).then(|| at(10)), &joined(names))
    }

    #[test]
    fn name_is_absent_once_all_who_bear_it_are_gone() {
        let rules = StartRules { require: vec!["db2".into()], ..rules() };
        let mut joined = joined(&["db2", "a", "db2"]);
        joined.remove("nobody");
        joined.remove("db2");
        assert_eq!(rules.missing(&joined).count(), 0);
        joined.remove("db2");
        assert_eq!(rules.missing(&joined).collect::<Vec<_>>(), ["db2"]);
        joined.remove("db2");
        joined.remove("a");
        assert_eq!(joined, Joined::default());
    }

    #[test]
    fn nobody_never_starts() {
        let rules = StartRules { max_wait: Some(seconds(0)), min_receivers: 0, ..rules() };
        assert_eq!(verdict(&rules, 1_000, &[]), Verdict::Wait(None));
    }

    #[test]
    fn enough_receivers_start_after_the_minimum_wait() {
        assert_eq!(verdict(&rules(), 12, &["a"]), Verdict::Wait(None));
        assert_eq!(verdict(&rules(), 100, &["a"]), Verdict::Wait(None));
        assert_eq!(verdict(&rules(), 12, &["a", "b"]), Verdict::Wait(Some(at(15))));
        assert_eq!(verdict(&rules(), 15, &["a", "b"]), Verdict::Start);
    }

    #[test]
    fn the_maximum_wait_starts_with_fewer() {
        let rules = StartRules { max_wait: Some(seconds(60)), ..rules() };
        assert_eq!(verdict(&rules, 69, &["a"]), Verdict::Wait(Some(at(70))));
        assert_eq!(verdict(&rules, 70, &["a"]), Verdict::Start);
        assert_eq!(verdict(&rules, 14, &["a", "b"]), Verdict::Wait(Some(at(15))));
    }

    #[test]
    fn required_names_hold_the_start_back_but_not_the_maximum_of_receivers() {
        let rules = StartRules {
            require: vec!["db2".into(), "db3".into()],
            max_wait: Some(seconds(60)),
            max_receivers: Some(4),
            ..rules()
        };
        assert_eq!(verdict(&rules, 1_000, &["a", "db2", "c"]), Verdict::Wait(None));
        assert_eq!(verdict(&rules, 1_000, &["a", "db2", "db3"]), Verdict::Start);
        assert_eq!(verdict(&rules, 10, &["a", "b", "c", "d"]), Verdict::Start);
    }

    #[test]
    fn expected_names_hold_the_start_back_until_the_maximum_wait() {
        let rules = StartRules {
            min_receivers: 1,
            expect: vec!["db2".into(), "db3".into()],
            min_wait: Duration::ZERO,
            max_wait: Some(seconds(60)),
            ..rules()
        };
        assert_eq!(verdict(&rules, 69, &["a", "db2", "c"]), Verdict::Wait(Some(at(70))));
        assert_eq!(verdict(&rules, 70, &["a", "db2", "c"]), Verdict::Start);
        assert_eq!(verdict(&rules, 11, &["db3", "db2"]), Verdict::Start);
        let patient = StartRules { max_wait: None, ..rules.clone() };
        assert_eq!(verdict(&patient, 1_000, &["a", "db2", "c"]), Verdict::Wait(None));
        // A required name is waited for beyond the maximum wait.
        let strict = StartRules { require: vec!["db9".into()], ..rules };
        assert_eq!(verdict(&strict, 1_000, &["db2", "db3"]), Verdict::Wait(None));
    }

    #[test]
    fn shortfall_has_the_numbers_and_the_names_that_are_missing() {
        let rules = StartRules { min_receivers: 3, expect: vec!["db2".into(), "files".into()], ..rules() };
        let short = rules.shortfall(&joined(&["db2", "db3"])).unwrap();
        assert_eq!((short.joined, short.awaited), (2, 3));
        assert_eq!(short.missing.into_keys().collect::<Vec<_>>(), ["files"]);
        // Enough of them, and still one is missing; and the other way round.
        assert!(rules.shortfall(&joined(&["db2", "db3", "db4"])).is_some());
        let short = rules.shortfall(&joined(&["db2", "files"])).unwrap();
        assert!(short.missing.is_empty());
        assert_eq!(rules.shortfall(&joined(&["db2", "files", "a"])), None);
    }

    #[test]
    fn required_and_expected_names_keep_their_places() {
        let expects = StartRules { expect: vec!["db2".into()], max_receivers: Some(2), ..rules() };
        assert!(!expects.admits("b", &joined(&["a"]), 2));
        assert!(expects.admits("db2", &joined(&["a"]), 2));
        let rules = StartRules { require: vec!["db2".into()], max_receivers: Some(2), ..rules() };
        for rules in [&rules, &StartRules { max_receivers: None, ..rules.clone() }] {
            assert!(rules.admits("a", &joined(&[]), 2));
            assert!(!rules.admits("b", &joined(&["a"]), 2));
            assert!(rules.admits("db2", &joined(&["a"]), 2));
            assert!(!rules.admits("db2", &joined(&["a", "db2"]), 2));
        }
    }
}
