//! What was lost because it arrived faster than it could be taken, told once a second: a flood must not flood who reads of it.

use crate::terminal::note;
use e4_mqtt::Overflow;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// Between two times that it is told.
const PAUSE: Duration = Duration::from_secs(1);

/// A command has one connection.
static LOST: Lost = Lost(Mutex::new(Sum { messages: 0, others: 0, is_told: false }));

struct Lost(Mutex<Sum>);

/// What was lost and not told yet.
struct Sum {
    messages: u64,
    others: u64,
    /// Whether [`Lost::tell`] is at it.
    is_told: bool,
}

/// Tells it at once, or with what else is lost until a second after the last time.
pub(super) fn tell(lost: &Overflow) {
    if LOST.add(lost) {
        tokio::spawn(LOST.tell(note));
    }
}

/// Tells what has not been told.
pub(super) fn tell_rest() {
    LOST.take().into_iter().for_each(note);
}

impl Lost {
    fn lock(&self) -> MutexGuard<'_, Sum> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody tells it.
    fn add(&self, lost: &Overflow) -> bool {
        let mut sum = self.lock();
        sum.messages = sum.messages.saturating_add(lost.messages);
        sum.others = sum.others.saturating_add(lost.refusals).saturating_add(lost.others);
        !std::mem::replace(&mut sum.is_told, true)
    }

    /// Until a second goes by in which nothing is lost.
    async fn tell(&self, say: impl Fn(String)) {
        while let Some(text) = self.take() {
            say(text);
            sleep(PAUSE).await;
        }
    }

    fn take(&self) -> Option<String> {
        let mut sum = self.lock();
        let (messages, others) = (std::mem::take(&mut sum.messages), std::mem::take(&mut sum.others));
        sum.is_told = (messages, others) != (0, 0);
        sum.is_told
            .then(|| format!("Too slow for what arrives: lost {messages} messages of QoS 0 and {others} notices"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_in_a_flood_is_told_once_a_second_with_the_sum() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (lost, told) =
                (Lost(Mutex::new(Sum { messages: 0, others: 0, is_told: false })), Mutex::new(Vec::new()));
            let start = tokio::time::Instant::now();
            let say = |text: String| told.lock().unwrap().push((start.elapsed().as_millis(), text));
            let one = {
                let mut one = Overflow::default();
                (one.messages, one.refusals, one.others) = (1, 2, 3);
                one
            };
            assert!(lost.add(&one));
            let flood = async {
                for _ in 0..250 {
                    sleep(Duration::from_millis(10)).await;
                    assert!(!lost.add(&one), "it is told by one alone");
                }
            };
            tokio::join!(lost.tell(say), flood);
            let line = |n: u64| format!("Too slow for what arrives: lost {n} messages of QoS 0 and {} notices", 5 * n);
            let told = told.lock().unwrap();
            assert_eq!(told.iter().map(|(at, _)| *at / 1000).collect::<Vec<_>>(), [0, 1, 2, 3], "{told:?}");
            assert_eq!(told[0], (0, line(1)));
            let sum: u64 = told.iter().map(|(_, text)| text.split(' ').nth(6).unwrap().parse::<u64>().unwrap()).sum();
            assert_eq!(sum, 251);
            assert!(lost.add(&one), "the next one is told at once again");
        });
    }
}
