//! How old messages may be, as an argument.

use crate::names;
use anyhow::Context;
use e4::{MaxAge, TopicFilter};
use std::str::FromStr;

/// `FILTER=SECONDS` or `FILTER=any`.
#[derive(Clone)]
pub(crate) struct AgeRule {
    pub(crate) filter: TopicFilter<'static>,
    pub(crate) max_age: MaxAge,
}

impl FromStr for AgeRule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (filter, age) = text.rsplit_once('=').context("a = is missing before the seconds")?;
        let max_age = match age {
            "any" => MaxAge::Any,
            seconds => MaxAge::Seconds(seconds.parse().context("an age is a number of seconds, or `any`")?),
        };
        Ok(Self { filter: names::filter(filter)?, max_age })
    }
}
