//! When to connect again, and when not.

use crate::{
    bounds::MAX_CONTESTED,
    loss::{Cause, Loss},
};
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait before connecting again: longer each time, and not in step with others who lost the same broker.
#[derive(Default)]
pub(crate) struct Pause {
    failures: u32,
    /// Connections that were lost soon after they were made.
    in_a_row: u32,
    /// Connections in a row that the broker took at once and closed without a word.
    contested: u32,
    connected: Option<Instant>,
}

/// How a connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    NotMade,
    /// The broker ended it soon.
    ClosedSoon,
    Other,
}

impl Pause {
    const SHORTEST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(30);
    /// A connection that lasts this long has not failed.
    const LASTING: Duration = Duration::from_secs(5);
    /// Another client with the same id is back by then.
    const UNCONTESTED: Duration = Duration::from_secs(60);

    pub(crate) fn connected(&mut self) {
        self.connected = Some(Instant::now());
    }

    /// Counts what was lost soon after it was made.
    pub(crate) fn lost(&mut self, mut loss: Loss) -> (Loss, Life) {
        let lasted = self.connected.take().map(|since| since.elapsed());
        match lasted {
            Some(lasted) if lasted >= Self::LASTING => (self.failures, self.in_a_row) = (0, 0),
            Some(_) => self.in_a_row = self.in_a_row.saturating_add(1),
            None => self.in_a_row = 0,
        }
        let life = match (lasted, loss.cause) {
            (None, _) => Life::NotMade,
            (Some(lasted), Cause::Closed | Cause::Ended(_)) if lasted < Self::LASTING => Life::ClosedSoon,
            (Some(_), _) => Life::Other,
        };
        let is_contested = loss.cause == Cause::Closed && lasted.is_some_and(|lasted| lasted < Self::UNCONTESTED);
        // A broker that falls down is not reached for a while; one with two clients of one id always is.
        self.contested = if is_contested { self.contested.saturating_add(1) } else { 0 };
        if self.contested >= MAX_CONTESTED {
            loss.cause = Cause::Contested;
        }
        loss.in_a_row = self.in_a_row;
        (loss, life)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let longest = Self::SHORTEST.saturating_mul(1 << self.failures.min(10)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Loss {
        Loss { cause: Cause::Closed, reason: String::new(), in_a_row: 0 }
    }

    #[test]
    fn f32_two_clients_of_one_id_do_not_fight_for_ever() {
        let mut pause = Pause::default();
        for n in 1..=MAX_CONTESTED {
            pause.connected();
            let (loss, life) = pause.lost(closed());
            assert_eq!((loss.in_a_row, life), (n, Life::ClosedSoon));
            assert_eq!(loss.cause.is_final(), n == MAX_CONTESTED);
        }
    }

    #[test]
    fn a_broker_that_is_down_now_and_then_is_tried_for_ever() {
        let mut pause = Pause::default();
        for _ in 0..10 * MAX_CONTESTED {
            pause.connected();
            assert!(!pause.lost(closed()).0.cause.is_final());
            let refused = Loss { cause: Cause::Network, ..closed() };
            assert_eq!(pause.lost(refused).1, Life::NotMade);
        }
    }
}
