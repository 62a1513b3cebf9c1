//! What there is, for who looks: lists in parts, each from where the one before ended, so that what is added or taken away in
//! between moves nothing to another part.

mod audit;
mod devices;
mod exposure;
mod groups;
mod holds;
mod orders;
mod progress;
mod status;
mod tokens;
mod topics;

use super::{Refusal, RefusalKind};
use e4::ClientId;
use e4_keyserver_api as said;

/// How many items a part has at most, and if nothing else is asked for.
const MOST: u32 = 1_000;
const USUAL: u32 = 100;

/// How many items are asked for.
fn limit(asked: Option<u32>) -> Result<usize, Refusal> {
    match asked {
        Some(0) => Err(RefusalKind::Invalid.because("`limit` is 1 at least")),
        asked => Ok(usize::try_from(asked.unwrap_or(USUAL).min(MOST)).unwrap_or(usize::MAX)),
    }
}

/// A part of a list from one item more than it has: where the next one begins follows from its last item.
fn part<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> said::Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    said::Page { items, next }
}

/// One item more than a part has shows whether there is another part.
fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

fn no_cursor() -> Refusal {
    RefusalKind::Invalid.because("`after` is `next` of the part before, as it was given")
}

/// Where a list of numbers goes on.
fn after_number(after: Option<&str>) -> Result<Option<i64>, Refusal> {
    after.map(|text| text.parse().map_err(|_| no_cursor())).transpose()
}

/// A device by its id, as it is written in paths.
///
/// # Errors
///
/// [`RefusalKind::NotFound`] for what is no id.
pub(crate) fn device_id(text: &str) -> Result<ClientId, Refusal> {
    text.parse().map_err(|_| no_such_device())
}

pub(super) fn no_such_device() -> Refusal {
    RefusalKind::NotFound.because(
        "there is no device of this id: ids are 32 hexadecimal digits, and `?name=` finds a device by its name",
    )
}

fn hex_id(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

/// A moment as RFC 3339 has it.
pub(crate) fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s since 1970"), |time| time.to_string())
}

fn number(value: i64) -> Result<u64, Refusal> {
    u64::try_from(value).map_err(|_| damaged("a number that is negative"))
}

fn damaged(what: &str) -> Refusal {
    RefusalKind::Damaged.because(format!("the database holds {what}, and was changed outside of the key server"))
}

/// What the database has as a number and people know as a word.
macro_rules! word_of {
    ($kind:ident, $code:expr) => {
        crate::model::$kind::from_code($code)
            .and_then(|it| said::$kind::from_word(it.word()))
            .ok_or_else(|| super::damaged(concat!("no ", stringify!($kind))))
    };
}
use word_of;
