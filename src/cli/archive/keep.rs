//! What an archive keeps.

use std::time::Duration;

use clap::Args;

use crate::archive::retention::Policy;

/// The rules, as flags.
#[derive(Args, Debug)]
pub(in crate::cli) struct KeepArgs {
    /// Keep the newest N entries of each label and source
    #[arg(long, env = "MCAST_KEEP_LAST", hide_short_help = true, value_name = "N", value_parser = super::super::values::whole::<u32>(1, u32::MAX.into()))]
    keep_last: Option<u32>,

    /// Keep the newest entry of each of the last N days that have one
    #[arg(long, env = "MCAST_KEEP_DAILY", hide_short_help = true, value_name = "N", value_parser = super::super::values::whole::<u32>(1, u32::MAX.into()))]
    keep_daily: Option<u32>,

    /// Keep the newest entry of each of the last N weeks (from Monday) that have one
    #[arg(long, env = "MCAST_KEEP_WEEKLY", hide_short_help = true, value_name = "N", value_parser = super::super::values::whole::<u32>(1, u32::MAX.into()))]
    keep_weekly: Option<u32>,

    /// Keep the newest entry of each of the last N months that have one
    #[arg(long, env = "MCAST_KEEP_MONTHLY", hide_short_help = true, value_name = "N", value_parser = super::super::values::whole::<u32>(1, u32::MAX.into()))]
    keep_monthly: Option<u32>,

    /// Keep every entry that is less than this older than the newest, such as 7d
    #[arg(long, env = "MCAST_KEEP_WITHIN", hide_short_help = true, value_name = "DUR", value_parser = super::super::values::keep_within)]
    keep_within: Option<Duration>,
}

impl KeepArgs {
    pub(in crate::cli) const fn policy(&self) -> Policy {
        Policy {
            last: self.keep_last,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            within: self.keep_within,
        }
    }
}
